"""The gallery: what is chosen, what is said of it, and a sheet that is whole and escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV (make test installs it)")

from emollama_ros.errors import InputError  # noqa: E402
from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.evaluation import gallery  # noqa: E402
from training.evaluation.gallery import chosen, document, draw, rows_of  # noqa: E402
from training.evaluation.gallery_clips import Found, Shown  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def scores_of(label: str, confidence: float) -> tuple[float, ...]:
    rest = (1 - confidence) / (len(DEFAULT_LABELS) - 1)
    return tuple(confidence if name == label else rest for name in DEFAULT_LABELS)


def views_of(told: str, confidence: float, voice: str, picture: str) -> dict[str, tuple[float, ...]]:
    return {
        "both": scores_of(told, confidence),
        "audio": scores_of(voice, 0.6),
        "video": scores_of(picture, 0.5),
    }


def shown(
    person: int, truth: str, told: str, confidence: float = 0.9, intensity: float = 0.8, **given
) -> Shown:
    scene = {"centre": (0.5, 0.4), "face_height": 0.5, "exposure": 1.0, "yaw": 0.0} | given.pop("scene", {})
    segment = {"intensity": intensity, "face": truth, "voice": truth, "speech": {"snr_db": 30}}
    record = {
        "id": f"{person}-{truth}-{confidence}",
        "person": person,
        "label": truth,
        "conflict": False,
        "cutouts": [],
        "scene": scene,
        "segments": [segment | given.pop("segment", {})],
    } | given
    rng = np.random.default_rng(person)
    sound = (np.sin(np.arange(16000) * 2 * np.pi * 200 / 16000) * 0.3).astype(np.float32)
    frames = tuple(rng.integers(0, 255, (24, 32, 3), np.uint8) for _ in gallery.MOMENTS)
    return Shown(record, views_of(told, confidence, truth, told), "Likely <angry> & loud.", frames, sound)


@pytest.fixture
def some() -> list[Shown]:
    return [
        shown(1, "sad", "happy", 0.7),
        shown(1, "scared", "angry", 0.95),
        shown(2, "happy", "angry", 0.8, conflict=True, segment={"face": "angry"}),
        shown(3, "happy", "happy", 0.5, intensity=0.5),
        shown(4, "sad", "sad", 0.9, intensity=0.9),
        shown(5, "neutral", "neutral", 0.9, intensity=0.1),
    ]


@pytest.fixture
def found(some) -> Found:
    wrong, right = chosen(some, 5, 5)
    return Found("m 1 abc", tuple(wrong), tuple(right), tuple(some))


def test_the_surest_mistakes_and_the_weakest_successes_are_chosen_one_a_person(found):
    assert [(s.record["person"], s.confidence) for s in found.mistakes] == [(1, 0.95), (2, 0.8)]
    assert [s.record["person"] for s in found.successes] == [3, 4], "neutral shows nothing"


def test_what_makes_a_clip_hard_is_told_from_its_truth():
    hard = shown(
        1,
        "happy",
        "angry",
        conflict=True,
        segment={"face": "neutral", "intensity": 0.5, "speech": {"snr_db": 4}},
        scene={"face_height": 0.2, "exposure": 0.5, "yaw": -0.4},
        cutouts=[{"modality": "video", "kind": "black"}],
    )
    assert hard.circumstances() == [
        "face shows neutral, voice happy",
        "video black for a while",
        "face 20 % of the picture",
        "dim light",
        "head turned",
        "voice 4 dB above noise",
        "shown weakly (0.50)",
    ]
    assert shown(1, "happy", "angry").circumstances() == []


def test_rows_tell_each_clip_and_what_mistakes_have_in_common(found):
    text = rows_of(found)
    assert "| 1 | **scared** | angry 0.95 | scared 0.60 | angry 0.50 | nothing | Likely" in text
    assert "Of 6 clips with picture and sound of 5 people, 3 are told wrong (50 %); of the 4 told" in text
    assert "more, 2." in text and "| the picture alone is wrong | 3 |" in text
    assert (
        "| face and voice disagree | 1 | 100 % |" in text and "| shown weakly (below 0.6) | 1 | 0 % |" in text
    )
    right = Found("m", (), found.successes, found.successes)
    assert "None of 2 clips was told wrong." in rows_of(right)


def test_the_sheet_is_one_whole_picture_of_all_clips(found, tmp_path):
    draw(found, tmp_path / "sheet.svg")
    root = ElementTree.parse(tmp_path / "sheet.svg").getroot()
    images = root.findall(f".//{SVG}image")
    assert len(images) == 4 * len(gallery.MOMENTS)
    assert all(image.get("href").startswith("data:image/jpeg;base64,") for image in images)
    words = " ".join(text for node in root.findall(f".//{SVG}text") for text in node.itertext())
    assert "is told as angry 0.95" in words and "is told 0.50" in words and "Likely <angry> & loud." in words
    # A tone of 200 Hz is one line, at the same height all along.
    [line] = root.findall(f".//{SVG}polyline")[:1]
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert len(heights) > 20 and np.ptp(heights) < 3
    with pytest.raises(InputError, match="svg"):
        draw(found, tmp_path / "sheet.png")


def test_the_document_gets_the_rows_between_its_marks(found):
    text = "a\n<!-- python -m training gallery --write -->\nstale\n<!-- end of the gallery -->\nb"
    made = document(text, found)
    assert "stale" not in made and rows_of(found) in made and document(made, found) == made
    with pytest.raises(InputError, match="marks"):
        document("nothing", found)


def test_the_committed_picture_is_small_and_its_document_shows_it():
    assert gallery.PICTURE.stat().st_size < 400_000
    text = gallery.DOCUMENT.read_text(encoding="utf-8")
    assert "images/failures.svg" in text and "<!-- end of the gallery -->" in text
    ElementTree.parse(gallery.PICTURE)

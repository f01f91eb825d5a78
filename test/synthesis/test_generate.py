from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")

from emollama_ros.errors import ConfigError, InputError  # noqa: E402
from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.synthesis import generate as g  # noqa: E402
from training.synthesis.options import cast, split_of  # noqa: E402
from training.synthesis.people import SAMPLE_PERSON  # noqa: E402
from training.synthesis.video_file import encode  # noqa: E402

SMALL = g.Options(seed=5, people=3, seconds=1.0, fps=4.0, width=96, height=72)


def same(a, b) -> bool:
    return np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) and a[2] == b[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"people": 0},
        {"seconds": 0.1},
        {"fps": 0},
        {"width": 33},
        {"face": (0.9, 0.2)},
        {"labels": ("bored",)},
        {"conflict": 2},
    ],
)
def test_options_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        g.Options(**wrong)


def test_the_sample_person_cannot_be_generated_for_training():
    with pytest.raises(ConfigError, match="bundled sample"):
        g.Options(first_person=SAMPLE_PERSON - 1, people=10)


def test_the_cast_is_balanced_over_people_and_labels():
    options = g.Options(people=10, first_person=40)
    roles = [cast(i, options) for i in range(70)]
    assert set(Counter(roles).values()) == {1}
    assert {person for person, _ in roles} == set(range(40, 50))
    assert Counter(label for _, label in roles) == dict.fromkeys(DEFAULT_LABELS, 10)
    first = Counter(label for _, label in roles[:14])
    assert set(first) == set(DEFAULT_LABELS), "the labels of a part of the clips are balanced too"


def test_arrays_have_the_stated_form_and_truth(renderer, speech):
    for frames, audio, record in g.generate_arrays(3, SMALL, size=64):
        assert frames.shape == (4, 64, 64, 3) and frames.dtype == np.uint8
        assert audio.shape == (16_000,) and audio.dtype == np.float32
        assert record["person"] == record["index"] % 3
        (segment,) = record["segments"]
        assert segment["label"] == segment["face"] == segment["voice"] == record["label"]
        assert (segment["start_s"], segment["end_s"]) == (0.0, 1.0)
        units = record["units"]
        assert len(units["percent"]) == 4 and all(len(row) == len(units["names"]) for row in units["percent"])
        assert record["transcript"] == segment["text"]
        assert json.loads(json.dumps(record)) == record


def test_a_clip_depends_on_seed_and_index_only(renderer, speech):
    all_three = list(g.generate_arrays(3, SMALL, size=32))
    last = next(g.generate_arrays(1, SMALL, start=2, size=32))
    other = next(g.generate_arrays(1, replace(SMALL, seed=6), start=2, size=32))
    assert same(all_three[2], last)
    assert not same(last, other)


def test_every_person_is_in_one_split_and_every_split_has_people():
    splits = Counter(split_of(person) for person in range(200))
    assert splits == {"train": 160, "validation": 20, "test": 20}


def test_missing_modalities_are_told(renderer, speech):
    options = replace(SMALL, missing=1.0, people=1)
    records = []
    for frames, audio, record in g.generate_arrays(8, options, size=32):
        assert (len(frames) > 0) == ("video" in record["modalities"])
        assert (len(audio) > 0) == ("audio" in record["modalities"])
        assert len(record["modalities"]) == 1
        segment = record["segments"][0]
        heard = "audio" in record["modalities"]
        assert bool(record["transcript"]) == ("speech" in segment) == ("text" in segment) == heard
        assert (record["units"] is None) == heard
        assert (record["action_units"] is None) == (record["peak"] is None) == heard
        shown = (None, record["label"]) if heard else (record["label"], None)
        assert (segment["face"], segment["voice"]) == shown
        assert not record["conflict"], "one modality alone cannot disagree"
        records.append(record)
    assert {r["modalities"][0] for r in records} == {"video", "audio"}


def test_several_segments_follow_each_other_without_gaps(renderer, speech):
    options = replace(SMALL, seconds=3.0, segments=3)
    record = next(g.generate_arrays(1, options, size=32))[2]
    bounds = [(s["start_s"], s["end_s"]) for s in record["segments"]]
    assert bounds == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    labels = [s["label"] for s in record["segments"]]
    assert all(a != b for a, b in zip(labels[:-1], labels[1:], strict=True))


def test_finished_clips_are_kept_and_broken_ones_made_again_with_the_same_bytes(renderer, speech, tmp_path):
    g.generate(tmp_path, 3, seed=5, options=SMALL, progress=False)
    kept, lost = tmp_path / "clips/000001.mp4", tmp_path / "records/000002.json"
    before = kept.stat().st_mtime_ns
    wanted = {p.name: p.read_bytes() for p in (tmp_path / "clips").iterdir()}
    lost.unlink()
    (tmp_path / "clips/000002.mp4").write_bytes(b"half of a cl")
    g.generate(tmp_path, 3, seed=5, options=SMALL, progress=False)
    assert {p.name: p.read_bytes() for p in (tmp_path / "clips").iterdir()} == wanted
    assert kept.stat().st_mtime_ns == before, "finished clips are not made again"


@pytest.mark.parametrize("wrong", [{"clips": 0}, {"clips": 1, "workers": 0}])
def test_a_count_below_one_is_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match="at least 1"):
        g.generate(tmp_path, **wrong)
    assert not any(tmp_path.iterdir())


def test_sheets_have_the_stated_size_and_show_people(renderer, speech):
    from training.synthesis.sheet import face_sheet, scene_sheet

    faces, scenes = face_sheet([2]), scene_sheet(2, columns=2)
    assert faces.shape == (200, 1400, 3) and scenes.shape == (240, 640, 3)
    neutral, happy = faces[:, :200].astype(int), faces[:, 200:400].astype(int)
    assert (np.abs(neutral - happy).max(-1) > 20).mean() > 0.01
    assert scenes[:, :320].std() > 5 and scenes[:, 320:].std() > 5


def test_clips_of_other_options_are_not_mixed(renderer, speech, tmp_path):
    g.generate(tmp_path, 1, seed=5, options=SMALL, progress=False)
    with pytest.raises(ConfigError, match="other options"):
        g.generate(tmp_path, 1, seed=6, options=SMALL, progress=False)


def test_a_written_clip_holds_the_stated_pictures_and_sound(renderer, speech, tmp_path):
    import av

    g.generate(tmp_path, 1, seed=5, options=SMALL, progress=False)
    with av.open(str(tmp_path / "clips/000000.mp4")) as container:
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        container.seek(0)
        heard = sum(f.samples for f in container.decode(audio=0))
    assert len(pictures) == 4 and pictures[0].shape == (72, 96, 3)
    assert heard == pytest.approx(16_000, abs=2_048)


def test_shards_hold_arrays_and_are_not_made_twice(renderer, speech, tmp_path):
    paths = g.generate_shards(tmp_path, 3, SMALL, per_shard=2, size=32, progress=False)
    with np.load(paths[0]) as shard:
        assert shard["frames"].shape == (2, 4, 32, 32, 3) and shard["audio"].dtype == np.int16
        assert [json.loads(r)["label"] for r in shard["record"]] == shard["label"].tolist()
    stamps = [p.stat().st_mtime_ns for p in paths]
    g.generate_shards(tmp_path, 3, SMALL, per_shard=2, size=32, progress=False)
    assert len(paths) == 2 and stamps == [p.stat().st_mtime_ns for p in paths]


def test_encoding_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="both are missing"):
        encode(tmp_path / "a.mp4", None, None, 10.0, (64, 48))


def test_the_command_writes_clips_and_says_what_is_wrong(renderer, speech, tmp_path, capsys):
    from training.synthesis.__main__ import main

    small = [
        "--people",
        "2",
        "--seconds",
        "0.5",
        "--fps",
        "4",
        "--width",
        "64",
        "--height",
        "48",
        "--workers",
        "1",
    ]
    assert main(["--out", str(tmp_path), "--clips", "1", *small]) == 0
    assert (tmp_path / "labels.jsonl").read_text().count("\n") == 1
    assert main(["--out", str(tmp_path), "--clips", "1", *small, "--people", "0"]) == 1
    assert "people=0" in capsys.readouterr().err

"""The reader of BoLD, on a folder made in its layout."""

from __future__ import annotations

import pytest
from native_layouts import bold
from native_layouts.media import missing
from native_layouts.reading import read

from emollama_ros.errors import InputError
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Task

CLIP = "003/pQ7rS9tU1vW.mp4/0200.mp4"


def test_categories_from_a_half_on_are_labels_and_characters_without_any_are_left_out(tmp_path):
    records, told = read("bold", bold.build(tmp_path))
    assert not told and not missing(tmp_path, records)
    assert [(r.id, r.split, r.labels) for r in records] == [
        ("pQ7rS9tU1vW_0114_0", "train", ("peace", "happiness")),
        ("pQ7rS9tU1vW_0114_1", "train", ("doubt/confusion", "disconnection")),
        ("x-2yZ4aB6cD_0208_1", "validation", ("suffering",)),
    ]
    assert {r.task for r in records} == {Task.MULTI_LABEL}
    assert {r.label_space for r in records} == {LABEL_SPACES["bold"]} and len(LABEL_SPACES["bold"]) == 26


def test_valence_and_arousal_are_rescaled_and_films_are_groups(tmp_path):
    records, _ = read("bold", bold.build(tmp_path))
    assert [(r.valence, r.arousal) for r in records] == [(1.0, 0.0), (-1.0, 0.5), (0.0, -1.0)]
    assert [r.group for r in records] == ["bold:pQ7rS9tU1vW", "bold:pQ7rS9tU1vW", "bold:x-2yZ4aB6cD"]
    assert records[0].media.video == "videos/003/pQ7rS9tU1vW.mp4/0114.mp4"
    assert {(r.person, r.transcript, r.language) for r in records} == {(None, "", None)}


def test_every_damage_is_told_and_the_rest_goes_on(tmp_path):
    bold.build(tmp_path)
    rows = [
        bold.row(CLIP, 0, {"fear": 0.6}, 5, 5)[:-1],
        bold.row(CLIP, 0, {"fear": 60}, 5, 5),
        bold.row(CLIP, 0, {"fear": 0.6}, 11, 5),
        bold.row(CLIP, 0, {"fear": 0.6}, 5, "calm"),
        bold.row("0200.mp4", 0, {"fear": 0.6}, 5, 5),
        bold.row("003/pQ7rS9tU1vW.mp4/0114.mp4", 1, {"fear": 0.6}, 5, 5),
        bold.row(CLIP, 0, {"fear": 0.6}, 5, 5),
    ]
    bold.write_rows(tmp_path / "annotations/train.csv", rows, "a")
    records, told = read("bold", tmp_path)
    assert list(told) == [f"annotations/train.csv:{n}" for n in range(4, 10)]
    said = ("36 cells", "category 'fear': 60", "'valence': 11", "'calm'", "<film>.mp4", "duplicate id")
    for reason, words in zip(told.values(), said, strict=True):
        assert words in reason
    assert [r.id for r in records].count("pQ7rS9tU1vW_0200_0") == 1
    assert records[-1].split == "validation"


def test_a_missing_table_is_named_with_the_layout(tmp_path):
    bold.build(tmp_path)
    (tmp_path / "annotations/val.csv").unlink()
    with pytest.raises(InputError, match=r"annotations/val.csv: cannot be read(.|\n)*26 categories"):
        read("bold", tmp_path)

"""The sets of the MER challenges, on folders made in their layouts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_layouts import mer
from native_layouts.media import missing
from native_layouts.reading import add, read

from emollama_ros.errors import InputError
from training.mmeverse.schema import Task
from training.mmeverse.sources import SOURCES
from training.mmeverse.sources._mer import labels_in
from training.mmeverse.sources.base import UnusableError


@pytest.mark.parametrize("unpacked", [False, True])
def test_mer2023_has_its_splits_labels_and_clips(unpacked, tmp_path):
    records, told = read("mer2023", mer.build_mer2023(tmp_path, unpacked=unpacked))
    assert not told and not missing(tmp_path, records)
    assert [(r.id, r.label) for r in records] == [*mer.MER2023["train"], *mer.MER2023["test1"]]
    assert Counter(r.split for r in records) == {"train": 5, "test": 2}
    assert Counter(r.label for r in records)["happy"] == 2
    assert {r.media.video.rpartition(".")[2] for r in records} == {"avi", "mp4"}


def test_mer2024_is_the_test_set_of_its_table(tmp_path):
    records, told = read("mer2024", mer.build_mer2024(tmp_path))
    assert not told and not missing(tmp_path, records)
    assert [(r.id, r.label) for r in records] == [(name, word.lower()) for name, word in mer.MER2024]
    assert {(r.split, r.task) for r in records} == {("test", Task.EMOTION)}


@pytest.mark.parametrize("table", ["ovlabel.csv", "check-result-openset-chi-translate.csv"])
def test_ov_merd_plus_has_open_sets_of_labels(table, tmp_path):
    records, told = read("ov_merd_plus", mer.build_ov_merd_plus(tmp_path, table))
    assert not told and not missing(tmp_path, records)
    assert [r.labels for r in records] == [
        ("worry", "shocked", "surprised"),
        ("complain", "serious"),
        ("anxious",),
    ]
    assert {(r.split, r.task, r.label_space) for r in records} == {("test", Task.OPEN_VOCABULARY, ())}


def test_words_are_mandarin_where_they_are_told_and_english_where_only_that_is(tmp_path):
    said = {r.id: (r.transcript, r.language) for r in read("mer2023", mer.build_mer2023(tmp_path / "a"))[0]}
    assert said["sample_00000000"] == ("你来了，太好了", "zh")
    assert said["sample_00000001"] == said["sample_00000002"] == ("", None)
    said = {r.id: (r.transcript, r.language) for r in read("mer2024", mer.build_mer2024(tmp_path / "b"))[0]}
    assert said["samplenew_00000007"] == ("今天星期三", "zh")
    root = mer.build_ov_merd_plus(tmp_path / "c")
    said = {r.id: (r.transcript, r.language) for r in read("ov_merd_plus", root)[0]}
    assert said["samplenew3_00000181"] == ("Like this again", "en")
    (root / "subtitle_eng.csv").unlink()
    assert {r.transcript for r in read("ov_merd_plus", root)[0]} == {""}


def test_damage_of_mer2023_is_told_with_its_line_and_the_rest_goes_on(tmp_path):
    mer.build_mer2023(tmp_path)
    add(
        tmp_path / "train-label.csv",
        "sample_00000005",
        "sample_00000006,bored,0",
        "sample_00000000,sad,0",
        ",sad,0",
        "sample_00000007,,0",
        "../secret,sad,0",
        "sample_00000008,sad,0",
    )
    add(tmp_path / "transcription-engchi-polish.csv", "sample_00000002,只有")
    records, told = read("mer2023", tmp_path)
    assert [r.id for r in records if r.split == "train"][-1] == "sample_00000008"
    assert len(records) == 8 and missing(tmp_path, records) == ["train/sample_00000008.avi"]
    assert told.pop("transcription-engchi-polish.csv:7") == "broken row: 2 cells where the header has 3"
    said = (
        "1 cells",
        "unknown label 'bored'",
        "duplicate id",
        "'name' is empty",
        "'discrete' is empty",
        "a path",
    )
    assert list(told) == [f"train-label.csv:{line}" for line in range(7, 13)]
    assert all(words in reason for words, reason in zip(said, told.values(), strict=True))


def test_damage_of_mer2024_is_told_with_its_line(tmp_path):
    mer.build_mer2024(tmp_path)
    add(tmp_path / "reference-semi.csv", "samplenew_00000007,happy", "x,contempt", "y,sad,more")
    records, told = read("mer2024", tmp_path)
    assert len(records) == 3
    assert list(told) == [f"reference-semi.csv:{line}" for line in (5, 6, 7)]
    assert "reference-semi.csv:2" in told["reference-semi.csv:5"]


def test_damage_of_ov_merd_plus_is_told_with_its_line(tmp_path):
    mer.build_ov_merd_plus(tmp_path)
    add(tmp_path / "ovlabel.csv", 'a,"[]"', "b,happy", "c,", "samplenew3_00000062,['sad']", "d,['sad']")
    records, told = read("ov_merd_plus", tmp_path)
    assert [r.id for r in records][3:] == ["d"]
    assert list(told) == [f"ovlabel.csv:{line}" for line in range(5, 9)]
    said = ("names no label", "is not a list", "is empty", "duplicate id")
    assert all(words in reason for words, reason in zip(said, told.values(), strict=True))


@pytest.mark.parametrize(
    ("name", "make", "table"),
    [
        ("mer2023", mer.build_mer2023, "test1-label.csv"),
        ("mer2024", mer.build_mer2024, "reference-semi.csv"),
        ("ov_merd_plus", mer.build_ov_merd_plus, "ovlabel.csv"),
    ],
)
def test_a_missing_table_is_named_with_the_layout(name, make, table, tmp_path):
    (make(tmp_path) / table).unlink()
    with pytest.raises(InputError, match=f"{table}(.|\n)*is expected so:"):
        read(name, tmp_path)


def test_sets_of_evaluation_only_say_so():
    named = ("mer2023", "mer2024", "ov_merd_plus")
    assert [SOURCES[name].is_evaluation_only for name in named] == [False, True, True]


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\\'\""), min_size=1).filter(str.strip)


@given(st.lists(WORD, min_size=1))
def test_a_list_written_by_python_is_read_back(words):
    assert labels_in(str(words)) == tuple(dict.fromkeys(word.strip().lower() for word in words))


@given(st.text(max_size=40))
def test_any_other_text_gives_words_or_a_reason(text):
    try:
        words = labels_in(text)
    except UnusableError as error:
        assert repr(text) in str(error)
    else:
        assert words and len(set(words)) == len(words) and all(word == word.strip() != "" for word in words)

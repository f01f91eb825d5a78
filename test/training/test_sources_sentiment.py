"""The four sets that share MMSA's table, on folders made in its layout."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_layouts import mmsa
from native_layouts.media import missing
from native_layouts.reading import add, read

from emollama_ros.errors import InputError
from training.mmeverse.schema import Task
from training.mmeverse.sources import SOURCES

RANGES = {"cmu_mosi": (-3, 3), "cmu_mosei": (-3, 3), "ch_sims": (-1, 1), "ch_sims_v2": (-1, 1)}
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


@pytest.mark.parametrize("name", mmsa.CLIPS)
def test_splits_scores_and_signs_are_as_made(name, tmp_path):
    records, told = read(name, mmsa.build(tmp_path, name))
    clips = mmsa.CLIPS[name]
    assert not told and not missing(tmp_path, records)
    assert [r.id for r in records] == [f"{video}_{clip}" for video, clip, *_ in clips]
    assert [r.split for r in records] == [SPLITS[mode] for *_, mode in clips]
    assert [r.sentiment_score for r in records] == [score for *_, score, _ in clips]
    assert [r.transcript for r in records] == [words for _, _, words, *_ in clips]
    signs = ["negative" if s < 0 else "positive" if s > 0 else "neutral" for *_, s, _ in clips]
    assert [r.label for r in records] == signs
    assert {r.task for r in records} == {Task.SENTIMENT}
    assert {r.sentiment_range for r in records} == {RANGES[name]}
    assert {r.source for r in records} == {name}


@pytest.mark.parametrize(
    ("name", "language", "person"),
    [
        ("cmu_mosi", "en", "cmu_mosi:aB3-dE5fG7h"),
        ("cmu_mosei", "en", "cmu_mosei:-bC4dE6fG8h"),
        ("ch_sims", "zh", None),
        ("ch_sims_v2", "zh", None),
    ],
)
def test_a_speaker_is_a_person_where_a_video_has_just_one(name, language, person, tmp_path):
    first, *others = read(name, mmsa.build(tmp_path, name))[0]
    assert (first.person, first.language) == (person, language)
    groups = Counter(r.group for r in (first, *others))
    assert groups == Counter(f"{name}:{video}" for video, *_ in mmsa.CLIPS[name])


@pytest.mark.parametrize("name", mmsa.CLIPS)
def test_every_damage_is_told_with_its_line_and_the_rest_goes_on(name, tmp_path):
    mmsa.build(tmp_path, name)
    file, made = mmsa.TABLES[name], len(mmsa.CLIPS[name])
    video, clip, *_ = mmsa.CLIPS[name][0]
    low, high = RANGES[name]
    add(
        tmp_path / file,
        "v9,1,cut off",
        f"v9,2,too much,{high + 0.5},,,,Positive,train",
        "v9,3,no number,good,,,,Positive,train",
        "v9,4,no split,0.5,,,,Positive,tune",
        f"{video},{clip},again,0.5,,,,Positive,train",
        ",5,no video,0.5,,,,Positive,train",
        "v9,6,not a score,nan,,,,Positive,train",
        f"v9,7,the end,{low},,,,Negative,test",
    )
    records, told = read(name, tmp_path)
    assert len(records) == made + 1
    assert (records[-1].transcript, records[-1].sentiment_score) == ("the end", low)
    said = (
        "3 cells",
        "is outside",
        "'good' is not a number",
        "unknown split 'tune'",
        "duplicate id",
        "empty",
    )
    assert list(told) == [f"{file}:{made + 1 + n}" for n in range(1, 8)]
    for reason, words in zip(told.values(), (*said, "'nan' is not a number"), strict=True):
        assert words in reason
    assert f"{file}:2" in told[f"{file}:{made + 6}"]


@pytest.mark.parametrize("name", mmsa.CLIPS)
def test_a_missing_table_is_named_with_the_layout(name, tmp_path):
    with pytest.raises(InputError, match=rf"no {mmsa.TABLES[name]}(.|\n)*Raw/<video_id>/<clip_id>.mp4"):
        read(name, tmp_path)


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "label.csv").write_text("video_id,clip_id,text,label\n")
    with pytest.raises(InputError, match="label.csv:1: no column 'mode'"):
        read("cmu_mosi", tmp_path)


def test_zeros_that_a_spreadsheet_took_are_put_back(tmp_path):
    mmsa.build(tmp_path, "ch_sims")
    table = tmp_path / "label.csv"
    table.write_text(table.read_text("utf-8").replace(",00", ","), "utf-8")
    assert ",0001," not in table.read_text("utf-8")
    records, told = read("ch_sims", tmp_path)
    assert records[0].id == "video_0001_0001" and not told and not missing(tmp_path, records)


def test_version_2_is_read_by_the_name_its_table_has_alone(tmp_path):
    mmsa.build(tmp_path, "ch_sims_v2")
    (tmp_path / "meta.csv").rename(tmp_path / "meta(s).csv")
    assert len(read("ch_sims_v2", tmp_path)[0]) == len(mmsa.CLIPS["ch_sims_v2"])


def test_only_the_first_version_of_ch_sims_is_kept_for_evaluation():
    assert {name for name in mmsa.CLIPS if SOURCES[name].is_evaluation_only} == {"ch_sims"}


@given(scores=st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=1, max_size=8))
def test_any_score_in_range_keeps_its_value_and_its_sign(scores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosi")
    rows = [f"v,{n},words,{score!r},,,,,train" for n, score in enumerate(scores)]
    add(folder / "label.csv", ",".join(mmsa.HEADER), *rows)
    records, told = read("cmu_mosi", folder)
    assert [r.sentiment_score for r in records] == scores and not told
    assert [(r.label == "positive", r.label == "negative") for r in records] == [
        (s > 0, s < 0) for s in scores
    ]

"""Sets cut from films, series and first-person videos, on folders made in their layouts."""

from __future__ import annotations

from collections import Counter
from zipfile import ZipFile

import pytest
from native_layouts import wild
from native_layouts.media import missing, write_clip, write_text
from native_layouts.reading import add, read

from emollama_ros.errors import InputError
from training.mmeverse.schema import Task
from training.mmeverse.sources import dfew

BUILDERS = {"caer": wild.build_caer, "dfew": wild.build_dfew, "mafw": wild.build_mafw, "e3": wild.build_e3}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_clip_is_where_the_record_says(name, tmp_path):
    records, told = read(name, BUILDERS[name](tmp_path))
    assert records and not told and not missing(tmp_path, records)
    assert {r.source for r in records} == {name}
    assert read(name, tmp_path)[0] == records, "the order does not change"


def test_the_folders_of_caer_are_its_splits_and_labels(tmp_path):
    records, _ = read("caer", wild.build_caer(tmp_path))
    made = {(s, f.lower()): n for s, folders in wild.CAER.items() for f, n in folders.items()}
    assert Counter((r.split, r.label) for r in records) == made
    assert (records[0].id, records[0].media.video) == ("train/Anger/0001", "train/Anger/0001.avi")


def test_damage_of_caer_is_told_with_the_file_and_the_rest_goes_on(tmp_path):
    wild.build_caer(tmp_path)
    write_clip(tmp_path / "test/Boredom/0001.avi")
    write_clip(tmp_path / "test/Happy/0001.mp4")
    write_text(tmp_path / "train/Sad/notes.txt", ["x"])
    records, told = read("caer", tmp_path)
    assert len(records) == 15
    assert list(told) == ["train/Sad/notes.txt", "test/Boredom/0001.avi", "test/Happy/0001.mp4"]
    said = ("is no clip", "unknown label 'Boredom'", "duplicate id: the same clip is in test/Happy/0001.avi")
    assert all(words in reason for words, reason in zip(said, told.values(), strict=True))


def test_caer_without_a_split_is_an_error(tmp_path):
    wild.build_caer(tmp_path).joinpath("validation").rename(tmp_path / "val")
    with pytest.raises(InputError, match="validation: no such folder(.|\n)*is expected so"):
        read("caer", tmp_path)


@pytest.mark.parametrize(("mark", "part"), [("-", ""), ("_", "part_1")])
def test_dfew_is_read_from_its_first_fold(mark, part, tmp_path):
    records, told = read("dfew", wild.build_dfew(tmp_path, mark, part))
    assert not told and not missing(tmp_path, records)
    made = [
        (f"{clip:05d}", split, dfew.LABELS[str(label)])
        for split, clips in wild.DFEW.items()
        for clip, label in clips
    ]
    assert [(r.id, r.split, r.label) for r in records] == made
    assert Counter(r.label for r in records)["happy"] == 2


def test_damage_of_dfew_is_told_with_its_line_and_the_rest_goes_on(tmp_path):
    wild.build_dfew(tmp_path)
    table = "EmoLabel_DataSplit/test(single-labeled)/set_1.csv"
    add(tmp_path / table, "7", "8,0", "9,happy", "1,1", "10,", "11,2")
    records, told = read("dfew", tmp_path)
    assert [r.id for r in records][-1] == "00011" and len(records) == 9
    assert missing(tmp_path, records) == ["Clip/original/00011.mp4"]
    assert list(told) == [f"{table}:{line}" for line in range(5, 10)]
    said = ("1 cells", "unknown label '0'", "unknown label 'happy'", "the same clip is in", "is empty")
    assert all(words in reason for words, reason in zip(said, told.values(), strict=True))
    assert "train(single-labeled)/set_1.csv:2" in told[f"{table}:8"]


def test_dfew_without_its_tables_is_an_error(tmp_path):
    (wild.build_dfew(tmp_path) / "EmoLabel_DataSplit/test(single-labeled)/set_1.csv").unlink()
    with pytest.raises(InputError, match="test.single-labeled(.|\n)*is expected so"):
        read("dfew", tmp_path)


def test_mafw_has_single_labels_and_sets_of_them(tmp_path):
    records, _ = read("mafw", wild.build_mafw(tmp_path))
    single = [(r.id, r.split, r.label) for r in records if r.task is Task.EMOTION]
    assert single == [(c, split, w) for split, clips in wild.MAFW_SINGLE.items() for c, w in clips]
    several = {r.id: (r.split, r.labels) for r in records if r.task is Task.MULTI_LABEL}
    assert several == {
        "00025": ("train", ("anger", "disgust")),
        "00029": ("test", ("sadness", "anxiety")),  # trains in its own list, tests in the single one
        "00030": ("test", ("fear", "surprise")),
        "00031": ("test", ("fear", "sadness", "anxiety")),
    }
    assert {len(r.label_space) for r in records} == {11}


def test_no_clip_of_mafw_both_trains_and_tests(tmp_path):
    records, _ = read("mafw", wild.build_mafw(tmp_path))
    splits = {r.id: {other.split for other in records if other.id == r.id} for r in records}
    assert all(len(found) == 1 for found in splits.values())


def test_damage_of_mafw_is_told_with_its_line_and_the_rest_goes_on(tmp_path):
    wild.build_mafw(tmp_path)
    lists = [wild.mafw_list(tmp_path, which, "test") for which in ("single", "compound")]
    add(lists[0], "00040.mp4", "00041.mp4 anger_disgust", "00025.mp4 anger", "00042.mp4 fear")
    add(lists[1], "00043.mp4 fear_bliss", "00030.mp4 fear_surprise", "00044.mp4 fear_fear", "00045.mp4 bliss")
    records, told = read("mafw", tmp_path)
    assert len(records) == 10 and missing(tmp_path, records) == ["data/clips/00042.mp4"]
    single, compound = (path.relative_to(tmp_path).as_posix() for path in lists)
    places = [*(f"{single}:{line}" for line in (3, 4, 5)), *(f"{compound}:{line}" for line in (3, 4, 5, 6))]
    assert list(told) == places
    said = (
        "1 cells",
        "unknown label 'anger_disgust'",
        "duplicate id",
        "unknown label 'bliss'",
        "duplicate id",
        "'fear' is there more than once",
        "unknown label 'bliss'",
    )
    assert all(words in reason for words, reason in zip(said, told.values(), strict=True))


@pytest.mark.parametrize("which", ["single", "compound"])
def test_mafw_without_a_list_is_an_error(which, tmp_path):
    wild.mafw_list(wild.build_mafw(tmp_path), which, "test").unlink()
    with pytest.raises(InputError, match=f"{which}/no_caption/set_1/test.txt: cannot be read"):
        read("mafw", tmp_path)


@pytest.mark.parametrize(("nested", "words"), [("", "subtext"), ("E3", "subtex")])
def test_e3_has_a_record_for_each_emotion_of_each_person(nested, words, tmp_path):
    records, told = read("e3", wild.build_e3(tmp_path, nested=nested, words=words))
    assert not told and not missing(tmp_path, records)
    assert [r.label for r in records] == ["happy", "surprised", "disgusted", "shy", "sarcastic"]
    assert [r.split for r in records] == ["train", "train", "train", "validation", "test"]
    first = records[0]
    assert first.id == "12-1/the man in the black hat/0-0.2"
    assert (first.person, first.group) == ("e3:12-1/the man in the black hat", "e3:12")
    assert (first.media.start_s, first.media.end_s) == (0, 0.2)
    assert [r.transcript for r in records] == ["Look, a cake!", "For me?", "", "", ""]


def test_an_emotion_of_e3_without_a_time_is_that_of_the_whole_clip(tmp_path):
    rows = [(12, 1, "a  man", "sad", 1, None, None, "", "test")]
    ((record,), _) = read("e3", wild.build_e3(tmp_path, rows))
    assert (record.id, record.media.start_s, record.media.end_s) == ("12-1/a man/-", None, None)
    assert record.transcript == "Look, a cake! For me?"


def test_damage_of_e3_is_told_with_its_row_and_the_rest_goes_on(tmp_path):
    bad = [
        (50, 1, "a man", "bored", 1, 0, 0.3, "", "train"),
        (50, 2, None, "sad", 1, 0, 0.3, "", "train"),
        (50, 3, "a man", "sad", 1, "soon", 0.3, "", "train"),
        (50, 4, "a man", "sad", 1, 0.3, 0.2, "", "train"),
        (50, 5, "a man", "sad", 1, 0, 0.3, "", "tune"),
        (50, 5, "a man", "sad"),
        wild.E3[0],
        (None,) * 9,
        (50, 6, "a man", "sad", 1, 0, 0.3, "", "test"),
    ]
    records, told = read("e3", wild.build_e3(tmp_path, [*wild.E3, *bad]))
    assert len(records) == 6 and records[-1].id == "50-6/a man/0-0.3"
    assert list(told) == [f"annotation/data2.xlsx:{row}" for row in range(7, 14)]
    said = (
        "unknown label 'bored'",
        "'person' is empty",
        "'soon' is not a number",
        "is not after",
        "unknown split 'tune'",
        "'set' is empty",
        "duplicate id",
    )
    assert all(words in reason for words, reason in zip(said, told.values(), strict=True))


def test_a_sheet_that_is_missing_broken_or_without_a_column_is_an_error(tmp_path):
    sheet = tmp_path / "annotation/data2.xlsx"
    with pytest.raises(InputError, match="data2.xlsx: cannot be read(.|\n)*is expected so"):
        read("e3", tmp_path)
    write_text(sheet, ["no zip"])
    with pytest.raises(InputError, match="data2.xlsx: cannot be read as an xlsx workbook"):
        read("e3", tmp_path)
    wild.write_sheet(sheet, ("Vid", "sub_id", "emotion"), [])
    with pytest.raises(
        InputError, match=r"data2.xlsx:1: no column 'person'; the columns are \['Vid', 'sub_id'"
    ):
        read("e3", tmp_path)


def test_a_workbook_that_breaks_off_is_an_error_not_a_crash(tmp_path):
    path = wild.build_e3(tmp_path) / "annotation/data2.xlsx"
    with ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with ZipFile(path, "w") as broken:
        for name, data in parts.items():
            broken.writestr(name, data[: len(data) // 2] if name.endswith("sheet1.xml") else data)
    with pytest.raises(InputError, match="data2.xlsx: cannot be read as an xlsx workbook"):
        read("e3", tmp_path)

"""Readers of the data sets, on generated folders and on the real ones where they are."""

from collections import Counter

import pytest

from emollama_ros.errors import InputError
from emollama_ros.estimate import Modality
from training.mmeverse.clips import read_clips
from training.mmeverse.schema import Task
from training.mmeverse.sources import SOURCES, Found, Reject, read_items

EMODB = "path,speaker,text,emotion\nflac/a.flac,03,a01,happiness\nflac/b.flac,08,b02,boredom\n"


@pytest.fixture
def emodb(tmp_path):
    (tmp_path / "emodb").mkdir()
    return tmp_path / "emodb"


def test_an_unknown_source_lists_what_is_there(tmp_path):
    with pytest.raises(InputError, match="no source named 'meldd'; available: .*javanese_av"):
        list(read_items("meldd", tmp_path))


def test_a_missing_folder_is_named_with_the_layout_expected(tmp_path):
    with pytest.raises(InputError, match="emodb: no such folder(.|\n)*path,speaker,text,emotion"):
        list(read_items("emodb", tmp_path / "emodb"))


def test_a_missing_table_is_named_with_the_layout_expected(emodb):
    with pytest.raises(InputError, match="labels.csv: cannot be read(.|\n)*path,speaker,text,emotion"):
        list(read_items("emodb", emodb))


def test_a_missing_column_is_named(emodb):
    (emodb / "labels.csv").write_text("path,speaker,emotion\n")
    with pytest.raises(InputError, match="labels.csv:1: no column 'text'"):
        list(read_items("emodb", emodb))


def test_native_words_are_kept(emodb):
    (emodb / "labels.csv").write_text(EMODB)
    first, second = [item.record for item in read_items("emodb", emodb)]
    assert (first.label, first.person, first.media.audio) == ("happiness", "emodb:03", "flac/a.flac")
    assert second.label == "boredom" and second.transcript.startswith("Sie haben es gerade")


def test_each_damage_is_told_with_its_place_and_the_rest_goes_on(emodb):
    rows = [
        "flac/c.flac,03,a01",  # a cell is missing
        "flac/d.flac,03,a01,bliss",
        "flac/e.flac,03,zz,anger",
        "flac/a.flac,03,a01,happiness",  # again
        "flac/f.flac,03,a01,",
        "flac/g.flac,03,a01,anger",
    ]
    (emodb / "labels.csv").write_text(EMODB + "\n".join(rows) + "\n")
    items = list(read_items("emodb", emodb))
    assert [item.record.id for item in items if isinstance(item, Found)] == ["a", "b", "g"]
    told = {item.where: item.reason for item in items if isinstance(item, Reject)}
    assert list(told) == [f"labels.csv:{line}" for line in (4, 5, 6, 7, 8)]
    for line, words in enumerate(("3 cells", "unknown label 'bliss'", "'zz'", "duplicate id", "empty"), 4):
        assert words in told[f"labels.csv:{line}"]


def test_clips_carry_default_labels_and_leave_out_the_rest(emodb):
    (emodb / "labels.csv").write_text(EMODB)
    (clip,) = read_clips("emodb", emodb.parent)
    assert (clip.label, clip.modalities, clip.text) == ("happy", Modality.AUDIO, "")
    assert (clip.root / clip.media.audio) == emodb / "flac/a.flac"


def test_damage_stops_what_trains(emodb):
    (emodb / "labels.csv").write_text(EMODB + "flac/d.flac,03,a01,bliss\n")
    with pytest.raises(InputError, match="labels.csv:4: unknown label 'bliss'"):
        read_clips("emodb", emodb.parent)


def test_goemotions_keeps_its_split_and_every_label(tmp_path):
    folder = tmp_path / "goemotions"
    folder.mkdir()
    (folder / "ekman_labels.txt").write_text("anger\njoy\n")
    (folder / "ekman_train.tsv").write_text('so "happy"\t1\tx1\nboth\t0,1\tx2\nwhat\t7\tx4\nno tabs\n')
    (folder / "ekman_dev.tsv").write_text("argh\t0\tx3\n")
    items = list(read_items("goemotions", folder))
    several = [i.record for i in items if isinstance(i, Found) and i.record.task is Task.MULTI_LABEL]
    assert [(r.id, r.split, r.labels) for r in several] == [
        ("train/x1", "train", ("joy",)),
        ("train/x2", "train", ("anger", "joy")),
        ("dev/x3", "validation", ("anger",)),
    ]
    assert [(i.where, i.reason) for i in items if isinstance(i, Reject)] == [
        ("ekman_train.tsv:3", "unknown label index '7'; known: 0 to 1"),
        ("ekman_train.tsv:4", "broken row: 1 cells where 3 belong"),
    ]
    (folder / "ekman_train.tsv").write_text('so "happy"\t1\tx1\nboth\t0,1\tx2\n')
    assert [(c.id, c.label, c.text) for c in read_clips("goemotions", tmp_path)] == [
        ("train/x1", "happy", 'so "happy"'),
        ("dev/x3", "angry", "argh"),
    ]


@pytest.mark.parametrize(
    ("name", "count", "persons"),
    [("javanese_av", 192, 8), ("emodb", 454, 10), ("faces_muxspace", 2315, 1232), ("ravdess_16k", 1040, 20)],
)
def test_the_real_folders_are_read_whole(shared_dir, name, count, persons):
    clips = read_clips(name, shared_dir / "data")
    assert (len(clips), len({c.person for c in clips})) == (count, persons)
    assert all((c.root / file).exists() for c in clips for file in c.media.files())
    assert max(Counter(c.id for c in clips).values()) == 1


def test_every_source_is_named_as_it_is_listed():
    assert all(name == source.name for name, source in SOURCES.items())
    assert {"javanese_av", "emodb", "faces_muxspace", "goemotions", "ravdess_16k"} <= set(SOURCES)

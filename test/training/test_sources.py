"""Readers of the data sets, on generated folders and on the real ones where they are."""

from collections import Counter

import pytest

pytest.importorskip("torch", reason="training needs PyTorch (make test installs it)")

from emollama_ros.estimate import Modality  # noqa: E402
from training.mmeverse.sources import SOURCES, read_source  # noqa: E402


def test_an_unknown_source_lists_what_is_there(tmp_path):
    with pytest.raises(KeyError, match="javanese_av"):
        read_source("meld", tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="emodb"):
        read_source("emodb", tmp_path)


def test_emodb_maps_its_words(tmp_path):
    folder = tmp_path / "emodb"
    folder.mkdir()
    (folder / "labels.csv").write_text(
        "path,speaker,text,emotion\nflac/a.flac,03,a01,happiness\nflac/b.flac,08,b02,boredom\n"
    )
    clips = read_source("emodb", tmp_path)
    assert [(c.person, c.label, c.modalities) for c in clips] == [
        ("emodb:03", "happy", Modality.AUDIO),
        ("emodb:08", "bored", Modality.AUDIO),
    ]


def test_goemotions_keeps_its_split_and_drops_several_labels(tmp_path):
    folder = tmp_path / "goemotions"
    folder.mkdir()
    (folder / "ekman_labels.txt").write_text("anger\njoy\n")
    (folder / "ekman_train.tsv").write_text('so "happy"\t1\tx1\nboth\t0,1\tx2\n')
    (folder / "ekman_dev.tsv").write_text("argh\t0\tx3\n")
    clips = read_source("goemotions", tmp_path)
    assert [(c.id, c.label, c.text) for c in clips] == [
        ("train/x1", "happy", 'so "happy"'),
        ("dev/x3", "angry", "argh"),
    ]


@pytest.mark.parametrize(
    ("name", "count", "persons"),
    [("javanese_av", 192, 8), ("emodb", 535, 10), ("faces_muxspace", 2324, 1236), ("ravdess_16k", 1040, 20)],
)
def test_the_real_folders_are_read_whole(shared_dir, name, count, persons):
    clips = read_source(name, shared_dir / "data")
    assert (len(clips), len({c.person for c in clips})) == (count, persons)
    assert all(c.path is not None and c.path.exists() for c in clips)
    assert max(Counter(c.id for c in clips).values()) == 1


def test_every_source_has_a_reader():
    assert set(SOURCES) == {"javanese_av", "emodb", "faces_muxspace", "goemotions", "ravdess_16k"}

"""MER2023: Mandarin films and series, 6 emotions; the labelled clips and the test set MER-MULTI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.mmeverse.sources._files import clips_under
from training.mmeverse.sources._mer import read_discrete, read_subtitles
from training.mmeverse.sources.base import Item, Source, first_present

NAME = "mer2023"

_TRAIN = ("train-label.csv", "mer2023train/train-label.csv")
_TEST = ("test1-label.csv", "test-labels/test1-label.csv", "test_labels/test1-label.csv")


def read(root: Path) -> Iterator[Item]:
    """Read the tables of the training set and of MER-MULTI, in this order."""
    train, test = first_present(root, _TRAIN), first_present(root, _TEST)
    subtitles = read_subtitles(root)
    yield from subtitles.rejects
    clips = clips_under(root, ("train", "mer2023train/train"), ".avi")
    yield from read_discrete(NAME, root, train, clips, "train", subtitles)
    clips = clips_under(root, ("test1",), ".avi")
    yield from read_discrete(NAME, root, test, clips, "test", subtitles)


LAYOUT = """\
train-label.csv                  name,discrete,valence (or mer2023train/train-label.csv)
train/NAME.avi                   the labelled clips (or mer2023train/train/; mp4 is taken too)
test1-label.csv                  name,discrete,valence of MER-MULTI (or test-labels/test1-label.csv)
test1/NAME.avi                   the clips of MER-MULTI
transcription-engchi-polish.csv  name,chinese,english: optional, the subtitles of MER-UniBench"""

SOURCE = Source(
    name=NAME,
    title="MER2023",
    homepage="https://huggingface.co/datasets/MERChallenge/MER2023",
    licence="end user licence agreement: academic research only",
    citation="Lian et al., 2023, ACM Multimedia",
    layout=LAYOUT,
    read=read,
    notes="Test is MER-MULTI (test1, 411 clips), the set of MER-UniBench and MMEVerse-Bench. MER-NOISE "
    "(test2) and MER-SEMI (test3) are left out: the former is damaged on purpose, the latter is not in "
    "those benchmarks. Valence is left out, because the tables do not tell its scale. Neither speakers "
    "nor films are told, so that nothing shows whether a person of the training set is in the test "
    "set. File names as in the organisers' tools; that the archives may unpack to mer2023train/ and "
    "test-labels/ is taken from public loaders.",
)

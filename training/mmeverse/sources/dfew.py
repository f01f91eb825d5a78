"""DFEW: clips of films, 7 emotions; the first of its five folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources._files import Clips, clips_under
from training.mmeverse.sources.base import (
    Item,
    Row,
    Source,
    UnusableError,
    first_present,
    read_table,
    records,
)

NAME = "dfew"
#: Fold of the authors' five that is read.
FOLD = 1

#: The number of each label in the tables.
LABELS: Mapping[str, str] = {
    "1": "happy", "2": "sad", "3": "neutral", "4": "angry", "5": "surprise", "6": "disgust", "7": "fear",
}  # fmt: skip
_SPLITS: tuple[Split, ...] = ("train", "test")


def read(root: Path) -> Iterator[Item]:
    """Read the tables of the fold."""
    clips = clips_under(root, ("Clip/original",))
    for split in _SPLITS:
        folders = [f"EmoLabel_DataSplit/{split}(single{mark}labeled)/set_{FOLD}.csv" for mark in "-_"]
        rows = read_table(root, first_present(root, folders), ("video_name", "label"))
        yield from records(rows, partial(_records, clips, split), "video_name")


def _records(clips: Clips, split: Split, row: Row) -> Iterator[Record]:
    name = row.filled("video_name").removesuffix(".mp4").zfill(5)
    number = row.filled("label")
    if number not in LABELS:
        raise UnusableError(f"unknown label {number!r}; known: {', '.join(LABELS)}")
    yield Record(
        id=name,
        source=NAME,
        split=split,
        media=Media(video=clips.path(name)),
        task=Task.EMOTION,
        label_space=LABEL_SPACES["dfew"],
        label=LABELS[number],
    )


LAYOUT = """\
Clip/original/00001.mp4                              the 16,372 clips, in sub-folders or not
EmoLabel_DataSplit/train(single-labeled)/set_1.csv   video_name,label; label is 1 to 7
EmoLabel_DataSplit/test(single-labeled)/set_1.csv    the same"""

SOURCE = Source(
    name=NAME,
    title="DFEW (Dynamic Facial Expression in the Wild)",
    homepage="https://dfew-dataset.github.io/download.html",
    licence="non-commercial research and education, on request",
    citation="Jiang et al., 2020, ACM Multimedia",
    layout=LAYOUT,
    read=read,
    notes="Fold 1 of the authors' five: 9,356 clips train, 2,341 test; there is no validation split. Only "
    "the clips with a single label are in the folds. The original clips, which have sound, are used, "
    "not the aligned frames (clip_224x224). Labels, counts and folders are those of the README that "
    "comes with the data; which fold MMEVerse-Bench uses is not published. Neither actors nor films "
    "are told.",
)

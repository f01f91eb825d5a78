"""MAFW: clips of films, series and short videos, 11 emotions, single and several; the first of five folds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources._files import Clips, clips_under
from training.mmeverse.sources.base import Found, Item, Reject, Row, Source, one_of, read_table, records

NAME = "mafw"
#: Fold of the authors' five that is read.
FOLD = 1

_SPLITS: tuple[Split, ...] = ("train", "test")


def read(root: Path) -> Iterator[Item]:
    """Read the lists of the single labels, then those of the compound ones."""
    clips = clips_under(root, ("data/clips", "clips"))
    decided: dict[str, Split] = {}
    for split in _SPLITS:
        for item in records(_rows(root, "single", split), partial(_single, clips, split)):
            if isinstance(item, Found):
                decided.setdefault(item.record.id, split)
            yield item
    for split in _SPLITS:
        yield from records(_rows(root, "compound", split), partial(_several, clips, decided, split))


def _rows(root: Path, which: str, split: Split) -> Iterator[Row | Reject]:
    file = f"Train & Test Set/{which}/no_caption/set_{FOLD}/{split}.txt"
    return read_table(root, file, ("clip", "label"), delimiter=" ", has_header=False)


def _single(clips: Clips, split: Split, row: Row) -> Iterator[Record]:
    label = one_of(row.filled("label"), LABEL_SPACES["mafw"])
    yield Record(task=Task.EMOTION, split=split, label=label, **_common(clips, row))


def _several(clips: Clips, decided: dict[str, Split], split: Split, row: Row) -> Iterator[Record]:
    """A clip of both sets has one split, or what trains under one task would be tested under the other."""
    labels = tuple(one_of(word, LABEL_SPACES["mafw"]) for word in row.filled("label").split("_"))
    common = _common(clips, row)
    if len(labels) > 1:
        split = decided.get(common["id"], split)
        yield Record(task=Task.MULTI_LABEL, split=split, labels=labels, **common)


def _common(clips: Clips, row: Row) -> dict:
    name = row.filled("clip").removesuffix(".mp4")
    return {
        "id": name,
        "source": NAME,
        "media": Media(video=clips.path(name)),
        "label_space": LABEL_SPACES["mafw"],
    }


LAYOUT = """\
data/clips/00025.mp4                                          the clips (or clips/)
Train & Test Set/single/no_caption/set_1/train.txt, test.txt    "00025.mp4 anger" a line
Train & Test Set/compound/no_caption/set_1/train.txt, test.txt  "00025.mp4 anger_disgust" a line"""

SOURCE = Source(
    name=NAME,
    title="MAFW (Multi-modal Affective Database in the Wild)",
    homepage="https://mafw-database.github.io/MAFW/",
    licence="non-commercial research, on request",
    citation="Liu et al., 2022, ACM Multimedia",
    layout=LAYOUT,
    read=read,
    notes="Fold 1 of the authors' five: 7,333 clips train and 1,839 test for the single labels; there is no "
    "validation split. Of the compound set, the clips with two labels or more become records of the task "
    "multi-label (MAFW-m); those with one label are in the single set. Where a clip is in both sets its "
    "split is that of the single set, so that no clip both trains and tests. The descriptions "
    "(with_caption) are not read. Folders and lists are those that public loaders read; which fold "
    "MMEVerse-Bench uses is not published. Neither actors nor films are told.",
)

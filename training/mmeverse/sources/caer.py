"""CAER: scenes of television series, 7 emotions; the folder of a clip is its label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from emollama_ros.errors import InputError
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources._files import VIDEO_SUFFIXES
from training.mmeverse.sources.base import Item, Row, Source, UnusableError, one_of, records

NAME = "caer"

_SPLITS: Mapping[str, Split] = {"train": "train", "validation": "validation", "test": "test"}


def read(root: Path) -> Iterator[Item]:
    """Go through the folders of labels, split by split, in alphabetical order."""
    return chain.from_iterable(
        records(_rows(root, folder), partial(_records, split)) for folder, split in _SPLITS.items()
    )


def _rows(root: Path, folder: str) -> Iterator[Row]:
    if not (root / folder).is_dir():
        raise InputError(f"{root / folder}: no such folder")
    for path in sorted((root / folder).glob("*/*")):
        if path.is_file() and not path.name.startswith("."):
            where = path.relative_to(root).as_posix()
            yield Row(where, {"path": where, "label": path.parent.name})


def _records(split: Split, row: Row) -> Iterator[Record]:
    path = Path(row.filled("path"))
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise UnusableError(f"{path.name!r} is no clip; known suffixes: {', '.join(VIDEO_SUFFIXES)}")
    yield Record(
        id=path.with_suffix("").as_posix(),
        source=NAME,
        split=split,
        media=Media(video=path.as_posix()),
        task=Task.EMOTION,
        label_space=LABEL_SPACES["ekman"],
        label=one_of(row.filled("label"), LABEL_SPACES["ekman"]),
    )


LAYOUT = """\
train/LABEL/0001.avi        LABEL: Anger, Disgust, Fear, Happy, Neutral, Sad, Surprise
validation/LABEL/0001.avi
test/LABEL/0001.avi"""

SOURCE = Source(
    name=NAME,
    title="CAER (Context-Aware Emotion Recognition), clips",
    homepage="https://caer-dataset.github.io/",
    licence="research only; see the home page",
    citation="Lee et al., 2019, ICCV",
    layout=LAYOUT,
    read=read,
    notes="The video clips, not the still pictures of CAER-S. There is no table, so that a reject names the "
    "file. The number of a clip starts again in every folder: its id is its path. Neither speakers nor "
    "series are told. The folders are those that public loaders read.",
)

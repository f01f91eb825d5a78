"""Muxspace faces: photographs with noisy labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources.base import Item, Row, Source, one_of, read_table, records

NAME = "faces_muxspace"


def read(root: Path) -> Iterator[Item]:
    """Read ``labels.csv``; the photographs lie beside it."""
    return records(read_table(root, "labels.csv", ("path", "person_guess", "emotion")), _records)


def _records(row: Row) -> Iterator[Record]:
    path = row.filled("path")
    yield Record(
        id=Path(path).stem,
        source=NAME,
        split="train",
        person=f"{NAME}:{row.filled('person_guess')}",
        media=Media(image=path),
        task=Task.EMOTION,
        label_space=LABEL_SPACES[NAME],
        label=one_of(row.filled("emotion"), LABEL_SPACES[NAME]),
    )


LAYOUT = """\
labels.csv        path,person_guess,emotion
images/*.jpg      the photographs, as `path` names them"""

SOURCE = Source(
    name=NAME,
    title="Facial expressions (muxspace)",
    homepage="https://github.com/muxspace/facial_expressions",
    licence="Apache-2.0 (repository); show and ship no photograph",
    citation="muxspace, facial_expressions (GitHub)",
    layout=LAYOUT,
    read=read,
    has_splits=False,
)

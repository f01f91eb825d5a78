"""RAVDESS speech: acted English, 8 emotions, 24 actors; measured on, never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources.base import Item, Row, Source, one_of, read_table, records

NAME = "ravdess_16k"


def read(root: Path) -> Iterator[Item]:
    """Read ``labels.csv``; the recordings lie beside it."""
    return records(read_table(root, "labels.csv", ("path", "actor", "emotion", "transcript")), _records)


def _records(row: Row) -> Iterator[Record]:
    path = row.filled("path")
    yield Record(
        id=Path(path).stem,
        source=NAME,
        split="test",
        person=f"{NAME}:{row.filled('actor')}",
        media=Media(audio=path),
        transcript=row.text("transcript"),
        language="en",
        task=Task.EMOTION,
        label_space=LABEL_SPACES["ravdess"],
        label=one_of(row.filled("emotion"), LABEL_SPACES["ravdess"]),
    )


LAYOUT = """\
labels.csv        path,actor,emotion,intensity,transcript,rep
Actor_*/*.flac    the recordings, as `path` names them"""

SOURCE = Source(
    name=NAME,
    title="RAVDESS, speech",
    homepage="https://zenodo.org/records/1188976",
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone & Russo, 2018, PLoS ONE",
    layout=LAYOUT,
    read=read,
    is_evaluation_only=True,
    is_acted=True,
)

"""Javanese AV: acted clips of face and voice, 6 emotions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources.base import Item, Row, Source, one_of, read_table, records

NAME = "javanese_av"


def read(root: Path) -> Iterator[Item]:
    """Read ``labels.csv``; the clips lie beside it."""
    return records(read_table(root, "labels.csv", ("path", "actor", "sentence", "emotion")), _records)


def _records(row: Row) -> Iterator[Record]:
    path = row.filled("path")
    yield Record(
        id=Path(path).stem,
        source=NAME,
        split="train",
        person=f"{NAME}:{row.filled('actor')}",
        media=Media(video=path),
        language="jv",
        task=Task.EMOTION,
        label_space=LABEL_SPACES[NAME],
        label=one_of(row.filled("emotion"), LABEL_SPACES[NAME]),
    )


LAYOUT = """\
labels.csv        path,actor,sentence,emotion
*.mp4             the clips, as `path` names them"""

SOURCE = Source(
    name=NAME,
    title="Video Emotion Recognition, Javanese",
    homepage="https://github.com/2black0/video-emotion-recognition-javanese",
    licence="MIT",
    citation="2black0, video-emotion-recognition-javanese (GitHub)",
    layout=LAYOUT,
    read=read,
    is_acted=True,
    has_splits=False,
)

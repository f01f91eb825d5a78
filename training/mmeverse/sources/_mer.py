"""What the data sets of the MER challenges share: tables by clip name, and subtitles beside them.

Layouts as read by the organisers' own tools (github.com/zeroQiaoba/MERTools).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources._files import Clips
from training.mmeverse.sources.base import Item, Reject, Row, UnusableError, one_of, read_table, records

HOMEPAGE_2025 = "https://huggingface.co/datasets/MERChallenge/MER2025"

#: Tables of subtitles that come with the challenges and with MER-UniBench; the first that is there is read.
SUBTITLES = (
    "transcription-engchi-polish.csv",
    "transcription-merge.csv",
    "transcription_merge.csv",
    "subtitle_chieng.csv",
    "label-transcription.csv",
    "subtitle_eng.csv",
)
#: Columns of words in the order of preference, and their language: the speakers speak Mandarin.
_WORDS: Mapping[str, str] = {"chinese": "zh", "sentence": "en", "english": "en"}


@dataclass(frozen=True)
class Subtitles:
    """What is said, by clip name; and rows of the table that could not be read."""

    by_name: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()

    def of(self, name: str) -> dict[str, Any]:
        """The fields ``transcript`` and ``language`` of a record; none where nothing is told."""
        text, language = self.by_name.get(name, ("", ""))
        return {"transcript": text, "language": language} if text else {}


def read_subtitles(root: Path) -> Subtitles:
    """Read the first table of subtitles that is there; none has to be.

    Raises:
        InputError: The table has no column ``name``.
    """
    file = next((name for name in SUBTITLES if (root / name).is_file()), None)
    if file is None:
        return Subtitles()
    rows = list(read_table(root, file, ("name",)))
    said = {row.text("name"): _words(row) for row in rows if isinstance(row, Row)}
    return Subtitles(said, tuple(row for row in rows if isinstance(row, Reject)))


def _words(row: Row) -> tuple[str, str]:
    filled = ((row.text(column), tag) for column, tag in _WORDS.items() if column in row.cells)
    return next(((text, tag) for text, tag in filled if text), ("", ""))


def read_discrete(
    source: str, root: Path, file: str, clips: Clips, split: Split, subtitles: Subtitles
) -> Iterator[Item]:
    """Read a table ``name,discrete,...``: one of the six emotions for each clip."""
    make = partial(_discrete, source, clips, split, subtitles)
    return records(read_table(root, file, ("name", "discrete")), make, "name")


def _discrete(source: str, clips: Clips, split: Split, subtitles: Subtitles, row: Row) -> Iterator[Record]:
    name = row.filled("name")
    yield Record(
        id=name,
        source=source,
        split=split,
        media=Media(video=clips.path(name)),
        task=Task.EMOTION,
        label_space=LABEL_SPACES["mer"],
        label=one_of(row.filled("discrete"), LABEL_SPACES["mer"]),
        **subtitles.of(name),
    )


def labels_in(text: str) -> tuple[str, ...]:
    """Read a list written as text, ``['happy', 'excited']`` or ``[happy, excited]``; repeats count once.

    Raises:
        UnusableError: It is no list, or there is no word in it.
    """
    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        raise UnusableError(f"{text!r} is not a list of labels")
    words = dict.fromkeys(word.strip().lower() for word in _parts(inner))
    words.pop("", None)
    if not words:
        raise UnusableError(f"{text!r} names no label")
    return tuple(words)


def _parts(text: str) -> list[str]:
    """The words of a list, quoted as in Python or not quoted."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [part.strip().strip("'\"") for part in text[1:-1].split(",")]
    return [str(part) for part in value]

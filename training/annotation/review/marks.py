"""Marks: what a person thinks of one field of one record, a line of JSON each, appended as they are made."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emollama_ros.errors import InputError
from training.mmeverse.schema import Record, explain

Verdict = Literal["right", "wrong", "cannot tell"]
VERDICTS: tuple[Verdict, ...] = ("right", "wrong", "cannot tell")
#: Fields that can be marked, as in the paper's table (clues of sound, picture and words, reasoning, result)
#: and the measurements behind them; and what a person calls them.
FIELDS: dict[str, str] = {
    "label": "Label",
    "transcript": "Transcript",
    "clues.audio": "Audio clues",
    "clues.visual": "Visual clues",
    "clues.action_units": "Action units",
    "clues.peak_frame": "Peak frame",
    "reasoning": "Reasoning",
}
_SHOWN_DIGITS = 12


class Mark(BaseModel):
    """One verdict.

    Attributes:
        source: Of the record.
        id: Of the record.
        task: Of the record.
        field: A key of `FIELDS`.
        verdict: What the person thinks.
        reviewer: The person's pseudonym.
        time: When, ISO 8601 in UTC.
        shown: Start of the sha256 of the text that was judged; a text that changed wants a new mark.
        note: Anything the person adds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str
    id: str
    task: str
    field: Literal[tuple(FIELDS)]  # type: ignore[valid-type]
    verdict: Verdict
    reviewer: Annotated[str, Field(min_length=1, max_length=80)]
    time: str
    shown: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    note: Annotated[str, Field(max_length=2000)] = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """As `Record.key`."""
        return self.source, self.id, self.task

    @property
    def subject(self) -> tuple[str, str, str, str, str]:
        """What was judged: record, field and the text it had."""
        return *self.key, self.field, self.shown


def field_text(record: Record, field: str) -> str:
    """What a field of a record says, as a person judges it; empty where it says nothing."""
    clues = record.clues
    peak = clues.peak_frame
    texts = {
        "label": record.label or ", ".join(record.labels),
        "transcript": record.transcript,
        "clues.audio": clues.audio,
        "clues.visual": clues.visual,
        "clues.action_units": ", ".join(f"{u.unit} {u.intensity:.1f}" for u in clues.action_units),
        "clues.peak_frame": "" if peak is None else str(peak),
        "reasoning": record.reasoning,
    }
    return texts[field]


def digest(text: str) -> str:
    """Start of the sha256 of a text, as in `Mark.shown`."""
    return hashlib.sha256(text.encode()).hexdigest()[:_SHOWN_DIGITS]


def make_mark(record: Record, field: str, verdict: Verdict, reviewer: str, note: str = "") -> Mark:
    """A mark made now.

    Raises:
        InputError: No such field, or the record says nothing in it; or no such verdict.
    """
    if field not in FIELDS or not field_text(record, field):
        raise InputError(
            f"field {field!r} of {record.id!r} cannot be marked; fields are: {', '.join(FIELDS)}"
        )
    source, clip, task = record.key
    try:
        return Mark(
            source=source,
            id=clip,
            task=task,
            field=field,
            verdict=verdict,
            reviewer=reviewer,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            shown=digest(field_text(record, field)),
            note=note,
        )
    except ValidationError as error:
        raise InputError(f"mark: {explain(error)}") from None


class MarkFile:
    """A file of marks that grows. What `append` has returned from survives a crash; safe between threads."""

    def __init__(self, path: Path) -> None:
        """Open or begin a file; a last line that a crash cut off is dropped.

        Raises:
            InputError: The folder does not exist, or a line is no mark.
        """
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist; make it first")
        self._path = path
        self._lock = threading.Lock()
        if path.exists():
            _drop_torn_line(path)
        self._marks = list(read_marks(path)) if path.exists() else []

    def append(self, mark: Mark) -> None:
        """Add a mark to the file, through to the disk."""
        with self._lock:
            with self._path.open("ab") as file:
                file.write((mark.model_dump_json(exclude_defaults=True) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
            self._marks.append(mark)

    def of(self, record: Record, reviewer: str) -> dict[str, Mark]:
        """The last mark of each field of a record by one person, for the text it has now."""
        with self._lock:
            marks = [m for m in self._marks if m.key == record.key and m.reviewer == reviewer]
        return {m.field: m for m in marks if m.shown == digest(field_text(record, m.field))}


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)


def read_marks(path: Path) -> Iterator[Mark]:
    """Read a file of marks.

    Raises:
        InputError: It does not exist, or a line is no mark; names file and line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; `python -m training review` writes it")
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            yield Mark.model_validate_json(line)
        except ValidationError as error:
            raise InputError(f"{path}:{number}: {explain(error)}") from None


def last_marks(marks: Iterable[Mark]) -> list[Mark]:
    """Of each person and subject the last mark: a person may change their mind."""
    return list({(m.reviewer, m.subject): m for m in marks}.values())

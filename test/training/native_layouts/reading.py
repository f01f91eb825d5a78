"""Read a folder and tell records from rejects."""

from __future__ import annotations

from pathlib import Path

from training.mmeverse.schema import Record
from training.mmeverse.sources import Found, Reject, read_items


def read(name: str, root: Path) -> tuple[list[Record], dict[str, str]]:
    """The records of a source, and by place the reasons why others are none."""
    records, rejects = read_all(name, root)
    assert len({reject.where for reject in rejects}) == len(rejects)
    return records, {reject.where: reject.reason for reject in rejects}


def read_all(name: str, root: Path) -> tuple[list[Record], list[Reject]]:
    """The same where a place may have several rejects, one for each task."""
    items = list(read_items(name, root))
    return [i.record for i in items if isinstance(i, Found)], [i for i in items if isinstance(i, Reject)]


def add(path: Path, *lines: str) -> None:
    """Add lines to a text file."""
    with path.open("a", encoding="utf-8", newline="") as file:
        file.writelines(f"{line}\n" for line in lines)

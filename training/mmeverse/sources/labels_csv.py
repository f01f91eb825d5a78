"""The ``labels.csv`` that lies in the folder of each source that has no label table of its own."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of ``folder/labels.csv`` as dictionaries."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)

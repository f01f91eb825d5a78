"""Tables distributed as Excel sheets, read into the same rows as text tables."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from emollama_ros.errors import InputError
from training.mmeverse.sources.base import Row


def read_sheet(root: Path, file: str, columns: Sequence[str]) -> Iterator[Row]:
    """Read the first sheet of a workbook; its first row names the columns. Empty rows are passed over.

    Args:
        root: Folder of the source.
        file: The workbook (xlsx), relative to it.
        columns: Columns that have to be there; others are passed on too.

    Raises:
        InputError: The workbook is not there, is none, or lacks a column.
    """
    lines = _lines(root / file)
    header = [_text(cell) for cell in next(lines, ())]
    if missing := [name for name in columns if name not in header]:
        raise InputError(f"{root / file}:1: no column {missing[0]!r}; the columns are {header}")
    for number, cells in enumerate(lines, 2):
        texts = dict(zip_longest(header, map(_text, cells[: len(header)]), fillvalue=""))
        if any(texts.values()):
            yield Row(f"{file}:{number}", texts)


def _lines(path: Path) -> Iterator[tuple[Any, ...]]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    # A broken workbook fails as an archive, as XML (a SyntaxError) or as values, wherever it is broken.
    broken = (
        OSError,
        EOFError,
        BadZipFile,
        zlib.error,
        SyntaxError,
        ValueError,
        KeyError,
        InvalidFileException,
    )
    try:
        with closing(load_workbook(path, read_only=True, data_only=True)) as book:
            yield from book.worksheets[0].iter_rows(values_only=True)
    except broken as error:
        raise InputError(f"{path}: cannot be read as an xlsx workbook ({error})") from error


def _text(cell: Any) -> str:
    """A cell as text: whole numbers without a decimal point, since Excel has no integers."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()

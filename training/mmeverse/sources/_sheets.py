"""Tables distributed as Excel sheets, read into the same rows as text tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from emollama_ros.errors import InputError
from training.mmeverse.sources.base import Row

#: A column's name here, and the names it may have in a sheet, in lower case.
Columns = Mapping[str, tuple[str, ...]]


def read_sheet(root: Path, file: str, columns: Columns, optional: Columns | None = None) -> Iterator[Row]:
    """Read the first sheet of a workbook; its first row names the columns. Empty rows are passed over.

    Args:
        root: Folder of the source.
        file: The workbook (xlsx), relative to it.
        columns: Columns that have to be there.
        optional: Columns that are passed on where they are there.

    Raises:
        InputError: The workbook is not there, is none, or lacks a column.
    """
    lines = _lines(root / file)
    header = [_text(cell).lower() for cell in next(lines, ())]
    places = {name: _place(header, known) for name, known in {**columns, **(optional or {})}.items()}
    if absent := [name for name in columns if places[name] is None]:
        raise InputError(f"{root / file}:1: no column {absent[0]!r}; the columns are {header}")
    for number, cells in enumerate(lines, 2):
        taken = {name: _text(_cell(cells, at)) for name, at in places.items() if at is not None}
        if any(taken.values()):
            yield Row(f"{file}:{number}", taken)


def _lines(path: Path) -> Iterator[tuple[Any, ...]]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (OSError, BadZipFile, InvalidFileException, KeyError) as error:
        raise InputError(f"{path}: cannot be read as an xlsx workbook ({error})") from error
    try:
        yield from book.worksheets[0].iter_rows(values_only=True)
    finally:
        book.close()


def _place(header: list[str], known: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in known if name in header), None)


def _cell(cells: tuple[Any, ...], at: int) -> Any:
    """A cell; rows end with their last filled one."""
    return cells[at] if at < len(cells) else None


def _text(cell: Any) -> str:
    """A cell as text: whole numbers without a decimal point, since Excel has no integers."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()

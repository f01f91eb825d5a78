"""What every reader of a data set is made of: rows with their place, records or the reason there is none."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from emollama_ros.errors import InputError
from training.mmeverse.schema import Record, Split, explain


@dataclass(frozen=True)
class Found:
    """A record, and the place it comes from (``labels.csv:17``, relative to the source's folder)."""

    where: str
    record: Record


@dataclass(frozen=True)
class Reject:
    """What could not become a record.

    Attributes:
        where: File and line, relative to the source's folder.
        clip: Its id, as far as it could be read.
        reason: What is wrong, and with which value.
    """

    where: str
    clip: str
    reason: str


Item = Found | Reject
Reader = Callable[[Path], Iterator[Item]]


@dataclass(frozen=True)
class Source:
    """A data set and how it is read.

    Attributes:
        name: As in ``--source`` and in `Record.source`.
        title: As its authors call it.
        homepage: Where it is asked for or downloaded.
        licence: In a few words.
        citation: Authors, year, venue.
        layout: The folder as distributed, a line a file; shown when it does not look so.
        read: From that folder to records and rejects, in an order that does not change.
        notes: What a user of it should know: which labels and splits are taken, what is left out and why.
        is_evaluation_only: Nothing may be trained on it.
        is_acted: The same sentences are said under every label, so that the words tell nothing.
        has_splits: The authors say which clips train and which test; where not, `prepare` splits by person.
    """

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    layout: str
    read: Reader
    notes: str = ""
    is_evaluation_only: bool = False
    is_acted: bool = False
    has_splits: bool = True


class UnusableError(ValueError):
    """This row cannot become a record; the text says why."""


@dataclass(frozen=True)
class Row:
    """A row of a table: its place and its cells by column."""

    where: str
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """A cell without blanks around it; may be empty."""
        return self.cells[column].strip()

    def filled(self, column: str) -> str:
        """A cell that has to say something.

        Raises:
            UnusableError: It is empty.
        """
        if not (text := self.text(column)):
            raise UnusableError(f"column {column!r} is empty")
        return text

    def number(self, column: str) -> float:
        """A cell that is a finite number.

        Raises:
            UnusableError: It is something else.
        """
        text = self.filled(column)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UnusableError(f"column {column!r}: {text!r} is not a number")
        return value


def read_table(
    root: Path,
    file: str,
    columns: Sequence[str],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    has_header: bool = True,
) -> Iterator[Row | Reject]:
    """Read a table; a row with too few or too many cells is rejected and the rest goes on.

    Args:
        root: Folder of the source.
        file: The table, relative to it.
        columns: Columns that have to be there; others are passed on too.
        delimiter: Between cells.
        encoding: Of the file; undecodable bytes spoil their own row only.
        has_header: Its first line names the columns; where not, ``columns`` are all of them, in order.

    Raises:
        InputError: The table is not there, or lacks a column.
    """
    with open_text(root, file, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])] if has_header else list(columns)
        if missing := [name for name in columns if name not in header]:
            raise InputError(f"{root / file}:1: no column {missing[0]!r}; the columns are {header}")
        before = reader.line_num
        for cells in _rows_of(reader):
            where, before = f"{file}:{before + 1}", reader.line_num
            if cells:
                yield _row(where, header, cells)


def _rows_of(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Rows; one that the csv module cannot take comes as one cell."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield [f"({error})"]


def _row(where: str, header: list[str], cells: list[str]) -> Row | Reject:
    if len(cells) != len(header):
        return Reject(where, cells[0], f"broken row: {len(cells)} cells where the header has {len(header)}")
    if damaged := [cell for cell in cells if "\N{REPLACEMENT CHARACTER}" in cell]:
        return Reject(where, cells[0], f"broken row: {damaged[0]!r} has bytes of another encoding")
    return Row(where, dict(zip(header, cells, strict=True)))


def open_text(root: Path, file: str, encoding: str = "utf-8-sig"):  # noqa: ANN201 (a text stream)
    """Open a text file of a source.

    Raises:
        InputError: It is not there or not to be read.
    """
    try:
        return (root / file).open(newline="", encoding=encoding, errors="replace")
    except OSError as error:
        raise InputError(f"{root / file}: cannot be read ({error.strerror})") from error


def records(
    rows: Iterable[Row | Reject], make: Callable[[Row], Iterable[Record]], clip: str | None = None
) -> Iterator[Item]:
    """Make records of rows; what fails becomes a reject with its place and reason.

    Args:
        rows: Rows, and rows already rejected.
        make: From a row to its records, one for each task; may raise `UnusableError`.
        clip: Column that names the clip in rejects; None for the first column.
    """
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        try:
            made = tuple(make(row))
        except UnusableError as error:
            yield Reject(row.where, _named(row, clip), str(error))
        except ValidationError as error:
            yield Reject(row.where, _named(row, clip), explain(error))
        else:
            yield from (Found(row.where, record) for record in made)


def _named(row: Row, column: str | None) -> str:
    return row.cells[column] if column else next(iter(row.cells.values()), "")


def one_of(word: str, known: Sequence[str], what: str = "label") -> str:
    """Return the member of ``known`` that ``word`` is, whatever the case.

    Raises:
        UnusableError: It is none; the text lists them.
    """
    for member in known:
        if member.lower() == word.strip().lower():
            return member
    raise UnusableError(f"unknown {what} {word!r}; known: {', '.join(known)}")


#: What the sources call their splits.
_SPLITS: Mapping[str, Split] = {
    "train": "train", "trn": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "tst": "test",
}  # fmt: skip


def split_named(word: str) -> Split:
    """Return the split that a source calls so, whatever the case.

    Raises:
        UnusableError: No source calls one so; the text lists what is known.
    """
    return _SPLITS[one_of(word, tuple(_SPLITS), "split")]


def first_present(root: Path, names: Sequence[str]) -> str:
    """Return the first of these files or folders that is there, for what is distributed in several ways.

    Raises:
        InputError: None is; names them all.
    """
    for name in names:
        if (root / name).exists():
            return name
    raise InputError(f"{root}: there is no {' and no '.join(names)}")


def without_repeats(items: Iterable[Item]) -> Iterator[Item]:
    """Pass items on; a record whose id and task were there before becomes a reject that says where."""
    seen: dict[tuple[str, str, str], str] = {}
    for item in items:
        if isinstance(item, Found):
            key = item.record.key
            if key in seen:
                item = Reject(item.where, item.record.id, f"duplicate id: the same clip is in {seen[key]}")
            seen.setdefault(key, item.where)
        yield item

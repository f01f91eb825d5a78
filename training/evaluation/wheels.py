"""Words to the inner sectors of five emotion wheels: the grouping that MER-UniBench scores by.

Two words count as the same emotion on a wheel when both lead to the same inner sector, in three steps:
inflection to base word (``format.csv``), base word to words on the wheels (``synonym.xlsx``), and outer word
of a wheel to its inner sector (``wheel1.xlsx`` to ``wheel5.xlsx``).

Source: AffectGPT (arXiv 2501.16566), section 4, and the released ``wheel.py``, whose results are reproduced:
where a word leads to several wheel words, the alphabetically first that stands on the wheel decides.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

from emollama_ros.errors import InputError

WHEELS = tuple(f"wheel{i}" for i in range(1, 6))
LEVELS = ("level1", "level2", "level3")
RUNS = tuple(f"run{i}" for i in range(1, 9))
#: Bits that a wheel has in a word's code; the published wheels have 6 or 7 inner sectors.
SECTOR_BITS = 12

_SOURCE = "use the unchanged emotion_wheel folder of MERTools or Emotion-LLaMA-v2"
_T = TypeVar("_T")
_Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Tables:
    """The published tables, read and normalised.

    Attributes:
        forms: Every form of a word, to its base words.
        synonyms: Base word, to the wheel words it stands for.
        wheels: Wheel, to every word on it, to its inner sector.
    """

    forms: Mapping[str, frozenset[str]]
    synonyms: Mapping[str, frozenset[str]]
    wheels: Mapping[str, Mapping[str, str]]

    def sector(self, word: str, wheel: str) -> str | None:
        """Inner sector of a word in lower case, or None where the word is outside the vocabulary."""
        bases = self.forms.get(word, ())
        candidates = sorted({found for base in bases for found in self.synonyms[base]})
        return next((self.wheels[wheel][found] for found in candidates if found in self.wheels[wheel]), None)


@dataclass(frozen=True)
class Grouping:
    """The tables worked out for every word they know, so that scoring needs one look-up a word.

    Attributes:
        wheels: Names of the wheels.
        codes: Word, to its sectors on all wheels: `SECTOR_BITS` bits a wheel, the first wheel lowest, with
            the bit of the word's sector set, or none where the word is not on the wheel.
    """

    wheels: tuple[str, ...]
    codes: Mapping[str, int]


def read_grouping(folder: Path) -> Grouping:
    """Read the tables of a folder and work them out. Errors as of `read_tables`."""
    return work_out(read_tables(folder))


def work_out(tables: Tables) -> Grouping:
    """Look every known word up on every wheel."""
    bits = {wheel: _bits(wheel, words.values(), i) for i, (wheel, words) in enumerate(tables.wheels.items())}
    codes = {
        word: sum(bits[wheel].get(tables.sector(word, wheel), 0) for wheel in bits) for word in tables.forms
    }
    return Grouping(tuple(bits), codes)


def _bits(wheel: str, sectors: Iterable[str], place: int) -> dict[str | None, int]:
    names = sorted(set(sectors))
    if len(names) > SECTOR_BITS:
        raise InputError(f"{wheel} has {len(names)} inner sectors, more than {SECTOR_BITS}; {_SOURCE}")
    return {name: 1 << place * SECTOR_BITS + i for i, name in enumerate(names)}


def read_tables(folder: Path) -> Tables:
    """Read ``format.csv``, ``synonym.xlsx`` and ``wheel1.xlsx`` to ``wheel5.xlsx``.

    Raises:
        InputError: A file is missing, unreadable or empty, lacks a column, or names a word that the next
            table lacks.
    """
    wheels = {wheel: _read_wheel(folder / f"{wheel}.xlsx") for wheel in WHEELS}
    synonyms = _read_synonyms(folder / "synonym.xlsx", frozenset().union(*wheels.values()))
    return Tables(_read_forms(folder / "format.csv", frozenset(synonyms)), synonyms, wheels)


def _read_wheel(path: Path) -> dict[str, str]:
    """Word to inner sector. An empty cell means: as in the row above. Of two places, the later one counts."""
    words: dict[str, set[str]] = {}
    above = dict.fromkeys(LEVELS, "")
    for row in _read_sheet(path, LEVELS):
        above |= {level: _plain(row[level]) for level in LEVELS if row[level]}
        words.setdefault(above["level1"], set()).update(above.values())
    return {word: inner for inner, outer in words.items() for word in (inner, *outer)}


def _read_synonyms(path: Path, wheel_words: frozenset[str]) -> dict[str, frozenset[str]]:
    """Every word that a language model named in any of its eight runs, to the wheel words it named it for."""
    rows = _read_sheet(path, [f"{kind}_{run}" for run in RUNS for kind in ("word", "synonym")])
    pairs = [(_plain(row[f"word_{run}"]), row[f"synonym_{run}"]) for row in rows for run in RUNS]
    _need_known(path, (word for word, _ in pairs), wheel_words, "a wheel")
    return _collect(
        (name, word) for word, named in pairs for name in (word, *map(_plain, split_list(named))) if name
    )


def _read_forms(path: Path, known: frozenset[str]) -> dict[str, frozenset[str]]:
    rows = _read_csv(path, ("name", "format"))
    _need_known(path, (row["name"] for row in rows), known, "synonym.xlsx")
    return _collect(
        (form, row["name"])
        for row in rows
        for form in (row["name"], *map(str.strip, split_list(row["format"])))
        if form
    )


def split_list(text: str) -> list[str]:
    """Pieces of a list written as text; blanks around them, and empty ones, are left to the caller."""
    return unify_separators(text).split(",")


def unify_separators(text: str) -> str:
    """A list written as text, ``[happy, "very sad"]``, with commas alone between its pieces.

    Quotes separate as commas do, and one bracket is taken off each end, both as in the released code.
    """
    return text.removeprefix("[").removesuffix("]").replace("'", ",").replace('"', ",")


def _collect(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for key, value in pairs:
        found.setdefault(key, set()).add(value)
    return {key: frozenset(values) for key, values in found.items()}


def _plain(word: str) -> str:
    return word.strip().lower()


def _need_known(path: Path, words: Iterable[str], known: frozenset[str], where: str) -> None:
    if unknown := sorted(set(words) - known):
        raise InputError(
            f"{path}: {unknown[0]!r} (of {len(unknown)} such words) is not in {where}; {_SOURCE}"
        )


def _read_sheet(path: Path, columns: Iterable[str]) -> _Rows:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    def read() -> list[tuple[object, ...]]:
        return list(load_workbook(path, data_only=True).worksheets[0].iter_rows(values_only=True))

    header, *rows = _read(path, read, (BadZipFile, InvalidFileException, KeyError, IndexError)) or [()]
    names = ["" if name is None else str(name) for name in header]
    return _table(path, columns, names, (["" if v is None else str(v) for v in row] for row in rows))


def _read_csv(path: Path, columns: Iterable[str]) -> _Rows:
    def read() -> list[list[str]]:
        # A spreadsheet program that saved the file may have put a byte order mark before the first column.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if row]

    header, *rows = _read(path, read, (UnicodeDecodeError, csv.Error)) or [[]]
    return _table(path, columns, header, rows)


def _read(path: Path, read: Callable[[], _T], damage: tuple[type[Exception], ...]) -> _T:
    try:
        return read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {_SOURCE}") from error
    except damage as error:
        raise InputError(f"{path}: is damaged ({error}); {_SOURCE}") from error


def _table(path: Path, columns: Iterable[str], header: list[str], rows: Iterable[list[str]]) -> _Rows:
    """Rows by column name, without rows that are wholly empty."""
    if missing := [column for column in columns if column not in header]:
        raise InputError(f"{path}: no column {missing[0]!r} among {header}; {_SOURCE}")
    found = list(_named(path, header, rows))
    if not found:
        raise InputError(f"{path}: has no rows below its header; {_SOURCE}")
    return found


def _named(path: Path, header: list[str], rows: Iterable[list[str]]) -> Iterator[dict[str, str]]:
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"{path}: row {number} has {len(row)} cells, not {len(header)}; {_SOURCE}")
        if any(row):
            yield dict(zip(header, row, strict=True))

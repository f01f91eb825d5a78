"""What every reader of a replay set is made of: entries with their place, samples or why there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emollama_ros.errors import InputError
from training.mmeverse.sources.base import Reject, UnusableError

Split = Literal["train", "validation"]
Kind = Literal["caption", "refer", "vqa"]


@dataclass(frozen=True)
class ReplaySample:
    """A picture, what is asked about it, and what people answered.

    Attributes:
        source: Name of the set.
        split: As its authors split it.
        id: Unique within the set.
        kind: ``caption``, ``refer`` (a phrase to be located) or ``vqa`` (a question).
        image: The picture, relative to the folder of pictures, with ``/``.
        question: The question or phrase; empty for captions.
        answers: At least one; one that several people gave is there several times.
    """

    source: str
    split: Split
    id: str
    kind: Kind
    image: str
    question: str
    answers: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What no two samples share: set, id, kind."""
        return self.source, self.id, self.kind


Item = ReplaySample | Reject
#: From the folder of the set, the folder of pictures, and a split.
Reader = Callable[[Path, Path, Split], Iterator[Item]]


@dataclass(frozen=True)
class ReplaySet:
    """A general vision-language set and how it is read.

    Attributes:
        name: As in the mix of a stage.
        title: As its authors call it.
        homepage: Where it is downloaded.
        licence: In a few words.
        layout: The folders as distributed, a line a file.
        read: To samples and rejects, in an order that does not change.
    """

    name: str
    title: str
    homepage: str
    licence: str
    layout: str
    read: Reader


@dataclass(frozen=True)
class Entry:
    """A JSON object and its place (``captions.json: annotations[17]``)."""

    where: str
    data: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field that is a text which says something.

        Raises:
            UnusableError: It is missing or something else.
        """
        value = self._field(name)
        if not isinstance(value, str) or not value.strip():
            raise UnusableError(f"field {name!r}: {value!r:.60} is no text")
        return value.strip()

    def number(self, name: str) -> int:
        """A field that is an integer of at least 0.

        Raises:
            UnusableError: It is missing or something else.
        """
        value = self._field(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UnusableError(f"field {name!r}: {value!r:.60} is no integer of at least 0")
        return value

    def numbers(self, name: str, length: int) -> tuple[float, ...]:
        """A field that is a list of finite numbers.

        Raises:
            UnusableError: It is missing or something else.
        """
        value = self._field(name)
        if not isinstance(value, list) or len(value) != length or not all(map(_is_finite, value)):
            raise UnusableError(f"field {name!r}: {value!r:.60} is no list of {length} numbers")
        return tuple(map(float, value))

    def entries(self, name: str) -> list[Entry]:
        """A field that is a list of objects.

        Raises:
            UnusableError: It is missing or something else.
        """
        value = self._field(name)
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise UnusableError(f"field {name!r}: {value!r:.60} is no list of objects")
        return [Entry(f"{self.where}.{name}[{index}]", part) for index, part in enumerate(value)]

    def id(self, name: str) -> str:
        """A field that names something: an integer or a text.

        Raises:
            UnusableError: It is missing or something else.
        """
        value = self._field(name)
        return self.text(name) if isinstance(value, str) else str(self.number(name))

    def shown_id(self, name: str) -> str:
        """The same for a reject: empty where it cannot be read."""
        value = self.data.get(name, "")
        return str(value) if isinstance(value, str | int) else ""

    def _field(self, name: str) -> Any:
        if name not in self.data:
            raise UnusableError(f"no field {name!r}")
        return self.data[name]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def read_json(root: Path, file: str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is missing, cut off, or no JSON; names the line.
    """
    path = root / file
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: no JSON ({error.msg}); download it again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no JSON ({error.reason}); download it again") from error


def entries_of(data: Any, root: Path, file: str, name: str | None = None) -> Iterator[Entry | Reject]:
    """Objects of a list in a JSON file; anything else in the list is rejected.

    Args:
        data: The content of the file.
        root: Folder of the set.
        file: The file, relative to it.
        name: Key of the list; None where the file is the list.

    Raises:
        InputError: There is no such list.
    """
    rows = data.get(name) if name is not None and isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise InputError(f"{root / file}: no list{f' {name!r}' if name else ''} in it")
    for index, row in enumerate(rows):
        where = f"{file}: {name or ''}[{index}]"
        yield Entry(where, row) if isinstance(row, dict) else Reject(where, "", f"{row!r:.60} is no object")


def samples(
    entries: Iterable[Entry | Reject],
    make: Callable[[Entry], Iterable[ReplaySample]],
    images: Path,
    id_field: str,
) -> Iterator[Item]:
    """Make samples of entries; what fails becomes a reject with its place and reason.

    Besides what ``make`` finds, an id that was there before and a picture that is not there fail.

    Args:
        entries: Entries, and entries already rejected.
        make: From an entry to its samples; may raise `UnusableError`.
        images: Folder of pictures.
        id_field: Field that names an entry in rejects.
    """
    seen: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, Reject):
            yield entry
            continue
        try:
            made = tuple(make(entry))
            _check_pictures(made, images)
            _check_ids(made, seen)
        except UnusableError as error:
            yield Reject(entry.where, entry.shown_id(id_field), str(error))
        else:
            seen.update((sample.id, entry.where) for sample in made)
            yield from made


def _check_ids(made: Iterable[ReplaySample], seen: Mapping[str, str]) -> None:
    for sample in made:
        if sample.id in seen:
            raise UnusableError(f"duplicate id: {sample.id} is in {seen[sample.id]} too")


def _check_pictures(made: Iterable[ReplaySample], images: Path) -> None:
    """A picture has to be there; a file with nothing in it is a download that broke off."""
    for image in dict.fromkeys(sample.image for sample in made):
        file = images / image
        if not file.is_file():
            raise UnusableError(f"no picture {image}")
        if file.stat().st_size == 0:
            raise UnusableError(f"picture {image} is empty")


def picture_name(entry: Entry, name: str) -> str:
    """A field that is the name of a file, without any folder.

    Raises:
        UnusableError: It is something else, for example leads to another folder.
    """
    text = entry.text(name)
    if "/" in text or "\\" in text or text.startswith("."):
        raise UnusableError(f"field {name!r}: {text!r} is no name of a picture")
    return text


def by_id(entries: Iterable[Entry | Reject], field: str) -> tuple[dict[str, Entry], list[Reject]]:
    """Entries by the value of a field; and those that could not be filed."""
    filed: dict[str, Entry] = {}
    rejects: list[Reject] = []
    for entry in entries:
        if isinstance(entry, Reject):
            rejects.append(entry)
            continue
        try:
            filed.setdefault(entry.id(field), entry)
        except UnusableError as error:
            rejects.append(Reject(entry.where, entry.shown_id(field), str(error)))
    return filed, rejects


def the_one(filed: Mapping[str, Entry], key: str, what: str) -> Entry:
    """The entry of a key.

    Raises:
        UnusableError: There is none.
    """
    if key not in filed:
        raise UnusableError(f"no {what} {key}")
    return filed[key]

"""A bag as messages in the order they arrived, also one whose recorder was killed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emollama_ros.bags.definitions import require_rosbags, typestore
from emollama_ros.bags.unfinished import WholePart
from emollama_ros.errors import InputError

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader
    from rosbags.typesys.store import Typestore


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: Full name, such as ``/audio``.
        type: ``package/msg/Name``.
        count: Messages.
    """

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class Item:
    """A message of a bag.

    Attributes:
        topic: Full name.
        type: ``package/msg/Name``.
        log_ns: When it was recorded, calendar clock of the recorder.
        message: With the fields of the ROS message; arrays are NumPy's.
    """

    topic: str
    type: str
    log_ns: int
    message: Any


class Recording:
    """An open bag; a context manager.

    Attributes:
        path: As it was given.
        topics: What is in it, by name.
        problem: What is wrong with the bag although it can be read; empty when nothing is.
    """

    def __init__(self, path: Path | str) -> None:
        """Open a bag.

        Args:
            path: The folder that a recorder made, or a single ``.mcap`` or ``.db3`` file.

        Raises:
            ConfigError: The package ``rosbags`` is not installed.
            InputError: There is none, it is not a bag, or nothing in it is whole.
        """
        require_rosbags()
        self.path, self.problem = Path(path), ""
        self._stack = ExitStack()
        try:
            self._readers = self._open()
        except BaseException:
            self._stack.close()
            raise
        self.topics = tuple(sorted(self._summary(), key=lambda topic: topic.name))
        if not any(topic.count for topic in self.topics):
            self._stack.close()
            raise InputError(f"{self.path}: no message in it; record again, and end the recording by Ctrl-C")

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def of_type(self, *types: str) -> tuple[str, ...]:
        """Return the names of the topics that have one of these types and at least one message."""
        return tuple(topic.name for topic in self.topics if topic.type in types and topic.count)

    def read(self, topics: Collection[str]) -> Iterator[Item]:
        """Yield the messages of some topics in the order they were recorded.

        Raises:
            InputError: A part of the file, or a message in it, is damaged; says how much was read before.
        """
        store, count = self._types(topics), 0
        for reader in self._readers:
            wanted = [c for c in reader.connections if c.topic in topics]
            if not wanted:
                continue
            messages = reader.messages(wanted)
            while True:
                try:
                    connection, log_ns, data = next(messages)
                    message = store.deserialize_cdr(data, connection.msgtype)
                except StopIteration:
                    break
                except Exception as error:  # of the library, of a decompressor, of a definition
                    raise InputError(
                        f"{self.path}: damaged after {count} messages ({_said(error)}); copy it again, or"
                        " replay a part that is whole"
                    ) from error
                count += 1
                yield Item(connection.topic, connection.msgtype, log_ns, message)

    def _open(self) -> list[Reader]:
        if not self.path.exists():
            raise InputError(f"{self.path}: there is no such bag; give the folder that was recorded to")
        if self.path.is_file():
            return [self._file(self.path)]
        files = sorted(self.path.glob("*.mcap")) + sorted(self.path.glob("*.db3"))
        if not files and not (self.path / "metadata.yaml").is_file():
            raise InputError(f"{self.path}: not a bag: there is neither a .mcap nor a .db3 file in it")
        if (self.path / "metadata.yaml").is_file():
            try:
                return [self._enter(self.path)]
            except Exception as error:
                self.problem = f"its metadata.yaml does not fit ({_said(error)})"
        if not files:
            raise InputError(f"{self.path}: {self.problem}; copy the whole folder again")
        return [self._file(path) for path in files]

    def _file(self, path: Path) -> Reader:
        """Open one file, up to where it is whole if it was not finished."""
        try:
            return self._enter(path)
        except Exception as error:
            if path.suffix != ".mcap":
                raise InputError(f"{path}: not readable as a bag ({_said(error)})") from error
            part = WholePart(path)
            try:
                reader = self._enter(part)
            except Exception as again:
                raise InputError(f"{path}: not readable as a bag ({_said(again)})") from again
            self.problem = (
                f"{path.name} was not finished (its recorder was killed, or it was not copied whole):"
                f" {part.lost:,} bytes at its end are left out"
            )
            return reader

    def _enter(self, path: Path | WholePart) -> Reader:
        from rosbags.rosbag2 import Reader

        return self._stack.enter_context(Reader(path))

    def _summary(self) -> Iterator[Topic]:
        counts: dict[tuple[str, str], int] = {}
        for reader in self._readers:
            for connection in reader.connections:
                key = (connection.topic, connection.msgtype)
                counts[key] = counts.get(key, 0) + connection.msgcount
        yield from (Topic(name, kind, count) for (name, kind), count in counts.items())

    def _types(self, topics: Collection[str]) -> Typestore:
        """Return the definitions that the bag brings along, of some topics; else those known here."""
        from rosbags.typesys import Stores, get_typestore

        connections = [c for reader in self._readers for c in reader.connections if c.topic in topics]
        try:
            brought = [_definitions(connection) for connection in connections]
            if not brought or not all(brought):  # an old .db3 brings none
                return typestore()
            store = get_typestore(Stores.EMPTY)
            store.register({name: fields for found in brought for name, fields in found.items()})
        except Exception as error:
            raise InputError(
                f"{self.path}: the message definitions in it cannot be read ({_said(error)})"
            ) from error
        return store


def _definitions(connection: Connection) -> dict[str, Any]:
    from rosbags.interfaces import MessageDefinitionFormat
    from rosbags.typesys import get_types_from_idl, get_types_from_msg

    text = connection.msgdef.data
    if connection.msgdef.format == MessageDefinitionFormat.MSG:
        return dict(get_types_from_msg(text, connection.msgtype))
    found: dict[str, Any] = {}
    if connection.msgdef.format == MessageDefinitionFormat.IDL:
        for part in text.split("=" * 80 + "\n"):
            if part.strip():
                found.update(get_types_from_idl(part.split("\n", 1)[1] if part[:5] == "IDL: " else part))
    return found


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

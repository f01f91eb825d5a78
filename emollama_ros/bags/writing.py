"""A bag that `ros2 bag` reads: MCAP in a folder, readable up to its last second at any time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emollama_ros.bags.definitions import known, require_rosbags, typestore
from emollama_ros.errors import ConfigError, InputError

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos

#: Of metadata.yaml: the newest that Humble reads too.
METADATA_VERSION: Literal[8] = 8
#: A recording shows people: nobody but the one who made it may look.
OWNER_ONLY = 0o700


class BagWriter:
    """Writes messages; a context manager. One thread only.

    Attributes:
        path: The folder.
        counts: Messages by topic.
    """

    def __init__(self, path: Path | str) -> None:
        """Make the folder.

        Raises:
            ConfigError: The package ``rosbags`` is not installed.
            InputError: There is something of that name, or it cannot be made.
        """
        require_rosbags()
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.path, self.counts = Path(path), dict[str, int]()
        if self.path.exists():
            raise InputError(f"{self.path}: exists already, and nothing is overwritten; name another folder")
        self._store = typestore()
        self._connections: dict[str, Connection] = {}
        self._last_ns = 0
        try:
            self._writer = Writer(self.path, version=METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
            self.path.chmod(OWNER_ONLY)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror or error})") from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def file(self) -> Path:
        """The file in the folder."""
        return self.path / f"{self.path.name}.mcap"

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.file.stat().st_size

    def add(self, topic: str, kind: str, is_kept: bool = False) -> None:
        """Make a topic; does nothing if it is there.

        Args:
            topic: Full name.
            kind: ``package/msg/Name``.
            is_kept: Whether its publisher keeps the latest for those who join late.

        Raises:
            ConfigError: Nobody here knows the definition of the message.
        """
        if topic in self._connections:
            return
        if not known(self._store, kind):
            raise ConfigError(f"{topic}: the definition of {kind} is not found; {_fix(kind)}")
        self._connections[topic] = self._writer.add_connection(
            topic, kind, typestore=self._store, offered_qos_profiles=[_quality(is_kept)]
        )
        self.counts[topic] = 0

    def make(self, kind: str, **values: Any) -> Any:
        """Make a message of a type; constants fill themselves in.

        Args:
            kind: ``package/msg/Name``.
            **values: Every field.
        """
        if not known(self._store, kind):
            raise ConfigError(f"the definition of {kind} is not found; {_fix(kind)}")
        return self._store.types[kind](**values)

    def put(self, topic: str, log_ns: int, message: Any) -> None:
        """Write a message that ``make`` made."""
        self.put_raw(topic, log_ns, self.packed(self._connections[topic].msgtype, message))

    def packed(self, kind: str, message: Any) -> memoryview:
        """Return a message that ``make`` made as bytes, CDR with its header."""
        return self._store.serialize_cdr(message, kind)

    def put_raw(self, topic: str, log_ns: int, data: bytes | memoryview) -> None:
        """Write a message as it came, CDR.

        Args:
            topic: One that was added.
            log_ns: When it came; never before the one before, so that a file without index is in order.
            data: With its four bytes of header.
        """
        self._last_ns = max(self._last_ns, log_ns)
        self._writer.write(self._connections[topic], self._last_ns, data)
        self.counts[topic] += 1

    def flush(self) -> None:
        """Put everything written so far on the disk, in records that are whole."""
        storage: Any = self._writer.storage
        if storage is not None and storage.chunk.bio.tell():
            storage.close_chunk()
            storage.bio.flush()

    def close(self) -> None:
        """Finish the file: index, summary, metadata.yaml. Does nothing the second time."""
        if self._writer.storage is not None:
            self._writer.close()


def _fix(kind: str) -> str:
    if kind.startswith("emollama_ros/"):
        return "run it in the checkout, or where emollama_ros was built with its messages"
    return "source the workspace that has it"


def _quality(is_kept: bool) -> Qos:
    """Return what `ros2 bag play` offers the topic with."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    forever = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST,
        1 if is_kept else 10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if is_kept else QosDurability.VOLATILE,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        avoid_ros_namespace_conventions=False,
    )

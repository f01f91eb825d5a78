"""A logger of states to a CSV file, for evaluation with people who agreed to it. Nothing starts it by itself.

A line a state: times, label, confidence, valence, arousal, what was used, how well, and the probability of
each label. Never written: pictures, sound, what was said, and reasonings. Only its owner can read the file.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, TextIO

from rclpy.node import Node
from std_msgs.msg import String

from emollama_ros.client import EmotionListener
from emollama_ros.errors import ConfigError
from emollama_ros.estimate import Modality, Status
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, stamp_ns
from emollama_ros.nodes.parameters import declare, option
from emollama_ros.nodes.running import main_of

if TYPE_CHECKING:
    from emollama_ros.msg import EmotionState

#: Columns before those of the labels. Times in seconds since the epoch: of the sensors, and of this machine.
COLUMNS = (
    "stamp_s",
    "received_s",
    "sequence",
    "source_id",
    "label",
    "confidence",
    "valence",
    "arousal",
    "modalities",
    "status",
    "latency_ms",
)
OWNER_ONLY = 0o600


@dataclass(frozen=True)
class CsvLoggerParameters:
    """Parameters of ``csv_logger_node``; read when the node starts."""

    path: str = option("", "file to write; required; its folder must exist, and the file must not")
    append: bool = option(False, "add to the file if it is there and has the same columns")
    source: str = option("", "name of the source to follow, where perception_node has several")
    changes_only: bool = option(False, "write a line only when the label becomes another")


class CsvLogger:
    """Writes states; every line is on disk, or at least the kernel's, before the next state.

    Attributes:
        rows: Lines written.
    """

    def __init__(self, path: Path, append: bool = False) -> None:
        """Open a file.

        Args:
            path: Of the file.
            append: Add to one that is there.

        Raises:
            ConfigError: It is there already, or cannot be written.
        """
        self.rows, self._path = 0, path
        self._columns: list[str] = self._present() if append else []
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if append else os.O_EXCL)
            self._file: TextIO = os.fdopen(os.open(path, flags, OWNER_ONLY), "w", buffering=1, newline="")
        except FileExistsError:
            raise ConfigError(f"path: {path} is there already; name another, or set append") from None
        except OSError as error:
            raise ConfigError(f"path: {path} cannot be written: {error.strerror}") from error

    def write(self, state: EmotionState) -> bool:
        """Write a state; return whether it was.

        The header needs to know the labels, so the file begins with the first state that has some.

        Raises:
            ConfigError: The labels are not those of the file's header.
        """
        scores = {f"p_{name}": f"{p:.4f}" for name, p in zip(state.labels, state.scores, strict=False)}
        if not self._columns and scores:
            self._columns = [*COLUMNS, *scores]
            csv.writer(self._file).writerow(self._columns)
        if not self._columns:
            return False
        if scores and [*COLUMNS, *scores] != self._columns:
            raise ConfigError(f"{self._path} has other labels than the states; start with another file")
        csv.DictWriter(self._file, self._columns).writerow({**_facts(state), **scores})
        self.rows += 1
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _present(self) -> list[str]:
        if not self._path.is_file():
            return []
        with self._path.open(newline="") as file:
            columns = next(csv.reader(file), [])
        if columns and tuple(columns[: len(COLUMNS)]) != COLUMNS:
            raise ConfigError(f"path: {self._path} is not a file of this logger; name another")
        return columns


def _facts(state: EmotionState) -> dict[str, object]:
    return {
        "stamp_s": f"{stamp_ns(state.header.stamp) / SECOND:.3f}",
        "received_s": f"{time():.3f}",
        "sequence": state.sequence,
        "source_id": state.source_id,
        "label": state.label,
        "confidence": f"{state.confidence:.4f}",
        "valence": f"{state.valence:.4f}",
        "arousal": f"{state.arousal:.4f}",
        "modalities": "+".join(Modality(state.modalities).names()),
        "status": Status(state.status).name,
        "latency_ms": f"{state.latency_ms:.1f}",
    }


class CsvLoggerNode(Node):
    """Hears states and writes them down; says on ``csv_logger/path`` that it does, and where."""

    def __init__(self, **node_options: Any) -> None:
        """Open the file and subscribe.

        Raises:
            ConfigError: No path is given, the file is there already, or it cannot be written.
        """
        super().__init__("csv_logger", **node_options)
        settings = declare(self, CsvLoggerParameters)
        if not settings.path:
            raise ConfigError("csv_logger_node: no file; give one with --ros-args -p path:=STATES.csv")
        path = Path(settings.path).expanduser().absolute()
        self._log = CsvLogger(path, settings.append)
        self.get_logger().warning(f"states of people are being written to {path}")
        self._path = self.create_publisher(String, "csv_logger/path", qos.STATE)
        self._path.publish(String(data=str(path)))
        self._listener = EmotionListener(self, source=settings.source)
        hear = self._listener.on_change if settings.changes_only else self._listener.on_state
        hear(self._on_state)

    def _on_state(self, state: EmotionState) -> None:
        self._log.write(state)

    def close(self) -> None:
        """Close the file."""
        self._listener.close()
        self._log.close()


main = main_of(CsvLoggerNode)

if __name__ == "__main__":
    main()

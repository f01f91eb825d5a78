"""What `emollama record` was asked for. No ROS in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emollama_ros.errors import ConfigError


@dataclass(frozen=True)
class RecordOptions:
    """What to record, where to, and until when.

    Attributes:
        out: New folder.
        namespace: Of the perception node, with or without slashes.
        node: Name of the perception node.
        duration_s: End after so long; 0 = never.
        limit_mb: End at this size, 10^6 bytes, above 0.
        video: Pictures too.
        audio: Sound and words too.
    """

    out: Path
    namespace: str = ""
    node: str = "perception_node"
    duration_s: float = 0.0
    limit_mb: float = 4000.0
    video: bool = True
    audio: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.duration_s < float("inf"):
            raise ConfigError(f"duration is {self.duration_s}; use seconds, or 0 to end by Ctrl-C")
        if not 0 < self.limit_mb < float("inf"):
            raise ConfigError(f"limit-mb is {self.limit_mb}; use megabytes above 0, for example 4000")
        if not self.node or "/" in self.node:
            raise ConfigError(f"node is {self.node!r}; give the name alone, and its --namespace")

    @property
    def home(self) -> str:
        """What the names of the topics begin with: ``/`` or ``/namespace/``."""
        inner = self.namespace.strip("/")
        return f"/{inner}/" if inner else "/"

    @property
    def node_name(self) -> str:
        """Full name of the perception node."""
        return self.home + self.node

    @property
    def warning(self) -> str:
        """Say plainly what this does."""
        seen = [
            word for word, on in (("the pictures", self.video), ("the sound and the words", self.audio)) if on
        ]
        of = f"{' and '.join(seen)} of everybody in front of the robot, and " if seen else ""
        return f"RECORDING PEOPLE to {self.out}: {of}what perception tells of them"

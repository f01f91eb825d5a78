"""The least that a Python node can do with a camera and a microphone: receive, and forget.

Run as ``python -m benchmark.bare_subscriber TRACE``. It subscribes to the topics of a perception node with
the same quality of service and an empty callback each: what it costs is DDS and rclpy, and no node in Python
gets below that. ``--raw`` leaves messages serialised, which shows how much is making Python objects of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import Image

from emollama_ros.msg import AudioChunk
from emollama_ros.nodes import qos
from emollama_ros.nodes.running import run_node


class BareSubscriber(Node):
    """Counts what arrives.

    Attributes:
        counts: Messages by kind.
    """

    def __init__(self, trace: Path, raw: bool) -> None:
        """Subscribe.

        Args:
            trace: JSON file for the counts, written when it is closed.
            raw: Whether messages stay serialised.
        """
        super().__init__("bare_subscriber")
        self._trace = trace
        self.counts = {"image": 0, "audio": 0}
        image, audio = qos.image_in("best_effort"), qos.audio_in("reliable")
        self.create_subscription(Image, "camera/image_raw", self._counting("image"), image, raw=raw)
        self.create_subscription(AudioChunk, "audio", self._counting("audio"), audio, raw=raw)

    def close(self) -> None:
        """Write the counts."""
        self._trace.write_text(json.dumps({"counts": self.counts}))

    def _counting(self, name: str) -> Callable[[Any], None]:
        def count(_: Any) -> None:
            self.counts[name] += 1

        return count


def main(arguments: Sequence[str]) -> int:
    """Run the node; what follows ``--ros-args`` is for rclpy. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.bare_subscriber")
    parser.add_argument("trace", type=Path, help="JSON file to write")
    parser.add_argument("--raw", action="store_true", help="leave messages serialised")
    given, _ = parser.parse_known_args(arguments)
    return run_node(lambda: BareSubscriber(given.trace, given.raw))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

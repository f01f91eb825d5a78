"""The /diagnostics of a node, and the same in its log where something changes."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray

from emollama_ros.nodes import qos, ros_logs, vitals
from emollama_ros.nodes.changes import Changes
from emollama_ros.nodes.diagnostics import NodeView, Reporter, to_message

if TYPE_CHECKING:
    from rclpy.node import Node


class Reporting:
    """Publishes reports of a node, in every lifecycle state. Used in the executor's thread only."""

    def __init__(self, node: Node, now_ns: int) -> None:
        """Create the publisher.

        Args:
            node: Whose report.
            now_ns: The steady clock.
        """
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self._reporter, self._changes = Reporter(now_ns), Changes()

    def publish(self, view: NodeView) -> None:
        """Publish one report and log what changed; call it once a second."""
        engine = view.facts.get("engine", "cpu")
        entries = self._reporter.entries(view, vitals.look(gpu=not engine.startswith("cpu")))
        now, name = self._node.get_clock().now().to_msg(), self._node.get_fully_qualified_name()
        self._publisher.publish(to_message(now, name, platform.node(), entries))
        for severity, line in self._changes.lines(entries, view.now_ns):
            ros_logs.write(self._node.get_logger(), severity, line)

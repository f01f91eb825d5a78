"""How every node of the package is run: one thread, a clean end, and words instead of a traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from emollama_ros.errors import EmollamaError
from emollama_ros.nodes import ros_logs

AnyNode = TypeVar("AnyNode", bound=Node)
Run = Callable[[AnyNode, SingleThreadedExecutor], None]


def spin(node: Node, executor: SingleThreadedExecutor) -> None:
    """Serve callbacks until shutdown."""
    executor.spin()


def run_node(make: Callable[[], AnyNode], run: Run = spin) -> int:
    """Make a node and run it until it is done, or until SIGINT or SIGTERM.

    One thread is enough, because callbacks only convert and append; and rclpy's multi-threaded executor
    burns a core in the versions this package must run on (rclpy#1223, before 7.1.9).

    Args:
        make: Makes the node, after rclpy is initialised.
        run: What to do with it.

    Returns:
        Exit status: 0 after a normal end, 1 when the node could not be made or says it ``failed``.
    """
    # Ctrl-C arrives twice, from the terminal and from launch. rclpy's own handler ends the executor; Python's
    # would raise once more in the middle of closing.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    rclpy.init()
    node, code = None, 0
    try:
        node = make()
        ros_logs.forward(node)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        run(node, executor)
    except ExternalShutdownException:
        pass
    except RCLError:
        if rclpy.ok():  # else the shutdown came while the executor was preparing to wait
            raise
    except EmollamaError as error:
        rclpy.logging.get_logger("emollama_ros").fatal(str(error))
        code = 1
    finally:
        if node is not None:
            code = max(code, _close(node))
        rclpy.try_shutdown()
    return code


def _close(node: Node) -> int:
    """Let a node end its threads and devices."""
    getattr(node, "close", lambda: None)()
    ros_logs.end()
    node.destroy_node()
    return int(getattr(node, "failed", False))


def main_of(make: Callable[[], AnyNode], run: Run = spin) -> Callable[[], None]:
    """Make the ``main`` of a node's module."""

    def main() -> None:
        sys.exit(run_node(make, run))

    return main

"""From worker threads to the executor: everything a node publishes leaves from one thread."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.node import Node


class Outbox:
    """Runs callables of any thread in the thread that spins the node.

    rclpy does not promise that publishing is thread-safe, and a node's own counters are not. So workers
    put work here and wake the executor with a guard condition; nothing waits, and nothing is polled.
    """

    def __init__(self, node: Node) -> None:
        """Attach to a node."""
        self._node = node
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._guard = node.create_guard_condition(self._drain)

    def put(self, work: Callable[[], object]) -> None:
        """Have ``work`` called soon in the executor's thread. Any thread; never blocks."""
        self._queue.put(work)
        self._guard.trigger()

    def clear(self) -> None:
        """Forget what was not done yet."""
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                return

    def _drain(self) -> None:
        # One guard condition stands for any number of puts.
        while True:
            try:
                work = self._queue.get_nowait()
            except Empty:
                return
            work()

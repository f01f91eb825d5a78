"""Processes that are started, watched and ended together. No ROS in it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence

#: Lines of a process that are kept to explain its end.
KEPT_LINES = 30
#: Patience with a process that was asked to end, seconds, for SIGINT and then SIGTERM.
GRACE_S = 5.0


def command(module: str, parameters: Mapping[str, str]) -> list[str]:
    """Return the command line of a node of this package; values are YAML."""
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return [sys.executable, "-m", f"emollama_ros.nodes.{module}", "--ros-args", *given]


class Child:
    """One process; everything it writes is read as it comes, so that it never blocks on a full pipe."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it, away from the terminal's Ctrl-C: it is told to end when its output was read."""
        self.name = name
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"log of {name}", daemon=True)
        self._reader.start()

    @property
    def exit_status(self) -> int | None:
        """Exit status, negative for a signal; ``None`` while it runs."""
        return self._process.poll()

    def line_with(self, words: str) -> str | None:
        """Return the newest kept line that contains some words."""
        return next((line for line in reversed(list(self.lines)) if words in line), None)

    def stop(self) -> None:
        """End it, gently first."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.exit_status is not None:
                break
            self._process.send_signal(number)
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                continue
        self._reader.join(GRACE_S)

    def epitaph(self) -> str:
        """Say how it ended, with its last lines."""
        self._reader.join(GRACE_S)
        return "\n".join([f"{self.name} ended with status {self.exit_status}; its last words:", *self.lines])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))


class Children:
    """Starts nodes as processes; leaving the ``with`` block ends them all."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Set the environment of the processes."""
        self._environment = environment
        self._children: list[Child] = []

    def __enter__(self) -> Children:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End all, the last started first."""
        for child in reversed(self._children):
            child.stop()

    def node(self, module: str, parameters: Mapping[str, str]) -> Child:
        """Start a node of this package.

        Args:
            module: Module in ``emollama_ros.nodes``.
            parameters: Values as YAML, by name.
        """
        child = Child(module, command(module, parameters), self._environment)
        self._children.append(child)
        return child

    def fallen(self) -> Child | None:
        """Return a process that ended with an error."""
        return next((child for child in self._children if child.exit_status not in (None, 0)), None)

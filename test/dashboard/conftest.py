"""A fake perception node with prepared messages, a camera, and the dashboard as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def spinner() -> Iterator[Any]:
    """A context of its own, whose nodes are spun in a thread."""
    pytest.importorskip("rclpy", reason="needs ROS 2")
    from emollama_ros.nodes.transport import with_profile

    os.environ.update(with_profile())
    from prepared import Spinner

    spinner = Spinner()
    yield spinner
    spinner.close()


class Program:
    """A node of the package in a process, and what it has said."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def said(self, words: str) -> str:
        """Wait for a line with some words; what follows them."""

        def found() -> str | None:
            return next((line.partition(words)[2].strip() for line in self.lines if words in line), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, 60), f"no {words!r} in {self.lines}"
        answer = found()
        assert answer is not None
        return answer

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait(20)

    def end(self) -> int:
        """End it as Ctrl-C does; its exit status."""
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    """Start processes; all are ended with the test."""
    running: list[Program] = []

    def start(*words: str, **environment: str) -> Program:
        running.append(Program(list(words), environment))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.kill()


#: The node without its low priority: a busy machine would make the tests wait too long.
DASHBOARD = """
from emollama_ros.nodes.dashboard_node import DashboardNode
from emollama_ros.nodes.running import main_of
main_of(DashboardNode)()
"""


@pytest.fixture
def dashboard(program: Callable[..., Program]) -> Callable[..., Program]:
    """Start the dashboard with parameters; returns it when it serves."""

    def start(port: int = 0, token: str = "", **parameters: object) -> Program:
        given = [w for k, v in {"port": port, **parameters}.items() for w in ("-p", f"{k}:={v}")]
        started = program("-c", DASHBOARD, "--ros-args", *given, EMOLLAMA_DASHBOARD_TOKEN=token)
        started.said("dashboard: ")
        return started

    return start

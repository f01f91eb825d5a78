"""A chat server in a process of its own, and commands of the project as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FAKES = ROOT / "test" / "training"


@dataclass
class ChatServer:
    """A server and what it said it answered, in order."""

    process: subprocess.Popen[str]
    url: str
    told: SimpleQueue[dict[str, Any]] = field(default_factory=SimpleQueue)
    answered: list[dict[str, Any]] = field(default_factory=list)

    def next(self) -> dict[str, Any]:
        """Wait for the next request to be answered."""
        self.answered.append(self.told.get(timeout=60))
        return self.answered[-1]

    def drain(self) -> None:
        """Take in what was told so far."""
        while not self.told.empty():
            self.next()

    def paid_twice(self) -> int:
        """Questions answered well more than once, each time too many counted."""
        self.drain()
        times = Counter(a["name"] for a in self.answered if a["status"] == 200)
        return sum(n - 1 for n in times.values())


def environment(**more: str) -> dict[str, str]:
    """Of a process that finds the project and the fakes, and no proxy before this machine."""
    path = f"{ROOT}{os.pathsep}{FAKES}"
    return {**os.environ, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **more}


@pytest.fixture
def chat_server() -> Iterator[Callable[..., ChatServer]]:
    """Starts servers; keyword arguments are their script."""
    started: list[ChatServer] = []

    def start(**script: Any) -> ChatServer:
        process = subprocess.Popen(
            [sys.executable, "-m", "annotation_fakes.server", json.dumps(script)],
            stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT,
        )  # fmt: skip
        assert process.stdout is not None
        server = ChatServer(process, f"http://127.0.0.1:{process.stdout.readline().strip()}/v1")
        lines = process.stdout

        def listen() -> None:
            for line in lines:
                server.told.put(json.loads(line))

        Thread(target=listen, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing between this process and a server of this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def command() -> Callable[..., subprocess.Popen[str]]:
    """Starts ``python -m NAME ARGUMENTS``."""

    def start(*arguments: Any, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more), cwd=ROOT,
        )  # fmt: skip

    return start

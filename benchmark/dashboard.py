"""What an open page of the dashboard does to the labels: ``python -m benchmark.dashboard``.

Player, perception node, dashboard and listener run in processes of their own all the time. Turn by turn the
page is closed and open; what is compared is how often states come, how old they are, and what each process
uses. The page is a reader that takes events and pictures as the page does, or with ``--browser`` a real one,
which takes part of the machine that on a robot is another's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from benchmark import clip as clips
from benchmark import record
from benchmark.graph import FULL_WINDOW_NS, GraphError, Heard, Process, listening, rate_hz
from benchmark.processes import UsageMeter
from emollama_ros.bundle import Bundle
from emollama_ros.nodes.children import command

SAMPLE = record.ROOT / "emollama_ros" / "samples" / "sample.mp4"
LOADING_S = 180.0
#: After each change, so that what was under way is over, s: the dashboard goes on for a while without a page.
SETTLE_S = 8.0
SERVES = "dashboard: "


class Reader:
    """Takes what a page takes: events as they come, and each picture when it has the one before."""

    def __init__(self, address: str) -> None:
        """Open the page."""
        self._place = urlsplit(address)
        self._over = threading.Event()
        self.events = self.pictures = 0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._hear, self._see)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Close it."""
        self._over.set()
        for thread in self._threads:
            thread.join(15)

    def _hear(self) -> None:
        connection = self._connection()
        connection.request("GET", "/events")
        answer = connection.getresponse()
        while not self._over.is_set() and (line := answer.readline()):
            self.events += line.startswith(b"event:")
        connection.close()

    def _see(self) -> None:
        connection, after = self._connection(), "0"
        while not self._over.is_set():
            try:
                connection.request("GET", f"/frame.jpg?after={after}")
                answer = connection.getresponse()
                answer.read()
                after = answer.headers.get("X-Frame", after)
                self.pictures += answer.status == 200
            except (OSError, HTTPException):
                connection.close()
        connection.close()

    def _connection(self) -> HTTPConnection:
        return HTTPConnection(str(self._place.hostname), self._place.port, timeout=15)


class Browser:
    """The page in a headless Chromium."""

    def __init__(self, address: str) -> None:
        """Open the page."""
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(switch)
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        self._driver = webdriver.Chrome(options=options, service=service)
        self._driver.get(address)

    def close(self) -> None:
        """Close it."""
        self._driver.quit()


def measure(seconds: float, rounds: int, page: Callable[[str], Any]) -> dict[str, Any]:
    """Measure with the page closed and open, turn by turn.

    Args:
        seconds: Length of a turn, s.
        rounds: Turns of each kind.
        page: Opens the page at an address.

    Raises:
        GraphError: A process failed.
    """
    heard: dict[str, list[Heard]] = {"closed": [], "open": []}
    used: dict[str, list[dict[str, float]]] = {"closed": [], "open": []}
    with TemporaryDirectory() as scratch, running(Path(scratch)) as (now, spin, children, address):
        for turn in range(2 * rounds):
            kind = ("closed", "open")[turn % 2]
            opened = page(address) if kind == "open" else None
            spin(SETTLE_S)
            now.states.clear()
            meters = {child.name: UsageMeter(child.pid) for child in children}
            spin(seconds)
            for meter in meters.values():
                meter.note()
            used[kind].append({name: meter.usage().cpu_percent for name, meter in meters.items()})
            heard[kind].append(Heard(states=list(now.states)))
            if opened is not None:
                opened.close()
    return compared({kind: figures(heard[kind], used[kind]) for kind in heard})


def figures(heard: Sequence[Heard], used: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Rate, age and use of the turns of one kind; only full windows count."""
    turns = [[s for s in each.states if s[1] - s[0] >= FULL_WINDOW_NS] for each in heard]
    states = [state for turn in turns for state in turn]
    if not states:
        raise GraphError("no state of a full window was heard")
    return {
        "labels_hz": record.significant(sum(rate_hz(turn) for turn in turns) / len(turns)),
        "labels_hz_of_turns": [rate_hz(turn) for turn in turns],
        "age_at_listener_ms": record.summary((s[3] - s[1]) / 1e6 for s in states),
        "latency_ms": record.summary(s[4] for s in states),
        "cpu_percent_of_a_core": {
            name: record.significant(sum(u[name] for u in used) / len(used), 3) for name in used[0]
        },
    }


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Add what open is over closed."""
    opened, closed = found["open"], found["closed"]
    found["open_over_closed"] = {
        "labels_hz": record.significant(opened["labels_hz"] / closed["labels_hz"]),
        "age_at_listener_p50": record.significant(
            opened["age_at_listener_ms"]["p50"] / closed["age_at_listener_ms"]["p50"]
        ),
    }
    return found


@contextmanager
def running(
    scratch: Path,
) -> Iterator[tuple[Heard, Callable[[float], None], tuple[Process, ...], str]]:
    """Run the graph; yields what is heard, a function that listens for so many seconds, processes, address.

    Raises:
        GraphError: A process failed.
    """
    heard, clip = Heard(), clips.make_clip(SAMPLE, scratch / "vga.mkv", 20.0)
    with listening(heard) as serve, ExitStack() as ending:

        def start(name: str, module: str, **parameters: str) -> Process:
            child = Process(name, command(module, parameters), os.environ)
            ending.callback(child.stop)
            return child

        children = (
            start("perception", "perception_node", autostart="true"),
            start("dashboard", "dashboard_node", port="0"),
            start("player", "media_player_node", path=json.dumps(str(clip)), loop="true", max_side="0"),
        )

        def until(condition: Callable[[], Any]) -> None:
            while not condition():
                serve()
                for child in children:
                    if child.exit_status is not None:
                        raise GraphError(child.epitaph())

        def spin(seconds: float) -> None:
            deadline = monotonic() + seconds
            until(lambda: monotonic() > deadline)

        deadline = monotonic() + LOADING_S
        until(lambda: (heard.states and children[1].line_with(SERVES)) or monotonic() > deadline)
        line = children[1].line_with(SERVES)
        if not heard.states or line is None:
            raise GraphError(f"no label, or no dashboard, within {LOADING_S:.0f} s")
        spin(6.0)  # until windows are whole
        yield heard, spin, children, line.partition(SERVES)[2].strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.dashboard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a turn")
    parser.add_argument("--rounds", type=int, default=4, help="turns with the page closed, and as many open")
    parser.add_argument("--browser", action="store_true", help="a real browser, on this machine")
    parser.add_argument("--out", type=Path, default=record.ROOT / "build" / "benchmark", help="folder")
    given = parser.parse_args(arguments)
    # Nothing is drawn by lot, and every result says its seed.
    settings = {"seconds": given.seconds, "rounds": given.rounds, "browser": given.browser, "seed": 0}
    document = record.document("dashboard", settings, [SAMPLE], {})
    bundle = Bundle.load()
    document["bundle"] = {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "sha256": bundle.sha256,
    }
    try:
        results = measure(given.seconds, given.rounds, Browser if given.browser else Reader)
    except GraphError as error:
        print(f"error: {error}")
        return 1
    document["results"] = results
    for kind in ("closed", "open"):
        row = results[kind]
        age, cpu = row["age_at_listener_ms"], row["cpu_percent_of_a_core"]
        print(
            f"{kind:>7}: {row['labels_hz']} labels/s, {age['p50']} ms old (p95 {age.get('p95', '-')}),"
            f" processor % {cpu}"
        )
    print(f"open / closed: {results['open_over_closed']}")
    print(f"written: {record.write(document, given.out)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

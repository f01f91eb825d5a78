"""What changed from one report to the next, as lines for the log. No ROS in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emollama_ros.conditions import Level, recognise
from emollama_ros.logs import Throttle, structured
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.diagnostics import Entry

#: Severities of ``logging`` of the levels of an entry.
SEVERITIES: Mapping[Level, int] = {
    Level.OK: logging.INFO,
    Level.WARN: logging.WARNING,
    Level.STALE: logging.WARNING,
    Level.ERROR: logging.ERROR,
}


@dataclass(frozen=True)
class _Seen:
    """How an entry was: what makes it another matter, and since when it is so."""

    level: Level
    matters: frozenset[str]
    since_ns: int


class Changes:
    """Follows the entries of a node: whoever reads the log sees when something began and when it was over.

    A matter that comes and goes is said once per period. One thread only.
    """

    def __init__(self, throttle: Throttle | None = None) -> None:
        """Begin before the first report.

        Args:
            throttle: What decides how often the same is said; one of its own if left out.
        """
        self._throttle = throttle or Throttle()
        self._seen: dict[str, _Seen] = {}

    def lines(self, entries: Iterable[Entry], now_ns: int) -> list[tuple[int, str]]:
        """Return (severity of ``logging``, line) of what is not as it was; nothing at the first report."""
        made = (self._line(entry, now_ns) for entry in entries)
        return [line for line in made if line is not None]

    def _line(self, entry: Entry, now_ns: int) -> tuple[int, str] | None:
        was = self._seen.get(entry.name)
        matters = frozenset(condition.name for condition in recognise(entry.message))
        if was is not None and (was.level, was.matters) == (entry.level, matters):
            return None
        self._seen[entry.name] = _Seen(entry.level, matters, now_ns)
        if was is None:
            return None
        lasted_s = (now_ns - was.since_ns) / SECOND
        line = structured(
            entry.name,
            level=entry.level.name,
            was=was.level.name,
            after_s=round(lasted_s),
            text=entry.message,
        )
        kind = " ".join((entry.name, entry.level.name, *sorted(matters)))
        admitted = self._throttle.admit(line, kind)
        return None if admitted is None else (SEVERITIES[entry.level], admitted)

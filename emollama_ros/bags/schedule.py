"""Which windows the robot perceived, so that a replay perceives the same ones and no others.

A busy robot leaves windows out, and each window that is perceived steadies the labels after it and teaches
something of the person. So a replay that perceived all would tell something else with the same model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from emollama_ros.bags.told import ToldReasoning, ToldState

#: How far a window that is complete now may be ahead of the next one of the schedule.
_AHEAD = 8


class Schedule:
    """The windows of one source that are still to come, in order."""

    def __init__(self, states: Iterable[ToldState], reasonings: Iterable[ToldReasoning]) -> None:
        """Take what was told of the source."""
        self._pending = deque(states)
        self._explained = {reasoning.key for reasoning in reasonings}

    @property
    def next(self) -> ToldState | None:
        """The window that comes next, ``None`` after the last."""
        return self._pending[0] if self._pending else None

    def complete(self, end_ns: int) -> list[ToldState]:
        """Return the windows to perceive now that the one with this end is complete, in order."""
        ends = [state.end_ns for state in list(self._pending)[:_AHEAD]]
        return [self._pending.popleft() for _ in range(ends.index(end_ns) + 1)] if end_ns in ends else []

    def overdue(self, log_ns: int) -> list[ToldState]:
        """Return the windows that the robot had told by then, in order."""
        found: list[ToldState] = []
        while self._pending and self._pending[0].log_ns <= log_ns:
            found.append(self._pending.popleft())
        return found

    def is_explained(self, state: ToldState) -> bool:
        """Whether the robot explained a window in words."""
        return state.key in self._explained

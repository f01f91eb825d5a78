"""Numbers of published states and reasonings, and which state a reasoning is about."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

#: States kept for a reasoning to refer to: minutes at the default hop, far more than a text takes.
REMEMBERED = 512


@dataclass
class Numbering:
    """Counts over the life of a node, across pipelines that each count from 0. One thread only.

    States are numbered by the node because it also publishes states of its own (stale, refused input)
    and promises numbers without gaps.
    """

    states: int = 0
    reasonings: int = 0
    _published: OrderedDict[int, int] = field(default_factory=OrderedDict)
    _current: tuple[int, int] | None = None

    def state(self, estimate_sequence: int | None = None) -> int:
        """Return the number of the next state.

        Args:
            estimate_sequence: The pipeline's number of the estimate, ``None`` for the node's own states.
        """
        number = self.states
        self.states += 1
        if estimate_sequence is not None:
            self._published[estimate_sequence] = number
            while len(self._published) > REMEMBERED:
                self._published.popitem(last=False)
        return number

    def reasoning(self, sequence: int, estimate_sequence: int) -> tuple[int, int] | None:
        """Return (number of the reasoning, number of the state it explains).

        ``None`` when that state was never published, so that there is nothing to explain.
        """
        explains = self._published.get(estimate_sequence)
        if explains is None:
            return None
        if self._current is None or self._current[0] != sequence:
            self._current = (sequence, self.reasonings)
            self.reasonings += 1
        return self._current[1], explains

    def new_pipeline(self) -> None:
        """Forget the numbers of a pipeline that was stopped; the node's own go on."""
        self._published.clear()
        self._current = None

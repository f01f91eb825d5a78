"""What behaviours ask of states: when, whether somebody is told, and whether a label has lasted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emollama_ros.labels import WITHOUT_FEELING
from emollama_ros.nodes.clock import SECOND, stamp_ns

if TYPE_CHECKING:
    from emollama_ros.msg import EmotionState


def seconds(state: EmotionState) -> float:
    """Return the time of a state, s, on the clock of the sensors."""
    return stamp_ns(state.header.stamp) / SECOND


def told(state: EmotionState, least_confidence: float = 0.0) -> str | None:
    """Return the label of a state, None where it tells none.

    ``unknown`` (nothing could be perceived) and ``uncertain`` (no label is likely enough) are no labels;
    neither is one that is less sure than asked for.
    """
    is_told = state.label not in WITHOUT_FEELING and state.confidence >= least_confidence
    return state.label if is_told else None


class Steady:
    """A label that has lasted: what flickers by is not reacted to."""

    def __init__(self, hold_s: float) -> None:
        """Know of nothing.

        Args:
            hold_s: How long a label must have been told without interruption, s.
        """
        self._hold_s = hold_s
        self._label: str | None = None
        self._since_s = 0.0

    def update(self, now_s: float, label: str | None) -> str | None:
        """Take the label of a state, return it if it has lasted.

        Args:
            now_s: Time of the state; one before the last begins anew (a bag that loops).
            label: None where no label is told.
        """
        if label != self._label or now_s < self._since_s:
            self._label, self._since_s = label, now_s
        return label if now_s - self._since_s >= self._hold_s else None

"""A condition for behaviour trees: does the person seem so, and has it lasted?

``EmotionCondition.tick()`` needs no library. Where py_trees is installed, ``as_py_trees`` makes a leaf of it:

    seems_upset = EmotionCondition(listener, {"angry", "scared"}, hold_s=1.0)
    root.add_child(as_py_trees(seems_upset, "seems upset"))
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

from emollama_ros.behaviours.steady import Steady, seconds, told
from emollama_ros.errors import ConfigError

if TYPE_CHECKING:
    from emollama_ros.client import EmotionListener


class Status(Enum):
    """What a tick says. The names are those of ``py_trees.common.Status``."""

    SUCCESS = "success"
    FAILURE = "failure"
    RUNNING = "running"


class EmotionCondition:
    """Whether one of some labels has been told for a while.

    A tick looks and returns; it never waits. It sees the newest state only, so tick at least as often as
    states come (2 Hz).
    """

    def __init__(
        self,
        listener: EmotionListener,
        labels: str | Iterable[str],
        least_confidence: float = 0.5,
        hold_s: float = 1.0,
        max_age_s: float = 2.0,
    ) -> None:
        """Know nothing yet.

        Args:
            listener: Whose states are looked at.
            labels: One label, or several of which any will do.
            least_confidence: A label less sure than this does not count.
            hold_s: How long one of the labels must have been told, s.
            max_age_s: A state received longer ago than this does not count, s.
        """
        self.labels = frozenset({labels} if isinstance(labels, str) else labels)
        self._listener, self._least, self._max_age_s = listener, least_confidence, max_age_s
        self._hold_s = hold_s
        self.reset()

    def reset(self) -> None:
        """Forget how long it has lasted; a tree does that when it enters the leaf."""
        self._steady = Steady(self._hold_s)

    def tick(self) -> Status:
        """Look.

        Returns:
            SUCCESS where one of the labels has lasted, RUNNING where it has not lasted long enough yet,
            FAILURE where another is told, none is (uncertain, unknown), or nothing was heard lately.
        """
        state = self._listener.latest(self._max_age_s)
        is_so = state is not None and told(state, self._least) in self.labels
        if state is None or not is_so:
            self.reset()
            return Status.FAILURE
        return Status.SUCCESS if self._steady.update(seconds(state), "so") else Status.RUNNING


def as_py_trees(condition: EmotionCondition, name: str) -> Any:
    """Make a leaf of py_trees of a condition.

    Raises:
        ConfigError: py_trees is not installed.
    """
    try:
        import py_trees
    except ImportError:
        raise ConfigError("py_trees is not installed; run: pip install py_trees") from None

    class Leaf(py_trees.behaviour.Behaviour):
        """Ticks the condition."""

        def initialise(self) -> None:
            condition.reset()

        def update(self) -> Any:
            return py_trees.common.Status[condition.tick().name]

    return Leaf(name)

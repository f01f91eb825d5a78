"""What a pipeline needs of a model: something that perceives, and something that explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.streams import Window


class Perceiver(Protocol):
    """What the fast worker needs; ``perception.Perception`` is one. Used by that worker alone."""

    def perceive(
        self, windows: Sequence[Window], sequences: Sequence[int], sources: Sequence[int]
    ) -> list[EmotionEstimate]:
        """Estimate the emotion shown in each window.

        Args:
            windows: At most one of each source.
            sequences: Number of each window.
            sources: Whose window each is. What was seen before is remembered for each source by itself.

        Returns:
            One estimate a window, in order; the same as if the window had come alone.
        """

    def reset(self, source: int | None = None) -> None:
        """Forget what was seen before of one source, or of all."""


class Explainer(Protocol):
    """What the slow worker needs; ``reasoning.Reasoner`` is one. Used by that worker alone."""

    def explain(
        self,
        estimate: EmotionEstimate,
        transcript: str,
        *,
        question: str = "",
        on_text: Callable[[Reasoning], None],
        should_stop: Callable[[], bool],
    ) -> Reasoning:
        """Write why, or the answer to a question, calling ``on_text`` as the text grows."""

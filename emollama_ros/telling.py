"""What every reasoner has in common: the values of one reasoning while it grows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from emollama_ros.estimate import EmotionEstimate, Reasoning


@dataclass(frozen=True)
class Telling:
    """One reasoning under way; time runs from when it was made.

    Attributes:
        sequence: Number of the reasoning.
        estimate: What is explained.
    """

    sequence: int
    estimate: EmotionEstimate
    _began: float = field(default_factory=time.perf_counter)

    @property
    def elapsed_ms(self) -> float:
        """Time since it was begun."""
        return (time.perf_counter() - self._began) * 1e3

    def so_far(self, text: str, tokens: int, final: bool = False) -> Reasoning:
        """Return the reasoning with its text as far as it is written."""
        return Reasoning(
            sequence=self.sequence,
            estimate_sequence=self.estimate.sequence,
            start_ns=self.estimate.start_ns,
            end_ns=self.estimate.end_ns,
            label=self.estimate.label,
            text=text,
            final=final,
            tokens=tokens,
            elapsed_ms=self.elapsed_ms,
        )

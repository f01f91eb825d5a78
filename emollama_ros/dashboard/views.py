"""What is shown, as plain values, and in words that need no knowledge of the package. No ROS in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emollama_ros.conditions import PAUSED
from emollama_ros.labels import UNCERTAIN, UNKNOWN

#: What stands where the label does, and below it, while perception is switched off.
PAUSED_TITLE = "Paused"
PAUSED_LINE = "The robot neither looks nor listens, and has forgotten what it saw and heard."
#: Where nothing can be perceived; the reason stands below it.
UNKNOWN_TITLE = "Nothing to tell"
#: Where no label is likely enough.
UNCERTAIN_TITLE = "Not sure"


@dataclass(frozen=True)
class StateView:
    """One state of a source, ready to be shown.

    Attributes:
        sequence: Number of the state.
        end_ns: End of its window, sensors' clock.
        label: As published.
        scores: Probability by label, in the model's order; empty where nothing was perceived.
        valence: -1 to 1.
        arousal: -1 to 1.
        confidence: 0 to 1.
        used: Names of the inputs used, of ``video``, ``audio``, ``text``.
        latency_ms: From the window being complete to publishing.
        status: 0 ok, 1 degraded, 2 stale.
        status_text: What is wrong.
    """

    sequence: int
    end_ns: int
    label: str
    scores: Mapping[str, float] = field(default_factory=dict)
    valence: float = 0.0
    arousal: float = 0.0
    confidence: float = 0.0
    used: tuple[str, ...] = ()
    latency_ms: float = 0.0
    status: int = 0
    status_text: str = ""

    @property
    def is_paused(self) -> bool:
        """Whether it says that perception is switched off."""
        return self.status_text == PAUSED.words

    @property
    def title(self) -> str:
        """The label as a visitor reads it."""
        if self.is_paused:
            return PAUSED_TITLE
        return {UNKNOWN: UNKNOWN_TITLE, UNCERTAIN: UNCERTAIN_TITLE}.get(self.label, self.label.capitalize())

    @property
    def line(self) -> str:
        """One sentence below the title: how sure, or why there is no label."""
        if self.is_paused:
            return PAUSED_LINE
        if self.label == UNKNOWN:
            return sentence(self.status_text)
        if self.label == UNCERTAIN:
            return _doubt(self.scores)
        return f"{self.confidence:.0%} sure"


@dataclass(frozen=True)
class ReasoningView:
    """A reasoning as far as it is written.

    Attributes:
        sequence: Number of the reasoning.
        explains: Number of the state it explains.
        label: That it explains.
        text: So far.
        final: Whether it is complete.
    """

    sequence: int
    explains: int
    label: str
    text: str
    final: bool


def sentence(text: str) -> str:
    """Return a piece of status text as a sentence: a capital first, a full stop last."""
    text = text.strip()
    if not text:
        return ""
    # A topic name keeps its first letter, and what ends a question or a sentence stays.
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _doubt(scores: Mapping[str, float]) -> str:
    if not scores:
        return "No feeling stands out."
    likeliest = max(scores, key=lambda name: scores[name])
    return f"No feeling stands out. The likeliest is {likeliest}, at {scores[likeliest]:.0%}."

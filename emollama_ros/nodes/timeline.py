"""What was perceived over a clip, and how well it fits what the clip really shows. No ROS in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS, UNCERTAIN, UNKNOWN


@dataclass(frozen=True)
class Segment:
    """A stretch of time with one label, seconds of media time."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Agreement:
    """How often the label of a window is that of the ground truth.

    Attributes:
        hits: Windows whose label is right.
        windows: Windows compared: those that have a label.
        majority: Share of the commonest true label: what always guessing it would reach.
        uniform: Share that guessing among all labels would reach.
        uncertain: Windows whose label was not told.
    """

    hits: int
    windows: int
    majority: float
    uniform: float
    uncertain: int = 0

    @property
    def share(self) -> float:
        """Share of windows that are right, 0 to 1."""
        return self.hits / self.windows if self.windows else 0.0

    def __str__(self) -> str:
        """Return one line."""
        withheld = f"; {self.uncertain} more uncertain" if self.uncertain else ""
        return (
            f"agreement with the ground truth: {self.hits} of {self.windows} windows "
            f"({self.share:.0%}{withheld}); "
            f"chance: {self.uniform:.0%} guessing, {self.majority:.0%} always saying the commonest label"
        )


def load_truth(clip: Path) -> tuple[Segment, ...]:
    """Read the ground truth beside a clip (``sample.json`` for ``sample.mp4``), empty where none is.

    Raises:
        InputError: The file is there and not of the form ``{"segments": [{"start_s", "end_s", "label"}]}``.
    """
    path = clip.with_suffix(".json")
    if not path.is_file():
        return ()
    try:
        segments = json.loads(path.read_text())["segments"]
        return tuple(Segment(float(s["start_s"]), float(s["end_s"]), str(s["label"])) for s in segments)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no ground truth (segments of start_s, end_s, label): {error}; correct or remove it"
        ) from error


def true_label(window: Segment, truth: Sequence[Segment]) -> str | None:
    """Return the label that fills most of a window; ``None`` where the truth says nothing."""
    shares: Counter[str] = Counter()
    for segment in truth:
        overlap = min(window.end_s, segment.end_s) - max(window.start_s, segment.start_s)
        if overlap > 0:
            shares[segment.label] += overlap  # type: ignore[assignment]
    return shares.most_common(1)[0][0] if shares else None


def compare(windows: Sequence[Segment], truth: Sequence[Segment]) -> Agreement:
    """Compare perceived windows with the ground truth; windows it says nothing about are left out."""
    known = [(w.label, label) for w in windows if (label := true_label(w, truth)) is not None]
    pairs = [(found, label) for found, label in known if found != UNCERTAIN]
    commonest = Counter(label for _, label in pairs).most_common(1)
    return Agreement(
        hits=sum(found == label for found, label in pairs),
        windows=len(pairs),
        majority=commonest[0][1] / len(pairs) if pairs else 0.0,
        uniform=1 / len(DEFAULT_LABELS),
        uncertain=len(known) - len(pairs),
    )


def merge(windows: Sequence[Segment]) -> list[Segment]:
    """Join windows to stretches of one label.

    Windows overlap; each stands for the time since the one before it.
    """
    merged: list[Segment] = []
    for window in windows:
        if merged and merged[-1].label == window.label:
            merged[-1] = Segment(merged[-1].start_s, window.end_s, window.label)
        else:
            start_s = merged[-1].end_s if merged else window.start_s
            merged.append(Segment(start_s, window.end_s, window.label))
    return [s for s in merged if s.label != UNKNOWN]

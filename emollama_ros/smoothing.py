"""Steadier labels from a stream of estimates: a moving average, and a label that does not flutter.

A robot that reacts to every window twitches. Three remedies, each of which may be off:

* an exponential moving average over scores, valence and arousal, by stamp, so that it does not matter how
  regularly estimates come;
* hysteresis: a new label must lead the present one by a margin (a Schmitt trigger over probabilities);
* a least dwell: a label that was taken stays for a while.

Every remedy costs time: a change of the person's emotion is seen later. The average delays a step from one
certain label to another by 0.7 of its time constant.

What the node does by default (0.5 s, margin 0.05, no dwell) was chosen on the sample clip of the demo: of
its 47 windows, with 5 true changes of the label, it takes the changes told from 13 to 7, those that last
one window from 5 to 2, and the agreement with the truth from 33 windows to 40 (with what is shown at the
very end of each window, from 27 to 31). A time constant of 2 s is no better than none there, and a dwell
of 1.5 s alone is worse. One clip is no proof; that is why the defaults are modest. Accuracy is always
measured without smoothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError
from emollama_ros.estimate import EmotionEstimate
from emollama_ros.labels import UNKNOWN

#: After so much time in which nothing could be perceived, ns, what was known is not about now.
FORGET_NS = 2_000_000_000
_LIMITS = {"smoothing_s": (0.0, 30.0), "label_margin": (0.0, 1.0), "min_dwell_s": (0.0, 30.0)}


@dataclass(frozen=True)
class Smoothing:
    """How steady labels shall be; everything off by default.

    Attributes:
        smoothing_s: Time constant of the moving average, 0..30 s; 0 = off.
        label_margin: Probability by which a new label must lead the present one, 0..1; 0 = off.
        min_dwell_s: Least time that a label stays, 0..30 s of stamps; 0 = off.
    """

    smoothing_s: float = 0.0
    label_margin: float = 0.0
    min_dwell_s: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} is {getattr(self, name)}; use {low:g} to {high:g}")


@dataclass
class _Memory:
    """What is known of the estimates so far: averages, the label, and when it was taken."""

    end_ns: int
    labels: tuple[str, ...]
    averages: NDArray[np.float64]
    label: str
    since_ns: int


class Smoother:
    """Smooths the estimates of one source. One thread only.

    Attributes:
        settings: May be changed between two estimates; what is remembered stays.
    """

    def __init__(self, settings: Smoothing) -> None:
        """Start without a memory.

        Args:
            settings: How steady labels shall be.
        """
        self.settings = settings
        self._memory: _Memory | None = None
        self._unknown_since_ns: int | None = None

    def reset(self) -> None:
        """Forget everything: the next estimate passes through."""
        self._memory = self._unknown_since_ns = None

    def update(self, estimate: EmotionEstimate) -> EmotionEstimate:
        """Return an estimate with averaged scores, valence and arousal, and the label that follows from them.

        ``unknown`` passes through; 2 s of it and what was known before is forgotten. Stamps that fall back,
        and another set of labels, start afresh; a stamp that repeats has no weight.

        Args:
            estimate: The next one; ``end_ns`` says when.
        """
        if estimate.label == UNKNOWN or not estimate.scores:
            self._note_unknown(estimate.end_ns)
            return estimate
        self._unknown_since_ns = None
        memory = self._memory
        if memory is None or estimate.end_ns < memory.end_ns or estimate.labels != memory.labels:
            self._memory = _first(estimate)
            return estimate
        self._average(memory, estimate)
        self._choose_label(memory)
        return _told(estimate, memory)

    def _note_unknown(self, end_ns: int) -> None:
        since_ns = self._unknown_since_ns
        if since_ns is None:
            self._unknown_since_ns = end_ns
        elif not 0 <= end_ns - since_ns < FORGET_NS:
            self._memory = None

    def _average(self, memory: _Memory, estimate: EmotionEstimate) -> None:
        elapsed_s = (estimate.end_ns - memory.end_ns) / 1e9
        time_constant_s = self.settings.smoothing_s
        weight = -math.expm1(-elapsed_s / time_constant_s) if time_constant_s else float(elapsed_s > 0)
        memory.averages = (1.0 - weight) * memory.averages + weight * _values(estimate)
        memory.end_ns = estimate.end_ns

    def _choose_label(self, memory: _Memory) -> None:
        scores = memory.averages[:-2]
        best = int(np.argmax(scores))
        lead = scores[best] - scores[memory.labels.index(memory.label)]
        dwelt_s = (memory.end_ns - memory.since_ns) / 1e9
        if lead > 0 and lead >= self.settings.label_margin and dwelt_s >= self.settings.min_dwell_s:
            memory.label, memory.since_ns = memory.labels[best], memory.end_ns


def _values(estimate: EmotionEstimate) -> NDArray[np.float64]:
    return np.array([*estimate.scores, estimate.valence, estimate.arousal], np.float64)


def _first(estimate: EmotionEstimate) -> _Memory:
    return _Memory(
        estimate.end_ns, estimate.labels, _values(estimate), estimate.label, since_ns=estimate.end_ns
    )


def _told(estimate: EmotionEstimate, memory: _Memory) -> EmotionEstimate:
    *scores, valence, arousal = (float(value) for value in memory.averages)
    confidence = scores[memory.labels.index(memory.label)]
    return replace(
        estimate,
        label=memory.label,
        scores=tuple(scores),
        valence=valence,
        arousal=arousal,
        confidence=confidence,
    )

"""Knowing the person: what one face and voice always adds to the scores is learnt, and taken away.

People differ from each other more than their emotions do: one sounds angry when calm, another looks sad at
rest. The network's head is close to linear, so such a habit is close to a constant added to the logits of a
view. It is estimated while the robot watches, for each source and view by itself, as the maximum a posteriori
mean shift of a Gaussian class model (Gauvain & Lee 1994), under the scores that the robot gave:

    b = sum_t w_t sum_c p_tc (l_t - m_c) / (sum_t w_t + strength)        l_t - b is what is scored

``l_t`` are the raw logits of window t, ``p_tc`` its published probability of label c (sharpened as scores of
somebody known are), ``w_t`` the share of the window that no window before had, faded with age. ``m_c`` are
such that over clips of one label, whichever, ``p_t @ m`` comes out as those clips' mean logits, of people
nobody trained on. So somebody who is sad all day is not made neutral by it; the plain means of the labels
would do that, because scores that doubt pull them towards each other.

A window is scored with what was learnt from the windows before it, never from itself or later ones: its own
scores would only confirm themselves.

docs/adaptation.md has the figures, and when to leave it off.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.manifest import Adaptation

Floats = NDArray[np.float64]

#: Nobody was perceived for so long, ns: whoever comes next may be somebody else.
ABSENT_NS = 30_000_000_000
#: ``set_neutral`` takes the windows that ended in the last so many nanoseconds.
NEUTRAL_NS = 4_000_000_000
#: What a neutral reference weighs, in windows that do not overlap.
NEUTRAL_WEIGHT = 4.0
#: Keeps a division finite.
TINY = 1e-12
#: Label that a neutral reference is of.
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Following:
    """Whether and how people are followed; off by default.

    Attributes:
        is_on: Whether what was learnt of a person is used, and anything is learnt.
        after_s: How long somebody must have been perceived before it is used, 0..600 s.
        forget_s: Time constant of forgetting, 10..86400 s of stamps.
    """

    is_on: bool = False
    after_s: float = 8.0
    forget_s: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.after_s <= 600:
            raise ConfigError(f"adaptation_after_s is {self.after_s}; use 0 to 600")
        if not 10 <= self.forget_s <= 86400:
            raise ConfigError(f"adaptation_forget_s is {self.forget_s}; use 10 to 86400")


@dataclass(frozen=True)
class PersonReport:
    """What was learnt of a person, for diagnostics.

    Attributes:
        words: Whether it is used, or why not yet.
        evidence_s: How long the person has been perceived; windows that overlap count once.
        offsets: Largest change of a logit, by view.
        neutral: About the neutral reference, in words.
    """

    words: str
    evidence_s: float
    offsets: Mapping[str, float]
    neutral: str


@dataclass
class _Habit:
    """Of one view: residuals summed over windows, and their weight."""

    total: Floats
    weight: float = 0.0
    reference: Floats | None = None

    def fade(self, factor: float) -> None:
        self.total *= factor
        self.weight *= factor

    def offset(self, strength: float) -> Floats:
        total, weight = self.total, self.weight + strength
        if self.reference is not None:
            total, weight = total + NEUTRAL_WEIGHT * self.reference, weight + NEUTRAL_WEIGHT
        return total / weight


@dataclass(frozen=True)
class _Seen:
    end_ns: int
    logits: Mapping[str, Floats]


@dataclass
class _Memory:
    """Everything that is known of the present person."""

    habits: dict[str, _Habit] = field(default_factory=dict)
    evidence_s: float = 0.0
    end_ns: int | None = None
    recent: deque[_Seen] = field(default_factory=deque)
    is_referenced: bool = False


class Person:
    """Whoever is in front of one source. Any thread may call anything."""

    def __init__(self, prior: Adaptation, labels: Sequence[str], settings: Following = Following()) -> None:
        """Know nothing yet.

        Args:
            prior: What people are like on average, of the bundle.
            labels: In the order of the logits.
            settings: Whether and how to follow.
        """
        self._prior = prior
        self._means = {view: _centred(np.array(rows, np.float64)) for view, rows in prior.means.items()}
        self._neutral = labels.index(NEUTRAL) if NEUTRAL in labels else None
        self._settings = settings
        self._memory = _Memory()
        self._lock = threading.Lock()

    def use(self, settings: Following) -> None:
        """Take other settings; switched off, what was learnt is forgotten."""
        with self._lock:
            self._settings = settings
            if not settings.is_on:
                self._memory = _Memory()

    def forget(self) -> None:
        """Somebody else is there from now on."""
        with self._lock:
            self._memory = _Memory()

    def corrected(self, end_ns: int, logits: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Return the logits of a window, by view, without the person's habit as far as it is known.

        Args:
            end_ns: Last instant of the window.
            logits: (labels,) raw logits of each view; views that the bundle has no means of are left alone.
        """
        with self._lock:
            if not self._is_used or not self._goes_on(end_ns):
                return dict(logits)
            habits = self._memory.habits
            return {
                view: values - self._bounded(view).astype(values.dtype) if view in habits else values
                for view, values in logits.items()
            }

    def observe(
        self, start_ns: int, end_ns: int, logits: Mapping[str, NDArray], probabilities: NDArray
    ) -> None:
        """Learn from a window that has been scored.

        Args:
            start_ns: First instant of the window.
            end_ns: Last instant. One that is not later than the window's before makes everything begin anew.
            logits: (labels,) raw logits of each view, as the network gave them.
            probabilities: (labels,) what was published.
        """
        with self._lock:
            if not self._settings.is_on or not _all_finite(probabilities, *logits.values()):
                return
            fresh_s = self._advance(start_ns, end_ns)
            length_s = max((end_ns - start_ns) / 1e9, 1e-9)
            self._memory.evidence_s += fresh_s
            known = {view: _centred(logits[view]) for view in logits if view in self._means}
            belief = self._sharpened(probabilities, logits)
            for view, values in known.items():
                self._learn(view, values, belief, fresh_s / length_s)
            self._remember(_Seen(end_ns, known))

    def set_neutral(self) -> str:
        """Take the last seconds as this person's neutral face and voice; returns what was done, in words.

        Raises:
            ConfigError: Adaptation is off, or the bundle has no label ``neutral``.
            InputError: Nobody was perceived in the last seconds.
        """
        with self._lock:
            if not self._settings.is_on:
                raise ConfigError("adaptation is off; set the parameter adaptation to person")
            memory = self._memory
            if not memory.recent:
                raise InputError(
                    f"nobody was perceived in the last {NEUTRAL_NS / 1e9:.0f} s, so there is no neutral face"
                    " or voice to go by; call it while the person is seen or heard"
                )
            if self._neutral is None:
                raise ConfigError("the bundle has no label neutral to compare with")
            for view in {view for seen in memory.recent for view in seen.logits}:
                values = [seen.logits[view] for seen in memory.recent if view in seen.logits]
                self._habit(view).reference = np.mean(values, 0) - self._means[view][self._neutral]
            memory.is_referenced = True
            return f"the last {len(memory.recent)} window(s) are this person's neutral face and voice"

    def report(self) -> PersonReport:
        """Return what was learnt."""
        with self._lock:
            memory, settings = self._memory, self._settings
            offsets = {
                view: float(np.abs(self._bounded(view)).max()) for view in memory.habits if self._is_used
            }
            neutral = "set for this person" if memory.is_referenced else "not set"
            if not settings.is_on:
                words = "off"
            elif self._is_used:
                words = "allowing for the person"
            else:
                words = f"knows too little of the person: {memory.evidence_s:.1f} of {settings.after_s:g} s"
            return PersonReport(words, memory.evidence_s, offsets, neutral)

    @property
    def _is_used(self) -> bool:
        memory = self._memory
        has_enough = memory.evidence_s >= self._settings.after_s or memory.is_referenced
        return self._settings.is_on and bool(memory.habits) and has_enough

    def _goes_on(self, end_ns: int) -> bool:
        """Whether a window is of the person of the windows before."""
        before = self._memory.end_ns
        return before is not None and 0 < end_ns - before <= ABSENT_NS

    def _bounded(self, view: str) -> Floats:
        offset = self._memory.habits[view].offset(self._prior.strength[view])
        largest = float(np.abs(offset).max())
        return offset if largest <= self._prior.clip else offset * (self._prior.clip / largest)

    def _advance(self, start_ns: int, end_ns: int) -> float:
        """Go on to the end of a window; return how many seconds of it no window before had."""
        if not self._goes_on(end_ns):
            self._memory = _Memory(end_ns=end_ns)
            return (end_ns - start_ns) / 1e9
        before, self._memory.end_ns = self._memory.end_ns or 0, end_ns
        factor = math.exp(-(end_ns - before) / 1e9 / self._settings.forget_s)
        for habit in self._memory.habits.values():
            habit.fade(factor)
        return min(end_ns - before, end_ns - start_ns) / 1e9

    def _sharpened(self, probabilities: NDArray, views: Mapping[str, NDArray]) -> Floats:
        """What was published, as it would be if the person were known."""
        exponent = self._prior.sharpness.get(max(views, key=len, default=""), 1.0)
        powers = np.asarray(probabilities, np.float64) ** exponent
        return powers / max(powers.sum(), TINY)

    def _learn(self, view: str, values: Floats, belief: Floats, weight: float) -> None:
        habit = self._habit(view)
        habit.total += weight * (values - belief @ self._means[view])
        habit.weight += weight

    def _habit(self, view: str) -> _Habit:
        return self._memory.habits.setdefault(view, _Habit(np.zeros(len(self._means[view]))))

    def _remember(self, seen: _Seen) -> None:
        recent = self._memory.recent
        recent.append(seen)
        while seen.end_ns - recent[0].end_ns >= NEUTRAL_NS:
            recent.popleft()


class People:
    """A person a source. Any thread may call anything."""

    def __init__(self, prior: Adaptation, labels: Sequence[str], settings: Following = Following()) -> None:
        """Know nobody yet.

        Args:
            prior: What people are like on average, of the bundle.
            labels: In the order of the logits.
            settings: Whether and how to follow.
        """
        self._prior, self._labels, self._settings = prior, tuple(labels), settings
        self._lock = threading.Lock()
        self._persons: dict[int, Person] = {}

    def at(self, source: int) -> Person:
        """Whoever is in front of a source, by its index in the pipeline."""
        with self._lock:
            if source not in self._persons:
                self._persons[source] = Person(self._prior, self._labels, self._settings)
            return self._persons[source]

    def use(self, settings: Following) -> None:
        """Take other settings for everybody."""
        with self._lock:
            self._settings = settings
            for person in self._persons.values():
                person.use(settings)

    def forget(self, source: int | None = None) -> None:
        """Somebody else is in front of a source, or of all."""
        with self._lock:
            persons = [p for index, p in self._persons.items() if source in (None, index)]
        for person in persons:
            person.forget()


def _centred(values: NDArray) -> Floats:
    """Without what all labels have in common, which no probability depends on."""
    return values - np.asarray(values, np.float64).mean(-1, keepdims=True)


def _all_finite(*arrays: NDArray) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)

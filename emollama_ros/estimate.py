"""The values that flow through the package: plain, frozen, without behaviour of their own.

Time is always an integer number of nanoseconds of the acquisition clock (the clock of the
message stamps), never the moment of processing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray


class Modality(IntFlag):
    """Which inputs an estimate used. The values are those of ``EmotionState.modalities``."""

    NONE = 0
    VIDEO = 1
    AUDIO = 2
    TEXT = 4

    def names(self) -> tuple[str, ...]:
        """Return the lower-case names of the set members, in fixed order."""
        return tuple(name for modality, name in _NAMES if modality in self)


_NAMES = ((Modality.VIDEO, "video"), (Modality.AUDIO, "audio"), (Modality.TEXT, "text"))


class Status(IntEnum):
    """How much an estimate can be relied on. The values are those of ``EmotionState.status``."""

    OK = 0
    DEGRADED = 1
    STALE = 2


@dataclass(frozen=True)
class Cue:
    """One measured fact about the person, the only material a reasoning may be made of.

    Attributes:
        name: Stable identifier, for example ``voice.pitch_range``.
        level: What was found, for example ``high``; one of the levels documented for the name.
        value: The measurement itself.
        unit: Unit of ``value``, for example ``semitones`` or ``dB``.
        modality: The single modality the fact was measured in.
        strength: How far the value stands out, 0 (typical) to 1 (extreme).
    """

    name: str
    level: str
    value: float
    unit: str
    modality: Modality
    strength: float


@dataclass(frozen=True)
class EmotionEstimate:
    """What is perceived in one window.

    Attributes:
        start_ns: First instant of the window, acquisition clock.
        end_ns: Last instant of the window; the stamp of the published state.
        sequence: Counts the windows of this source from 0, without gaps.
        label: The most probable label, ``uncertain`` when it is not likely enough, or ``unknown`` when
            nothing could be perceived.
        labels: The label set, in the order of ``scores``.
        scores: Probability of each label, summing to 1 (all 0 when nothing was perceived).
        valence: Unpleasant -1 to pleasant 1.
        arousal: Calm -1 to excited 1.
        confidence: Probability of ``label``, or of the label that ``uncertain`` stands for, 0 to 1.
        modalities: The inputs that were used.
        views: What each used modality says on its own, same order as ``labels``.
        cues: Measured facts of this window.
        status: Whether the estimate can be relied on.
        status_text: In words, what is degraded and what to do; empty when all is well.
        stage_ms: Processing time of each stage in milliseconds.
        soft_tokens: For the language model, (n, width) float32, those that are there, in the prompt's order;
            never published.
        source: Index of the source in the pipeline.
    """

    start_ns: int
    end_ns: int
    sequence: int
    label: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    valence: float
    arousal: float
    confidence: float
    modalities: Modality
    views: Mapping[Modality, tuple[float, ...]] = field(default_factory=dict)
    cues: tuple[Cue, ...] = ()
    status: Status = Status.OK
    status_text: str = ""
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    soft_tokens: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    source: int = 0


@dataclass(frozen=True)
class Reasoning:
    """Why, in words. Streamed: ``text`` grows from one value to the next until ``final``.

    Attributes:
        sequence: Counts reasonings from 0; constant while one reasoning is streamed.
        estimate_sequence: ``EmotionEstimate.sequence`` of the window it explains.
        start_ns: Start of the explained window.
        end_ns: End of the explained window.
        label: The published label it explains.
        text: The text so far.
        final: Whether this is the last value of this reasoning.
        tokens: Tokens generated so far.
        elapsed_ms: Time since the reasoning was requested, in milliseconds.
        source: Index of the source in the pipeline.
    """

    sequence: int
    estimate_sequence: int
    start_ns: int
    end_ns: int
    label: str
    text: str
    final: bool
    tokens: int = 0
    elapsed_ms: float = 0.0
    source: int = 0

"""How loud it is: levels of consecutive sound, a few a second. No ROS in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What silence is given as, dBFS: the noise of 16 bits lies above it.
FLOOR_DB = -100.0


@dataclass(frozen=True)
class Level:
    """How loud a tenth of a second is.

    Attributes:
        rms_db: Root mean square, dB below full scale (a full-scale square wave is 0), at least ``FLOOR_DB``.
        peak_db: Largest sample, the same.
    """

    rms_db: float
    peak_db: float


class LoudnessMeter:
    """Measures consecutive pieces of sound. One thread only."""

    def __init__(self, every_s: float = 0.1) -> None:
        """Start in silence.

        Args:
            every_s: How much sound one level is taken over, seconds.
        """
        self._every_s = every_s
        self._square = self._peak = 0.0
        self._count = 0

    def push(self, samples: NDArray[Any], rate: int, channels: int = 1) -> Level | None:
        """Take a piece of sound.

        Args:
            samples: ``[n * channels]``; integer PCM of any width, or floats of full scale 1. NaN is silence.
            rate: Samples per second and channel, Hz.
            channels: Interleaved channels.

        Returns:
            The level of the last ``every_s``; ``None`` until there is enough sound.
        """
        sound = np.nan_to_num(_full_scale_1(samples))
        self._square += float(np.square(sound).sum())
        self._peak = max(self._peak, float(np.abs(sound).max(initial=0.0)))
        self._count += len(sound)
        if self._count < max(1, round(self._every_s * rate * channels)):
            return None
        level = Level(_decibels(math.sqrt(self._square / self._count)), _decibels(self._peak))
        self._square = self._peak = 0.0
        self._count = 0
        return level


def _full_scale_1(samples: NDArray[Any]) -> NDArray[np.float64]:
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    bits = 8 * samples.dtype.itemsize - 1
    middle = 2.0**bits if samples.dtype.kind == "u" else 0.0
    return (samples.astype(np.float64) - middle) / 2.0**bits


def _decibels(amplitude: float) -> float:
    return max(FLOOR_DB, 20 * math.log10(amplitude)) if amplitude > 0 else FLOOR_DB

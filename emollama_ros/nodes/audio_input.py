"""Consecutive chunks of a microphone to what the pipeline takes: float32 mono at 16 kHz, with their time."""

from __future__ import annotations

from dataclasses import dataclass

import av  # noqa: F401  # takes a while, which the first chunk of sound must not wait for
import numpy as np
from numpy.typing import NDArray

from emollama_ros.nodes.adapters.sound import Chunk
from emollama_ros.nodes.clock import SECOND, CaptureClock
from emollama_ros.preprocess.audio import Resampler


@dataclass(frozen=True)
class Sound:
    """One converted chunk.

    Attributes:
        stamp_ns: Capture time of the first sample.
        end_ns: Just after the last sample.
        samples: float32 ``[n]``, mono, 16 kHz, within [-1, 1]; NaN where nothing was recorded.
        missing: Chunks that were sent and did not arrive before this one.
    """

    stamp_ns: int
    end_ns: int
    samples: NDArray[np.float32]
    missing: int


class AudioInput:
    """Converts consecutive chunks; keeps the resampler's memory between them. One thread only."""

    def __init__(self, latency_ns: int = 0) -> None:
        """Start before the first chunk.

        Args:
            latency_ns: Delay from sound to stamp, or to arrival; times are set back by it.
        """
        self._latency_ns = latency_ns
        self._form = (0, 0)
        self._next: int | None = None

    def convert(self, chunk: Chunk, arrived_ns: int) -> Sound:
        """Convert a chunk.

        Args:
            chunk: What a driver sent.
            arrived_ns: When it arrived, on the clock of the stamps; used where it has no stamp.
        """
        if (chunk.rate, chunk.channels) != self._form:
            self._begin(chunk.rate, chunk.channels)
        count = len(chunk.samples) // chunk.channels
        stamp = self._stamp(chunk, count, arrived_ns)
        samples = self._resampler.push(chunk.samples)
        # A steep edge at full scale comes out of a resampler a little beyond it.
        return Sound(
            stamp,
            stamp + count * SECOND // chunk.rate,
            np.clip(samples, -1, 1),
            self._missing(chunk.sequence),
        )

    def _begin(self, rate: int, channels: int) -> None:
        self._form = (rate, channels)
        self._resampler = Resampler(rate, channels)
        self._clock = CaptureClock(rate, self._latency_ns)

    def _stamp(self, chunk: Chunk, count: int, arrived_ns: int) -> int:
        if chunk.stamp_ns is None:
            return self._clock.chunk(arrived_ns, count)
        return chunk.stamp_ns - self._latency_ns

    def _missing(self, sequence: int | None) -> int:
        if sequence is None:
            return 0
        expected, self._next = self._next, sequence + 1
        # A number that falls back is a publisher that started again, not a loss.
        return max(0, sequence - expected) if expected else 0

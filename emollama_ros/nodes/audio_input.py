"""Microphone messages to what the pipeline takes: float32 mono at 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass

import av  # noqa: F401  # takes a while, which the first chunk of sound must not wait for
import numpy as np
from numpy.typing import NDArray

from emollama_ros.msg import AudioChunk
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.messages import chunk_samples, require_stamp
from emollama_ros.preprocess.audio import Resampler


@dataclass(frozen=True)
class Sound:
    """One converted chunk.

    Attributes:
        stamp_ns: Capture time of the first sample.
        end_ns: Just after the last sample.
        samples: float32 ``[n]``, mono, 16 kHz, full scale 1.
        missing: Chunks that were sent and did not arrive before this one.
    """

    stamp_ns: int
    end_ns: int
    samples: NDArray[np.float32]
    missing: int


class AudioInput:
    """Converts consecutive chunks; keeps the resampler's memory between them. One thread only."""

    def __init__(self) -> None:
        """Start before the first chunk."""
        self._resampler: Resampler | None = None
        self._form = (0, 0)
        self._next: int | None = None

    def convert(self, message: AudioChunk) -> Sound:
        """Convert a chunk.

        Raises:
            InputError: No stamp, no samples, or an impossible format.
        """
        stamp, samples = require_stamp(message), chunk_samples(message)
        form = (message.sample_rate, message.channels)
        if self._resampler is None or form != self._form:
            self._resampler, self._form = Resampler(*form), form
        duration_ns = len(samples) // message.channels * SECOND // message.sample_rate
        return Sound(
            stamp, stamp + duration_ns, self._resampler.push(samples), self._missing(message.sequence)
        )

    def _missing(self, sequence: int) -> int:
        expected, self._next = self._next, sequence + 1
        # A number that falls back is a publisher that started again, not a loss.
        return max(0, sequence - expected) if expected else 0

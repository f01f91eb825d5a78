"""The last seconds of video, thinned to a fixed rate, in memory that is taken once."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.streams.limits import require_fit, require_positive
from emollama_ros.streams.stamps import JUMP_NS, to_ns


@dataclass(frozen=True)
class FrameBatch:
    """Frames of one interval, oldest first.

    Attributes:
        stamps_ns: int64 ``[n]``, strictly increasing acquisition stamps.
        images: uint8 ``[n, size, size, 3]``, RGB, 0 to 255. A copy: it does not change later.
    """

    stamps_ns: NDArray[np.int64]
    images: NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stamps_ns)


@dataclass(frozen=True)
class FrameReport:
    """What became of one pushed frame.

    Attributes:
        stored: It is in the ring; otherwise its grid cell was taken already, or it came late.
        jumped: Its stamp fell back by more than a second, or came later than the ring is long, so everything
            older was dropped first.
    """

    stored: bool
    jumped: bool = False


@dataclass(frozen=True)
class FrameTotals:
    """Counts since the ring was made.

    Attributes:
        stored: Frames kept.
        dropped: Frames pushed but not kept (same grid cell, duplicate, or late).
        jumps: Times the clock fell back or leapt ahead.
    """

    stored: int = 0
    dropped: int = 0
    jumps: int = 0


class FrameRing:
    """A circular buffer of small pictures, at most one per cell of a fixed time grid.

    The grid is ``stamp_ns // period_ns``: it depends on stamps only, never on arrival, so that a
    camera at 15, 30 or 29.97 Hz and a dropped frame all give the same sampling on every run.

    Threads: any number of readers and ONE writer; every method takes the ring's own lock and holds it
    for at most one copy. ``wants`` followed by ``push`` is atomic only for a single writer.
    """

    def __init__(self, seconds: float, sample_hz: float, size: int, max_bytes: int = 64 * 2**20) -> None:
        """Take all memory the ring will ever use.

        Args:
            seconds: How far back frames can be read, s.
            sample_hz: Frames kept per second, Hz.
            size: Width and height of the frames, pixels.
            max_bytes: Upper bound of the memory, bytes.

        Raises:
            ConfigError: A value is not positive, or the frames do not fit ``max_bytes``.
        """
        require_positive("FrameRing", seconds=seconds, sample_hz=sample_hz, size=size)
        # One more than the seconds need: the grid's phase can put one extra cell into an interval.
        self._capacity = math.ceil(seconds * sample_hz) + 1
        require_fit("FrameRing", self._capacity * (size * size * 3 + 8), max_bytes)
        self._period_ns = max(1, to_ns(1.0 / sample_hz))
        self._images = np.zeros((self._capacity, size, size, 3), np.uint8)
        self._stamps = np.zeros(self._capacity, np.int64)
        self._pushed = 0
        self._latest_ns: int | None = None
        self._totals = FrameTotals()
        self._lock = threading.Lock()

    @property
    def latest_ns(self) -> int | None:
        """Stamp of the newest stored frame, ``None`` when empty."""
        with self._lock:
            return self._latest_ns

    @property
    def kept_ns(self) -> int:
        """Time from the oldest frame that can be read to the newest."""
        with self._lock:
            if self._latest_ns is None:
                return 0
            oldest = max(0, self._pushed - self._capacity) % self._capacity
            return self._latest_ns - int(self._stamps[oldest])

    @property
    def totals(self) -> FrameTotals:
        """Counts since the ring was made; ``clear`` keeps them."""
        with self._lock:
            return self._totals

    @property
    def nbytes(self) -> int:
        """Memory taken, bytes; constant."""
        return self._images.nbytes + self._stamps.nbytes

    def wants(self, stamp_ns: int) -> bool:
        """Return whether a frame with this stamp would be stored.

        Ask before converting and resizing: most frames of a 30 Hz camera are not needed.
        """
        with self._lock:
            return self._opens_cell(stamp_ns) or self._jumps(stamp_ns)

    def push(self, stamp_ns: int, rgb_small: NDArray[np.uint8]) -> FrameReport:
        """Store a frame if its grid cell is still empty; allocates nothing.

        Args:
            stamp_ns: Acquisition stamp.
            rgb_small: uint8 ``[size, size, 3]``, RGB (see ``preprocess.image.to_model_frame``).

        Raises:
            InputError: Shape or type differ from what the ring was made for.
        """
        self._check(rgb_small)
        with self._lock:
            jumped = self._jumps(stamp_ns)
            if jumped:
                self._forget()
            stored = self._opens_cell(stamp_ns)
            if stored:
                self._store(stamp_ns, rgb_small)
            self._count(stored, jumped)
        return FrameReport(stored, jumped)

    def between(self, start_ns: int, end_ns: int) -> FrameBatch:
        """Return copies of the frames stamped in ``[start_ns, end_ns)``; may be empty."""
        with self._lock:
            kept = min(self._pushed, self._capacity)
            slots = (self._pushed - kept + np.arange(kept)) % self._capacity
            first, last = np.searchsorted(self._stamps[slots], (start_ns, end_ns))
            chosen = slots[first:last]
            return FrameBatch(self._stamps[chosen], self._images[chosen])

    def clear(self) -> None:
        """Forget all frames; memory and counts stay."""
        with self._lock:
            self._forget()

    def _check(self, rgb: NDArray[np.uint8]) -> None:
        if rgb.shape != self._images.shape[1:] or rgb.dtype != np.uint8:
            raise InputError(
                f"frame is {rgb.dtype}{list(rgb.shape)}, the ring holds uint8{list(self._images.shape[1:])}; "
                "resize it with preprocess.image.to_model_frame"
            )

    def _jumps(self, stamp_ns: int) -> bool:
        """Whether a stamp falls back by more than a second, or leaps ahead of all that the ring can hold."""
        if self._latest_ns is None:
            return False
        leaps = stamp_ns > self._latest_ns + self._capacity * self._period_ns
        return leaps or stamp_ns < self._latest_ns - JUMP_NS

    def _opens_cell(self, stamp_ns: int) -> bool:
        return self._latest_ns is None or stamp_ns // self._period_ns > self._latest_ns // self._period_ns

    def _store(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        slot = self._pushed % self._capacity
        self._images[slot] = rgb
        self._stamps[slot] = stamp_ns
        self._pushed += 1
        self._latest_ns = stamp_ns

    def _count(self, stored: bool, jumped: bool) -> None:
        was = self._totals
        self._totals = replace(
            was, stored=was.stored + stored, dropped=was.dropped + (not stored), jumps=was.jumps + jumped
        )

    def _forget(self) -> None:
        self._pushed = 0
        self._latest_ns = None

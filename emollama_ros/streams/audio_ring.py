"""The last seconds of sound on a gapless time line, in memory that is taken once."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.streams.limits import require_fit, require_positive
from emollama_ros.streams.stamps import JUMP_NS, NS_PER_S, to_duration_ns, to_ns, to_samples

_BYTES_PER_SAMPLE = 5  # float32 and its kind
#: A chunk stamped so much later than expected belongs to another time: nobody lost an hour of sound, ns.
_LEAP_NS = 60 * NS_PER_S
_MISSING, _VALID, _BAD = range(3)


@dataclass(frozen=True)
class AudioSpan:
    """Sound of one interval.

    Attributes:
        start_ns: Stamp of the first sample.
        samples: float32 ``[n]``, mono, full scale 1. Exactly as long as the interval; 0 where nothing
            was heard. A copy: it does not change later.
        valid: Fraction of the samples that were really recorded, 0 to 1.
        bad: Fraction of the samples that arrived as NaN or infinite, 0 to 1; they are not valid.
    """

    start_ns: int
    samples: NDArray[np.float32]
    valid: float
    bad: float = 0.0


@dataclass(frozen=True)
class PushReport:
    """What became of one pushed chunk. ``appended + overlap_samples`` is its length.

    Attributes:
        appended: Samples put on the time line.
        gap_samples: Silence inserted before them because the stamps say sound was lost.
        overlap_samples: Samples that came for a time that is past on the time line, as of a chunk that comes
            twice or late. They are dropped, but for those that fill a gap.
        filled_samples: Of those, the ones that filled a gap: the chunk came late, not twice.
        jumped: The clock fell back, or ahead by more than a minute, so everything older was dropped first.
        bad_samples: Of the appended ones, NaN or infinite; stored as 0 and marked invalid.
    """

    appended: int = 0
    gap_samples: int = 0
    overlap_samples: int = 0
    jumped: bool = False
    bad_samples: int = 0
    filled_samples: int = 0


@dataclass(frozen=True)
class AudioTotals:
    """Sums of all ``PushReport`` since the ring was made, in samples; ``jumps`` counts those of the clock."""

    appended: int = 0
    gap_samples: int = 0
    overlap_samples: int = 0
    bad_samples: int = 0
    jumps: int = 0
    filled_samples: int = 0

    @property
    def lost(self) -> int:
        """Samples that stamps say are missing, and that did not come late."""
        return self.gap_samples - self.filled_samples

    def plus(self, report: PushReport) -> AudioTotals:
        """Return the totals with one more report."""
        return AudioTotals(
            self.appended + report.appended,
            self.gap_samples + report.gap_samples,
            self.overlap_samples + report.overlap_samples,
            self.bad_samples + report.bad_samples,
            self.jumps + report.jumped,
            self.filled_samples + report.filled_samples,
        )


class AudioRing:
    """A circular buffer of mono samples that are placed by counting, and checked by stamp.

    Drivers stamp chunks before or after a blocking read, so stamps jitter by tens of milliseconds
    while the samples themselves are contiguous. A chunk therefore continues where the last one ended,
    unless its stamp disagrees by more than the tolerance: then sound was lost (a gap, filled with
    invalid zeros), or came late or twice (an overlap: what is missing there is filled, the rest dropped),
    or the clock jumped, back or more than a minute ahead (start again).

    A chunk stamped no later than the one before it is old whatever the tolerance. Stamps of new sound must
    therefore increase, as those of every capture device do.

    Threads: any number of readers and writers; every method takes the ring's own lock and holds it for
    at most one copy of the chunk or span. Chunks are taken in the order in which ``push`` is called.
    """

    def __init__(
        self,
        seconds: float,
        rate: int = 16000,
        max_bytes: int = 16 * 2**20,
        tolerance_ms: float = 60.0,
    ) -> None:
        """Take all memory the ring will ever use.

        Args:
            seconds: How far back sound can be read, s.
            rate: Samples per second, Hz.
            max_bytes: Upper bound of the memory, bytes.
            tolerance_ms: Disagreement of stamp and sample count that is taken for jitter, ms.

        Raises:
            ConfigError: A value is not positive, or the samples do not fit ``max_bytes``.
        """
        require_positive("AudioRing", seconds=seconds, rate=rate, tolerance_ms=tolerance_ms)
        self._capacity = math.ceil(seconds * rate)
        require_fit("AudioRing", self._capacity * _BYTES_PER_SAMPLE, max_bytes)
        self._rate = rate
        self._tolerance = to_samples(to_ns(tolerance_ms / 1000), rate)
        self._samples = np.zeros(self._capacity, np.float32)
        self._kind = np.zeros(self._capacity, np.uint8)
        self._totals = AudioTotals()
        self._lock = threading.Lock()
        self._restart(None)

    @property
    def rate(self) -> int:
        """Samples per second, Hz."""
        return self._rate

    @property
    def latest_ns(self) -> int | None:
        """Stamp just after the newest sample (sound is complete up to here), ``None`` when empty."""
        with self._lock:
            return None if self._anchor_ns is None else self._time_of(self._head)

    @property
    def kept_ns(self) -> int:
        """How long the sound is that can be read."""
        with self._lock:
            return to_duration_ns(self._kept, self._rate)

    @property
    def totals(self) -> AudioTotals:
        """Sums of all reports since the ring was made; ``clear`` keeps them."""
        with self._lock:
            return self._totals

    @property
    def nbytes(self) -> int:
        """Memory taken, bytes; constant."""
        return self._samples.nbytes + self._kind.nbytes

    def push(self, stamp_ns: int, samples: NDArray[np.float32]) -> PushReport:
        """Put a chunk on the time line. Costs time and memory of the chunk, not of the ring.

        Args:
            stamp_ns: Acquisition stamp of the first sample.
            samples: Floating point ``[n]``, mono, at the ring's rate, full scale 1. May be empty.

        Raises:
            InputError: Not one-dimensional, or not floating point.
        """
        chunk = _checked(samples)
        with self._lock:
            report = self._place(stamp_ns, chunk) if len(chunk) else PushReport()
            self._totals = self._totals.plus(report)
        return report

    def between(self, start_ns: int, end_ns: int) -> AudioSpan:
        """Return the sound of ``[start_ns, end_ns)``, always ``round(duration * rate)`` samples.

        Raises:
            InputError: The interval ends before it starts.
        """
        if end_ns < start_ns:
            raise InputError(f"audio interval ends {start_ns - end_ns} ns before it starts; swap its ends")
        out = np.zeros(to_samples(end_ns - start_ns, self._rate), np.float32)
        with self._lock:
            heard, bad = (0, 0) if self._anchor_ns is None else self._read(start_ns, out)
        length = max(1, len(out))
        return AudioSpan(start_ns, out, heard / length, bad / length)

    def clear(self) -> None:
        """Forget all sound; memory and totals stay."""
        with self._lock:
            self._restart(None)

    # Samples have absolute indices: index 0 is the anchor, index ``_head`` comes next, and index i
    # lives in slot i % capacity as long as i >= _head - _kept.

    def _restart(self, anchor_ns: int | None) -> None:
        self._anchor_ns = anchor_ns
        self._head = 0
        self._kept = 0
        self._last_stamp_ns: int | None = None
        self._last_index = 0

    def _time_of(self, index: int) -> int:
        assert self._anchor_ns is not None
        return self._anchor_ns + to_duration_ns(index, self._rate)

    def _place(self, stamp_ns: int, chunk: NDArray[np.float32]) -> PushReport:
        jumped = self._jumps(stamp_ns, len(chunk))
        if jumped or self._anchor_ns is None:
            self._restart(stamp_ns)
        start = self._index_of(stamp_ns)
        gap = max(0, start - self._head)
        overlap = min(len(chunk), max(0, self._head - start))
        self._remember(stamp_ns, start)
        filled = self._fill_gaps(start, chunk[:overlap])
        self._append_silence(gap)
        bad = self._append(chunk[overlap:])
        return PushReport(len(chunk) - overlap, gap, overlap, jumped, bad, filled)

    def _jumps(self, stamp_ns: int, count: int) -> bool:
        """Whether the whole chunk lies more than a second before what is expected next, or a minute after."""
        if self._anchor_ns is None:
            return False
        expected_ns = self._time_of(self._head)
        fell_back = stamp_ns + to_duration_ns(count, self._rate) < expected_ns - JUMP_NS
        return fell_back or stamp_ns > expected_ns + _LEAP_NS

    def _index_of(self, stamp_ns: int) -> int:
        """Where on the time line a chunk with this stamp starts."""
        assert self._anchor_ns is not None
        if self._last_stamp_ns is not None and stamp_ns <= self._last_stamp_ns:
            return self._last_index - to_samples(self._last_stamp_ns - stamp_ns, self._rate)
        index = to_samples(stamp_ns - self._anchor_ns, self._rate)
        return self._head if abs(index - self._head) <= self._tolerance else index

    def _remember(self, stamp_ns: int, index: int) -> None:
        if self._last_stamp_ns is None or stamp_ns > self._last_stamp_ns:
            self._last_stamp_ns, self._last_index = stamp_ns, index

    def _append_silence(self, count: int) -> None:
        for slots, _ in self._advance(count):
            self._samples[slots] = 0
            self._kind[slots] = _MISSING

    def _fill_gaps(self, start: int, late: NDArray[np.float32]) -> int:
        """Put sound that came late where it is missing, and return how much was."""
        first, filled = max(start, self._head - self._kept), 0
        for slots, lo, hi in self._pieces(first, start + len(late)):
            part = late[lo - start : hi - start]
            fits = (self._kind[slots] == _MISSING) & np.isfinite(part)
            self._samples[slots][fits] = part[fits]
            self._kind[slots][fits] = _VALID
            filled += int(np.count_nonzero(fits))
        return filled

    def _append(self, chunk: NDArray[np.float32]) -> int:
        """Write samples at the head and return how many of them are not finite."""
        finite = np.isfinite(chunk)
        for slots, part in self._advance(len(chunk)):
            self._samples[slots] = chunk[part]
            self._kind[slots] = _VALID
            if not finite[part].all():
                self._samples[slots][~finite[part]] = 0
                self._kind[slots][~finite[part]] = _BAD
        return len(chunk) - int(np.count_nonzero(finite))

    def _advance(self, count: int) -> list[tuple[slice, slice]]:
        """Move the head on and return (ring slots, part of the data) to fill.

        What would be overwritten at once is left out: a gap of an hour costs no more than a full ring.
        """
        first = self._head + max(0, count - self._capacity)
        pieces = [
            (slots, slice(begin - self._head, end - self._head))
            for slots, begin, end in self._pieces(first, self._head + count)
        ]
        self._head += count
        self._kept = min(self._capacity, self._kept + count)
        return pieces

    def _pieces(self, begin: int, end: int) -> list[tuple[slice, int, int]]:
        """Split absolute indices ``[begin, end)``, at most a ring long, where the ring wraps round."""
        if end <= begin:
            return []
        at = begin % self._capacity
        turn = min(end, begin + self._capacity - at)
        pieces = [(slice(at, at + turn - begin), begin, turn)]
        return pieces if turn == end else [*pieces, (slice(0, end - turn), turn, end)]

    def _read(self, start_ns: int, out: NDArray[np.float32]) -> tuple[int, int]:
        """Copy what is kept of the interval into ``out``; return how many samples are valid, and bad."""
        assert self._anchor_ns is not None
        first = to_samples(start_ns - self._anchor_ns, self._rate)
        begin, end = max(first, self._head - self._kept), min(first + len(out), self._head)
        heard = bad = 0
        for slots, lo, hi in self._pieces(begin, end):
            out[lo - first : hi - first] = self._samples[slots]
            heard += int(np.count_nonzero(self._kind[slots] == _VALID))
            bad += int(np.count_nonzero(self._kind[slots] == _BAD))
        return heard, bad


def _checked(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    chunk = np.asarray(samples)
    if chunk.ndim != 1 or chunk.dtype.kind != "f":
        raise InputError(
            f"audio chunk is {chunk.dtype}{list(chunk.shape)}, the ring holds mono float32[n] of full "
            "scale 1; convert it with preprocess.audio.Resampler"
        )
    return chunk

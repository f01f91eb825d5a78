"""Times: ROS stamps to integer nanoseconds and back, and the capture time of recorded sound."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from emollama_ros.errors import InputError

if TYPE_CHECKING:
    from builtin_interfaces.msg import Duration, Time

SECOND = 1_000_000_000

#: Disagreement between sample count and clock that is corrected, ns. Larger than the jitter of a
#: busy machine's read, smaller than the 60 ms at which the audio ring calls it a gap.
MAX_DRIFT_NS = 40_000_000
#: Chunks over which a disagreement must last. A late read catches up at once; lost samples do not come back.
DRIFT_CHUNKS = 16
#: Disagreement that no late read explains, ns: a source that paused, a clock that was set. It counts at once.
MAX_JITTER_NS = SECOND


def stamp_ns(stamp: Time) -> int:
    """Return a ROS time as nanoseconds."""
    return stamp.sec * SECOND + stamp.nanosec


def require_stamp(message: Any) -> int:
    """Return the acquisition time of a message with a header, ns.

    Raises:
        InputError: The stamp is 0, which is what a driver sends that does not set it.
    """
    stamp = stamp_ns(message.header.stamp)
    if stamp <= 0:
        raise InputError("header.stamp is 0; the driver must set the time of capture")
    return stamp


def ros_time(time_ns: int) -> Time:
    """Return nanoseconds as a ROS time message; times before the epoch become 0."""
    from builtin_interfaces.msg import Time

    sec, nanosec = divmod(max(0, int(time_ns)), SECOND)
    return Time(sec=sec, nanosec=nanosec)


def ros_duration(duration_ns: int) -> Duration:
    """Return nanoseconds as a ROS duration message."""
    from builtin_interfaces.msg import Duration

    sec, nanosec = divmod(int(duration_ns), SECOND)
    return Duration(sec=sec, nanosec=nanosec)


class CaptureClock:
    """Capture time of recorded samples, by counting them.

    The moment a blocking read returns wobbles with the scheduler; the sample count does not. So the
    first read sets the time and counting carries it on. Only a disagreement that lasts (samples lost in
    an overflow, a sound card that is not quite at its nominal rate) moves it, or one beyond any lateness (the
    source paused, the clock was set). One thread only.
    """

    def __init__(self, rate: int, latency_ns: int = 0) -> None:
        """Start unanchored.

        Args:
            rate: Samples per second.
            latency_ns: Age of the newest sample at the moment a read returns.
        """
        self._rate = rate
        self._latency_ns = latency_ns
        self._anchor_ns: int | None = None
        self._samples = 0
        self._errors: deque[int] = deque(maxlen=DRIFT_CHUNKS)
        self.corrections = 0

    @property
    def samples(self) -> int:
        """Samples seen so far, per channel."""
        return self._samples

    def chunk(self, now_ns: int, count: int) -> int:
        """Return the capture time of the first sample of a chunk just read.

        Args:
            now_ns: The clock at the moment the read returned.
            count: Samples per channel in the chunk.
        """
        measured = now_ns - self._latency_ns - self._duration_ns(count)
        if self._anchor_ns is None:
            self._anchor_ns = measured
        self._follow(measured - self._counted_ns())
        start = self._counted_ns()
        self._samples += count
        return start

    def _counted_ns(self) -> int:
        return (self._anchor_ns or 0) + self._duration_ns(self._samples)

    def _duration_ns(self, samples: int) -> int:
        return samples * SECOND // self._rate

    def _follow(self, error_ns: int) -> None:
        self._errors.append(error_ns)
        # The smallest error is the one least delayed by the scheduler.
        lasting = min(self._errors, key=abs)
        if abs(error_ns) > MAX_JITTER_NS:
            self._move(error_ns)
        elif len(self._errors) == DRIFT_CHUNKS and abs(lasting) > MAX_DRIFT_NS:
            self._move(lasting)

    def _move(self, error_ns: int) -> None:
        self._anchor_ns = (self._anchor_ns or 0) + error_ns
        self._errors.clear()
        self.corrections += 1

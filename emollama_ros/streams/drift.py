"""How fast the clock of a stream runs, and how far the clocks of two streams are apart. No ROS in it.

What can be observed of a stream is a pair a message: its stamp, on the clock of the sensor, and its arrival,
on the steady clock of this machine. Their difference, the *lag*, is

    lag(t) = offset + skew * t + delay(t),    delay(t) >= 0

Offset and skew belong to the clocks, the delay to exposure, driver and middleware. A delay can be arbitrarily
long and never negative, so its mean wanders with the load and its minimum does not: the clocks are read off
the lower envelope of the lag. That is the idea of Paxson ("On calibrating measurements of packet transit
times", SIGMETRICS 1998) and of Moon, Skelly and Towsley ("Estimation and removal of clock skew from network
delay measurements", INFOCOM 1999), who lay a line under all points. Such a line hangs on a few lowest points,
so one wrong stamp turns it. Here the minima of short bins are taken first, and through them goes the line
of Theil and Sen, the median of the slopes of all pairs (Sen 1968): it bears more than a quarter of wrong bins
and comes with a confidence interval that assumes no distribution. Nothing is said on less than a minute.

The offset of two streams contains the difference of their least delays: nothing that arrives can tell an
early clock from a slow cable.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from emollama_ros.streams.stamps import JUMP_NS, NS_PER_S

#: Length of a bin, ns: long enough that some message of a camera or microphone got through undelayed.
BIN_NS = 4 * NS_PER_S
#: Bins kept: ten minutes. Longer, and a clock that is being disciplined is no longer one straight line.
BINS = 150
#: Bins before anything is said: a minute.
LEAST_BINS = 15
#: Bins that all must lie off the line, on one side, before the clock is taken to have been stepped.
STEP_BINS = 5
#: The least step, ns, and in units of the usual deviation from the line.
LEAST_STEP_NS, STEP_DEVIATIONS = 8_000_000, 8.0
#: Two-sided 99 % of a normal distribution.
Z99 = 2.576
#: No slope is known better than arrivals are timed, ns over the whole span.
TIMING_NS = 100_000
#: Real time factor beyond which a step of stamps is no recording played fast, but a clock that was set.
FASTEST_PLAYBACK = 10


@dataclass(frozen=True)
class Line:
    """A stream's clock against the clock of arrival.

    Attributes:
        rate_ppm: How much faster the stream's clock runs, parts per million; 1e6 is twice as fast.
        error_ppm: Half the width of the 99 % confidence interval of the rate.
        at_ns: Time of arrival at which the lag holds.
        lag_ns: Arrival minus stamp of a message that was not delayed.
        span_s: How long was looked at.
    """

    rate_ppm: float
    error_ppm: float
    at_ns: int
    lag_ns: float
    span_s: float


@dataclass(frozen=True)
class Drift:
    """One clock against another.

    Attributes:
        ppm: How much faster the first runs, parts per million.
        error_ppm: Half the width of the 99 % confidence interval.
        offset_ms: What the first shows more than the second at the same moment, with the difference of their
            least delays.
        span_s: How long both were looked at.
    """

    ppm: float
    error_ppm: float
    offset_ms: float
    span_s: float

    @property
    def is_certain(self) -> bool:
        """Whether the clocks do not run alike, beyond what chance explains."""
        return abs(self.ppm) > self.error_ppm

    @property
    def ms_per_minute(self) -> float:
        """How fast the offset grows."""
        return self.ppm * 0.06

    def describe(self, one: str, other: str) -> str:
        """Say it in words, for example ``clock drift of microphone against camera +43 ± 6 ppm ...``."""
        apart = f"offset {self.offset_ms:+.0f} ms"
        if not self.is_certain:
            return f"no clock drift of {one} against {other} beyond {self.error_ppm:.0f} ppm, {apart}"
        return (
            f"clock drift of {one} against {other} {self.ppm:+.0f} ± {self.error_ppm:.0f} ppm"
            f" ({self.ms_per_minute:+.1f} ms/min), {apart}"
        )


def leap(stamp_step_ns: int, arrival_step_ns: int) -> int:
    """Return the direction in which a clock was set between two messages: -1 back, 1 forward, 0 not at all.

    Forward is more than a second beyond what the fastest playback explains. Stamps that advance too little
    are no leap: their message was delayed.
    """
    if stamp_step_ns < -JUMP_NS:
        return -1
    return int(stamp_step_ns > FASTEST_PLAYBACK * max(0, arrival_step_ns) + JUMP_NS)


@dataclass
class ClockTrack:
    """Follows the clock of one stream; memory and time a message are constant. One thread only.

    Attributes:
        restarts: Times the clock was set, by a leap of a second or more or by a lasting small step; each time
            the estimate begins anew.
    """

    restarts: int = 0
    _bins: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=BINS))
    _lowest: tuple[int, int] | None = None
    _previous: tuple[int, int] | None = None
    _line: Line | None = None

    def note(self, stamp_ns: int, arrival_ns: int) -> int:
        """Take one message.

        Args:
            stamp_ns: Its stamp, or any count of the sensor that grows with time, in ns.
            arrival_ns: The steady clock at its arrival.

        Returns:
            What ``leap`` says of the step from the message before.
        """
        jump = 0
        if self._previous is not None:
            jump = leap(stamp_ns - self._previous[0], arrival_ns - self._previous[1])
        self._previous = (stamp_ns, arrival_ns)
        if jump:
            self._restart()
        self._bin(arrival_ns, arrival_ns - stamp_ns)
        return jump

    def line(self) -> Line | None:
        """Return what is known of the clock, ``None`` while that is not enough. Costs nothing."""
        return self._line if len(self._bins) >= LEAST_BINS else None

    def forget(self) -> None:
        """Begin anew, as before a stream that has nothing to do with the one before."""
        self._previous = None
        self._restart()
        self.restarts -= 1

    def _restart(self) -> None:
        self._bins.clear()
        self._lowest = self._line = None
        self.restarts += 1

    def _bin(self, arrival_ns: int, lag_ns: int) -> None:
        if self._lowest is not None and arrival_ns // BIN_NS != self._lowest[0] // BIN_NS:
            self._bins.append(self._lowest)
            self._lowest = None
            self._look()
        if self._lowest is None or lag_ns < self._lowest[1]:
            self._lowest = (arrival_ns, lag_ns)

    def _look(self) -> None:
        """Fit again, now that a bin is full; begin anew with the newest bins where the clock was stepped."""
        bins = list(self._bins)
        if len(bins) > LEAST_BINS and _stepped(bins):
            self._restart()
            self._bins.extend(bins[-STEP_BINS:])
        self._line = fit(list(self._bins)) if len(self._bins) >= LEAST_BINS else None


def compare(one: Line | None, other: Line | None) -> Drift | None:
    """Return the drift of one clock against another; ``None`` while either is not known."""
    if one is None or other is None:
        return None
    ppm = ((1e6 + one.rate_ppm) / (1e6 + other.rate_ppm) - 1) * 1e6
    at = max(one.at_ns, other.at_ns)
    offset_ns = _lag_at(other, at) - _lag_at(one, at)
    error = math.hypot(one.error_ppm, other.error_ppm)
    return Drift(ppm, error, offset_ns / 1e6, min(one.span_s, other.span_s))


def _lag_at(line: Line, at_ns: int) -> float:
    return line.lag_ns - line.rate_ppm * 1e-6 * (at_ns - line.at_ns)


def fit(bins: list[tuple[int, int]]) -> Line:
    """Lay the line of Theil and Sen through (arrival, least lag) of at least three bins, ns."""
    times, lags = _relative(bins)
    slopes = _slopes(times, lags)
    slope = float(np.median(slopes))
    low, high = _interval(slopes, len(bins))
    span_ns = float(times[-1] - times[0])
    error = max((high - low) / 2, TIMING_NS / span_ns)
    intercept = float(np.median(lags - slope * (times - times[-1])))
    return Line(-slope * 1e6, error * 1e6, bins[-1][0], bins[0][1] + intercept, span_ns / NS_PER_S)


def _relative(bins: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    # Exact integers first: a float of nanoseconds since 1970 is coarser than what is looked for.
    times = np.array([arrival - bins[0][0] for arrival, _ in bins], np.float64)
    lags = np.array([lag - bins[0][1] for _, lag in bins], np.float64)
    return times, lags


def _slopes(times: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Slopes of all pairs, sorted."""
    i, j = np.triu_indices(len(times), 1)
    return np.sort((lags[j] - lags[i]) / (times[j] - times[i]))


def _interval(slopes: np.ndarray, count: int) -> tuple[float, float]:
    """The 99 % confidence interval of the median slope (Sen 1968): ranks by the variance of Kendall's tau."""
    width = Z99 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(slopes) - width) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + width) / 2))
    return float(slopes[low]), float(slopes[high])


def _stepped(bins: list[tuple[int, int]]) -> bool:
    """Whether the newest bins all lie on one side of the line of those before, farther than those scatter."""
    times, lags = _relative(bins)
    slope = float(np.median(_slopes(times[:-STEP_BINS], lags[:-STEP_BINS])))
    level = lags - slope * times
    before, after = level[:-STEP_BINS], level[-STEP_BINS:]
    centre = np.median(before)
    scatter = float(np.median(np.abs(before - centre)))
    least = max(LEAST_STEP_NS, STEP_DEVIATIONS * scatter)
    return bool((after > centre + least).all() or (after < centre - least).all())

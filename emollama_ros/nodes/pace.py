"""How fast messages of a topic come, and how fast they usually do. No ROS in it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median, median_low

from emollama_ros import conditions
from emollama_ros.conditions import Finding
from emollama_ros.nodes.clock import SECOND

#: Intervals whose median is the usual one. Few: a stream that changes its pace is known after half of them.
INTERVALS = 31
#: Intervals before anything is usual: the first pause of a stream says nothing about it.
KNOWN = 3
#: Rates, a second each, whose median is the usual rate; and how many of them are needed.
RATES, LEAST_RATES = 60, 10
#: A rate so many times the usual one, or a share of it, is worth saying: between a camera that is throttled
#: by a fifth for want of light, and one that runs at twice its speed.
UNUSUAL = 1.6
#: Messages a second that chance may add or take.
CHANCE = 2


@dataclass
class Pace:
    """Counts arrivals. One thread only.

    Attributes:
        count: Messages so far.
        seen_ns: When the latest came, ``None`` before the first.
        rate_hz: Messages per second, lately.
    """

    count: int = 0
    seen_ns: int | None = None
    rate_hz: float = 0.0
    _intervals: deque[int] = field(default_factory=lambda: deque(maxlen=INTERVALS))
    _rates: deque[float] = field(default_factory=lambda: deque(maxlen=RATES))
    _ticked: tuple[int, int] | None = None

    def see(self, now_ns: int) -> None:
        """Count a message."""
        self.count += 1
        if self.seen_ns is not None:
            self._intervals.append(now_ns - self.seen_ns)
        self.seen_ns = now_ns

    def tick(self, now_ns: int) -> None:
        """Compute the rate, over a second at least: shorter, and it would be that of a few messages."""
        if self._ticked is None:
            self._ticked = (now_ns, self.count)
        elif now_ns - self._ticked[0] >= SECOND:
            self.rate_hz = (self.count - self._ticked[1]) * SECOND / (now_ns - self._ticked[0])
            self._ticked = (now_ns, self.count)
            if self.rate_hz:  # silence is nobody's usual rate
                self._rates.append(self.rate_hz)

    @property
    def interval_ns(self) -> int:
        """Usual time between two messages, 0 before it is known.

        The median: neither an outage nor a burst changes what is usual.
        """
        return median_low(self._intervals) if len(self._intervals) >= KNOWN else 0

    @property
    def usual_hz(self) -> float:
        """Median rate of the last minute in which something came, 0 before it is known."""
        return median(self._rates) if len(self._rates) >= LEAST_RATES else 0.0

    def finding(self, topic: str) -> Finding | None:
        """Say that the rate is far from usual; silence is said elsewhere."""
        usual, rate = self.usual_hz, self.rate_hz
        if not usual or not rate or abs(rate - usual) <= CHANCE:
            return None
        if usual / UNUSUAL <= rate <= usual * UNUSUAL:
            return None
        return conditions.UNUSUAL_RATE.say(topic=topic, rate=rate, usual=usual)

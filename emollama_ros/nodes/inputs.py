"""What arrives on the input topics, and what that says about the state. No ROS in it.

One thread (the executor's) uses these objects, so they have no lock. ``now_ns`` is always the steady
clock: a robot's calendar clock may jump, silence must not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median_low

from emollama_ros import conditions
from emollama_ros.conditions import Finding
from emollama_ros.estimate import Status
from emollama_ros.nodes.clock import SECOND

#: Arrivals remembered for measuring latency: 4 s of a 60 Hz camera.
REMEMBERED = 256
#: Intervals whose median is the usual one. Few: a stream that changes its pace is known after half of them.
INTERVALS = 31
#: Intervals before anything is usual: the first pause of a stream says nothing about it.
KNOWN = 3
#: A stream is silent when it stays away for so many of its usual intervals: one late message is not silence.
MISSED = 3
#: A pause after which a stream counts as newly begun, ns: it must first fill a window again.
PAUSE_NS = SECOND


@dataclass
class InputMeter:
    """Counts the messages of one topic.

    Attributes:
        topic: Resolved name, as ``ros2 topic list`` shows it.
        received: Messages that arrived.
        refused: Messages that could not be used.
        lost: Messages that were sent and did not arrive.
        refusal: Why the latest refused message was refused.
        rate_hz: Messages per second between the last two ticks.
        mismatch: The publisher's QoS does not offer what was asked for.
        obstacle: Why a publisher cannot be heard at all, such as an unknown type; ``None`` when nothing is.
    """

    topic: str
    received: int = 0
    refused: int = 0
    lost: int = 0
    refusal: str = ""
    rate_hz: float = 0.0
    mismatch: bool = False
    obstacle: Finding | None = None
    _seen_ns: int | None = None
    _since_ns: int = 0
    _refused_ns: int | None = None
    _lost_ns: int | None = None
    _arrivals: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _intervals: deque[int] = field(default_factory=lambda: deque(maxlen=INTERVALS))
    _ticked: tuple[int, int] | None = None

    def accept(self, now_ns: int, end_ns: int) -> None:
        """Count a usable message.

        Args:
            now_ns: Time of arrival.
            end_ns: Stamp up to which the stream is now complete, sensors' clock.
        """
        if not self.usable(now_ns, PAUSE_NS):
            self._since_ns = now_ns
        self._see(now_ns)
        self._arrivals.append((end_ns, now_ns))

    def refuse(self, now_ns: int, reason: str) -> bool:
        """Count a message that cannot be used; return whether the reason is new and worth a log line."""
        fresh = reason != self.refusal
        self._see(now_ns)
        self.refused += 1
        self.refusal = reason
        self._refused_ns = now_ns
        return fresh

    def _see(self, now_ns: int) -> None:
        self.received += 1
        if self._seen_ns is not None:
            self._intervals.append(now_ns - self._seen_ns)
        self._seen_ns = now_ns

    def lose(self, now_ns: int, count: int) -> None:
        """Count messages that were lost on the way."""
        self.lost += count
        self._lost_ns = now_ns

    def tick(self, now_ns: int) -> None:
        """Compute the rate, over a second at least: shorter, and it would be that of a few messages."""
        if self._ticked is None:
            self._ticked = (now_ns, self.received)
        elif now_ns - self._ticked[0] >= SECOND:
            self.rate_hz = (self.received - self._ticked[1]) * SECOND / (now_ns - self._ticked[0])
            self._ticked = (now_ns, self.received)

    @property
    def interval_ns(self) -> int:
        """Usual time between two messages, 0 before it is known.

        The median: neither an outage nor a burst changes what is usual.
        """
        return median_low(self._intervals) if len(self._intervals) >= KNOWN else 0

    def allowed_ns(self, timeout_ns: int) -> int:
        """How long this input may stay away before it counts as silent: a slow stream is not a silent one."""
        return max(timeout_ns, MISSED * self.interval_ns)

    def flowing(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether anything arrived within the allowed silence, usable or not."""
        return _within(self._seen_ns, now_ns, self.allowed_ns(timeout_ns))

    def usable(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether anything usable arrived within the allowed silence."""
        return bool(self._arrivals) and _within(self._arrivals[-1][1], now_ns, self.allowed_ns(timeout_ns))

    def fresh(self, now_ns: int, age_ns: int) -> bool:
        """Whether the stream flows, but began (again) less than this long ago."""
        return self.usable(now_ns, PAUSE_NS) and now_ns - self._since_ns <= age_ns

    def waits(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether this input is only slow: nothing came for a while, and nothing had to."""
        return self.usable(now_ns, timeout_ns) and not _within(self._arrivals[-1][1], now_ns, timeout_ns)

    def reached_ns(self, stamp_ns: int) -> int | None:
        """When the stream became complete up to a stamp; ``None`` if it did not, or if that was long ago."""
        if not self._arrivals or self._arrivals[-1][0] < stamp_ns:
            return None
        return next(arrival for end, arrival in self._arrivals if end >= stamp_ns)

    def sensor_time_ns(self, now_ns: int) -> int | None:
        """Carry the newest stamp on to now, sensors' clock; ``None`` before any usable message."""
        return self._arrivals[-1][0] + now_ns - self._arrivals[-1][1] if self._arrivals else None

    def finding(self, now_ns: int, timeout_ns: int) -> Finding | None:
        """Return what is wrong with this input now, ``None`` when nothing is.

        A topic that never delivered anything is nothing wrong: a robot without a camera is a legal robot.
        """
        if self.obstacle is not None:
            return self.obstacle
        if _within(self._refused_ns, now_ns, timeout_ns):
            return conditions.REFUSED.say(topic=self.topic, reason=self.refusal)
        if _within(self._lost_ns, now_ns, timeout_ns):
            return conditions.LOST.say(topic=self.topic, count=self.lost)
        if self._seen_ns is not None and not self.flowing(now_ns, timeout_ns):
            return conditions.SILENT.say(topic=self.topic, seconds=(now_ns - self._seen_ns) / SECOND)
        return None

    def complaint(self, now_ns: int, timeout_ns: int) -> str:
        """Say in words what is wrong with this input now; empty when nothing is."""
        return str(self.finding(now_ns, timeout_ns) or "")

    def silence(self, publishers: int) -> str:
        """Say why nothing comes from this topic, as far as can be known."""
        if self.obstacle is not None:
            said = self.obstacle
        elif publishers == 0:
            said = conditions.NO_PUBLISHER.say(topic=self.topic)
        elif self.mismatch:
            said = conditions.BEST_EFFORT.say(topic=self.topic)
        elif self.lost:
            said = conditions.LOSES_ALL.say(topic=self.topic)
        else:
            said = conditions.QUIET.say(topic=self.topic, count=publishers)
        return said.text


def _within(then_ns: int | None, now_ns: int, timeout_ns: int) -> bool:
    return then_ns is not None and now_ns - then_ns <= timeout_ns


@dataclass
class Inputs:
    """The inputs of a perception node.

    Attributes:
        image: The camera.
        audio: The microphone.
        transcript: The speech recogniser; its silence is normal, so it never makes a state stale.
    """

    image: InputMeter
    audio: InputMeter
    transcript: InputMeter

    @property
    def all(self) -> tuple[InputMeter, ...]:
        """Every input, in fixed order."""
        return (self.image, self.audio, self.transcript)

    @property
    def sensors(self) -> tuple[InputMeter, ...]:
        """The inputs that flow all the time."""
        return (self.image, self.audio)

    def complaints(self, now_ns: int, timeout_ns: int) -> list[str]:
        """Say what is wrong with the inputs; empty when nothing is. Nobody speaks all the time."""
        said = [words for m in self.sensors if (words := m.complaint(now_ns, timeout_ns))]
        return said + ([str(self.transcript.obstacle)] if self.transcript.obstacle else [])

    def sensor_time_ns(self, now_ns: int) -> int | None:
        """Carry the newest sensor stamp on to now; ``None`` before any usable input."""
        return max((t for m in self.sensors if (t := m.sensor_time_ns(now_ns)) is not None), default=None)

    def completed_ns(self, end_ns: int) -> int | None:
        """When the window that ends at a stamp was complete, of the streams that got there."""
        return max((t for m in self.sensors if (t := m.reached_ns(end_ns)) is not None), default=None)

    def why_nothing(
        self, now_ns: int, timeout_ns: int, publishers: Callable[[str], int]
    ) -> tuple[Status, str] | None:
        """Explain why there was no estimate for a while.

        Args:
            now_ns: Steady clock.
            timeout_ns: What counts as a while.
            publishers: Returns the number of publishers of a topic.

        Returns:
            STALE and the silent topics when nothing arrives; DEGRADED and the reason when something
            does that cannot be used, or that the model does not get done. ``None`` when input has only
            just begun to flow (again), so that an estimate cannot be there yet.
        """
        if not any(m.flowing(now_ns, timeout_ns) for m in self.sensors):
            reasons = "; ".join(m.silence(publishers(m.topic)) for m in self.sensors)
            return _verdict(conditions.NO_INPUT.say(reasons=reasons))
        if not any(m.usable(now_ns, timeout_ns) for m in self.sensors):
            reasons = "; ".join(self.complaints(now_ns, timeout_ns))
            return _verdict(conditions.NO_USABLE_INPUT.say(reasons=reasons))
        usable = [m for m in self.sensors if m.usable(now_ns, timeout_ns)]
        if all(m.waits(now_ns, timeout_ns) for m in usable):
            slow = min(usable, key=lambda m: m.interval_ns)
            return _verdict(conditions.SLOW_INPUT.say(topic=slow.topic, seconds=slow.interval_ns / SECOND))
        if any(m.fresh(now_ns, timeout_ns) for m in self.sensors):
            return None
        return _verdict(conditions.SLOW_MODEL.say(seconds=timeout_ns / SECOND))


def _verdict(finding: Finding) -> tuple[Status, str]:
    return finding.condition.status, finding.text

"""What stamps say about a driver: repeated, reordered, set, fast, or on another clock. No ROS in it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from emollama_ros import conditions
from emollama_ros.conditions import Finding
from emollama_ros.nodes.clock import SECOND
from emollama_ros.streams.drift import ClockTrack, Drift, compare

#: Arrivals remembered, for measuring latency and speed: 4 s of a 60 Hz camera.
REMEMBERED = 256
#: How far stamps may be before this node's clock, and behind it, without a word. Nothing is captured in the
#: future, but clocks of two machines differ; a minute behind is no latency any more, it is another clock.
AHEAD_NS, BEHIND_NS = SECOND, 60 * SECOND
#: Time over which the speed of stamps is taken, ns.
SPEED_NS = 2 * SECOND
#: Time over which a rate that was wrong must still be, ns: once it is right, that is seen within a hop.
LATEST_NS = SECOND // 2
#: Speeds between 1 / this and this are the jitter of two seconds.
REAL_TIME = 1.4
#: What stamps may disagree with the number of samples before sound is missing, ns: as in the ring of sound.
TOLERANCE_NS = 60_000_000
#: Sound per stamped second between 1 / this and this is jitter of the stamps.
NOMINAL = 1.05
#: Leaps remembered, and how long, ns: a recording that loops leaps back, clocks that fight leap both ways.
LEAPS, LEAPS_NS = 16, 10 * SECOND


@dataclass
class StampWatch:
    """Follows the stamps of one stream. One thread only.

    Attributes:
        duplicates: Messages that end where the newest one ended.
        reordered: Messages that are older than the newest one.
        leaps: Times the stamps leapt by more than a second, back or forward.
        gaps: Times that stamps say sound was left out between two messages.
        missing_ns: How long all gaps were.
        ahead_ns: How far the stamps are before this node's clock, ``None`` before both are known.
        clock_stands: This node's clock is 0: simulated time without a simulation.
    """

    duplicates: int = 0
    reordered: int = 0
    leaps: int = 0
    gaps: int = 0
    missing_ns: int = 0
    ahead_ns: int | None = None
    clock_stands: bool = False
    _stamps: ClockTrack = field(default_factory=ClockTrack)
    _counted: ClockTrack = field(default_factory=ClockTrack)
    _counted_ns: int = 0
    _arrivals: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _newest_ns: int | None = None
    _advanced_ns: int = 0
    _duplicate_ns: int | None = None
    _gap_ns: int | None = None
    _sound: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _leaps: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=LEAPS))

    def note(self, end_ns: int, now_ns: int, duration_ns: int = 0) -> None:
        """Take a message.

        Args:
            end_ns: Stamp up to which the stream is now complete.
            now_ns: Time of arrival.
            duration_ns: How long its content is by its own count, 0 where it has no length (a picture).
        """
        if direction := self._stamps.note(end_ns, now_ns):
            self._start_again(now_ns, direction)
        before_ns, is_new = self._newest_ns, self._order(end_ns, now_ns)
        self._arrivals.append((end_ns, now_ns))
        if duration_ns and is_new:
            self._count(before_ns, end_ns, now_ns, duration_ns)

    def _start_again(self, now_ns: int, direction: int) -> None:
        self.leaps += 1
        self._leaps.append((now_ns, direction))
        self._arrivals.clear()
        self._sound.clear()
        self._newest_ns = None

    def _order(self, end_ns: int, now_ns: int) -> bool:
        """Whether a message is newer than all before; count it if it is not."""
        if self._newest_ns is None or end_ns > self._newest_ns:
            self._newest_ns, self._advanced_ns = end_ns, now_ns
            return True
        if end_ns == self._newest_ns:
            self.duplicates += 1
            self._duplicate_ns = now_ns
        else:
            self.reordered += 1
        return False

    def _count(self, before_ns: int | None, end_ns: int, now_ns: int, duration_ns: int) -> None:
        """Compare the length of new sound with the time that its stamps give it."""
        self._counted_ns += duration_ns
        self._counted.note(self._counted_ns, now_ns)
        gap_ns = 0 if before_ns is None else end_ns - duration_ns - before_ns
        if gap_ns > TOLERANCE_NS:
            self.gaps += 1
            self.missing_ns += gap_ns
            self._gap_ns = now_ns
            self._sound.clear()
        self._sound.append((end_ns, self._counted_ns))

    def tick(self, now_ns: int, clock_ns: int | None) -> None:
        """Compare the stamps with this node's clock."""
        carried = self.carried_ns(now_ns)
        self.clock_stands = clock_ns == 0
        self.ahead_ns = None if carried is None or not clock_ns else carried - clock_ns

    @property
    def arrival_ns(self) -> int | None:
        """When the latest message came, ``None`` before the first."""
        return self._arrivals[-1][1] if self._arrivals else None

    def reached_ns(self, stamp_ns: int) -> int | None:
        """When the stream became complete up to a stamp; ``None`` if it did not, or if that was long ago."""
        if not self._arrivals or self._arrivals[-1][0] < stamp_ns:
            return None
        return next(arrival for end, arrival in self._arrivals if end >= stamp_ns)

    def carried_ns(self, now_ns: int) -> int | None:
        """Carry the newest stamp on to now, sensors' clock; ``None`` before any message."""
        return self._arrivals[-1][0] + now_ns - self._arrivals[-1][1] if self._arrivals else None

    @property
    def speed(self) -> float | None:
        """Stamped time per time of this machine, over the last seconds; ``None`` while not known."""
        if not self._arrivals:
            return None
        end, now = self._arrivals[-1]
        recent = [pair for pair in self._arrivals if now - pair[1] <= SPEED_NS]
        waited = now - recent[0][1]
        return (end - recent[0][0]) / waited if waited >= SPEED_NS // 2 else None

    @property
    def sound_a_second(self) -> float | None:
        """Seconds of sound per stamped second, since the last gap; ``None`` while not known."""
        return self._sound_over(SPEED_NS)

    def _sound_over(self, span_ns: int) -> float | None:
        """Seconds of sound per stamped second of a time that is just over; ``None`` while not known."""
        if not self._sound:
            return None
        end, counted = self._sound[-1]
        began = next(pair for pair in self._sound if end - pair[0] <= span_ns)
        stamped = end - began[0]
        return (counted - began[1]) / stamped if stamped >= span_ns * 3 // 4 else None

    def _is_rate_wrong(self) -> bool:
        """Whether sound does not fit its stamps: over seconds, which jitter does not explain, and still."""
        return all(
            sound is not None and not 1 / NOMINAL <= sound <= NOMINAL
            for sound in (self.sound_a_second, self._sound_over(LATEST_NS) or self.sound_a_second)
        )

    def drift_against(self, other: StampWatch) -> Drift | None:
        """Return the drift of this stream's clock against another's; ``None`` while it is not known."""
        return compare(self._stamps.line(), other._stamps.line())

    def count_drift(self) -> Drift | None:
        """Return how much faster the content's own count runs than the stamps; ``None`` while not known."""
        return compare(self._counted.line(), self._stamps.line())

    def finding(self, topic: str, now_ns: int, allowed_ns: int, recent_ns: int) -> Finding | None:
        """Return what hurts perception: stamps that stand still, leap both ways, or do not fit the sound.

        Args:
            topic: Name of the stream.
            now_ns: Steady clock.
            allowed_ns: How long the stamps may stand still.
            recent_ns: How long a leap or a gap is worth saying.
        """
        still_ns = now_ns - self._advanced_ns
        if self._arrivals and still_ns > allowed_ns and now_ns - self._arrivals[-1][1] <= allowed_ns:
            return conditions.STAMPS_STAND.say(topic=topic, seconds=still_ns / SECOND)
        recent = {direction for at, direction in self._leaps if now_ns - at <= LEAPS_NS}
        # While they leap no window is complete: it is said at once, and need not wait for an estimate.
        if len(recent) == 2 and now_ns - self._leaps[-1][0] <= min(recent_ns, allowed_ns):
            return conditions.STAMPS_LEAP.say(topic=topic, count=self.leaps)
        if self._gap_ns is not None and now_ns - self._gap_ns <= recent_ns:
            return conditions.GAPS.say(topic=topic, count=self.gaps, seconds=self.missing_ns / SECOND)
        if self._is_rate_wrong():
            return conditions.WRONG_RATE.say(topic=topic, sound=self.sound_a_second)
        return None

    def warnings(self, topic: str, now_ns: int, recent_ns: int) -> list[Finding]:
        """Return what is odd and does not hurt."""
        found = []
        if self.clock_stands:
            found.append(conditions.CLOCK_STANDS.say())
        elif self.ahead_ns is not None and self.ahead_ns > AHEAD_NS:
            found.append(conditions.STAMPS_AHEAD.say(topic=topic, seconds=self.ahead_ns / SECOND))
        elif self.ahead_ns is not None and self.ahead_ns < -BEHIND_NS:
            found.append(conditions.STAMPS_BEHIND.say(topic=topic, seconds=-self.ahead_ns / SECOND))
        speed = self.speed
        if speed is not None and speed > 0 and not 1 / REAL_TIME <= speed <= REAL_TIME:
            found.append(conditions.NOT_REAL_TIME.say(topic=topic, speed=speed))
        if self._duplicate_ns is not None and now_ns - self._duplicate_ns <= recent_ns:
            found.append(conditions.DUPLICATES.say(topic=topic, count=self.duplicates))
        return found

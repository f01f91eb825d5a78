"""What arrives on the input topics, and what that says about the state. No ROS in it.

One thread (the executor's) uses these objects, so they have no lock. ``now_ns`` is always the steady
clock: a robot's calendar clock may jump, silence must not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from emollama_ros import conditions
from emollama_ros.conditions import Condition, Finding
from emollama_ros.estimate import Status
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.pace import Pace
from emollama_ros.nodes.stamp_watch import StampWatch
from emollama_ros.streams.drift import Drift

#: A stream is silent when it stays away for so many of its usual intervals: one late message is not silence.
MISSED = 3
#: How far the stamps of camera and microphone may be apart, ns: no window waits longer for the slower one.
APART_NS = SECOND
#: Two crystals of 100 ppm each can drift so much; a clock that drifts more is wrong, ppm.
CRYSTALS_PPM = 200
#: A pause after which a stream counts as newly begun, ns: it must first fill a window again.
PAUSE_NS = SECOND


@dataclass
class InputMeter:
    """Counts the messages of one topic.

    Attributes:
        topic: Resolved name, as ``ros2 topic list`` shows it.
        refused: Messages that could not be used.
        lost: Messages that were sent and did not arrive.
        refusal: Why the latest refused message was refused.
        loss: How messages that were lost are spoken of.
        mismatch: The publisher's QoS does not offer what was asked for.
        obstacle: Why a publisher cannot be heard at all, such as an unknown type; ``None`` when nothing is.
        stamps: What the stamps of the usable messages say.
        pace: When messages come, usable or not.
    """

    topic: str
    refused: int = 0
    lost: int = 0
    refusal: str = ""
    loss: Condition = conditions.LOST
    mismatch: bool = False
    obstacle: Finding | None = None
    stamps: StampWatch = field(default_factory=StampWatch)
    pace: Pace = field(default_factory=Pace)
    _since_ns: int = 0
    _refused_ns: int | None = None
    _lost_ns: int | None = None

    @property
    def received(self) -> int:
        """Messages that arrived, usable or not."""
        return self.pace.count

    @property
    def rate_hz(self) -> float:
        """Messages per second, lately."""
        return self.pace.rate_hz

    def accept(self, now_ns: int, end_ns: int, duration_ns: int = 0) -> None:
        """Count a usable message.

        Args:
            now_ns: Time of arrival.
            end_ns: Stamp up to which the stream is now complete, sensors' clock.
            duration_ns: How long its content is by its own count (samples by rate); 0 for a picture.
        """
        if not self.usable(now_ns, PAUSE_NS):
            self._since_ns = now_ns
        self.pace.see(now_ns)
        self.stamps.note(end_ns, now_ns, duration_ns)

    def refuse(self, now_ns: int, reason: str) -> bool:
        """Count a message that cannot be used; return whether the reason is new and worth a log line."""
        fresh = reason != self.refusal
        self.pace.see(now_ns)
        self.refused += 1
        self.refusal = reason
        self._refused_ns = now_ns
        return fresh

    def lose(self, now_ns: int, count: int) -> None:
        """Count messages that were lost on the way."""
        self.lost += count
        self._lost_ns = now_ns

    def tick(self, now_ns: int, clock_ns: int | None = None) -> None:
        """Do what is due about once a second: the rate, and comparing stamps with this node's clock.

        Args:
            now_ns: Steady clock.
            clock_ns: This node's ROS clock, which stamps should be on.
        """
        self.pace.tick(now_ns)
        self.stamps.tick(now_ns, clock_ns)

    def allowed_ns(self, timeout_ns: int) -> int:
        """How long this input may stay away before it counts as silent: a slow stream is not a silent one."""
        return max(timeout_ns, MISSED * self.pace.interval_ns)

    def flowing(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether anything arrived within the allowed silence, usable or not."""
        return self._came(self.pace.seen_ns, now_ns, timeout_ns)

    def usable(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether anything usable arrived within the allowed silence."""
        return self._came(self.stamps.arrival_ns, now_ns, timeout_ns)

    def _came(self, then_ns: int | None, now_ns: int, timeout_ns: int) -> bool:
        # The median of the intervals is only looked up where it can make a difference.
        return _within(then_ns, now_ns, timeout_ns) or _within(then_ns, now_ns, self.allowed_ns(timeout_ns))

    def fresh(self, now_ns: int, age_ns: int) -> bool:
        """Whether the stream flows, but began (again) less than this long ago."""
        return self.usable(now_ns, PAUSE_NS) and now_ns - self._since_ns <= age_ns

    def waits(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether this input is only slow: nothing came for a while, and nothing had to."""
        return self.usable(now_ns, timeout_ns) and not _within(self.stamps.arrival_ns, now_ns, timeout_ns)

    def finding(self, now_ns: int, timeout_ns: int, recent_ns: int | None = None) -> Finding | None:
        """Return what is wrong with this input now, ``None`` when nothing is.

        A topic that never delivered anything is nothing wrong: a robot without a camera is a legal robot.

        Args:
            now_ns: Steady clock.
            timeout_ns: What counts as silence.
            recent_ns: How long an event (a message refused or lost, a leap of stamps) is worth saying; with
                the time between two states each is said once. The timeout if left out.
        """
        recent_ns = timeout_ns if recent_ns is None else recent_ns
        if self.obstacle is not None:
            return self.obstacle
        if self._refused_ns is not None and self._refuses(now_ns, timeout_ns, recent_ns):
            return conditions.REFUSED.say(topic=self.topic, reason=self.refusal)
        if _within(self._lost_ns, now_ns, recent_ns):
            return self.loss.say(topic=self.topic, count=self.lost)
        if self.pace.seen_ns is not None and not self.flowing(now_ns, timeout_ns):
            return conditions.SILENT.say(topic=self.topic, seconds=(now_ns - self.pace.seen_ns) / SECOND)
        return self.stamps.finding(self.topic, now_ns, self.allowed_ns(timeout_ns), recent_ns)

    def _refuses(self, now_ns: int, timeout_ns: int, recent_ns: int) -> bool:
        """Whether messages are refused: the latest was, or one a moment ago was."""
        latest = self._refused_ns == self.pace.seen_ns and self.flowing(now_ns, timeout_ns)
        return latest or _within(self._refused_ns, now_ns, recent_ns)

    def warnings(self, now_ns: int, timeout_ns: int) -> list[Finding]:
        """Return what is odd about this input and does not hurt; for diagnostics."""
        if not self.usable(now_ns, timeout_ns):
            return []
        unusual = self.pace.finding(self.topic)
        odd = self.stamps.warnings(self.topic, now_ns, timeout_ns)
        return odd if unusual is None else [unusual, *odd]

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


def is_large(drift: Drift) -> bool:
    """Whether a drift is more than crystals do. An offset may be that of two transports, and is fine."""
    return abs(drift.ppm) - drift.error_ppm > CRYSTALS_PPM


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

    def __post_init__(self) -> None:
        """A chunk of sound is small; what loses it is not what loses a picture."""
        self.audio.loss = conditions.LOST_SOUND

    @property
    def all(self) -> tuple[InputMeter, ...]:
        """Every input, in fixed order."""
        return (self.image, self.audio, self.transcript)

    @property
    def sensors(self) -> tuple[InputMeter, ...]:
        """The inputs that flow all the time."""
        return (self.image, self.audio)

    def findings(self, now_ns: int, timeout_ns: int, recent_ns: int | None = None) -> list[Finding]:
        """Return what is wrong with the inputs; empty when nothing is. Nobody speaks all the time."""
        found = [f for m in self.sensors if (f := m.finding(now_ns, timeout_ns, recent_ns))]
        apart = None if found else self._apart(now_ns, timeout_ns)
        return [*found, *filter(None, (apart, self.transcript.obstacle))]

    def complaints(self, now_ns: int, timeout_ns: int, recent_ns: int | None = None) -> list[str]:
        """Say what is wrong with the inputs, in words; arguments as of ``InputMeter.finding``."""
        return [finding.text for finding in self.findings(now_ns, timeout_ns, recent_ns)]

    def warnings(self, now_ns: int, timeout_ns: int) -> list[Finding]:
        """Return what is odd about the inputs and does not hurt; for diagnostics."""
        found = [f for m in self.sensors for f in m.warnings(now_ns, timeout_ns)]
        drift = self.drift()
        if drift is not None and is_large(drift):
            found.append(conditions.DRIFT.say(drift=drift.describe("microphone", "camera")))
        return list(dict.fromkeys(found))

    def drift(self) -> Drift | None:
        """Return the drift of the microphone's clock against the camera's; ``None`` while not known."""
        return self.audio.stamps.drift_against(self.image.stamps)

    def _apart(self, now_ns: int, timeout_ns: int) -> Finding | None:
        """Say that camera and microphone are on different clocks, so that no window has both."""
        if not all(m.usable(now_ns, timeout_ns) for m in self.sensors):
            return None
        ahead, behind = sorted(self.sensors, key=lambda m: m.stamps.carried_ns(now_ns) or 0, reverse=True)
        apart_ns = (ahead.stamps.carried_ns(now_ns) or 0) - (behind.stamps.carried_ns(now_ns) or 0)
        if apart_ns <= APART_NS:
            return None
        return conditions.STAMPS_APART.say(ahead=ahead.topic, behind=behind.topic, seconds=apart_ns / SECOND)

    def sensor_time_ns(self, now_ns: int) -> int | None:
        """Carry the newest sensor stamp on to now; ``None`` before any usable input."""
        times = (m.stamps.carried_ns(now_ns) for m in self.sensors)
        return max((t for t in times if t is not None), default=None)

    def completed_ns(self, end_ns: int) -> int | None:
        """When the window that ends at a stamp was complete, of the streams that got there."""
        return max((t for m in self.sensors if (t := m.stamps.reached_ns(end_ns)) is not None), default=None)

    def why_nothing(
        self,
        now_ns: int,
        timeout_ns: int,
        publishers: Callable[[str], int],
        *,
        busy_ms: float = 0.0,
        fault: str = "",
    ) -> tuple[Status, str] | None:
        """Explain why there was no estimate for a while.

        Args:
            now_ns: Steady clock.
            timeout_ns: What counts as a while.
            publishers: Returns the number of publishers of a topic.
            busy_ms: How long the model has been at the present window, 0 when it is idle.
            fault: Why the windows since the last estimate failed; empty when none did.

        Returns:
            STALE and the silent topics when nothing arrives; DEGRADED and the reason when something
            does that cannot be used, or that the model does not get done. ``None`` when input has only
            just begun to flow (again), so that an estimate cannot be there yet.
        """
        finding = self._no_input(now_ns, timeout_ns, publishers)
        if finding is None and busy_ms * 1e6 > timeout_ns:
            finding = conditions.MODEL_STUCK.say(seconds=busy_ms / 1000)
        if finding is None and fault:
            finding = conditions.MODEL_FAILS.say(error=fault)
        if finding is None and not any(m.fresh(now_ns, timeout_ns) for m in self.sensors):
            finding = conditions.SLOW_MODEL.say(seconds=timeout_ns / SECOND)
        return (finding.condition.status, finding.text) if finding else None

    def _no_input(self, now_ns: int, timeout_ns: int, publishers: Callable[[str], int]) -> Finding | None:
        """Return what keeps windows from being complete, ``None`` when nothing does."""
        if not any(m.flowing(now_ns, timeout_ns) for m in self.sensors):
            reasons = (m.silence(publishers(m.topic)) for m in self.sensors)
            return conditions.NO_INPUT.say(reasons="; ".join(reasons))
        usable = [m for m in self.sensors if m.usable(now_ns, timeout_ns)]
        if not usable:
            return conditions.NO_USABLE_INPUT.say(reasons="; ".join(self.complaints(now_ns, timeout_ns)))
        if all(m.waits(now_ns, timeout_ns) for m in usable):
            slow = min(usable, key=lambda m: m.pace.interval_ns)
            return conditions.SLOW_INPUT.say(topic=slow.topic, seconds=slow.pace.interval_ns / SECOND)
        findings = [f for m in usable if (f := m.finding(now_ns, timeout_ns))]
        standing = [f for f in findings if f.condition is conditions.STAMPS_STAND]
        leaping = [f for f in findings if f.condition is conditions.STAMPS_LEAP]
        if leaping:  # whichever it is: at each leap all begin anew
            return leaping[0]
        return standing[0] if len(standing) == len(usable) else None

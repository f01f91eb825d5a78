"""One source of a perception node: what it senses, and what is said about it. Never silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emollama_ros import conditions
from emollama_ros.estimate import EmotionEstimate, Reasoning, Status
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.diagnostics import SourceView
from emollama_ros.nodes.hearing import Hearing
from emollama_ros.nodes.outlet import Outlet
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.nodes.person_services import PersonServices
from emollama_ros.nodes.sensors import Sensors

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from emollama_ros.adaptation import Person
    from emollama_ros.msg import EmotionState
    from emollama_ros.pipeline import Feed, Health
    from emollama_ros.speech import Whisper

#: After so much time without a state there is one, ns: within 1 s with a tick of 0.2 s that comes 0.2 s late.
QUIET_NS = 6 * SECOND // 10
#: Shortest window that is perceived, ns: no estimate can come earlier after input began.
FIRST_WINDOW_NS = SECOND
#: An estimate older than this is repeated no more when the model does not come up with another, ns.
OUTDATED_NS = 2 * SECOND


class Channel:
    """Sensors, feed and outlet of one source. Used in the executor's thread only.

    Attributes:
        name: Of the source; empty where there is but one.
    """

    def __init__(self, node: LifecycleNode, name: str, now_ns: Callable[[], int]) -> None:
        """Create the publishers and the services.

        Args:
            node: Where to publish and subscribe.
            name: Of the source; every topic begins with it.
            now_ns: The steady clock.
        """
        self.name = name
        self._node, self._now_ns = node, now_ns
        self._prefix = f"{name}/" if name else ""
        self._outlet = Outlet(node, self._prefix)
        self._services = PersonServices(node, self._prefix)
        self._sensors: Sensors | None = None
        self._feed: Feed | None = None
        self._hearing: Hearing | None = None
        self._settings = PerceptionParameters()
        self._opened_ns = self._estimated_ns = self._said_ns = self._faults = 0
        self._is_denied = False

    def destroy(self) -> None:
        """Unsubscribe and take the publishers and the services away."""
        self.close()
        self._outlet.destroy()
        self._services.destroy()

    def begin(self, settings: PerceptionParameters) -> None:
        """Forget the last activation, and say soon what there is."""
        self._outlet.reset(conditions.WAITING.words)
        self.use(settings)
        self._said_ns = self._now_ns()

    def open(
        self,
        settings: PerceptionParameters,
        feed: Feed,
        recogniser: Whisper | None = None,
        person: Person | None = None,
    ) -> None:
        """Subscribe, and feed what comes to the pipeline.

        Args:
            settings: Topics, types and times.
            feed: Of this source.
            recogniser: Writes down what is said; ``None`` where others do, or nobody.
            person: Whom the pipeline follows at this source; ``None`` where the bundle cannot.
        """
        self.use(settings)
        self._services.person, self._services.is_perceiving = person, True
        self._hearing = Hearing(feed, recogniser) if recogniser else None
        self._feed, self._faults = feed, 0
        self._opened_ns = self._estimated_ns = self._now_ns()
        taker = self._hearing or feed
        self._sensors = Sensors(self._node, settings, taker, self._now_ns, self._prefix)  # type: ignore[arg-type]

    def close(self) -> None:
        """Unsubscribe, and forget what was seen, heard and thought."""
        if self._sensors is not None:
            self._sensors.close()
        if self._hearing is not None:
            self._hearing.close()
        self._sensors = self._feed = self._hearing = None
        self._services.person, self._services.is_perceiving = None, False
        self._outlet.forget()

    def end(self) -> None:
        """Close, and be silent."""
        self.close()
        self._outlet.reset(conditions.NOT_ACTIVE.words)

    def use(self, settings: PerceptionParameters) -> None:
        """Take parameters that are used at once."""
        before, self._outlet.source_id = self._outlet.source_id, self.name or settings.source_id
        if self._outlet.source_id != before and self._services.person is not None:
            self._services.person.forget()  # whoever sets it knows that somebody else is there
        self._settings = settings

    def tell(self, estimate: EmotionEstimate, health: Health) -> None:
        """Publish an estimate of the pipeline."""
        if self._sensors is None or self._feed is None:
            return
        now, inputs, complaints = self._now_ns(), self._sensors.inputs, self._complaints(health)
        self._estimated_ns, self._faults = now, self._feed.health().faults
        self._outlet.frame_id = self._sensors.frame_id
        latency_ns = now - (inputs.completed_ns(estimate.end_ns) or now)
        self._outlet.state(estimate, complaints, latency_ns / 1e6)
        self._note(is_denied=False)

    def explain(self, reasoning: Reasoning) -> None:
        """Publish a reasoning as far as it is written."""
        if self._sensors is not None:
            self._outlet.reasoning(reasoning)

    def published(self, estimate: EmotionEstimate) -> EmotionState | None:
        """Return the state that an estimate was published as; None where it was not, or long ago."""
        return self._outlet.published(estimate)

    def tick(self, health: Health) -> None:
        """Say something if nothing was said for a while, or if what was said last is not so any more."""
        if self._sensors is None:
            return
        self._sensors.tick()
        verdict = self._verdict(health)
        if verdict is not None and (self._is_quiet or not self._is_denied):
            self._deny(*verdict)
        elif verdict is None and self._is_quiet:
            self._reassure(health)

    def tick_paused(self) -> None:
        """Say, once a second at least, that perception is paused."""
        if self._is_quiet or self._outlet.words != conditions.PAUSED.words:
            self._outlet.nothing(None, conditions.PAUSED.status, conditions.PAUSED.words)
            self._note(is_denied=True)

    def view(self) -> SourceView:
        """How it is doing, for diagnostics."""
        inputs = self._sensors.inputs if self._sensors else None
        health = self._feed.health() if self._feed else None
        speech = self._hearing.speech_health() if self._hearing else None
        person = self._services.person.report() if self._services.person else None
        words = self._outlet.words
        return SourceView(self.name, self._outlet.status, words, inputs, health, speech, person)

    def _verdict(self, health: Health) -> tuple[Status, str] | None:
        """Return what is wrong so that there is no estimate; ``None`` when one cannot be there yet."""
        assert self._sensors is not None and self._feed is not None
        now, feed = self._now_ns(), self._feed.health()
        if now - self._opened_ns < self._timeout_ns:
            return None
        verdict = self._sensors.inputs.why_nothing(
            now,
            self._timeout_ns,
            self._node.count_publishers,
            busy_ms=health.busy_ms,
            fault=feed.last_error if feed.faults > self._faults else "",
        )
        if verdict is None or conditions.SLOW_INPUT.pattern.match(verdict[1]):
            return None
        is_early = now - self._estimated_ns < self._longest_wait_ns
        return None if is_early and conditions.SLOW_MODEL.pattern.match(verdict[1]) else verdict

    def _deny(self, status: Status, why: str) -> None:
        """Publish that there is no estimate; a late model does not make the last one wrong at once."""
        assert self._sensors is not None
        now, inputs = self._now_ns(), self._sensors.inputs
        is_model = any(m.usable(now, self._timeout_ns) for m in inputs.sensors)
        if is_model and self._outlet.has_estimate and now - self._estimated_ns < OUTDATED_NS:
            self._outlet.repeat([why])
        else:
            self._outlet.nothing(inputs.sensor_time_ns(now), status, why)
        if not is_model:
            self._estimated_ns = now  # once there is input again, the model has the time that it needs
        self._note(is_denied=True)

    def _reassure(self, health: Health) -> None:
        """Publish the latest estimate again, or that the first is to come."""
        assert self._sensors is not None
        if self._outlet.has_estimate:
            self._outlet.repeat(self._complaints(health))
        else:
            stamp = self._sensors.inputs.sensor_time_ns(self._now_ns())
            why = conditions.WAITING if stamp is None else conditions.FILLING
            self._outlet.nothing(stamp, why.status, why.words)
        self._note(is_denied=False)

    def _complaints(self, health: Health) -> list[str]:
        """Say what is wrong now, and what was since the estimate before: each event in one estimate."""
        assert self._sensors is not None
        now = self._now_ns()
        said = self._sensors.inputs.complaints(now, self._timeout_ns, now - self._estimated_ns)
        if health.reasoning_error:
            said.append(conditions.REASONING_FAILS.say(error=health.reasoning_error).text)
        return said

    def _note(self, is_denied: bool) -> None:
        self._said_ns, self._is_denied = self._now_ns(), is_denied

    @property
    def _is_quiet(self) -> bool:
        return self._now_ns() - self._said_ns >= QUIET_NS

    @property
    def _timeout_ns(self) -> int:
        return round(self._settings.timeout_s * SECOND)

    @property
    def _longest_wait_ns(self) -> int:
        """Longest time between two estimates when all is well: the sensors' clock began anew."""
        wait_s = self._settings.timeout_s + self._settings.hop_s + self._settings.patience_s
        return round(wait_s * SECOND) + FIRST_WINDOW_NS

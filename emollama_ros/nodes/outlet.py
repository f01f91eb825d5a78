"""What is said about one source: states, changes of the label, reasonings, and how well it goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from emollama_ros import conditions
from emollama_ros.estimate import EmotionEstimate, Reasoning, Status
from emollama_ros.labels import UNKNOWN
from emollama_ros.msg import EmotionEvent, EmotionReasoning, EmotionState
from emollama_ros.nodes import messages, qos
from emollama_ros.nodes.numbering import Numbering
from emollama_ros.pipeline.questions import REMEMBERED_S

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

#: How long states are kept for questions about them, s: a little longer than they can be asked about.
KEPT_S = REMEMBERED_S + 1.0


class Outlet:
    """Numbers, completes and publishes messages. Used in the executor's thread only.

    Attributes:
        source_id: Person, face or voice the messages are about.
        frame_id: Frame of the sensor the latest input came from.
        status: That of the latest state.
        words: What the latest state says is wrong, or that all is well.
    """

    def __init__(self, node: LifecycleNode, prefix: str = "") -> None:
        """Create the publishers on a node; they are silent until it is active.

        Args:
            node: Where to publish.
            prefix: Put before every topic, such as ``left/``.
        """
        self._node = node
        self._states = node.create_lifecycle_publisher(EmotionState, f"{prefix}emotion/state", qos.STATE)
        self._events = node.create_lifecycle_publisher(EmotionEvent, f"{prefix}emotion/event", qos.EVENT)
        self._reasonings = node.create_lifecycle_publisher(
            EmotionReasoning, f"{prefix}emotion/reasoning", qos.REASONING
        )
        self._numbers = Numbering()
        self.source_id = ""
        self._since_ns: int | None = None
        self.reset(conditions.NOT_ACTIVE.words)

    def destroy(self) -> None:
        """Take the publishers away."""
        for publisher in (self._states, self._reasonings, self._events):
            self._node.destroy_lifecycle_publisher(publisher)

    def reset(self, words: str) -> None:
        """Begin anew: nothing of one activation shows up in the next. Numbers go on."""
        self.forget()
        self._label, self._since_ns = UNKNOWN, None
        self.status, self.words = Status.STALE, words

    def forget(self) -> None:
        """Forget everything that was perceived and thought, but not which label was told last."""
        self._numbers.new_pipeline()
        self._told = EmotionReasoning()
        self._latest: tuple[EmotionEstimate, float] | None = None
        self._published: deque[tuple[float, int, EmotionState]] = deque()
        self.frame_id = ""

    @property
    def has_estimate(self) -> bool:
        """Whether the latest state was an estimate, or a repetition of one."""
        return self._latest is not None

    def state(self, estimate: EmotionEstimate, complaints: Sequence[str], latency_ms: float) -> None:
        """Publish an estimate.

        Args:
            estimate: What the pipeline found.
            complaints: What is wrong with the inputs.
            latency_ms: Time since the window was complete.
        """
        number = self._numbers.state(estimate.sequence)
        self._latest = estimate, latency_ms
        message = messages.state_message(estimate, number, complaints, latency_ms)
        self._send(message, estimate.end_ns)
        self._published.append((monotonic(), estimate.sequence, message))
        while self._published[-1][0] - self._published[0][0] > KEPT_S:
            self._published.popleft()

    def published(self, estimate: EmotionEstimate) -> EmotionState | None:
        """Return the message an estimate was published with, as long as it can be asked about."""
        found = (message for _, sequence, message in self._published if sequence == estimate.sequence)
        return next(found, None)

    def repeat(self, complaints: Sequence[str]) -> None:
        """Publish the latest estimate again, with its own stamp, and what is wrong now."""
        assert self._latest is not None
        estimate, latency_ms = self._latest
        message = messages.state_message(estimate, self._numbers.state(), complaints, latency_ms)
        self._send(message, estimate.end_ns)

    def nothing(self, end_ns: int | None, status: Status, why: str) -> None:
        """Publish that nothing can be perceived, and why.

        Args:
            end_ns: Now, on the sensors' clock; ``None`` where that is not known, the node's clock will do.
            status: How bad that is.
            why: In words.
        """
        self._latest = None
        stamp = self._node.get_clock().now().nanoseconds if end_ns is None else end_ns
        self._send(messages.blank_message(stamp, self._numbers.state(), status, why), end_ns)

    def reasoning(self, reasoning: Reasoning) -> None:
        """Publish a reasoning as far as it is written, if the state it explains was published."""
        numbers = self._numbers.reasoning(reasoning.sequence, reasoning.estimate_sequence)
        if numbers is None:
            return
        message = messages.reasoning_message(reasoning, *numbers)
        message.header.frame_id, message.source_id = self.frame_id, self.source_id
        self._reasonings.publish(message)
        if reasoning.final:
            self._told = message

    def _send(self, message: EmotionState, sensors_ns: int | None) -> None:
        message.header.frame_id, message.source_id = self.frame_id, self.source_id
        message.reasoning, message.reasoning_stamp = self._told.text, self._told.header.stamp
        message.reasoning_sequence = self._told.explains
        self._states.publish(message)
        self.status, self.words = Status(message.status), message.status_text or conditions.PERCEIVING.words
        if message.label != self._label:
            self._events.publish(messages.event_message(message, self._label, self._lasted_ns(sensors_ns)))
            self._label, self._since_ns = message.label, sensors_ns

    def _lasted_ns(self, now_ns: int | None) -> int:
        """How long the present label has lasted on the sensors' clock; 0 where that does not say it."""
        return 0 if now_ns is None or self._since_ns is None else max(0, now_ns - self._since_ns)

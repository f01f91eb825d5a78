"""What a perception node says: states, reasonings, and how well it is doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emollama_ros.estimate import EmotionEstimate, Reasoning, Status
from emollama_ros.msg import EmotionReasoning, EmotionState
from emollama_ros.nodes import messages, qos
from emollama_ros.nodes.numbering import Numbering

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode


class Outlet:
    """Numbers, completes and publishes messages. Used in the executor's thread only.

    Attributes:
        source_id: Person, face or voice the messages are about.
        frame_id: Frame of the sensor the latest input came from.
        status: That of the latest state.
        words: What the latest state says is wrong, or that all is well.
    """

    def __init__(self, node: LifecycleNode) -> None:
        """Create the publishers on a node; they are silent until it is active."""
        self._states = node.create_lifecycle_publisher(EmotionState, "emotion/state", qos.STATE)
        self._reasonings = node.create_lifecycle_publisher(
            EmotionReasoning, "emotion/reasoning", qos.REASONING
        )
        self._numbers = Numbering()
        self.source_id = ""
        self.reset("not active")

    def reset(self, words: str) -> None:
        """Forget what was said: nothing of one activation shows up in the next. Numbers go on."""
        self._numbers.new_pipeline()
        self._told = EmotionReasoning()
        self.frame_id = ""
        self.status, self.words = Status.STALE, words

    def state(self, estimate: EmotionEstimate, complaints: Sequence[str], latency_ms: float) -> None:
        """Publish an estimate.

        Args:
            estimate: What the pipeline found.
            complaints: What is wrong with the inputs.
            latency_ms: Time since the window was complete.
        """
        number = self._numbers.state(estimate.sequence)
        self._send(messages.state_message(estimate, number, complaints, latency_ms))

    def nothing(self, end_ns: int, status: Status, why: str) -> None:
        """Publish that nothing can be perceived at a time on the sensors' clock, and why."""
        self._send(messages.blank_message(end_ns, self._numbers.state(), status, why))

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

    def _send(self, message: EmotionState) -> None:
        message.header.frame_id, message.source_id = self.frame_id, self.source_id
        message.reasoning, message.reasoning_stamp = self._told.text, self._told.header.stamp
        message.reasoning_sequence = self._told.explains
        self._states.publish(message)
        self.status, self.words = Status(message.status), message.status_text or "perceiving"

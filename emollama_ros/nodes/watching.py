"""What somebody who only watches needs: messages as plain values, camera, sound, and whether to look."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from emollama_ros.dashboard.views import ReasoningView, StateView
from emollama_ros.estimate import Modality
from emollama_ros.msg import EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.adapters.choice import AUTO, Adapter, Wish
from emollama_ros.nodes.adapters.sound import SOUNDS, Chunk, Form
from emollama_ros.nodes.audio_info import AudioInfoInput
from emollama_ros.nodes.clock import SECOND, stamp_ns
from emollama_ros.nodes.inputs import InputMeter
from emollama_ros.nodes.listening import Listener, Take
from emollama_ros.nodes.sensors import PICTURES

if TYPE_CHECKING:
    from rclpy.node import Node

#: How much less of the processor than others a process asks for that only watches (nice, 0 to 19).
NICENESS = 10
#: A perception node that was not heard for so long is gone, ns: it says something once a second at least.
GONE_NS = 3 * SECOND


def step_back() -> None:
    """Have this process wait where the robot needs the processor: to look on must slow nothing."""
    with suppress(OSError):
        os.nice(NICENESS)


def state_view(message: EmotionState) -> StateView:
    """Return a state as it is shown."""
    return StateView(
        sequence=message.sequence,
        end_ns=stamp_ns(message.header.stamp),
        label=message.label,
        scores=dict(zip(message.labels, message.scores, strict=False)),
        valence=message.valence,
        arousal=message.arousal,
        confidence=message.confidence,
        used=Modality(message.modalities).names(),
        latency_ms=message.latency_ms,
        status=message.status,
        status_text=message.status_text,
    )


def reasoning_view(message: EmotionReasoning) -> ReasoningView:
    """Return a reasoning as it is shown."""
    return ReasoningView(message.sequence, message.explains, message.label, message.text, message.final)


@dataclass
class Presence:
    """Whether a perception node is there and perceives. What it does not look at, nobody is shown.

    Attributes:
        is_paused: What ``emotion/paused`` said last; ``None``: nothing yet.
    """

    is_paused: bool | None = None
    _state_ns: int = -GONE_NS
    _report_ns: int = -GONE_NS

    def state(self, now_ns: int) -> None:
        """Note that a state came."""
        self._state_ns = self._report_ns = now_ns

    def report(self, now_ns: int) -> None:
        """Note that the node said something in its diagnostics."""
        self._report_ns = now_ns

    def word(self, now_ns: int) -> str:
        """Return ``active``, ``inactive`` (it runs and is not active) or ``gone``."""
        if now_ns - self._state_ns < GONE_NS:
            return "active"
        return "inactive" if now_ns - self._report_ns < GONE_NS else "gone"

    def may_look(self, now_ns: int) -> bool:
        """Whether the robot looks and listens now, so that somebody else may."""
        return self.is_paused is False and self.word(now_ns) == "active"


def camera(
    node: Node, prefix: str, transport: str, take: Callable[[Any], None], now_ns: Callable[[], int]
) -> Listener:
    """Subscribe to a camera, best effort: no driver waits for somebody who only watches.

    Args:
        node: Where.
        prefix: Put before the topic, such as ``left/``.
        transport: ``raw`` or ``compressed``.
        take: Gets each message; raises ``InputError``.
        now_ns: The steady clock.
    """
    topic = node.resolve_topic_name(f"{prefix}camera/image_raw" + "/compressed" * (transport == "compressed"))

    def taker(adapter: Adapter) -> Take:
        def taken(message: Any, waited_ns: int) -> tuple[int, int]:
            take(message)
            return stamp_ns(message.header.stamp), 0

        return taken

    wish = Wish(topic, "image_transport", transport, PICTURES)
    return Listener(node, InputMeter(topic), wish, qos.image_in, "best_effort", taker, now_ns)


class Microphone:
    """Hears whatever type of sound is published, best effort."""

    def __init__(
        self, node: Node, prefix: str, take: Callable[[Chunk], None], now_ns: Callable[[], int]
    ) -> None:
        """Subscribe.

        Args:
            node: Where.
            prefix: Put before the topic, such as ``left/``.
            take: Gets each piece of sound.
            now_ns: The steady clock.
        """
        topic = node.resolve_topic_name(f"{prefix}audio")
        self._take = take
        self._info = AudioInfoInput(node, prefix, Form())
        wish = Wish(topic, "audio_type", AUTO, SOUNDS)
        self._listener = Listener(
            node, InputMeter(topic), wish, qos.audio_in, "best_effort", self._taker, now_ns
        )

    def tick(self) -> None:
        """Follow publishers that came, went or changed."""
        self._listener.tick()

    def close(self) -> None:
        """Unsubscribe."""
        self._listener.close()
        self._info.close()

    def _taker(self, adapter: Adapter) -> Take:
        if adapter.described:
            self._info.open()
        else:
            self._info.close()
        return partial(self._taken, adapter)

    def _taken(self, adapter: Adapter, message: Any, waited_ns: int) -> tuple[int, int]:
        self._take(adapter.convert(message, self._info.form))
        return 0, 0

"""Prepared messages: a camera with a microphone, and a perception node that says what a test tells it to."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.msg import AudioChunk, EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.media_player_node import image_message, pcm16


class Spinner:
    """A context and an executor that is spun in a thread."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._nodes: list[Node] = []
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def add(self, node: Any) -> Any:
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def do(self, work: Any) -> Any:
        """Do something in the thread that spins, and wait for it."""
        done = self._executor.create_task(work)
        over = threading.Event()
        done.add_done_callback(lambda _: over.set())
        assert over.wait(20)
        return done.result()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(20)
        for node in self._nodes:
            node.destroy_node()
        self.context.try_shutdown()


class Camera(Node):
    """Ten bright pictures and a tone, each second."""

    def __init__(self, spinner: Spinner, value: int = 200) -> None:
        super().__init__("camera", context=spinner.context)
        self.pictures = self.create_publisher(Image, "camera/image_raw", qos.IMAGE_OUT)
        self.sound = self.create_publisher(AudioChunk, "audio", qos.AUDIO_OUT)
        self._rgb = np.full((120, 160, 3), value, np.uint8)
        self._tone = pcm16(0.5 * np.sin(np.arange(1600) / 5))
        self.create_timer(0.1, self._send)
        spinner.add(self)

    @property
    def watchers(self) -> int:
        """How many look or listen."""
        return self.pictures.get_subscription_count() + self.sound.get_subscription_count()

    def _send(self) -> None:
        now = self.get_clock().now()
        self.pictures.publish(image_message(self._rgb, now.nanoseconds, "eye"))
        chunk = AudioChunk(sample_rate=16000, channels=1, samples=self._tone)
        chunk.header.stamp = now.to_msg()
        self.sound.publish(chunk)


class FakePerception(Node):
    """Says, five times a second, what a test put into its attributes.

    Attributes:
        state: Published again and again, with a fresh stamp.
        called: Services that were called, with what was asked.
        states: Its publisher of states.
    """

    def __init__(self, spinner: Spinner, prefix: str = "") -> None:
        super().__init__("perception_node", context=spinner.context)
        self._spinner = spinner
        self.states = self.create_publisher(EmotionState, f"{prefix}emotion/state", qos.STATE)
        self._reasonings = self.create_publisher(
            EmotionReasoning, f"{prefix}emotion/reasoning", qos.REASONING
        )
        self._pauses = self.create_publisher(Bool, "emotion/paused", qos.PAUSED)
        self._reports = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self.called: list[tuple[str, bool]] = []
        self.state = told("happy", 0.62)
        self.create_service(SetBool, "emotion/enable", self._on_enable)
        for name in ("new_person", "set_neutral"):
            self.create_service(Trigger, f"{prefix}emotion/{name}", self._on_trigger(name))
        self._pauses.publish(Bool(data=False))
        self.create_timer(0.2, self._say)
        self.create_timer(0.5, self._report)
        spinner.add(self)

    def explain(self, text: str, final: bool, label: str = "happy", sequence: int = 0) -> None:
        message = EmotionReasoning(text=text, final=final, label=label, sequence=sequence)
        self._spinner.do(lambda: self._reasonings.publish(message))

    def _say(self) -> None:
        self.state.header.stamp = self.get_clock().now().to_msg()
        self.state.sequence += 1
        self.states.publish(self.state)

    def _report(self) -> None:
        values = [KeyValue(key="window rate", value="2.00 Hz"), KeyValue(key="<b>", value="<i>markup</i>")]
        entry = DiagnosticStatus(name="perception_node: perception", message="perceiving", values=values)
        foreign = DiagnosticStatus(name="battery: charge", message="nearly empty", level=b"\x01")
        self._reports.publish(DiagnosticArray(status=[entry, foreign]))

    def _on_enable(self, request: Any, response: Any) -> Any:
        self.called.append(("enable", request.data))
        self._pauses.publish(Bool(data=not request.data))
        response.success, response.message = True, "perceiving" if request.data else "paused"
        return response

    def _on_trigger(self, name: str) -> Any:
        def answer(request: Any, response: Any) -> Any:
            self.called.append((name, True))
            response.success, response.message = name == "new_person", f"{name} was <b>called</b>"
            return response

        return answer


def told(label: str, probability: float = 0.0, **fields: Any) -> EmotionState:
    """A state with a label, or with one that has no probability."""
    rest = (1 - probability) / (len(DEFAULT_LABELS) - 1)
    message = EmotionState(
        label=label,
        confidence=probability,
        latency_ms=87.0,
        modalities=EmotionState.VIDEO | EmotionState.AUDIO,
        valence=0.6,
        arousal=0.4,
    )
    if label != "unknown":
        message.labels = list(DEFAULT_LABELS)
        message.scores = [probability if name == label else rest for name in DEFAULT_LABELS]
    for name, value in fields.items():
        setattr(message, name, value)
    return message

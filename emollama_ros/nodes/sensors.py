"""The subscriptions of a perception node: convert, append, count; nothing else happens in a callback."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.event_handler import SubscriptionEventCallbacks
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from emollama_ros.errors import InputError
from emollama_ros.msg import AudioChunk
from emollama_ros.nodes import messages, qos
from emollama_ros.nodes.audio_input import AudioInput
from emollama_ros.nodes.image_input import image_pixels
from emollama_ros.nodes.inputs import InputMeter, Inputs
from emollama_ros.nodes.loading import Pipeline
from emollama_ros.nodes.parameters import PerceptionParameters

if TYPE_CHECKING:
    from rclpy.node import Node


def input_topics(settings: PerceptionParameters) -> tuple[str, str, str]:
    """Return the relative names of the camera, microphone and transcript topics."""
    picture = "camera/image_raw" + "/compressed" * (settings.image_transport == "compressed")
    return picture, "audio", "transcript"


class Sensors:
    """Feeds one pipeline for as long as the node is active. Used in the executor's thread only.

    Attributes:
        inputs: What arrived.
        frame_id: Frame of the camera, or of the microphone where there is no camera.
    """

    def __init__(
        self, node: Node, settings: PerceptionParameters, pipeline: Pipeline, now_ns: Callable[[], int]
    ) -> None:
        """Subscribe.

        Args:
            node: Where to subscribe.
            settings: Transport and reliability.
            pipeline: What is fed.
            now_ns: The steady clock.
        """
        self._node, self._pipeline, self._now_ns = node, pipeline, now_ns
        self._audio = AudioInput()
        self._open: dict[str, Any] = {}
        self._asked = settings
        self.frame_id = ""
        self.inputs = Inputs(*(InputMeter(node.resolve_topic_name(name)) for name in input_topics(settings)))
        picture = CompressedImage if settings.image_transport == "compressed" else Image
        self._listen(self.inputs.image, picture, self._take_image, qos.image_in(settings.image_reliability))
        self._listen(
            self.inputs.audio, AudioChunk, self._take_audio, qos.audio_in(settings.audio_reliability)
        )
        self._listen(self.inputs.transcript, String, self._take_transcript, qos.TRANSCRIPT)

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._open.values():
            self._node.destroy_subscription(subscription)
        self._open = {}

    def tick(self) -> None:
        """Do what is due once a second: rates, and meeting a microphone that offers less than was asked."""
        for meter in self.inputs.all:
            meter.tick(self._now_ns())
        audio = self.inputs.audio
        if audio.mismatch and not audio.received and self._asked.audio_reliability == "reliable":
            audio.mismatch = False
            self._node.get_logger().warning(
                f"{audio.topic} is published best effort: samples may be lost on the way"
            )
            self._node.destroy_subscription(self._open[audio.topic])
            self._listen(audio, AudioChunk, self._take_audio, qos.audio_in("best_effort"))

    def _listen(self, meter: InputMeter, kind: type, take: Callable[[Any], int], profile: Any) -> None:
        events = SubscriptionEventCallbacks(
            message_lost=lambda event: meter.lose(self._now_ns(), event.total_count_change),
            incompatible_qos=lambda event: setattr(meter, "mismatch", True),
        )
        self._open[meter.topic] = self._node.create_subscription(
            kind, meter.topic, partial(self._accept, meter, take), profile, event_callbacks=events
        )

    def _accept(self, meter: InputMeter, take: Callable[[Any], int], message: Any) -> None:
        try:
            meter.accept(self._now_ns(), take(message))
        except InputError as error:
            if meter.refuse(self._now_ns(), str(error)):
                self._node.get_logger().warning(f"{meter.topic}: {error}")
        except Exception as error:  # one strange message must not end a robot's perception
            if meter.refuse(self._now_ns(), f"unexpected {type(error).__name__}: {error}"):
                self._node.get_logger().error(f"{meter.topic}:\n{traceback.format_exc()}")

    # Each returns the stamp up to which its stream is now complete, or raises InputError.

    def _take_image(self, message: Image | CompressedImage) -> int:
        stamp = messages.require_stamp(message)
        if self._pipeline.intake.wants_frame(stamp):
            self._pipeline.push_frame(stamp, image_pixels(message))
        else:
            self._pipeline.skip_frame(stamp)
        self.frame_id = message.header.frame_id
        return stamp

    def _take_audio(self, message: AudioChunk) -> int:
        sound = self._audio.convert(message)
        if sound.missing:
            self.inputs.audio.lose(self._now_ns(), sound.missing)
        self._pipeline.push_audio(sound.stamp_ns, sound.samples)
        if not self.inputs.image.received:
            self.frame_id = message.header.frame_id
        return sound.end_ns

    def _take_transcript(self, message: String) -> int:
        now = self._node.get_clock().now().nanoseconds  # String has no header
        self._pipeline.push_transcript(now, message.data)
        return now

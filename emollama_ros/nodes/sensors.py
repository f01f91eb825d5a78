"""The subscriptions of one source: convert, append, count; nothing else happens in a callback."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from emollama_ros.nodes import qos
from emollama_ros.nodes.adapters.choice import Adapter, Wish
from emollama_ros.nodes.adapters.sound import SOUNDS, Form
from emollama_ros.nodes.adapters.words import WORDS
from emollama_ros.nodes.audio_info import AudioInfoInput
from emollama_ros.nodes.audio_input import AudioInput
from emollama_ros.nodes.image_input import image_pixels
from emollama_ros.nodes.inputs import InputMeter, Inputs
from emollama_ros.nodes.listening import Listener, Take
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.nodes.taking import take_picture, take_sound, take_words

if TYPE_CHECKING:
    from rclpy.node import Node

    from emollama_ros.pipeline import Feed

#: What a camera may send; the parameter image_transport chooses, for it also chooses the topic.
PICTURES = (
    Adapter("sensor_msgs/Image", image_pixels, install="install ros-$ROS_DISTRO-sensor-msgs", value="raw"),
    Adapter(
        "sensor_msgs/CompressedImage",
        image_pixels,
        install="install ros-$ROS_DISTRO-sensor-msgs",
        value="compressed",
    ),
)


def input_topics(settings: PerceptionParameters, prefix: str = "") -> tuple[str, str, str]:
    """Return the relative names of the camera, microphone and transcript topics of a source."""
    picture = "camera/image_raw" + "/compressed" * (settings.image_transport == "compressed")
    return prefix + picture, prefix + "audio", prefix + "transcript"


class Sensors:
    """Feeds one source of a pipeline for as long as the node perceives. Used in the executor's thread only.

    Attributes:
        inputs: What arrived.
        frame_id: Frame of the camera, or of the microphone where there is no camera.
    """

    def __init__(
        self,
        node: Node,
        settings: PerceptionParameters,
        feed: Feed,
        now_ns: Callable[[], int],
        prefix: str = "",
    ) -> None:
        """Subscribe.

        Args:
            node: Where to subscribe.
            settings: Types, transport and reliability.
            feed: What is fed.
            now_ns: The steady clock.
            prefix: Put before every topic, such as ``left/``.
        """
        self._node, self._feed, self._now_ns = node, feed, now_ns
        self._latency_ns = round(settings.audio_latency_ms * 1e6)
        self.frame_id = ""
        self.inputs = Inputs(
            *(InputMeter(node.resolve_topic_name(name)) for name in input_topics(settings, prefix))
        )
        assumed = Form(settings.audio_rate, settings.audio_channels)
        self._info = AudioInfoInput(node, prefix, assumed)
        self._listeners = self._listen(settings)

    def close(self) -> None:
        """Unsubscribe."""
        for listener in self._listeners:
            listener.close()
        self._info.close()

    def tick(self) -> None:
        """Do what is due: rates, and following publishers that came, went or changed."""
        for meter in self.inputs.all:
            meter.tick(self._now_ns(), self._clock_ns())
        for listener in self._listeners:
            listener.tick()
        if self.inputs.audio.received:
            self._info.say_what_is_assumed(self.inputs.audio.topic)

    def _listen(self, asked: PerceptionParameters) -> tuple[Listener, ...]:
        image, audio, words = self.inputs.all
        listener = partial(Listener, self._node, now_ns=self._now_ns)
        return (
            listener(
                image,
                Wish(image.topic, "image_transport", asked.image_transport, PICTURES),
                qos.image_in,
                asked.image_reliability,
                self._picture_taker,
            ),
            listener(
                audio,
                Wish(audio.topic, "audio_type", asked.audio_type, SOUNDS),
                qos.audio_in,
                asked.audio_reliability,
                self._sound_taker,
            ),
            listener(
                words,
                Wish(words.topic, "transcript_type", asked.transcript_type, WORDS, steady=False),
                qos.transcript_in,
                "reliable",
                self._words_taker,
            ),
        )

    def _picture_taker(self, adapter: Adapter) -> Take:
        return self._take_picture

    def _sound_taker(self, adapter: Adapter) -> Take:
        """Begin a new sound: another type is another driver."""
        if adapter.described:
            self._info.open()
        else:
            self._info.close()
        return partial(self._take_sound, adapter, AudioInput(self._latency_ns))

    def _words_taker(self, adapter: Adapter) -> Take:
        return partial(self._take_words, adapter)

    def _take_picture(self, message: Any, waited_ns: int) -> tuple[int, int]:
        stamp = take_picture(self._feed, message)
        self.frame_id = message.header.frame_id
        return stamp, 0

    def _take_sound(
        self, adapter: Adapter, audio: AudioInput, message: Any, waited_ns: int
    ) -> tuple[int, int]:
        chunk = adapter.convert(message, self._info.form)
        sound = take_sound(self._feed, audio, chunk, self._clock_ns() - waited_ns)
        if sound.missing:
            self.inputs.audio.lose(self._now_ns(), sound.missing)
        if not self.inputs.image.received:
            self.frame_id = chunk.frame_id
        return sound.end_ns, sound.end_ns - sound.stamp_ns

    def _take_words(self, adapter: Adapter, message: Any, waited_ns: int) -> tuple[int, int]:
        return take_words(self._feed, adapter.convert(message), self._clock_ns() - waited_ns), 0

    def _clock_ns(self) -> int:
        now: int = self._node.get_clock().now().nanoseconds
        return now

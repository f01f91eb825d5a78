"""A perception node, its topics from the other side, and a stream of made-up sensor data."""

from __future__ import annotations

import numpy as np
from fake_model import load_fake
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String

from emollama_ros.msg import AudioChunk, EmotionEvent, EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.media_player_node import image_message, pcm16
from emollama_ros.nodes.perception_node import DONE, PerceptionNode

START = 100_000 * SECOND
HOP = SECOND // 2


def bright(stamp, value=220, shape=(48, 64)):
    return image_message(np.full((*shape, 3), value, np.uint8), stamp, "eye")


def chunk(stamp, samples=1600, rate=16000, channels=1, sequence=0):
    tone = 0.3 * np.sin(np.arange(samples * channels) / 5)
    message = AudioChunk(sample_rate=rate, channels=channels, sequence=sequence, samples=pcm16(tone))
    message.header.stamp, message.header.frame_id = ros_time(stamp), "ear"
    return message


def state_of(node):
    """The lifecycle state of a node, in words."""
    return node._state_machine.current_state[1]


class Far:
    """The other side of one source: publishers of its inputs, and what was heard of it."""

    def __init__(self, graph, prefix=""):
        make = graph.observer.create_publisher
        self.images = make(Image, f"{prefix}camera/image_raw", qos.IMAGE_OUT)
        self.sound = make(AudioChunk, f"{prefix}audio", qos.AUDIO_OUT)
        self.words = make(String, f"{prefix}transcript", 10)
        self.states = graph.hear(EmotionState, f"{prefix}emotion/state", qos.STATES_HEARD)
        self.reasonings = graph.hear(EmotionReasoning, f"{prefix}emotion/reasoning", qos.REASONING)
        self.events = graph.hear(EmotionEvent, f"{prefix}emotion/event", qos.EVENT)

    @property
    def publishers(self):
        return self.images, self.sound, self.words

    @property
    def perceived(self):
        """States that tell what was perceived, without those that say why there is nothing to tell."""
        return [s for s in self.states if s.label != "unknown"]


class Rig(Far):
    """A perception node with one source, and the other side of it."""

    def __init__(self, graph, load=load_fake, **parameters):
        # A busy machine is not silence.
        given = [Parameter(name, value=value) for name, value in {"timeout_s": 2.0, **parameters}.items()]
        self.graph = graph
        self.node = graph.add(PerceptionNode(load, parameter_overrides=given))
        super().__init__(graph)
        self.now = START

    def activate(self):
        assert self.node.trigger_configure() == DONE
        assert self.node.trigger_activate() == DONE
        self.heard()
        return self

    def heard(self, count=1):
        """Wait until the node subscribes to everything, or to nothing."""
        for publisher in self.publishers:
            self.graph.until(lambda p=publisher: p.get_subscription_count() == count, publisher.topic_name)

    def feed(self, seconds, video=True, audio=True, image=bright):
        """Send 10 Hz data; each datum is taken before the next is sent."""
        for _ in range(round(seconds * 10)):
            self.feed_one(self, self.inputs(), video, audio, image)
            self.now += SECOND // 10

    def feed_one(self, far, inputs, video=True, audio=True, image=bright):
        """Send one picture and one chunk of a source."""
        if video:
            self._deliver(far.images, image(self.now), inputs.image)
        if audio:
            self._deliver(far.sound, chunk(self.now), inputs.audio)

    def inputs(self, source=0):
        return self.node._channels[source]._sensors.inputs

    @property
    def pipeline(self):
        return self.node._session and self.node._session._pipeline

    def _deliver(self, publisher, message, meter):
        before = meter.received
        publisher.publish(message)
        self.graph.until(lambda: meter.received > before, f"{publisher.topic_name} received")

    def next_state(self, wanted=lambda state: True, what="a state"):
        seen = len(self.states)
        return self.graph.until(lambda: next((s for s in self.states[seen:] if wanted(s)), None), what)

    def until_states(self, count):
        self.graph.until(lambda: len(self.perceived) >= count, f"{count} states")
        return self.perceived

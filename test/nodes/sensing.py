"""A microphone and the sensors that hear it: two participants in one process, so that types may differ."""

from __future__ import annotations

import array
import dataclasses
from time import monotonic_ns

import numpy as np

from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.nodes.sensors import Sensors

CHUNK = 512
START_NS = 1_700_000_000 * SECOND


class Heard:
    """A feed that remembers what it is given."""

    frame_size = 224

    def __init__(self):
        self.frames, self.sounds, self.words = [], [], []

    def wants_frame(self, stamp_ns):
        return True

    def push_frame(self, stamp_ns, rgb):
        self.frames.append((stamp_ns, rgb))

    def skip_frame(self, stamp_ns):
        raise AssertionError("every frame is wanted")

    def push_audio(self, stamp_ns, samples):
        self.sounds.append((stamp_ns, samples))

    def push_transcript(self, stamp_ns, text):
        self.words.append((stamp_ns, text))

    @property
    def samples(self):
        return np.concatenate([samples for _, samples in self.sounds] or [np.zeros(0, np.float32)])


class Listening:
    """A node with sensors that feed a ``Heard``; ticks while a graph is spun."""

    def __init__(self, graph, prefix="", **settings):
        import rclpy

        self.node = graph.add(rclpy.create_node("perception_node"))
        self.feed = Heard()
        asked = dataclasses.replace(PerceptionParameters(), **settings)
        self.sensors = Sensors(self.node, asked, self.feed, monotonic_ns, prefix)
        self.node.create_timer(0.05, self.sensors.tick)
        self.node.close = self.sensors.close
        self.audio = self.sensors.inputs.audio

    @property
    def complaint(self):
        return self.audio.complaint(monotonic_ns(), 10 * SECOND)


class Driver:
    """A publisher in a participant of its own, as another process would be: topics may differ in type."""

    def __init__(self, kind, topic="audio", profile=10, name="driver"):
        import rclpy

        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[])
        self.node = rclpy.create_node(name, context=self.context)
        self.publisher = self.node.create_publisher(kind, topic, profile)
        self.count = 0

    def also(self, kind, topic, profile=10):
        return self.node.create_publisher(kind, topic, profile)

    def play(self, graph, make, until, what):
        """Publish messages, stamped as if they came in real time, until something holds."""

        def step():
            self.publisher.publish(make(self.count))
            self.count += 1
            return until()

        return graph.until(step, what)

    def close(self):
        import rclpy

        if self.context.ok():
            self.node.destroy_node()
            rclpy.shutdown(context=self.context)


def tone(index, channels=1, level=0.5):
    """Chunk number ``index`` of an endless tone, int16, interleaved."""
    at = np.arange(index * CHUNK, (index + 1) * CHUNK)
    mono = (level * 32767 * np.sin(2 * np.pi * at / 64)).astype(np.int16)
    return np.repeat(mono, channels)


def stamp(index, rate=16000):
    """Stamp of the first sample of that chunk."""
    return ros_time(START_NS + index * CHUNK * SECOND // rate)


def as_array(values, code):
    """What rclpy takes without converting each element."""
    out = array.array(code)
    out.frombytes(np.ascontiguousarray(values).tobytes())
    return out

"""The drivers of all scenes in one process: healthy streams, and each fault in its time.

    python drivers.py SECONDS

Says on stdout, a line of JSON each, when the play begins and when each fault begins and ends (epoch, ns).
"""

from __future__ import annotations

import array
import json
import sys
import time

import numpy as np
from catalogue import (
    PLAY_S,
    SCENES,
    SEED,
    SPOILT_S,
    TICK_NS,
    TICK_S,
    Picture,
    Sound,
    as_usual,
    begins_s,
)

#: Longest wait for the nodes to subscribe, s.
PATIENCE_S = 90.0


def say(**facts):
    print(json.dumps(facts), flush=True)


class Stream:
    """What one source sends: its clock and its counters."""

    def __init__(self, begin_ns):
        self._begin_ns, self._count = begin_ns, 0

    def next(self):
        stamp, number = self._begin_ns + self._count * TICK_NS, self._count
        self._count += 1
        # Equal stamps: windows end at the same instants whichever of the two is heard first.
        return Picture(stamp, number), Sound(stamp, number)


class Source:
    """Publishers of one source, its stream and its faults."""

    def __init__(self, node, scene, name, faults):
        from sensor_msgs.msg import Image

        from emollama_ros.nodes import qos

        self.scene, self.name, self._faults = scene, name, faults
        prefix = f"/{scene}/{name}"
        self._images = node.create_publisher(Image, f"{prefix}/camera/image_raw", qos.IMAGE_OUT)
        kind, self._sound_message = sound_messages(name)
        self._sounds = node.create_publisher(kind, f"{prefix}/audio", qos.AUDIO_OUT)
        self._present = None

    @property
    def is_heard(self):
        return all(p.get_subscription_count() for p in (self._images, self._sounds))

    def begin(self, now_ns):
        self._stream = Stream(now_ns - TICK_NS)

    def send(self, elapsed_s):
        fault, tick = self._due(elapsed_s)
        self._note(fault)
        for _ in range(fault.speed if fault else 1):
            for datum in (fault.spoil if fault else as_usual)(tick, *self._stream.next()):
                self._publish(datum)

    def _due(self, elapsed_s):
        for index, fault in enumerate(self._faults):
            since = elapsed_s - begins_s(index)
            if -1e-6 <= since < SPOILT_S - 1e-6:
                return fault, round(since / TICK_S)
        return None, 0

    def _note(self, fault):
        if fault is not self._present:
            for event, of in (("off", self._present), ("on", fault)):
                if of is not None:
                    say(event=event, fault=of.name, scene=self.scene, source=self.name, ns=time.time_ns())
            self._present = fault

    def _publish(self, datum):
        if isinstance(datum, Picture):
            self._images.publish(image_of(datum))
        else:
            self._sounds.publish(self._sound_message(datum))


def image_of(picture):
    from sensor_msgs.msg import Image

    from emollama_ros.nodes.clock import ros_time

    channels = {"mono8": 1, "rgba8": 4}.get(picture.encoding, 3)
    height, width = picture.shape
    noise = np.random.default_rng(SEED + picture.noise + 1).integers(-30, 31, (height, width, channels))
    message = Image(height=height, width=width, step=width * channels, encoding=picture.encoding)
    message.header.stamp, message.header.frame_id = ros_time(picture.stamp_ns), "eye"
    data = array.array("B")
    data.frombytes((picture.mean + noise).astype(np.uint8).tobytes())
    message.data = data
    return message


def samples_of(sound):
    """Float samples of the tone, full scale 1."""
    count = round(sound.rate * TICK_S)
    times = sound.sequence * TICK_S + np.arange(count) / sound.rate
    return np.clip(sound.level * np.sin(2 * np.pi * 220 * times), -1, 1).astype(np.float32)


def sound_messages(source):
    """Message type of a microphone, and what makes a message."""
    from emollama_ros.nodes.clock import ros_time

    if source == "floats":  # our own messages hold no NaN
        from audio_common_msgs.msg import AudioStamped

        def stamped(sound):
            message = AudioStamped()
            message.header.stamp, message.header.frame_id = ros_time(sound.stamp_ns), "ear"
            samples = array.array("f")
            samples.frombytes(samples_of(sound).tobytes())
            message.audio.audio_data.float32_data = samples
            info = message.audio.info
            info.format, info.channels, info.rate, info.chunk = 1, 1, sound.stated, len(samples)
            return message

        return AudioStamped, stamped
    from emollama_ros.msg import AudioChunk
    from emollama_ros.nodes.media_player_node import pcm16

    def chunk(sound):
        sequence = sound.sequence % 2**32
        message = AudioChunk(sample_rate=sound.stated, channels=1, sequence=sequence)
        message.header.stamp, message.header.frame_id = ros_time(sound.stamp_ns), "ear"
        message.samples = pcm16(samples_of(sound))
        return message

    return AudioChunk, chunk


def main(scenes, seconds):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    rclpy.init(args=[])
    node = rclpy.create_node("drivers")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    sources = [Source(node, scene, name, SCENES[scene][name]) for scene in scenes for name in SCENES[scene]]
    deadline = time.monotonic() + PATIENCE_S
    while not all(source.is_heard for source in sources):
        if time.monotonic() > deadline:
            sys.exit(f"nobody hears {[(s.scene, s.name) for s in sources if not s.is_heard]}")
        executor.spin_once(timeout_sec=0.1)
    play(executor, sources, seconds)
    node.destroy_node()
    rclpy.shutdown()


def play(executor, sources, seconds):
    began, now_ns, late_s = time.monotonic(), time.time_ns(), 0.0
    say(event="began", ns=now_ns)
    for source in sources:
        source.begin(now_ns)
    for tick in range(round(seconds / TICK_S)):
        while (left := began + tick * TICK_S - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
        late_s = max(late_s, -left)
        for source in sources:
            source.send(tick * TICK_S)
    say(event="ended", ns=time.time_ns(), late_s=round(late_s, 2))


if __name__ == "__main__":
    main(sys.argv[2:] or list(SCENES), float(sys.argv[1]) if len(sys.argv) > 1 else PLAY_S)

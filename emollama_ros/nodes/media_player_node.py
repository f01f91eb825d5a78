"""Plays a media file as if it were a camera and a microphone."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from emollama_ros.errors import ConfigError
from emollama_ros.msg import AudioChunk
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.parameters import MediaPlayerParameters, declare
from emollama_ros.nodes.running import main_of
from emollama_ros.streams.media import AudioEvent, MediaEvent, open_media, read_media

AUDIO_RATE_HZ = 16000
#: What the log says when playing begins; the demo finds media time 0 with it.
STARTED = "media time 0 is at stamp"


def image_message(rgb: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """Make an rgb8 image from uint8 ``[h, w, 3]``."""
    message = Image(height=rgb.shape[0], width=rgb.shape[1], step=rgb.shape[1] * 3, encoding="rgb8")
    message.header.stamp, message.header.frame_id = ros_time(stamp_ns), frame_id
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(rgb).data.cast("B"))  # an array is copied at once, bytes one by one
    message.data = data
    return message


def shrink(rgb: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """Scale a picture ``[h, w, 3]`` down to at most ``max_side`` pixels in either direction; 0 leaves it."""
    height, width = rgb.shape[:2]
    if not max_side or max(height, width) <= max_side:
        return rgb
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Picture.fromarray(rgb).resize(size, Picture.Resampling.BILINEAR, reducing_gap=2.0))


def pcm16(samples: NDArray[np.floating]) -> array.array[int]:
    """Return samples of full scale 1 as 16-bit integers, clipped."""
    scaled = np.clip(np.round(np.asarray(samples, np.float32) * 32768.0), -32768, 32767).astype(np.int16)
    data = array.array("h")
    data.frombytes(scaled.tobytes())
    return data


def endless(path: str, loop: bool) -> Iterator[MediaEvent]:
    """Yield the events of a file; with ``loop`` again and again, stamps going on where they ended.

    Raises:
        InputError: The file cannot be read.
    """
    offset = 0
    while True:
        reader = read_media(path)
        for event in reader:
            yield replace(event, stamp_ns=event.stamp_ns + offset)
        if not loop:
            return
        offset += round(reader.report.end_s * SECOND)


class MediaPlayerNode(Node):
    """Publishes the pictures and the sound of a file, each when its time has come."""

    def __init__(self, **node_options: Any) -> None:
        """Open the file and create the topics it has something for.

        Raises:
            ConfigError: A parameter is not legal, or no path is given.
            InputError: The file cannot be played.
        """
        super().__init__("media_player", **node_options)
        self._settings = declare(self, MediaPlayerParameters)
        if not self._settings.path:
            raise ConfigError("media_player_node: no file; give one with --ros-args -p path:=CLIP.mp4")
        info = open_media(self._settings.path)
        self._outputs: dict[type, Any] = {}
        if info.has_video:
            self._outputs[Image] = self.create_publisher(Image, "camera/image_raw", qos.IMAGE_OUT)
        if info.has_audio:
            self._outputs[AudioChunk] = self.create_publisher(AudioChunk, "audio", qos.AUDIO_OUT)
        self._chunks = self._samples = 0

    def play(self, spin_for: Callable[[float], None]) -> None:
        """Play to the end.

        Args:
            spin_for: Serves the node for so many seconds; called instead of sleeping.
        """
        self._await_subscribers(spin_for)
        rate, began = self._settings.rate, perf_counter_ns()
        start_ns = self.get_clock().now().nanoseconds
        self.get_logger().info(f"playing {self._settings.path}: {STARTED} {start_ns}")
        for event in endless(self._settings.path, self._settings.loop):
            if rate > 0:
                while (left := began + event.stamp_ns / rate - perf_counter_ns()) > 0:
                    spin_for(left / SECOND)
            else:
                spin_for(0.0)
            self._publish(event, start_ns)
        self._flush()
        self.get_logger().info("end of file")

    def _await_subscribers(self, spin_for: Callable[[float], None]) -> None:
        publishers = self._outputs.values()
        deadline = perf_counter_ns() + round(self._settings.wait_for_subscribers * SECOND)
        while missing := [p.topic_name for p in publishers if p.get_subscription_count() == 0]:
            if perf_counter_ns() >= deadline:
                if self._settings.wait_for_subscribers:
                    self.get_logger().warning(f"nobody subscribes to {', '.join(missing)}; playing anyway")
                return
            spin_for(0.02)
        # We know them before they know us, and what is sent in between is lost.
        deadline = perf_counter_ns() + round(self._settings.settle_s * SECOND)
        while (left := deadline - perf_counter_ns()) > 0:
            spin_for(left / SECOND)

    def _publish(self, event: MediaEvent, start_ns: int) -> None:
        message = self._message(event, start_ns + event.stamp_ns)
        publisher = self._outputs[type(message)]
        publisher.publish(message)
        if self._settings.rate == 0:
            publisher.wait_for_all_acked(Duration(seconds=1))

    def _message(self, event: MediaEvent, stamp_ns: int) -> Image | AudioChunk:
        if isinstance(event, AudioEvent):
            return self._chunk(event.samples, stamp_ns)
        return image_message(shrink(event.rgb, self._settings.max_side), stamp_ns, self._settings.frame_id)

    def _chunk(self, samples: NDArray[np.float32], stamp_ns: int) -> AudioChunk:
        message = AudioChunk(
            sample_rate=AUDIO_RATE_HZ,
            channels=1,
            sequence=self._chunks % 2**32,
            first_sample=self._samples,
            samples=pcm16(samples),
        )
        message.header.stamp, message.header.frame_id = ros_time(stamp_ns), self._settings.frame_id
        self._chunks += 1
        self._samples += len(samples)
        return message

    def _flush(self) -> None:
        """Let the last messages reach their readers before the publisher disappears."""
        for publisher in self._outputs.values():
            publisher.wait_for_all_acked(Duration(seconds=1))


def _play(node: MediaPlayerNode, executor: SingleThreadedExecutor) -> None:
    node.play(lambda seconds: executor.spin_once(timeout_sec=seconds))


main = main_of(MediaPlayerNode, _play)

if __name__ == "__main__":
    main()

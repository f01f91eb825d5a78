"""An emotion node as one writes it at first, for comparison: ``python -m benchmark.rival_node TRACE``.

It is built from what is described of the public ROS 2 nodes that fuse a camera and a microphone, the
audio-visual node of OpenDR foremost, and shares no code with them:

* pictures and sound are paired by time of arrival, because its sound has no header;
* every pair is appended to arrays with ``np.append``, the pictures as float64;
* when a window is full, it is perceived in the callback of the message that filled it, and the arrays begin
  anew: windows neither overlap nor share any work;
* subscriptions are what a bare depth of 1 gives: reliable, the last message.

All else is ours and the same: weights, engine and threads (`Perception`), 16 pictures a window, transport.
Where it was easy to be kind, it is: pictures are kept at the size of the model, a result carries the stamp of
its newest picture, though such nodes send none, and it is published so that late listeners get it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from emollama_ros.estimate import EmotionEstimate
from emollama_ros.msg import AudioChunk, EmotionState
from emollama_ros.nodes import messages, qos
from emollama_ros.nodes.clock import stamp_ns
from emollama_ros.nodes.image_input import image_pixels
from emollama_ros.nodes.running import run_node
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.streams import AudioSpan, FrameBatch, Window

RATE, SIZE = 16_000, 224
#: Pictures of a window that the model sees: as many as our windows of 4 s at 4 a second have.
FRAMES = 16
WINDOW_S = 4.0
#: Of the matching: messages kept of each kind, and how far apart a pair may be, s.
QUEUE, SLOP_S = 10, 0.1
Perceive = Callable[[Window, int], EmotionEstimate]


class ArrivalMatcher:
    """Pairs each message with the nearest one of the other kind, as approximate time policies do."""

    def __init__(self, on_pair: Callable[[Any, Any], None]) -> None:
        """Pair from now on; ``on_pair`` gets a picture and a sound."""
        self._on_pair = on_pair
        self._waiting: tuple[deque[tuple[float, Any]], ...] = (deque(maxlen=QUEUE), deque(maxlen=QUEUE))

    def picture(self, time_s: float, message: Any) -> None:
        """Take a picture at its stamp."""
        self._add(0, time_s, message)

    def sound(self, time_s: float, message: Any) -> None:
        """Take a chunk of sound at its arrival."""
        self._add(1, time_s, message)

    def _add(self, kind: int, time_s: float, message: Any) -> None:
        others = self._waiting[1 - kind]
        nearest = min(others, key=lambda other: abs(other[0] - time_s), default=None)
        if nearest is None or abs(nearest[0] - time_s) > SLOP_S:
            self._waiting[kind].append((time_s, message))
            return
        others.remove(nearest)
        self._on_pair(*((message, nearest[1]) if kind == 0 else (nearest[1], message)))


@dataclass
class Buffers:
    """Arrays that grow by copying themselves.

    Attributes:
        frames: float64 (n, 224, 224, 3).
        stamps_ns: Of the frames.
        samples: float64 (n,), one after the other, whatever was missing between them.
    """

    frames: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, SIZE, SIZE, 3)))
    stamps_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    samples: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def append(self, stamp: int, frame: NDArray[np.uint8], samples: NDArray[np.float64]) -> None:
        """Add a picture (224, 224, 3) and a chunk of sound of full scale 1."""
        self.frames = np.append(self.frames, frame[None].astype(np.float64), axis=0)
        self.stamps_ns = np.append(self.stamps_ns, stamp)
        self.samples = np.append(self.samples, samples)

    @property
    def full(self) -> bool:
        """Whether there is sound for a window."""
        return len(self.samples) >= WINDOW_S * RATE

    def window(self) -> Window:
        """All of it, with uniformly chosen pictures."""
        chosen = np.linspace(0, len(self.stamps_ns) - 1, FRAMES).round().astype(int)
        chosen = np.unique(chosen)
        start, end = int(self.stamps_ns[0]), int(self.stamps_ns[-1])
        frames = FrameBatch(self.stamps_ns[chosen], self.frames[chosen].astype(np.uint8))
        return Window(start, end, frames, AudioSpan(start, self.samples.astype(np.float32), 1.0))


class RivalNode(Node):
    """Perceives in the callback of whatever message fills its buffers.

    Attributes:
        counts: Results, and what arrived and was used.
    """

    def __init__(self, trace: Path, load: Callable[[str], Perceive]) -> None:
        """Load and subscribe.

        Args:
            trace: JSON file for the counts, written when it is closed.
            load: From the folder of a bundle to what perceives a window.
        """
        super().__init__("rival")
        self._trace = trace
        self._perceive = load(self.declare_parameter("bundle", "").value)
        self._matcher, self._buffers = ArrivalMatcher(self._on_pair), Buffers()
        self.counts = {"results": 0, "frames": 0, "samples": 0, "samples_used": 0}
        self._states = self.create_publisher(EmotionState, "emotion/state", qos.STATE)
        self.create_subscription(Image, "camera/image_raw", self._on_image, 1)
        self.create_subscription(AudioChunk, "audio", self._on_audio, 1)

    def close(self) -> None:
        """Write what arrived and what of it was used."""
        self.counts["samples_pending"] = len(self._buffers.samples)
        self._trace.write_text(json.dumps({"counts": self.counts}))

    def _on_image(self, message: Image) -> None:
        self.counts["frames"] += 1
        self._matcher.picture(stamp_ns(message.header.stamp) / 1e9, message)

    def _on_audio(self, message: AudioChunk) -> None:
        self.counts["samples"] += len(message.samples)
        self._matcher.sound(self.get_clock().now().nanoseconds / 1e9, message)

    def _on_pair(self, image: Image, audio: AudioChunk) -> None:
        frame = to_model_frame(image_pixels(image), SIZE)
        samples = np.array(audio.samples, np.float64) / 32768.0
        self._buffers.append(stamp_ns(image.header.stamp), frame, samples)
        if self._buffers.full:
            self._answer(self._buffers.window())
            self._buffers = Buffers()

    def _answer(self, window: Window) -> None:
        began = time.perf_counter()
        estimate = self._perceive(window, self.counts["results"])
        self.counts["results"] += 1
        self.counts["samples_used"] += len(self._buffers.samples)
        took_ms = 1e3 * (time.perf_counter() - began)
        self._states.publish(messages.state_message(estimate, estimate.sequence, (), took_ms))


def load_perception(folder: str) -> Perceive:
    """The bundle's engines with the threads that our node takes by default."""
    from emollama_ros.bundle import Bundle
    from emollama_ros.engines import EngineOptions
    from emollama_ros.nodes.parameters import PerceptionParameters
    from emollama_ros.perception import Perception

    threads = PerceptionParameters().threads
    perception = Perception(Bundle.load(folder or None), EngineOptions(threads=threads))
    perception.warm_up()
    return perception.perceive_one


if __name__ == "__main__":
    sys.exit(run_node(lambda: RivalNode(Path(sys.argv[1]), load_perception)))

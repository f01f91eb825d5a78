"""Bags without ROS: what a camera and a microphone would send, and a model whose answer can be predicted."""

from __future__ import annotations

import numpy as np

from emollama_ros.bags.definitions import CHUNK
from emollama_ros.bags.writing import BagWriter
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning
from emollama_ros.labels import DEFAULT_LABELS, UNKNOWN
from emollama_ros.nodes.loading import Parts

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class Scene:
    """Writes sensor messages into a bag, each logged when it was captured."""

    def __init__(self, path, camera="/camera/image_raw", audio="/audio", camera_type=IMAGE):
        self.bag = BagWriter(path)
        self.camera, self.audio, self.chunks = camera, audio, 0
        for topic, kind in ((camera, camera_type), (audio, CHUNK)):
            if topic:
                self.bag.add(topic, kind)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bag.close()

    def header(self, stamp, frame):
        time = self.bag.make("builtin_interfaces/msg/Time", sec=stamp // SECOND, nanosec=stamp % SECOND)
        return self.bag.make("std_msgs/msg/Header", stamp=time, frame_id=frame)

    def picture(self, stamp, value=220, encoding="rgb8", rgb=None, log=None):
        pixels = np.full((48, 64, 3), value, np.uint8) if rgb is None else np.ascontiguousarray(rgb)
        height, width, _ = pixels.shape
        message = self.bag.make(
            IMAGE,
            header=self.header(stamp, "eye"),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=3 * width,
            data=pixels.reshape(-1),
        )
        self.bag.put(self.camera, stamp if log is None else log, message)

    def sound(self, stamp, samples=None, log=None):
        tone = 0.3 * np.sin(np.arange(1600) / 5) if samples is None else samples
        message = self.bag.make(
            CHUNK,
            header=self.header(stamp, "ear"),
            sample_rate=16000,
            channels=1,
            sequence=self.chunks,
            first_sample=0,
            samples=np.clip(np.round(tone * 32768), -32768, 32767).astype(np.int16),
        )
        self.chunks += 1
        self.bag.put(self.audio, stamp if log is None else log, message)

    def words(self, stamp, text):
        self.bag.add("/transcript", "std_msgs/msg/String")
        self.bag.put("/transcript", stamp, self.bag.make("std_msgs/msg/String", data=text))

    def play(self, seconds, start=START, bright=lambda second: True, **options):
        """Ten pictures and chunks of sound a second."""
        for step in range(round(10 * seconds)):
            stamp = start + step * SECOND // 10
            if self.camera:
                self.picture(stamp, 220 if bright(step / 10) else 30, **options)
            if self.audio:
                self.sound(stamp)


class Bright:
    """Bright pictures are happy, dark ones sad; what is sure of depends on how many windows came before."""

    def __init__(self, happy="happy", sureness=0.7):
        self.windows, self.resets, self._happy, self._sureness = [], 0, happy, sureness

    def reset(self, source=None):
        self.resets += 1

    def perceive(self, windows, sequences, sources):
        return [self._one(*each) for each in zip(windows, sequences, sources, strict=True)]

    def _one(self, window, sequence, source):
        self.windows.append(window)
        used = Modality.NONE
        used |= Modality.VIDEO if window.frames is not None else Modality.NONE
        used |= Modality.AUDIO if window.audio is not None else Modality.NONE
        used |= Modality.TEXT if window.transcript else Modality.NONE
        label = "neutral" if used else UNKNOWN
        if window.frames is not None:
            label = self._happy if window.frames.images[-1].mean() > 127 else "sad"
        rest = (1 - self._sureness) / (len(DEFAULT_LABELS) - 1)
        return EmotionEstimate(
            window.start_ns,
            window.end_ns,
            sequence,
            label,
            DEFAULT_LABELS,
            tuple(self._sureness if name == label else rest for name in DEFAULT_LABELS),
            0.25,
            -0.5,
            self._sureness,
            used,
            source=source,
        )


class Words:
    """Explains an estimate by its label and its number, as a model that is seeded by it would."""

    def explain(self, estimate, transcript, *, on_text, should_stop):
        text = f"Seems {estimate.label}, window {estimate.sequence}"
        return Reasoning(0, estimate.sequence, estimate.start_ns, estimate.end_ns, estimate.label, text, True)


def loader(perceiver=None, explainer=None, facts=None):
    """Return what stands in for ``load_parts``."""
    facts = facts or {"bundle": "fake 1", "bundle sha256": "abc"}
    return lambda settings: Parts(perceiver or Bright(), explainer or Words(), facts)

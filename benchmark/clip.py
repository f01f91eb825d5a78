"""The clip the graph is measured with: the bundled sample, as a VGA camera and a microphone would give it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emollama_ros.streams.media import AudioEvent, VideoEvent, read_media

WIDTH, HEIGHT, RATE = 640, 480, 16_000
#: What "30 fps" cameras send. 30 exactly would meet the end of every window at one phase, maybe a lucky one.
FPS = Fraction(30_000, 1001)


def make_clip(sample: Path, target: Path, seconds: float) -> Path:
    """Loop a clip and write it as 640x480 pictures at 30 fps and lossless 16 kHz mono sound (Matroska).

    Args:
        sample: Clip with picture and sound.
        target: File to write.
        seconds: Its length.
    """
    pictures, sound = decode(sample)
    with av.open(str(target), "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for packets in zip(_video(video, pictures, seconds), _audio(audio, sound, seconds), strict=False):
            for packet in packets:
                container.mux(packet)
    return target


def decode(sample: Path) -> tuple[list[tuple[int, NDArray[np.uint8]]], NDArray[np.int16]]:
    """Return the stamped pictures, scaled, and the sound of a clip."""
    pictures, chunks = [], []
    for event in read_media(sample):
        if isinstance(event, VideoEvent):
            scaled = Image.fromarray(event.rgb).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
            pictures.append((event.stamp_ns, np.asarray(scaled)))
        elif isinstance(event, AudioEvent):
            chunks.append(event.samples)
    return pictures, (np.clip(np.concatenate(chunks), -1, 1) * 32767).astype(np.int16)


def _video(stream: av.VideoStream, pictures: list, seconds: float) -> Iterator[list]:
    """Encode second by second; the picture shown at a time is the latest one stamped before it."""
    stamps = np.array([stamp for stamp, _ in pictures])
    period_ns = int(stamps[-1] + stamps[1] - stamps[0])
    numbers = iter(range(round(seconds * FPS)))
    while batch := list(islice(numbers, 30)):
        packets = []
        for number in batch:
            time_ns = round(number / FPS * 10**9) % period_ns
            rgb = pictures[int(np.searchsorted(stamps, time_ns, "right")) - 1][1]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = number, 1 / FPS
            packets += stream.encode(frame)
        yield packets
    yield stream.encode(None)


def _audio(stream: av.AudioStream, sound: NDArray[np.int16], seconds: float) -> Iterator[list]:
    """Encode second by second."""
    looped = np.resize(sound, round(seconds * RATE))
    for start in range(0, len(looped), RATE):
        part = looped[start : start + RATE]
        frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield stream.encode(frame)
    while True:
        yield []


def count(clip: Path) -> dict[str, int]:
    """Frames and samples that a reader of the clip gets; what the player sends."""
    frames = samples = 0
    for event in read_media(clip):
        if isinstance(event, VideoEvent):
            frames += 1
        else:
            samples += len(event.samples)
    return {"frames": frames, "samples": samples}

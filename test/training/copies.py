"""Clips that look and sound like something, and copies of them: other codec, size, rate, loudness."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16000


def babble(seed: int, seconds: float = 2.0) -> NDArray[np.float32]:
    """Syllables of changing pitch and colour, full scale 1."""
    random = np.random.default_rng(seed)
    count = max(3, int(seconds * random.uniform(3, 5)))
    time = np.linspace(0, 1, round(seconds * RATE))
    knots = np.linspace(0, 1, count)
    pitch = np.interp(time, knots, random.uniform(90, 260, count))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    colour = np.array([np.interp(time, knots, random.uniform(0, 1, count)) for _ in range(12)])
    voice = sum(colour[k] * np.sin((k + 1) * phase) / (k + 1) for k in range(12))
    loud = np.interp(time, knots, random.uniform(0.02, 1, count))
    noise = random.normal(0, 0.05, len(time)) * np.interp(time, knots, random.uniform(0, 1, count))
    return (0.2 * loud * (voice + noise)).astype(np.float32)


def scene(seed: int, seconds: float = 2.0, fps: int = 12) -> Iterator[NDArray[np.uint8]]:
    """Discs that move: uint8 ``[90, 120, 3]``."""
    random = np.random.default_rng(seed)
    places, ways = random.uniform(0, 1, (30, 2)), random.uniform(-0.2, 0.2, (30, 2))
    sizes, lights = random.uniform(0.03, 0.2, 30), random.uniform(-90, 90, 30)
    y, x = np.mgrid[0:90, 0:120] / 120
    for index in range(round(seconds * fps)):
        grey = np.full(x.shape, 120.0)
        for (px, py), (wx, wy), size, light in zip(places, ways, sizes, lights, strict=True):
            t = index / fps
            far = ((x - px - wx * t) ** 2 + (y - 0.75 * py - wy * t) ** 2) / size**2
            grey += light * (far < 1)
        yield np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_sound(
    path: Path, sound: NDArray[np.float32], codec: str, rate: int = RATE, bits: int = 32000
) -> None:
    """Write 16 kHz mono sound in any codec and rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        _add_sound(out, _sound_stream(out, codec, rate, bits), sound)


def write_film(
    path: Path,
    seed: int,
    *,
    sound: NDArray[np.float32] | None = None,
    size: tuple[int, int] = (120, 90),
    codec: str = "libx264",
    quality: int = 20,
) -> None:
    """Write the scene of a seed, scaled to (width, height), with or without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=12)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.options = {"crf": str(quality), "preset": "ultrafast"} if codec == "libx264" else {}
        voice = None if sound is None else _sound_stream(out, "aac", RATE, 48000)
        for index, rgb in enumerate(scene(seed)):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(*size, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            _add_sound(out, voice, sound)


def _sound_stream(out: av.container.OutputContainer, codec: str, rate: int, bits: int) -> av.AudioStream:
    stream = out.add_stream(codec, rate=rate, layout="mono")
    stream.bit_rate = bits
    return stream


def _add_sound(out: av.container.OutputContainer, stream: av.AudioStream, sound: NDArray) -> None:
    frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    stream.codec_context.open(strict=False)
    resampler = av.AudioResampler(
        stream.format.name, "mono", stream.rate, frame_size=stream.frame_size or 1024
    )
    for part in (frame, None):
        for each in resampler.resample(part):
            out.mux(stream.encode(each))
    out.mux(stream.encode(None))

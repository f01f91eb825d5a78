"""Clips for the tests of measuring: a generated face that does what is asked, a voice of known pitch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from training.mmeverse.schema import Media, Record

FPS, RATE = 10, 16_000


def face_frames(units: dict[str, np.ndarray], person: int = 401) -> list[np.ndarray]:
    """Pictures of a person from the front; ``units`` are ARKit weights by frame."""
    from training.synthesis.expressions import expand
    from training.synthesis.generate import draw_frame, shared_renderer
    from training.synthesis.people import make_person
    from training.synthesis.scene import draw_scene

    renderer, rng = shared_renderer(), np.random.default_rng(5)
    names = renderer.mesh.unit_names
    scene = draw_scene(rng, 320, 240, (0.75, 0.8))
    frames = []
    for values in zip(*units.values(), strict=True):
        weights = np.zeros(len(names), np.float32)
        for unit, value in zip(units, values, strict=True):
            for full in expand(unit):
                weights[names.index(full)] = value
        frames.append(draw_frame(renderer, make_person(person), weights, np.zeros(7), scene, rng))
    return frames


def vowel(seconds: float, hertz: float, noise: float = 0.0, jitter: float = 0.0) -> np.ndarray:
    """A voice-like sound: pulses through two resonances, float32 [n]."""
    rng = np.random.default_rng(1)
    pulses = np.zeros(round(seconds * RATE))
    at = 0.0
    while at < len(pulses):
        pulses[int(at)] = 1.0
        at += RATE / hertz * (1 + jitter * rng.standard_normal())
    t = np.arange(800) / RATE
    voice = pulses
    for centre, width in ((700, 90), (1200, 110)):
        voice = np.convolve(voice, np.exp(-np.pi * width * t) * np.sin(2 * np.pi * centre * t))[: len(pulses)]
    voice = 0.3 * voice / np.abs(voice).max()
    return (voice + noise * rng.standard_normal(len(voice))).astype(np.float32)


def write_clip(path: Path, frames: list[np.ndarray] | None = None, sound: np.ndarray | None = None) -> Path:
    """Write pictures and sound; either may be left out."""
    with av.open(str(path), "w") as container:
        video = audio = None
        if frames:
            video = container.add_stream("libx264", rate=FPS, options={"crf": "16"})
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = "yuv420p"
        if sound is not None:
            codec = "pcm_s16le" if path.suffix == ".wav" else "aac"
            audio = container.add_stream(codec, rate=RATE, layout="mono")
        for picture in frames or []:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if video is not None:
            container.mux(video.encode())
        if audio is not None:
            block = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            block.sample_rate = RATE
            for resampled in av.AudioResampler(audio.format, "mono", RATE, frame_size=1024).resample(block):
                container.mux(audio.encode(resampled))
            container.mux(audio.encode())
    return path


def record(label: str = "happy", **changes: Any) -> Record:
    """A record of the seven default labels."""
    fields: dict[str, Any] = {
        "id": "clip",
        "source": "made_up",
        "split": "train",
        "task": "emotion",
        "label": label,
        "media": Media(video="clip.mp4"),
    }
    return Record(**{**fields, **changes})

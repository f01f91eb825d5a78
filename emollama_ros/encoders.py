"""The encoders: pictures and sound of a window to the features that the fusion reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.bundle import Preprocessing
from emollama_ros.engines import Engine, EngineOptions, load_engine
from emollama_ros.estimate import Modality
from emollama_ros.preprocess.audio import log_mel
from emollama_ros.preprocess.tokens import adaptive_pool, choose_frames
from emollama_ros.streams import FrameBatch, Window

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class WindowFeatures:
    """What the encoders saw in a window; ``None`` for a modality that is missing.

    Attributes:
        audio: (L, 16, D) outputs of the audio encoder's blocks, pooled to tokens.
        image: (1280,) feature of the middle frame.
        video: (16, 1280) features of uniformly chosen frames.
    """

    audio: Floats | None
    image: Floats | None
    video: Floats | None


class FrameCache:
    """Features of frames already seen: a frame is encoded once, however many windows it is in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[int, Floats] = {}

    def encode(self, frames: FrameBatch) -> Floats:
        """Return the features (N, 1280) of the frames, in order."""
        stamps = [int(s) for s in frames.stamps_ns]
        new = [i for i, stamp in enumerate(stamps) if stamp not in self._known]
        if new:
            features = self._engine.run({"frames": frames.images[new]})["features"]
            self._known |= {stamps[i]: feature for i, feature in zip(new, features, strict=True)}
        self._known = {stamp: self._known[stamp] for stamp in stamps}
        return np.stack(list(self._known.values()))

    def clear(self) -> None:
        """Forget everything, as after a clock jump."""
        self._known.clear()


class StageTimer:
    """Collects the milliseconds of named stages."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under ``name``."""
        began = time.perf_counter_ns()
        yield
        self.ms[name] = (time.perf_counter_ns() - began) / 1e6


class Encoders:
    """The vision and the audio graph of a bundle. Used from one thread at a time."""

    def __init__(self, vision: Path, audio: Path, settings: Preprocessing, options: EngineOptions) -> None:
        self._settings = settings
        self.vision = load_engine(vision, options)
        self._audio = load_engine(audio, options)
        self._frames = FrameCache(self.vision)

    @property
    def device(self) -> str:
        """Where the graphs run."""
        return self.vision.device

    def reset(self) -> None:
        """Forget frames already encoded."""
        self._frames.clear()

    def encode(self, window: Window, usable: Modality, timer: StageTimer | None = None) -> WindowFeatures:
        """Encode what is usable of a window.

        Args:
            window: Its frames and sound.
            usable: Modalities to encode; the others come back as ``None``.
            timer: Collects the stages ``audio`` and ``vision``.
        """
        timer = timer or StageTimer()
        audio = image = video = None
        if Modality.AUDIO in usable and window.audio is not None:
            with timer.stage("audio"):
                audio = self.encode_audio(window.audio.samples)
        if Modality.VIDEO in usable and window.frames is not None:
            with timer.stage("vision"):
                image, video = choose_frames(self._frames.encode(window.frames), self._settings.video_frames)
        return WindowFeatures(audio, image, video)

    def encode_audio(self, samples: Floats) -> Floats:
        """Encode samples (n,) at 16 kHz into the pooled tokens (L, 16, D) of every block."""
        layers = self._audio.run({"mel": log_mel(samples)[None]})["layers"][0]
        return adaptive_pool(layers, self._settings.audio_tokens)

"""The encoders: pictures and sound of a window to the features that the fusion reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emollama_ros.bundle import Bundle
from emollama_ros.engines import Engine, EngineOptions
from emollama_ros.estimate import Modality
from emollama_ros.graphs import GraphLoader, load_graph
from emollama_ros.preprocess.audio import log_mel
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.preprocess.tokens import adaptive_pool, spread
from emollama_ros.streams import FrameBatch, Window

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class WindowFeatures:
    """What the encoders saw in a window; ``None`` for a modality that is missing.

    Attributes:
        audio: (L, T, D) outputs of the audio encoder's blocks, pooled to tokens.
        image: (P, E) tokens of the middle frame.
        glance: (D,) that frame as one vector.
        video: (frames * C, D) tokens of uniformly chosen frames.
        moves: Whether the window has more than one frame.
    """

    audio: Floats | None = None
    image: Floats | None = None
    glance: Floats | None = None
    video: Floats | None = None
    moves: bool = False


class FrameCache:
    """Features of frames already seen: a frame is encoded once, however many windows it is in."""

    def __init__(self, engine: Engine, size: int) -> None:
        """Keep what ``engine`` gives for frames, which it takes at ``size`` pixels a side."""
        self._engine, self._size = engine, size
        self._known: dict[int, dict[str, Floats]] = {}

    def encode(self, frames: FrameBatch) -> dict[str, Floats]:
        """Return each output of the graph, one row a frame, in order."""
        stamps = [int(s) for s in frames.stamps_ns]
        new = [i for i, stamp in enumerate(stamps) if stamp not in self._known]
        if new:
            pixels = np.stack([to_model_frame(frames.images[i], self._size) for i in new])
            out = self._engine.run({"frames": pixels})
            for row, i in enumerate(new):
                self._known[stamps[i]] = {name: values[row] for name, values in out.items()}
        self._known = {stamp: self._known[stamp] for stamp in stamps}
        rows = list(self._known.values())
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

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
    """The graphs that look and listen. Used from one thread at a time.

    ``vision`` gives ``features`` (N, D) of frames and, where one vector a frame is not all that the fusion
    reads, ``image`` (N, P, E) and ``cells`` (N, C, D). Where a bundle has a graph ``image`` too, it sees the
    middle frame, larger, and gives that one's ``features`` and ``image``.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, load: GraphLoader = load_graph) -> None:
        self._settings = settings = bundle.manifest.preprocessing
        self.vision = load(bundle, "vision", options)
        self._audio = load(bundle, "audio", options)
        self._frames = FrameCache(self.vision, settings.video_size or settings.frame_size)
        self._large: FrameCache | None = None
        if "image" in bundle.manifest.graphs:
            self._large = FrameCache(load(bundle, "image", options), settings.frame_size)

    @property
    def device(self) -> str:
        """Where the graphs run."""
        return self.vision.device

    def reset(self) -> None:
        """Forget frames already encoded."""
        self._frames.clear()
        if self._large:
            self._large.clear()

    def encode(self, window: Window, usable: Modality, timer: StageTimer | None = None) -> WindowFeatures:
        """Encode what is usable of a window.

        Args:
            window: Its frames and sound.
            usable: Modalities to encode; the others come back as ``None``.
            timer: Collects the stages ``audio`` and ``vision``.
        """
        timer = timer or StageTimer()
        found = WindowFeatures()
        if Modality.AUDIO in usable and window.audio is not None:
            with timer.stage("audio"):
                found = replace(found, audio=self.encode_audio(window.audio.samples))
        if Modality.VIDEO in usable and window.frames is not None:
            with timer.stage("vision"):
                found = self._look(window.frames, found)
        return found

    def _look(self, frames: FrameBatch, found: WindowFeatures) -> WindowFeatures:
        seen = self._frames.encode(frames)
        middle = len(frames.stamps_ns) // 2
        still = {name: rows[middle] for name, rows in seen.items()}
        if self._large:
            one = FrameBatch(frames.stamps_ns[middle : middle + 1], frames.images[middle : middle + 1])
            still = {name: rows[0] for name, rows in self._large.encode(one).items()}
        cells = spread(seen.get("cells", seen["features"][:, None]), self._settings.video_frames)
        return replace(
            found,
            image=still.get("image", still["features"][None]),
            glance=still["features"],
            video=cells.reshape(-1, cells.shape[-1]),
            moves=len(frames.stamps_ns) > 1,
        )

    def encode_audio(self, samples: Floats) -> Floats:
        """Encode samples (n,) at 16 kHz into the pooled tokens (L, T, D) of every block."""
        padded = round(self._settings.audio_pad_s * self._settings.audio_rate)
        if padded:
            samples = np.pad(samples[:padded], (0, max(0, padded - len(samples))))
        layers = self._audio.run({"mel": log_mel(samples)[None]})["layers"][0]
        return adaptive_pool(layers, self._settings.audio_tokens)

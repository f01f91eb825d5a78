"""The encoders: pictures and sound of a window to the features that the fusion reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emollama_ros.bundle import Bundle
from emollama_ros.engines import Engine, EngineOptions
from emollama_ros.estimate import Modality
from emollama_ros.graphs import GraphLoader, load_graph
from emollama_ros.manifest import Preprocessing
from emollama_ros.preprocess.audio import log_mel
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.preprocess.tokens import adaptive_pool, spread
from emollama_ros.sharing import ByContent
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


#: What a graph gives for one frame, by the names of its outputs.
Row = dict[str, Floats]
#: Most frames in one run of a graph: both cores are busy from eight on, and more only take memory.
FRAMES_A_RUN = 16


class FrameCache:
    """Features of frames already seen: a frame is encoded once, however many windows it is in.

    Frames of several sources are encoded together. Pictures that are the same, pixel by pixel, are encoded
    once: sources may share a camera, and a driver may repeat a picture.
    """

    def __init__(self, engine: Engine, size: int) -> None:
        """Keep what ``engine`` gives for frames, which it takes at ``size`` pixels a side."""
        self._engine, self._size = engine, size
        self._known: dict[int, dict[int, Row]] = {}
        self._encode = ByContent(self._run)

    def encode(self, batches: Sequence[FrameBatch], sources: Sequence[int]) -> list[dict[str, Floats]]:
        """Encode the frames of several windows that were not seen before.

        Args:
            batches: Frames of each window, at least one.
            sources: Whose they are, each once.

        Returns:
            Of each window each output of the graph, one row a frame, in order.
        """
        new = [
            (source, int(stamp), image)
            for source, batch in zip(sources, batches, strict=True)
            for stamp, image in zip(batch.stamps_ns, batch.images, strict=True)
            if int(stamp) not in self._known.setdefault(source, {})
        ]
        rows = self._encode([image for *_, image in new])
        for (source, stamp, _), row in zip(new, rows, strict=True):
            self._known[source][stamp] = row
        return [self._of_window(source, batch) for source, batch in zip(sources, batches, strict=True)]

    def clear(self, source: int | None = None) -> None:
        """Forget the frames of one source, as after a clock jump, or of all."""
        self._encode.forget()
        if source is None:
            self._known.clear()
        else:
            self._known.pop(source, None)

    def _of_window(self, source: int, batch: FrameBatch) -> dict[str, Floats]:
        """Stack the rows of a window's frames, and forget those that it no longer has."""
        known = self._known[source]
        self._known[source] = {int(stamp): known[int(stamp)] for stamp in batch.stamps_ns}
        rows = list(self._known[source].values())
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _run(self, images: Sequence[NDArray[np.uint8]]) -> list[Row]:
        rows: list[Row] = []
        for first in range(0, len(images), FRAMES_A_RUN):
            some = images[first : first + FRAMES_A_RUN]
            out = self._engine.run({"frames": np.stack([to_model_frame(i, self._size) for i in some])})
            rows += [{name: values[k] for name, values in out.items()} for k in range(len(some))]
        return rows


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
        self._listener = AudioEncoder(load(bundle, "audio", options), settings, options.threads)
        self._frames = FrameCache(self.vision, settings.video_size or settings.frame_size)
        self._large: FrameCache | None = None
        if "image" in bundle.manifest.graphs:
            self._large = FrameCache(load(bundle, "image", options), settings.frame_size)

    @property
    def device(self) -> str:
        """Where the graphs run."""
        return self.vision.device

    def reset(self, source: int | None = None) -> None:
        """Forget the frames already encoded, of one source or of all, and the last sounds."""
        self._listener.encode.forget()
        self._frames.clear(source)
        if self._large:
            self._large.clear(source)

    def encode(
        self,
        windows: Sequence[Window],
        usable: Sequence[Modality],
        sources: Sequence[int],
        timer: StageTimer,
    ) -> list[WindowFeatures]:
        """Encode what is usable of windows, at most one of each source.

        Args:
            windows: Their frames and sound.
            usable: Modalities to encode of each; the others come back as ``None``.
            sources: Whose they are.
            timer: Collects the stages ``audio`` and ``vision``, of all windows together.
        """
        found = [WindowFeatures() for _ in windows]
        heard = {
            i: window.audio.samples
            for i, window in enumerate(windows)
            if Modality.AUDIO in usable[i] and window.audio is not None
        }
        seen = {
            i: window.frames
            for i, window in enumerate(windows)
            if Modality.VIDEO in usable[i] and window.frames is not None
        }
        if heard:
            with timer.stage("audio"):
                for i, tokens in zip(heard, self._listener.encode(list(heard.values())), strict=True):
                    found[i] = replace(found[i], audio=tokens)
        if seen:
            with timer.stage("vision"):
                looks = self._look(list(seen.values()), [sources[i] for i in seen])
                for i, look in zip(seen, looks, strict=True):
                    found[i] = replace(look, audio=found[i].audio)
        return found

    def _look(self, batches: Sequence[FrameBatch], sources: Sequence[int]) -> list[WindowFeatures]:
        seen = self._frames.encode(batches, sources)
        stills: Sequence[Mapping[str, Floats]]
        if self._large:
            large = self._large.encode([_middle(batch) for batch in batches], sources)
            stills = [{name: rows[0] for name, rows in one.items()} for one in large]
        else:
            stills = [{name: rows[len(rows) // 2] for name, rows in one.items()} for one in seen]
        return [self._features(rows, still) for rows, still in zip(seen, stills, strict=True)]

    def _features(self, seen: Mapping[str, Floats], still: Mapping[str, Floats]) -> WindowFeatures:
        cells = spread(seen.get("cells", seen["features"][:, None]), self._settings.video_frames)
        return WindowFeatures(
            image=still.get("image", still["features"][None]),
            glance=still["features"],
            video=cells.reshape(-1, cells.shape[-1]),
            moves=len(seen["features"]) > 1,
        )


@lru_cache
def _crew(threads: int) -> ThreadPoolExecutor:
    """Threads that stay for the life of the process: the C library keeps memory for every new one."""
    return ThreadPoolExecutor(threads, "emollama-audio")


class AudioEncoder:
    """Sounds to tokens. Used from one thread at a time.

    Several sounds are encoded beside each other, a thread each, where the engine allows it: a graph of this
    size leaves a quarter of two cores idle when it is run alone. Where the batch axis of the graph is free,
    sounds of one length go through it together instead, as GPUs like it; on a CPU that gains nothing.

    Attributes:
        encode: Gives for sounds, each (n,) at 16 kHz, the pooled tokens (L, T, D) of every block; of sounds
            that are equal it encodes one.
    """

    def __init__(self, engine: Engine, settings: Preprocessing, threads: int) -> None:
        """Take the graph ``audio``, what it needs, and how many sounds may be under way."""
        self._engine, self._settings = engine, settings
        self._takes_many = not isinstance(engine.inputs["mel"][1][0], int)
        self._threads = threads if getattr(engine, "is_reentrant", False) else 1
        self.encode = ByContent(self._encode)

    def _encode(self, sounds: Sequence[Floats]) -> list[Floats]:
        if self._takes_many:
            return self._together(sounds)
        if len(sounds) == 1 or self._threads == 1:
            return [self._one(samples) for samples in sounds]
        return list(_crew(self._threads).map(self._one, sounds))

    def _one(self, samples: Floats) -> Floats:
        return self._pooled(self._engine.run({"mel": self._mel(samples)[None]})["layers"][0])

    def _together(self, sounds: Sequence[Floats]) -> list[Floats]:
        mels = [self._mel(samples) for samples in sounds]
        found: dict[int, Floats] = {}
        for length in {mel.shape[1] for mel in mels}:
            same = [i for i, mel in enumerate(mels) if mel.shape[1] == length]
            layers = self._engine.run({"mel": np.stack([mels[i] for i in same])})["layers"]
            found |= {i: self._pooled(row) for i, row in zip(same, layers, strict=True)}
        return [found[i] for i in range(len(sounds))]

    def _mel(self, samples: Floats) -> Floats:
        padded = round(self._settings.audio_pad_s * self._settings.audio_rate)
        if padded:
            samples = np.pad(samples[:padded], (0, max(0, padded - len(samples))))
        return log_mel(samples)

    def _pooled(self, layers: Floats) -> Floats:
        return adaptive_pool(layers, self._settings.audio_tokens)


def _middle(frames: FrameBatch) -> FrameBatch:
    middle = len(frames.stamps_ns) // 2
    return FrameBatch(frames.stamps_ns[middle : middle + 1], frames.images[middle : middle + 1])

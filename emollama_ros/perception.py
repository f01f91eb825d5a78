"""The fast path: a window in, an estimate out. It never waits for the language model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emollama_ros.bundle import Bundle
from emollama_ros.cues import CueHistory, measure
from emollama_ros.engines import Engine, EngineOptions, load_engine
from emollama_ros.estimate import EmotionEstimate, Modality, Status
from emollama_ros.labels import UNKNOWN
from emollama_ros.preprocess.audio import level_dbfs, log_mel
from emollama_ros.preprocess.text import hash_ngrams
from emollama_ros.preprocess.tokens import adaptive_pool, spread
from emollama_ros.streams.window import AudioSpan, FrameBatch, Window

Floats = NDArray[np.float32]

#: A window quieter than this holds no voice; digital silence and a muted microphone lie below it.
SILENCE_DBFS = -60.0
#: Shortest audio that the encoder can make sense of, seconds.
SHORTEST_AUDIO_S = 0.4
#: Share of a window's samples that must have arrived for its audio to be used.
LEAST_VALID_AUDIO = 0.5
#: A picture whose pixels spread less than this (0..255) is black, white or covered.
BLANK_SPREAD = 4.0


@dataclass(frozen=True)
class WindowFeatures:
    """What the encoders saw in a window; ``None`` for a modality that is missing.

    Attributes:
        audio: (L, 64, D) outputs of the audio encoder's blocks, pooled to tokens.
        image: (1280,) global feature of the middle frame.
        video: (64, 1280) grid tokens of 16 uniformly chosen frames.
    """

    audio: Floats | None
    image: Floats | None
    video: Floats | None


class FrameCache:
    """Features of frames already seen: a frame is encoded once, however many windows it is in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[int, tuple[Floats, Floats]] = {}

    def encode(self, frames: FrameBatch) -> tuple[Floats, Floats]:
        """Return grid tokens (N, 4, 1280) and global features (N, 1280) of the frames, in order."""
        stamps = [int(s) for s in frames.stamps_ns]
        new = [i for i, stamp in enumerate(stamps) if stamp not in self._known]
        if new:
            out = self._engine.run({"frames": frames.images[new]})
            for row, i in enumerate(new):
                self._known[stamps[i]] = (out["grid"][row], out["global"][row])
        self._known = {stamp: self._known[stamp] for stamp in stamps}
        found = list(self._known.values())
        return np.stack([grid for grid, _ in found]), np.stack([whole for _, whole in found])

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


class Perception:
    """Encoders, fusion and head of a bundle. Used from one thread at a time."""

    def __init__(self, bundle: Bundle, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        self.bundle = bundle
        self._vision = load_engine(bundle.file("vision.onnx"), options)
        self._audio = load_engine(bundle.file("audio.onnx"), options)
        self._fusion = load_engine(bundle.file("fusion.onnx"), options)
        self._text = load_engine(bundle.file("text.onnx"), options)
        self._frames = FrameCache(self._vision)
        self._history = CueHistory()

    @property
    def device(self) -> str:
        """Where the graphs run."""
        return self._vision.device

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the scores."""
        return self.bundle.manifest.labels

    def reset(self) -> None:
        """Forget what was seen before, as after a clock jump or for a new clip."""
        self._frames.clear()
        self._history = CueHistory()

    def warm_up(self) -> None:
        """Run every graph once, so that the first window is as fast as the others."""
        settings = self.bundle.manifest.preprocessing
        noise = np.random.default_rng(0)
        frames = noise.integers(0, 255, (2, settings.frame_size, settings.frame_size, 3), np.uint8)
        samples = noise.normal(0, 0.1, 4 * settings.audio_rate).astype(np.float32)
        window = Window(0, 4_000_000_000, FrameBatch(np.array([1, 2]), frames), AudioSpan(0, samples, 1.0), "hello")
        self.perceive(window, 0)
        self.reset()

    def perceive(self, window: Window, sequence: int) -> EmotionEstimate:
        """Estimate the emotion shown in a window.

        Args:
            window: What was received between its two stamps; a missing modality is ``None`` or empty.
            sequence: Number of this window.

        Returns:
            The estimate; its label is ``unknown`` when no modality could be used.
        """
        timer = StageTimer()
        usable, faults = usable_modalities(window)
        features = self._encode(window, usable, timer)
        with timer.stage("fusion"):
            views = self._views(features, window.transcript if Modality.TEXT in usable else "", usable)
        with timer.stage("cues"):
            cues = measure(window, self._history)
        timer.ms["total"] = sum(timer.ms.values())
        if not usable:
            return self._nothing(window, sequence, faults, timer.ms)
        scores, affect = views.joint
        best = int(np.argmax(scores))
        return EmotionEstimate(
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            sequence=sequence,
            label=self.labels[best],
            labels=self.labels,
            scores=tuple(float(p) for p in scores),
            valence=float(affect[0]),
            arousal=float(affect[1]),
            confidence=float(scores[best]),
            modalities=usable,
            views=views.single,
            cues=tuple(cue for cue in cues if cue.modality in usable),
            status=Status.DEGRADED if faults else Status.OK,
            status_text="; ".join(faults),
            stage_ms=timer.ms,
        )

    def encode(self, window: Window) -> WindowFeatures:
        """Run the encoders alone; what training extracts its features with."""
        return self._encode(window, usable_modalities(window)[0], StageTimer())

    def _encode(self, window: Window, usable: Modality, timer: StageTimer) -> WindowFeatures:
        settings = self.bundle.manifest.preprocessing
        audio = image = video = None
        if Modality.AUDIO in usable and window.audio is not None:
            with timer.stage("audio"):
                layers = self._audio.run({"mel": log_mel(window.audio.samples)[None]})["layers"][0]
                audio = adaptive_pool(layers, settings.audio_tokens)
        if Modality.VIDEO in usable and window.frames is not None:
            with timer.stage("vision"):
                grid, whole = self._frames.encode(window.frames)
                image = whole[len(whole) // 2]
                video = spread(grid, settings.video_frames).reshape(-1, grid.shape[-1])
        return WindowFeatures(audio, image, video)

    def _views(self, features: WindowFeatures, transcript: str, usable: Modality) -> _Views:
        calibration = self.bundle.manifest.calibration
        seen = usable & ~Modality.TEXT
        single: dict[Modality, tuple[float, ...]] = {}
        joint, affect = np.full(len(self.labels), 1 / len(self.labels)), np.zeros(2)
        if seen:
            masks = [seen] + [m for m in (Modality.VIDEO, Modality.AUDIO) if m in seen and m != seen]
            out = self._fusion.run(fusion_inputs(features, masks, self.bundle))
            for row, mask in enumerate(masks):
                probabilities = _softmax(out["logits"][row] / calibration.temperature["+".join(mask.names())])
                if len(mask.names()) == 1:
                    single[mask] = tuple(float(p) for p in probabilities)
                if row == 0:
                    joint, affect = probabilities, out["affect"][0]
        if transcript:
            words = self._read(transcript, calibration.temperature["text"])
            single[Modality.TEXT] = tuple(float(p) for p in words)
            joint = _pool(joint, words, calibration.text_weight) if seen else words
        return _Views((joint, np.clip(affect, -1, 1)), single)

    def _read(self, transcript: str, temperature: float) -> Floats:
        """What the words say on their own."""
        ids = hash_ngrams(transcript, self.bundle.manifest.preprocessing.text_buckets)
        return _softmax(self._text.run({"ngrams": ids})["logits"] / temperature)

    def _nothing(
        self, window: Window, sequence: int, faults: tuple[str, ...], stage_ms: Mapping[str, float]
    ) -> EmotionEstimate:
        return EmotionEstimate(
            start_ns=window.start_ns, end_ns=window.end_ns, sequence=sequence, label=UNKNOWN, labels=self.labels,
            scores=(0.0,) * len(self.labels), valence=0.0, arousal=0.0, confidence=0.0, modalities=Modality.NONE,
            status=Status.DEGRADED, status_text="; ".join(faults), stage_ms=stage_ms,
        )


@dataclass(frozen=True)
class _Views:
    joint: tuple[Floats, Floats]
    single: Mapping[Modality, tuple[float, ...]]


def usable_modalities(window: Window) -> tuple[Modality, tuple[str, ...]]:
    """Decide which inputs of a window carry something, and say in words what is wrong with the others.

    A modality that was never connected is legal and no fault is reported here for it; the pipeline, which
    knows what to expect, does that.
    """
    usable, faults = Modality.NONE, []
    if window.audio is not None and len(window.audio.samples):
        fault = _audio_fault(window.audio, window.end_ns - window.start_ns)
        usable, faults = (usable, [*faults, fault]) if fault else (usable | Modality.AUDIO, faults)
    if window.frames is not None and len(window.frames.stamps_ns):
        if float(window.frames.images[-1].std()) < BLANK_SPREAD:
            faults.append("picture is blank (lens covered, or dark)")
        else:
            usable |= Modality.VIDEO
    if window.transcript.strip():
        usable |= Modality.TEXT
    return usable, tuple(faults)


def _audio_fault(audio: AudioSpan, window_ns: int) -> str:
    if audio.valid < LEAST_VALID_AUDIO:
        return f"only {audio.valid:.0%} of the audio arrived"
    if len(audio.samples) < SHORTEST_AUDIO_S * 16_000:
        return f"only {len(audio.samples) / 16_000:.1f} s of audio in a window of {window_ns / 1e9:.1f} s"
    if level_dbfs(audio.samples) < SILENCE_DBFS:
        return f"microphone is silent (below {SILENCE_DBFS:.0f} dBFS)"
    return ""


def fusion_inputs(features: WindowFeatures, masks: list[Modality], bundle: Bundle) -> dict[str, Floats]:
    """Stack one row a mask. A missing modality is passed as zeros and masked inside the graph."""
    shapes = bundle.manifest.fusion_inputs
    rows = len(masks)

    def tiled(value: Floats | None, name: str) -> Floats:
        value = np.zeros(shapes[name], np.float32) if value is None else value
        return np.broadcast_to(value, (rows, *value.shape)).astype(np.float32)

    present = [[float(Modality.AUDIO in m), float(Modality.VIDEO in m)] for m in masks]
    return {
        "audio": tiled(features.audio, "audio"),
        "image": tiled(features.image, "image"),
        "video": tiled(features.video, "video"),
        "present": np.array(present, np.float32),
    }


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def _pool(seen: Floats, words: Floats, weight: float) -> Floats:
    """Logarithmic opinion pool (Genest & Zidek 1986): p proportional to seen * words ** weight."""
    return _softmax(np.log(seen + 1e-9) + weight * np.log(words + 1e-9))

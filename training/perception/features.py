"""Features of labelled clips, cut into windows as a robot sees them, some of them disturbed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.preprocess.audio import log_mel
from emollama_ros.preprocess.tokens import choose_frames
from training.mmeverse.decoding import FRAME_HZ, RATE
from training.networks.efficientnet import EfficientNetLite0, FrameEncoder
from training.networks.whisper import WhisperEncoder
from training.perception.clip_packs import RawClip

WINDOW_S = 4.0
#: Shapes of the `tiny` preset: blocks and width of the audio encoder, width of the vision trunk.
LAYERS, AUDIO, VISION = 4, 384, 1280
TOKENS = 16
SHORTEST_SAMPLES = int(0.4 * RATE)

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Cut:
    """A stretch of a clip as one window of a robot: its sound, and which of the clip's frames it has."""

    samples: Samples
    frames: slice


def whole(raw: RawClip) -> Cut:
    """The whole clip as one window; what evaluation on clips uses."""
    return Cut(raw.samples, slice(0, len(raw.frames)))


def disturbed(raw: RawClip, rng: np.random.Generator) -> Cut:
    """60 to 100 % of the clip, shifted, quieter or louder, in noise and in a room."""
    total = max(len(raw.samples), round(len(raw.frames) / FRAME_HZ * RATE))
    length = min(int(total * rng.uniform(0.6, 1.0)), int(WINDOW_S * RATE))
    start = int(rng.integers(0, max(1, total - length + 1)))
    first = min(int(start / RATE * FRAME_HZ), max(0, len(raw.frames) - 1))
    last = max(first + 1, int(np.ceil((start + length) / RATE * FRAME_HZ)))
    samples = raw.samples[start : start + length]
    return Cut(disturb(samples, rng) if len(samples) else samples, slice(first, min(last, len(raw.frames))))


def disturb(samples: Samples, rng: np.random.Generator) -> Samples:
    """Silence around the words, another microphone, a room, another level, and noise, each at random."""
    samples = np.pad(samples, tuple(int(rng.uniform(0, 0.8) * RATE) for _ in range(2)))[
        -int(WINDOW_S * RATE) :
    ]
    if rng.random() < 0.5:
        samples = _colour(samples, rng)
    if rng.random() < 0.3:
        samples = _reverberate(samples, rng)
    samples = samples * 10 ** (rng.uniform(-18, 6) / 20)
    level = np.sqrt(np.mean(samples**2)) + 1e-6
    noise = _pink(len(samples), rng) * level * 10 ** (-rng.uniform(5, 45) / 20)
    return np.clip(samples + noise, -1, 1).astype(np.float32)


def _colour(samples: Samples, rng: np.random.Generator) -> Samples:
    """A smooth random frequency response of +-8 dB, as of another microphone."""
    spectrum = np.fft.rfft(samples)
    knots = rng.uniform(-8, 8, 8)
    gain = 10 ** (np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), knots) / 20)
    return np.fft.irfft(spectrum * gain, len(samples)).astype(np.float32)


def _reverberate(samples: Samples, rng: np.random.Generator) -> Samples:
    """Exponentially decaying noise as a room response, RT60 of 0.1 to 0.7 s."""
    length = int(rng.uniform(0.1, 0.7) * RATE)
    tail = rng.normal(size=length) * np.exp(-6.9 * np.arange(length) / length)
    tail[0] = np.abs(tail).max() * rng.uniform(1, 6)
    size = len(samples) + length
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail / np.linalg.norm(tail), size), size)
    return wet[: len(samples)].astype(np.float32)


def _pink(count: int, rng: np.random.Generator) -> Samples:
    """Noise of 1/f power and unit deviation."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    noise = np.fft.irfft(spectrum, count)
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


@dataclass(frozen=True)
class FeatureSet:
    """Features of windows, one row a window, half precision.

    Attributes:
        audio: (N, L, TOKENS, D); zeros where there is no sound.
        image: (N, 1280); zeros where there is no picture, as in ``video``.
        video: (N, TOKENS, 1280).
        present: (N, 2), audio and vision.
        labels: (N,) index of the label.
        clips: (N,) number of the clip that the window is cut from.
        spans: (N, 2) first and last-plus-one of the clip's frames in the window.
        persons: ``source:person`` of each row.
        is_whole: (N,) the row is a whole, undisturbed clip.
    """

    audio: NDArray[np.float16]
    image: NDArray[np.float16]
    video: NDArray[np.float16]
    present: NDArray[np.float32]
    labels: NDArray[np.int64]
    clips: NDArray[np.int64]
    spans: NDArray[np.int64]
    persons: NDArray[np.str_]
    is_whole: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.labels)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> FeatureSet:
        """Select rows."""
        return FeatureSet(*(getattr(self, f.name)[rows] for f in fields(self)))


def join(sets: Sequence[FeatureSet]) -> FeatureSet:
    """Put feature sets behind each other; clip numbers are renumbered to stay apart."""
    starts = np.cumsum([0] + [int(s.clips.max()) + 1 for s in sets])
    renumbered = [replace(s, clips=s.clips + start) for s, start in zip(sets, starts, strict=False)]
    return FeatureSet(*(np.concatenate([getattr(s, f.name) for s in renumbered]) for f in fields(FeatureSet)))


@dataclass(frozen=True)
class TorchEncoders:
    """The encoders in PyTorch, on any device; equal to the exported graphs (``model_export verify``).

    Attributes:
        whisper: Audio encoder.
        trunk: Vision trunk.
        device: Where both are.
    """

    whisper: WhisperEncoder
    trunk: EfficientNetLite0
    device: str

    @torch.no_grad()
    def audio(self, samples: Samples) -> NDArray[np.float16]:
        """Pooled tokens (L, TOKENS, AUDIO) of samples (n,)."""
        mel = torch.from_numpy(log_mel(samples))[None].to(self.device)
        layers = self.whisper(mel)[0]
        pooled = torch.nn.functional.adaptive_avg_pool1d(layers.transpose(1, 2), TOKENS).transpose(1, 2)
        return pooled.cpu().numpy().astype(np.float16)

    @torch.no_grad()
    def frames(self, frames: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Features (n, VISION) of frames (n, 224, 224, 3)."""
        parts = [
            FrameEncoder(self.trunk)(torch.from_numpy(frames[i : i + 64]).to(self.device))
            for i in range(0, len(frames), 64)
        ]
        return torch.cat(parts).cpu().numpy().astype(np.float16)


def extract(clips: Sequence[RawClip], encoders: TorchEncoders, copies: int, seed: int = 0) -> FeatureSet:
    """Encode each clip whole, and ``copies`` times disturbed.

    What is drawn for a clip depends on the seed and the clip's name alone, not on the clips before it.

    Args:
        clips: Decoded clips.
        encoders: On the training device.
        copies: Disturbed windows a clip, >= 0.
        seed: Of the disturbances.
    """
    rows = [
        row
        for number, clip in enumerate(tqdm(clips, desc="features"))
        for row in _rows(clip, number, encoders, copies, seed)
    ]
    return FeatureSet(*(np.array(column) for column in zip(*rows, strict=True)))


def with_vision(data: FeatureSet, clips: Sequence[RawClip], encoders: TorchEncoders) -> FeatureSet:
    """The same windows seen through another vision trunk; the audio features are kept."""
    features = [
        encoders.frames(clip.frames) if len(clip.frames) else None for clip in tqdm(clips, desc="frames")
    ]
    pairs = [_vision(features[clip], slice(*span)) for clip, span in zip(data.clips, data.spans, strict=True)]
    image, video = (np.array(column) for column in zip(*pairs, strict=True))
    return replace(data, image=image, video=video)


def _rows(
    clip: RawClip, number: int, encoders: TorchEncoders, copies: int, seed: int
) -> Iterator[tuple[Any, ...]]:
    rng = np.random.default_rng([seed, zlib.crc32(clip.name.encode())])
    frames = encoders.frames(clip.frames) if len(clip.frames) else None
    for i in range(copies + 1):
        cut = disturbed(clip, rng) if i else whole(clip)
        has_sound = len(cut.samples) >= SHORTEST_SAMPLES
        audio = encoders.audio(cut.samples) if has_sound else np.zeros((LAYERS, TOKENS, AUDIO), np.float16)
        present = np.array([has_sound, frames is not None], np.float32)
        label = DEFAULT_LABELS.index(clip.label)
        yield (
            audio,
            *_vision(frames, cut.frames),
            present,
            label,
            number,
            (cut.frames.start, cut.frames.stop),
            clip.person,
            i == 0,
        )


def _vision(
    frames: NDArray[np.float16] | None, chosen: slice
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    if frames is None:
        return np.zeros(VISION, np.float16), np.zeros((TOKENS, VISION), np.float16)
    return choose_frames(frames[chosen], TOKENS)

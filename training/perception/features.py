"""Windows of labelled clips as a robot sees them, some of them disturbed, and their features.

    clips -> windows: sound encoded, glimpses cut -> features, by an expression network

Glimpses are kept as pixels, because an expression network is trained anew for every person that is held out.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.preprocess.audio import log_mel
from emollama_ros.preprocess.tokens import adaptive_pool, choose_frames, spread
from training.disturbances import random_pictures, random_sound, speed
from training.mmeverse.clip_packs import RawClip
from training.mmeverse.decoding import FRAME_HZ, RATE
from training.networks.face_expression import FEATURES, SIDE, FaceExpressionNet
from training.networks.glimpse import GlimpseHead, crop
from training.networks.whisper import WhisperEncoder
from training.perception.frozen import Frozen, frozen

WINDOW_S = 4.0
#: Shapes of the `tiny` preset: blocks and width of the audio encoder, length of a frame's feature.
LAYERS, AUDIO, VISION = 4, 384, FEATURES
TOKENS = 16
SHORTEST_SAMPLES = int(0.4 * RATE)
#: Label of a window in which nobody is: every score is to be the same.
NOBODY = -1

Samples = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Cut:
    """A stretch of a clip as one window of a robot: its sound and its frames; either may be empty."""

    samples: Samples
    frames: Pixels


def whole(raw: RawClip) -> Cut:
    """The whole clip as one window; what evaluation on clips uses."""
    return Cut(raw.samples, raw.frames)


def disturbed(raw: RawClip, rng: np.random.Generator) -> Cut:
    """60 to 100 % of the clip, faster or slower, with what a robot's world does to sound and pictures."""
    total = max(len(raw.samples), round(len(raw.frames) / FRAME_HZ * RATE))
    length = min(int(total * rng.uniform(0.6, 1.0)), int(WINDOW_S * RATE))
    start = int(rng.integers(0, max(1, total - length + 1)))
    first = min(int(start / RATE * FRAME_HZ), max(0, len(raw.frames) - 1))
    last = max(first + 1, int(np.ceil((start + length) / RATE * FRAME_HZ)))
    samples, frames = raw.samples[start : start + length], raw.frames[first:last]
    if len(samples):
        silence = tuple(int(rng.uniform(0, 0.8) * RATE) for _ in range(2))
        samples = np.pad(speed(samples, rng.uniform(0.85, 1.15)), silence)[-int(WINDOW_S * RATE) :]
        samples = random_sound(samples, rng)
    return Cut(samples, random_pictures(frames, rng) if len(frames) else frames)


@dataclass(frozen=True)
class Windows:
    """Windows, one row each.

    Attributes:
        audio: (N, L, TOKENS, D) half precision; zeros where there is no sound.
        glimpses: uint8 (M, 112, 112, 3), of all windows behind each other.
        spans: (N, 2) first and last-plus-one of the window's glimpses; equal where there is no picture.
        present: (N, 2), audio and vision.
        labels: (N,) index of the label, or `NOBODY`.
        persons: ``source:person`` of each row.
        is_whole: (N,) the row is a whole, undisturbed clip.
    """

    audio: NDArray[np.float16]
    glimpses: Pixels
    spans: NDArray[np.int64]
    present: NDArray[np.float32]
    labels: NDArray[np.int64]
    persons: NDArray[np.str_]
    is_whole: NDArray[np.bool_]

    def save(self, path: Path) -> None:
        """Keep them in a file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True)
class FeatureSet:
    """Features of windows, one row a window, half precision.

    Attributes:
        audio: (N, L, TOKENS, D); zeros where there is no sound.
        image: (N, 256); zeros where there is no picture, as in ``video``.
        video: (N, TOKENS, 256).
        present: (N, 2), audio and vision.
        labels: (N,) index of the label, or `NOBODY`.
        persons: ``source:person`` of each row.
        is_whole: (N,) the row is a whole, undisturbed clip.
    """

    audio: NDArray[np.float16]
    image: NDArray[np.float16]
    video: NDArray[np.float16]
    present: NDArray[np.float32]
    labels: NDArray[np.int64]
    persons: NDArray[np.str_]
    is_whole: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.labels)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> FeatureSet:
        """Select rows."""
        return FeatureSet(*(getattr(self, f.name)[rows] for f in fields(self)))

    def without_pictures(self) -> FeatureSet:
        """The same windows with their pictures taken away."""
        present = self.present * np.array([1, 0], np.float32)
        return replace(self, present=present).take(present[:, 0] > 0)


@dataclass(frozen=True)
class Senses:
    """The frozen encoders: sound to tokens, frames to glimpses; equal to the exported graphs.

    Attributes:
        whisper: Sound encoder.
        front: First layers of the trunk.
        head: Where to look.
        device: Where they are.
    """

    whisper: WhisperEncoder
    front: Frozen
    head: GlimpseHead
    device: str = "cpu"

    @torch.no_grad()
    def hear(self, samples: Samples) -> NDArray[np.float16]:
        """Pooled tokens (L, TOKENS, AUDIO) of samples (n,)."""
        mel = torch.from_numpy(log_mel(samples))[None].to(self.device)
        return adaptive_pool(self.whisper(mel)[0].cpu().numpy(), TOKENS).astype(np.float16)

    @torch.no_grad()
    def look(self, frames: Pixels) -> Pixels:
        """Glimpses (n, 112, 112, 3) of frames (n, 224, 224, 3)."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float().to(self.device)
        seen = crop(pixels, self.head(self.front(pixels)))
        return seen.round().byte().permute(0, 2, 3, 1).cpu().numpy()


def extract(clips: Sequence[RawClip], senses: Senses, copies: Callable[[str], int], seed: int = 0) -> Windows:
    """Take each clip whole, and some times disturbed.

    What is drawn for a clip depends on the seed and the clip's name alone, not on the clips before it.

    Args:
        clips: Decoded clips.
        senses: The frozen encoders.
        copies: Disturbed windows of a clip, by its source.
        seed: Of the disturbances.
    """
    rows, glimpses, at = [], [], 0
    for clip in tqdm(clips, desc="windows"):
        rng = np.random.default_rng([seed, zlib.crc32(clip.name.encode())])
        for i, cut in enumerate(_cuts(clip, copies(clip.person.split(":")[0]), rng)):
            seen = _seen(cut.frames, senses)
            has_sound = len(cut.samples) >= SHORTEST_SAMPLES
            audio = senses.hear(cut.samples) if has_sound else np.zeros((LAYERS, TOKENS, AUDIO), np.float16)
            label = DEFAULT_LABELS.index(clip.label) if clip.label else NOBODY
            present = np.array([has_sound, len(seen) > 0], np.float32)
            rows.append((audio, (at, at + len(seen)), present, label, clip.person, i == 0))
            glimpses.append(seen)
            at += len(seen)
    audio, spans, present, labels, persons, is_whole = (np.array(c) for c in zip(*rows, strict=True))
    return Windows(audio, np.concatenate(glimpses), spans, present, labels, persons, is_whole)


def _cuts(clip: RawClip, copies: int, rng: np.random.Generator) -> Iterator[Cut]:
    yield whole(clip)
    for _ in range(copies):
        yield disturbed(clip, rng)


def _seen(frames: Pixels, senses: Senses) -> Pixels:
    """Glimpses of as many frames as the fusion reads; more of a long clip would not be looked at."""
    if not len(frames):
        return np.zeros((0, SIDE, SIDE, 3), np.uint8)
    return senses.look(spread(frames, TOKENS) if len(frames) > TOKENS else frames)


def features(windows: Windows, face: FaceExpressionNet, device: str = "cpu") -> FeatureSet:
    """What an expression network makes of the windows' glimpses, beside the sound."""
    seen = express(windows.glimpses, face, device)
    pairs = [_streams(seen[first:last]) for first, last in windows.spans]
    image, video = (np.array(column) for column in zip(*pairs, strict=True))
    return FeatureSet(
        windows.audio, image, video, windows.present, windows.labels, windows.persons, windows.is_whole
    )


def express(glimpses: Pixels, face: FaceExpressionNet, device: str = "cpu") -> NDArray[np.float16]:
    """Features (M, 256) of glimpses (M, 112, 112, 3)."""
    found = np.zeros((len(glimpses), VISION), np.float16)
    encode = frozen(_Features(face), torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8), device)
    for first in tqdm(range(0, len(glimpses), 64), desc="expressions", leave=False):
        part = torch.from_numpy(np.ascontiguousarray(glimpses[first : first + 64])).to(device)
        found[first : first + 64] = encode(part).cpu().numpy()
    return found


class _Features(torch.nn.Module):
    """Bytes of glimpses to features."""

    def __init__(self, face: FaceExpressionNet) -> None:
        super().__init__()
        self.face = face

    def forward(self, glimpses: torch.Tensor) -> torch.Tensor:
        return self.face.features(glimpses.permute(0, 3, 1, 2).float())


def _streams(seen: NDArray[np.float16]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    if not len(seen):
        return np.zeros(VISION, np.float16), np.zeros((TOKENS, VISION), np.float16)
    return choose_frames(seen, TOKENS)

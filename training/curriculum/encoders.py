"""Clips to features, once: decoded media through the frozen encoders of a preset.

What is computed here depends on the clip and on the preset's encoders alone, never on what was encoded
before, so that it can be kept (`training.curriculum.feature_cache`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from emollama_ros.preprocess.audio import SAMPLE_RATE
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.preprocess.tokens import spread
from training.mmeverse.decoding import DecodedClip
from training.networks.backbones import STATISTICS, audio_backbone, vision_backbone
from training.networks.views import MultiviewEncoder
from training.presets import Preset

#: Raised with every change of what is computed: features of an older version are computed anew.
VERSION = 1
#: Less sound than this says nothing.
SHORTEST_SAMPLES = int(0.4 * SAMPLE_RATE)

#: Of one clip, half precision: audio (L, T, d), image (P, d), glance (d,), video (T, d). What it lacks, a
#: photograph its video for one, is not there.
ClipFeatures = dict[str, Tensor]


@dataclass(frozen=True)
class Shapes:
    """Widths and lengths of the features of a preset.

    Attributes:
        audio: (L, T, width).
        image: (P, width).
        video: (T, width); a glance is as wide.
    """

    audio: tuple[int, int, int]
    image: tuple[int, int]
    video: tuple[int, int]


class Encoders:
    """The encoders of a preset on one device."""

    def __init__(self, preset: Preset, device: str = "cpu") -> None:
        """Load the weights.

        Raises:
            BundleError: Weights are not there, or not what they should be.
            ConfigError: A backbone cannot be loaded.
        """
        self.preset, self.device = preset, device
        joined = preset.vision.joined
        self.vision = MultiviewEncoder(vision_backbone(preset.vision), joined, preset.vision.cells)
        self.audio = audio_backbone(preset.audio)
        self.vision.to(device, getattr(torch, preset.vision.precision))
        self.audio.to(device, getattr(torch, preset.audio.precision))
        self._image_statistics = self._statistics(preset.vision.normalise)
        self._video_statistics = self._statistics(preset.vision.video_normalise or preset.vision.normalise)

    @property
    def version(self) -> str:
        """Names everything the features depend on besides the clip: code, settings, weights."""
        preset = self.preset
        settings = (preset.vision, preset.audio, preset.tokens)
        parts = (str(VERSION), *(part.model_dump_json() for part in settings))
        digest = hashlib.sha256("\n".join(parts).encode())
        for module in (self.vision, self.audio):
            digest.update(_fingerprint(module))
        return digest.hexdigest()[:16]

    @property
    def shapes(self) -> Shapes:
        """Shapes of the features, from widths and the preset."""
        vision, audio = self.preset.vision, self.preset.audio
        width = int(self.vision.backbone.width)
        return Shapes(
            audio=(audio.layers, self._audio_tokens, int(self.audio.width)),
            image=(self.preset.tokens.image, width * vision.joined),
            video=(vision.frames * vision.cells**2, width),
        )

    @property
    def _audio_tokens(self) -> int:
        return max(self.preset.tokens.fusion, self.preset.tokens.audio)

    @torch.inference_mode()
    def encode(self, clip: DecodedClip, peak: int | None = None) -> ClipFeatures:
        """Encode what there is of a clip.

        Args:
            clip: Its pictures as they come, or already of the larger size of the preset.
            peak: Index among its pictures of the one that shows most, for presets that look at that one.
        """
        found: ClipFeatures = {}
        if len(clip.samples) >= SHORTEST_SAMPLES:
            found["audio"] = self._hear(clip.samples)
        if clip.pictures:
            found["glance"], found["image"] = self._look(clip.pictures[self._image_index(clip, peak)])
        if len(clip.pictures) > 1:
            chosen = spread(np.arange(len(clip.pictures)), self.preset.vision.frames)
            found["video"] = self._watch(chosen, clip)
        return {name: value.to("cpu", torch.float16) for name, value in found.items()}

    def _image_index(self, clip: DecodedClip, peak: int | None) -> int:
        which = self.preset.vision.image_frame
        if which == "peak" and peak is not None:
            return min(peak, len(clip.pictures) - 1)
        return 0 if which == "first" else len(clip.pictures) // 2

    def _hear(self, samples: NDArray[np.float32]) -> Tensor:
        pad_to_s = self.preset.audio.pad_to_s
        if pad_to_s is not None:
            count = round(pad_to_s * SAMPLE_RATE)
            samples = np.pad(samples[:count], (0, max(0, count - len(samples))))
        blocks = self.audio(torch.from_numpy(samples)[None].to(self.device))[0, -self.preset.audio.layers :]
        return F.adaptive_avg_pool1d(blocks.float().transpose(1, 2), self._audio_tokens).transpose(1, 2)

    def _look(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """The glance (d,) and the image tokens (P, joined * d) of one picture."""
        image = self._pixels(picture, self.preset.vision.image_size, self._image_statistics)[None]
        whole, tokens = self.vision.image(image)
        count = self.preset.tokens.image
        if tokens.shape[1] != count:  # a grid of patches averaged to fewer cells
            tokens = F.adaptive_avg_pool1d(tokens.float().transpose(1, 2), count).transpose(1, 2)
        return whole[0], tokens[0]

    def _watch(self, chosen: NDArray[np.int64], clip: DecodedClip) -> Tensor:
        """Video tokens (frames * cells ** 2, d); a picture that is chosen twice is encoded once."""
        unique, place = np.unique(chosen, return_inverse=True)
        size, statistics = self.preset.vision.video_size, self._video_statistics
        frames = torch.stack([self._pixels(clip.pictures[i], size, statistics) for i in unique])
        tokens = self.vision.video(frames[None])[0].unflatten(0, (len(unique), -1))
        return tokens[torch.from_numpy(place).to(tokens.device)].flatten(0, 1)

    def _statistics(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the channels, (3, 1, 1) each."""
        mean, deviation = (torch.tensor(row, device=self.device).reshape(3, 1, 1) for row in STATISTICS[name])
        return mean, deviation

    def _pixels(self, picture: NDArray[np.uint8], size: int, statistics: tuple[Tensor, Tensor]) -> Tensor:
        mean, deviation = statistics
        scaled = torch.from_numpy(np.array(to_model_frame(picture, size))).to(self.device)
        pixels = (scaled.permute(2, 0, 1).float() / 255 - mean) / deviation
        return pixels.to(getattr(torch, self.preset.vision.precision))


def batch_of(clips: list[ClipFeatures], shapes: Shapes) -> Mapping[str, Tensor]:
    """Stack features of clips, with zeros where one lacks a stream.

    Returns:
        Fields of `training.networks.emotion_llama.Features`, by name.
    """
    sizes = {
        "audio": shapes.audio,
        "image": shapes.image,
        "glance": shapes.video[1:],
        "video": shapes.video,
    }
    stacked = {
        name: torch.stack([clip[name].float() if name in clip else torch.zeros(size) for clip in clips])
        for name, size in sizes.items()
    }
    present = torch.tensor([[name in clip for name in ("audio", "image", "video")] for clip in clips])
    return {**stacked, "present": present}


def _fingerprint(module: nn.Module) -> bytes:
    """Sums of all weights: tells other weights apart without reading them twice."""
    sums = [(name, float(value.double().sum())) for name, value in sorted(module.state_dict().items())]
    return repr(sums).encode()

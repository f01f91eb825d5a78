"""The fast path of a trained preset as graphs: frames and sound to features, features to soft tokens."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emollama_ros.errors import ConfigError
from model_export.graphs import export
from model_export.perception_graphs import export_audio
from training.networks.backbones import STATISTICS, Lite0Backbone, WhisperBackbone
from training.networks.emotion_llama import EmotionLlama, Features
from training.networks.views import MultiviewEncoder
from training.presets import Preset

FEATURES = ("audio", "image", "glance", "video")
OUTPUTS = ("logits", "affect", "soft_tokens", "soft_mask")


class FrameGraph(nn.Module):
    """What the robot runs on each frame: raw pixels in, and everything out that the network reads of a frame.

    One vector a frame is all of it where the one image token and the one cell are the mean of the patches.
    """

    def __init__(self, views: MultiviewEncoder, preset: Preset) -> None:
        super().__init__()
        self.views, self.image_tokens = views, preset.tokens.image
        mean, deviation = (
            torch.tensor(row).reshape(1, 3, 1, 1) for row in STATISTICS[preset.vision.normalise]
        )
        self.register_buffer("scale", 1 / (255 * deviation), persistent=False)
        self.register_buffer("shift", -mean / deviation, persistent=False)
        is_mean = isinstance(views.backbone, Lite0Backbone) and views.joined == views.cells == 1
        self.is_one_vector = is_mean and self.image_tokens == 1

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return ("features",) if self.is_one_vector else ("features", "image", "cells")

    def forward(self, frames: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Encode frames, uint8 (N, H, W, 3), RGB."""
        pixels = frames.permute(0, 3, 1, 2).float() * self.scale + self.shift
        whole, patches = self.views.backbone(pixels)
        if self.is_one_vector:
            return whole
        count, total, width = patches.shape
        image = patches.reshape(count, total // self.views.joined, self.views.joined * width)
        if image.shape[1] != self.image_tokens:
            image = F.adaptive_avg_pool1d(image.transpose(1, 2), self.image_tokens).transpose(1, 2)
        return whole, image, self.views._cells(patches)


class FusionGraph(nn.Module):
    """Everything of the network but the language model, with masks that a robot can give."""

    def __init__(self, net: EmotionLlama) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, audio: Tensor, image: Tensor, glance: Tensor, video: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Perceive; ``present`` (B, 3) says where sound, one picture, many are there: bool, or 1 and 0."""
        perceived, soft = self.net.perceive(Features(audio, image, glance, video, present > 0.5))
        return perceived.logits, perceived.affect, soft.tokens, soft.mask


def export_frames(views: MultiviewEncoder, preset: Preset, path: Path, *, half: bool) -> Path:
    """Write ``frames`` uint8 (N, H, W, 3) -> ``features`` (N, D), and where needed ``image``, ``cells``.

    Raises:
        ConfigError: The two views have pictures of different sizes or statistics, which need two graphs.
    """
    vision = preset.vision
    two = vision.image_size != vision.video_size or vision.video_normalise not in (None, vision.normalise)
    if two or vision.video_depth != "image":
        raise ConfigError(
            f"preset {preset.name}: its image and its frames are seen differently; one graph cannot do both"
        )
    graph = FrameGraph(views, preset).eval()
    frames = torch.zeros(2, vision.video_size, vision.video_size, 3, dtype=torch.uint8)
    free = {"frames": {0: "frames"}}
    return export(graph, [frames], path, ["frames"], graph.outputs, free, half_weights=half)


def export_sound(audio: nn.Module, path: Path, *, half: bool) -> Path:
    """Write the sound encoder; see `export_audio`.

    Raises:
        ConfigError: The encoder is not our Whisper, which alone takes log-mel of any length.
    """
    if not isinstance(audio, WhisperBackbone):
        raise ConfigError("audio: only whisper-tiny.en has a graph for sound of any length")
    return export_audio(audio.encoder, path, half=half)


def export_network(net: EmotionLlama, length: int, video: int, path: Path, *, half: bool) -> Path:
    """Write features and ``present`` -> ``logits``, ``affect``, ``soft_tokens``, ``soft_mask``; any batch.

    Args:
        net: Trained.
        length: Sound tokens of a clip as the encoder gives them.
        video: Video tokens of a clip as the encoder gives them.
        path: File to write.
        half: Store large weights in half precision.
    """
    config = net.config
    example = [
        torch.zeros(2, config.audio_layers, length, config.audio),
        torch.zeros(2, config.image_tokens, config.image),
        torch.zeros(2, config.video),
        torch.zeros(2, video, config.video),
        torch.ones(2, 3),
    ]
    names = [*FEATURES, "present"]
    free = {name: {0: "batch"} for name in names}
    return export(FusionGraph(net).eval(), example, path, names, OUTPUTS, free, half_weights=half)

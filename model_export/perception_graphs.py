"""The graphs of the fast path: frames, log-mel and words to features, features to scores."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from model_export.graphs import export
from model_export.quantise import sample_sound, to_int8
from training.networks.glimpse import FrameEncoder
from training.networks.perception_net import PerceptionNet
from training.networks.soft_tokens import SoftTokenAdapters
from training.networks.whisper import WhisperEncoder
from training.perception.text import NgramClassifier


def export_vision(encoder: FrameEncoder, path: Path) -> Path:
    """Write ``frames`` uint8 (N, 224, 224, 3) -> ``features`` (N, 256), weights in single precision.

    A glimpse that is cut a little elsewhere is another picture: half precision would save 2 MB, cost parity.
    """
    frames = torch.zeros(2, 224, 224, 3, dtype=torch.uint8)
    return export(
        encoder.eval(),
        [frames],
        path,
        ["frames"],
        ["features"],
        {"frames": {0: "frames"}},
        half_weights=False,
    )


def export_audio(encoder: WhisperEncoder, path: Path, *, half: bool = True) -> Path:
    """Write ``mel`` (1, 80, T) -> ``layers`` (1, L, ceil(T / 2), D)."""
    mel = torch.zeros(1, encoder.conv1.in_channels, 400)
    return export(encoder.eval(), [mel], path, ["mel"], ["layers"], {"mel": {2: "time"}}, half_weights=half)


def export_audio_int8(encoder: WhisperEncoder, path: Path) -> Path:
    """Write the same graph in eight bits, calibrated on the packaged sample's sound; see `to_int8`."""
    return to_int8(export_audio(encoder, path, half=False), sample_sound())


class FusionGraph(nn.Module):
    """Scores and, where the language model was trained on them, soft tokens of what the senses say."""

    def __init__(self, net: PerceptionNet, adapters: SoftTokenAdapters | None = None) -> None:
        super().__init__()
        self.net, self.adapters = net, adapters
        soft = ("soft_tokens", "soft_mask") if adapters is not None else ()
        self.outputs = ("logits", "affect", *soft)

    def forward(self, audio: Tensor, image: Tensor, video: Tensor, present: Tensor) -> tuple[Tensor, ...]:
        """Perceive; see `PerceptionNet` and `SoftTokenAdapters`."""
        logits, affect, fused = self.net(audio, image, video, present)
        if self.adapters is None:
            return logits, affect
        soft = self.adapters(audio, image, video, fused, present)
        return logits, affect, soft.tokens, soft.mask


def export_fusion(net: PerceptionNet, path: Path, adapters: SoftTokenAdapters | None = None) -> Path:
    """Write ``audio``, ``image``, ``video``, ``present`` -> the outputs of `FusionGraph`; any batch."""
    config = net.config
    example = [
        torch.zeros(2, config.audio_layers, config.tokens, config.audio),
        torch.zeros(2, config.vision),
        torch.zeros(2, config.tokens, config.vision),
        torch.ones(2, 2),
    ]
    names = ["audio", "image", "video", "present"]
    graph = FusionGraph(net, adapters).eval()
    return export(graph, example, path, names, graph.outputs, {n: {0: "batch"} for n in names})


def export_text(model: NgramClassifier, path: Path) -> Path:
    """Write ``ngrams`` int64 (n,) -> ``logits`` (labels,)."""
    ngrams = torch.zeros(5, dtype=torch.int64)
    return export(model.eval(), [ngrams], path, ["ngrams"], ["logits"], {"ngrams": {0: "count"}})

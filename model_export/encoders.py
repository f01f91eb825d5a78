"""The encoders of a preset as graphs: frames to tokens, log-mel to tokens."""

from __future__ import annotations

from pathlib import Path

import torch

from model_export.graphs import export
from training.networks.efficientnet import EfficientNetLite0, FrameEncoder
from training.networks.whisper import WhisperEncoder


def export_vision(trunk: EfficientNetLite0, path: Path) -> Path:
    """Write ``frames`` uint8 (N, 224, 224, 3) -> ``grid`` (N, 4, 1280), ``global`` (N, 1280)."""
    encoder = FrameEncoder(trunk).eval()
    frames = torch.zeros(2, 224, 224, 3, dtype=torch.uint8)
    return export(encoder, [frames], path, ["frames"], ["grid", "global"], {"frames": {0: "frames"}})


def export_audio(encoder: WhisperEncoder, path: Path) -> Path:
    """Write ``mel`` (1, 80, T) -> ``layers`` (1, L, ceil(T / 2), D)."""
    mel = torch.zeros(1, encoder.conv1.in_channels, 400)
    return export(encoder.eval(), [mel], path, ["mel"], ["layers"], {"mel": {2: "time"}})

"""Encoders of any preset to ONNX: EVA-ViT-G, CLIP, SigLIP, DINOv2, timm's, and Whispers of any size.

What a robot has goes in (pixels of 8 bits, log-mel), normalisation is inside. Weights lie in a data file
beside the graph, in the precision of the module: a graph above 2 GB could not be one file. Graphs that share
weights share the data file, as the two views do that one backbone has of a clip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_export.trained_graphs import FusionGraph
from training.networks.backbones import STATISTICS
from training.networks.emotion_llama import EmotionLlama
from training.networks.views import MultiviewEncoder
from training.presets import VisionPreset

#: Smaller constants stay in the graph.
_OUTSIDE_FROM = 1024
_ALIGN = 4096
#: Most of a batch, and most frames of 10 ms in 30 s.
_BATCH, _TIME = 64, 3000


class _Pixels(nn.Module):
    """Pixels 0..255, uint8 (N, H, W, 3), to what a backbone reads."""

    def __init__(self, statistics: str, dtype: torch.dtype) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(row).reshape(1, 3, 1, 1) for row in STATISTICS[statistics])
        # One multiplication in single precision: halves would be rounded twice.
        self.register_buffer("scale", 1 / (255 * deviation), persistent=False)
        self.register_buffer("shift", -mean / deviation, persistent=False)
        self.dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        # Cast first: TensorRT does nothing else with 8-bit pixels.
        return (pixels.float().permute(0, 3, 1, 2) * self.scale + self.shift).to(self.dtype)


class ImageView(nn.Module):
    """One large picture a clip: ``glance`` (N, D) and ``image`` tokens (N, P, joined * D)."""

    def __init__(self, views: MultiviewEncoder, preset: VisionPreset, tokens: int) -> None:
        super().__init__()
        self.views, self.tokens = views, tokens
        self.pixels = _Pixels(preset.normalise, _dtype(views))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Encode uint8 (N, H, W, 3), RGB."""
        glance, image = self.views.image(self.pixels(pictures))
        if image.shape[1] != self.tokens:
            image = F.adaptive_avg_pool1d(image.transpose(1, 2), self.tokens).transpose(1, 2)
        return glance, image


class FrameView(nn.Module):
    """Small pictures over time: ``video`` tokens (N, cells ** 2, D), so that each frame is encoded once."""

    def __init__(self, views: MultiviewEncoder, preset: VisionPreset) -> None:
        super().__init__()
        self.views = views
        self.pixels = _Pixels(preset.video_normalise or preset.normalise, _dtype(views))

    def forward(self, frames: Tensor) -> Tensor:
        """Encode uint8 (N, H, W, 3), RGB."""
        backbone = self.views.backbone
        pixels = self.pixels(frames)
        own_path = getattr(backbone, "frames", None)
        patches = backbone(pixels)[1] if own_path is None else own_path(pixels)
        side = round(patches.shape[1] ** 0.5)
        grid = patches.transpose(1, 2).unflatten(2, (side, side))
        if side % self.views.cells:
            return F.adaptive_avg_pool2d(grid, self.views.cells).flatten(2).transpose(1, 2)
        # The same where cells are alike, in an operator that every runtime has.
        return F.avg_pool2d(grid, side // self.views.cells).flatten(2).transpose(1, 2)


class SpectralView(nn.Module):
    """The encoder of a Whisper of transformers: the outputs (N, L, T / 2, D) of its last L blocks."""

    def __init__(self, encoder: nn.Module, layers: int = 1) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers

    def forward(self, mel: Tensor) -> Tensor:
        """Encode log-mel (N, bands, T); T is what the encoder was made for, 3000 frames of 10 ms."""
        wanted = self.layers > 1
        out = self.encoder(mel.to(_dtype(self.encoder)), output_hidden_states=wanted)
        if not wanted:
            return out.last_hidden_state.unsqueeze(1)
        return torch.stack([*out.hidden_states[1:-1], out.last_hidden_state][-self.layers :], dim=1)


def export_image(
    views: MultiviewEncoder, preset: VisionPreset, tokens: int, path: Path, data: SharedData | None = None
) -> Path:
    """Write ``pictures`` uint8 (batch, H, W, 3) -> ``glance`` (batch, D), ``image`` (batch, tokens, D')."""
    pictures = torch.zeros(2, preset.image_size, preset.image_size, 3, dtype=torch.uint8)
    view = ImageView(views, preset, tokens)
    return export_outside(view, {"pictures": pictures}, path, ["glance", "image"], {"pictures": [0]}, data)


def export_frames(
    views: MultiviewEncoder, preset: VisionPreset, path: Path, data: SharedData | None = None
) -> Path:
    """Write ``frames`` uint8 (batch, H, W, 3) -> ``video`` (batch, cells ** 2, D)."""
    frames = torch.zeros(2, preset.video_size, preset.video_size, 3, dtype=torch.uint8)
    view = FrameView(views, preset)
    return export_outside(view, {"frames": frames}, path, ["video"], {"frames": [0]}, data)


def export_spectral(encoder: nn.Module, bands: int, path: Path, *, free_time: bool) -> Path:
    """Write ``mel`` float32 (batch, bands, time) -> ``layers`` (batch, L, time / 2, D).

    Args:
        encoder: A `SpectralView`, or our own Whisper.
        bands: Of the log-mel.
        path: File to write.
        free_time: The encoder takes any length (ours); else always 30 s, 3000 frames (transformers').
    """
    mel = torch.zeros(2, bands, 400 if free_time else _TIME)
    return export_outside(encoder, {"mel": mel}, path, ["layers"], {"mel": [0, 2] if free_time else [0]})


def export_soft_tokens(net: EmotionLlama, frames: int, path: Path) -> Path:
    """Write the fusion of a preset, features of any batch to scores and soft tokens.

    Args:
        net: The network; its language model is not used.
        frames: Video tokens of a clip as the encoder gives them.
        path: File to write.
    """
    config, dtype = net.config, _dtype(net.fusion)
    length = max(config.fusion.tokens, config.audio_tokens)
    example = {
        "audio": torch.zeros(2, config.audio_layers, length, config.audio, dtype=dtype),
        "image": torch.zeros(2, config.image_tokens, config.image, dtype=dtype),
        "glance": torch.zeros(2, config.video, dtype=dtype),
        "video": torch.zeros(2, frames, config.video, dtype=dtype),
        "present": torch.ones(2, 3, dtype=torch.bool),
    }
    outputs = ["logits", "affect", "tokens", "mask"]
    return export_outside(FusionGraph(net), example, path, outputs, {name: [0] for name in example})


class SharedData:
    """A data file that graphs write their weights to, each different one once."""

    def __init__(self, path: Path) -> None:
        """Begin a new file."""
        self.path, self._places = path, dict[str, tuple[int, int]]()
        path.write_bytes(b"")

    def take(self, value: ir.Value) -> None:
        """Write the constant of an initializer to the file, if it is not there, and point to it."""
        tensor = value.const_value
        assert tensor is not None and value.name is not None
        content = tensor.tobytes()
        key = hashlib.sha256(content).hexdigest()
        if key not in self._places:
            self._places[key] = self._append(content)
        offset, length = self._places[key]
        value.const_value = ir.ExternalTensor(
            self.path.name, offset, length, tensor.dtype,
            shape=tensor.shape, name=value.name, base_dir=self.path.parent,
        )  # fmt: skip

    def _append(self, content: bytes) -> tuple[int, int]:
        with self.path.open("ab") as file:
            file.write(bytes(-file.tell() % _ALIGN))
            offset = file.tell()
            file.write(content)
        return offset, len(content)


@torch.no_grad()
def export_outside(
    module: nn.Module,
    example: Mapping[str, Tensor],
    path: Path,
    outputs: Sequence[str],
    free: Mapping[str, Sequence[int]],
    data: SharedData | None = None,
) -> Path:
    """Write ``module`` as an ONNX graph whose weights lie in ``data``, in the precision that they have.

    Args:
        module: Of any precision.
        example: A tensor for each input, by name.
        path: The ``.onnx`` file.
        outputs: Output names.
        free: Free axes of each input: 0 is the batch, any other is time.
        data: Where weights go; a file of the graph's name and ``.data`` if ``None``.

    Returns:
        ``path``.
    """
    batch, time = torch.export.Dim("batch", min=1, max=_BATCH), torch.export.Dim("time", min=2, max=_TIME)
    shapes = [{axis: time if axis else batch for axis in free.get(name, ())} or None for name in example]
    program = torch.onnx.export(
        module.eval(),
        tuple(example.values()),
        dynamo=True,
        dynamic_shapes=tuple(shapes),
        input_names=list(example),
        output_names=list(outputs),
        verbose=False,
    )
    data = data or SharedData(path.with_name(f"{path.name}.data"))
    for value in program.model.graph.initializers.values():
        if value.const_value is not None and value.const_value.size >= _OUTSIDE_FROM:
            data.take(value)
    _strip(program.model)
    path.write_bytes(ir.to_proto(program.model).SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path), full_check=True)
    return path


def _strip(model: ir.Model) -> None:
    """Drop the exporter's notes: stack traces and source paths bloat the file and name this machine."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _dtype(module: Any) -> torch.dtype:
    found: torch.dtype = next(module.parameters()).dtype
    return found

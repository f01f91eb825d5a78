"""Random weights of the right sizes, drawn and written part by part."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export.language_model import RoundedSource, write_llama
from model_export.llama_graph import LlamaShape
from model_export.llama_standard import StandardFormat, write_standard
from model_export.random_preset.sizes import Sizes

#: Decoders in standard operators, by the name of their graph.
STANDARD = {"decoder_fp16": StandardFormat("float16"), "decoder_int4": StandardFormat("int4")}


class RandomSource(RoundedSource):
    """Weights of a LLaMA that are drawn when they are asked for, the same ones each time."""

    def __init__(self, shape: LlamaShape, seed: int = 0) -> None:
        self._shape, self._seed = shape, seed

    def floats(self, name: str) -> NDArray[np.float32]:
        """Uniform numbers that keep the size of what flows; norms are ones."""
        size = self._size(name.removesuffix(".weight").rsplit(".", 1)[-1])
        if len(size) == 1:
            return np.ones(size, np.float32)
        digest = hashlib.sha256(f"{self._seed}/{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        values = rng.random(size, dtype=np.float32)
        values -= np.float32(0.5)
        values *= np.float32(2 / math.sqrt(size[1]))
        return values

    def _size(self, part: str) -> tuple[int, ...]:
        s = self._shape
        queries, keys = s.heads * s.head_dim, s.kv_heads * s.head_dim
        return {
            "token_embd": (s.vocab, s.hidden),
            "output": (s.vocab, s.hidden),
            "attn_q": (queries, s.hidden),
            "attn_k": (keys, s.hidden),
            "attn_v": (keys, s.hidden),
            "attn_output": (s.hidden, queries),
            "ffn_gate": (s.ffn, s.hidden),
            "ffn_up": (s.ffn, s.hidden),
            "ffn_down": (s.hidden, s.ffn),
        }.get(part, (s.hidden,))


def scatter(module: Any, seed: int = 0) -> Any:
    """Give a module on the meta device random weights in half precision that keep the size of what flows."""
    import torch

    module = module.half().to_empty(device="cpu")
    drawn = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        if weight.dim() > 1:
            bound = math.sqrt(3 / weight[0].numel()) if "pos" not in name else 0.02
            weight.data.uniform_(-bound, bound, generator=drawn)
        else:
            weight.data.fill_(float("norm" in name and name.endswith("weight")))
    return module.eval().requires_grad_(False)


def write_vision(sizes: Sizes, out: Path) -> None:
    """Write both views of a clip, ``image.onnx`` and ``frames.onnx``, over one data file."""
    import torch

    from model_export.encoder_graphs import SharedData, export_frames, export_image
    from training.networks.backbones import EvaBackbone
    from training.networks.eva_vit import EvaConfig, EvaViT
    from training.networks.views import MultiviewEncoder

    preset = sizes.preset.vision
    with torch.device("meta"):
        backbone = EvaBackbone(EvaViT(EvaConfig(**sizes.eva)))
    views, data = MultiviewEncoder(scatter(backbone), preset.joined, preset.cells), out / "vision.onnx.data"
    shared = SharedData(data)
    export_frames(views, preset, out / "frames.onnx", shared)
    export_image(views, preset, sizes.preset.tokens.image, out / "image.onnx", shared)


def write_audio(sizes: Sizes, out: Path) -> None:
    """Write ``audio.onnx``: 30 s of log-mel through a Whisper's encoder."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from model_export.encoder_graphs import SpectralView, export_spectral

    size = sizes.whisper
    config = WhisperConfig(
        d_model=size.width,
        encoder_layers=size.layers,
        encoder_attention_heads=size.heads,
        encoder_ffn_dim=4 * size.width,
        num_mel_bins=size.bands,
    )
    with torch.device("meta"):
        encoder = WhisperEncoder(config)
    view = SpectralView(scatter(encoder), sizes.preset.audio.layers)
    export_spectral(view, size.bands, out / "audio.onnx", free_time=False)


def write_fusion(sizes: Sizes, out: Path) -> None:
    """Write ``fusion.onnx``: features to scores and soft tokens."""
    import torch

    from model_export.encoder_graphs import export_soft_tokens
    from training.curriculum.encoders import Shapes
    from training.curriculum.network import config_of
    from training.networks.emotion_llama import EmotionLlama
    from training.networks.eva_vit import EvaConfig

    preset, tokens = sizes.preset, sizes.preset.tokens
    width = EvaConfig(**sizes.eva).width
    frames = preset.vision.frames * preset.vision.cells**2
    shapes = Shapes(
        (preset.audio.layers, max(tokens.audio, tokens.fusion), sizes.whisper.width),
        (tokens.image, width * preset.vision.joined),
        (frames, width),
    )
    with torch.device("meta"):
        net = EmotionLlama(config_of(preset, shapes, sizes.llama.hidden))
    export_soft_tokens(scatter(net), frames, out / "fusion.onnx")


def write_decoder(sizes: Sizes, out: Path, name: str) -> None:
    """Write a decoder of standard operators, in half precision or with 4-bit weights."""
    write_standard(RandomSource(sizes.llama), sizes.llama, out / f"{name}.onnx", STANDARD[name])


def write_language(sizes: Sizes, out: Path) -> None:
    """Write the language model for ONNX Runtime, with 4-bit weights, into ``language``."""
    weights = "int4_symmetric"
    write_llama(RandomSource(sizes.llama), sizes.llama, out / "language", weights, sizes.is_tied)

"""The Whisper encoder (Radford et al. 2022), run on the window itself instead of on 30 padded seconds.

Emotion-LLaMAv2 pads every clip to 30 s, which leaves most audio tokens on silence for a 4 s window
and costs ten times the time. Here the positional table is cut to the window's length.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.packaged_weights import WHISPER_TINY_EN, locate, read_ctranslate2


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        batch, time, width = x.shape
        heads = self.qkv(self.attention_norm(x)).reshape(batch, time, 3, self.heads, width // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class WhisperEncoder(nn.Module):
    """Log-mel to the outputs of every block.

    Intermediate blocks carry more emotion than the last, whose work is to prepare for words
    (the direct path of the voice reads the middle ones), so all of them are returned and the fusion learns
    how to weigh them.
    """

    def __init__(self, width: int = 384, heads: int = 6, layers: int = 4, mels: int = 80) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(1500, width), requires_grad=False)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        """Encode log-mel (B, 80, T), T <= 3000 frames of 10 ms.

        Returns:
            (B, layers, ceil(T / 2), width). The last layer is the encoder's normalised output.
        """
        x = F.gelu(self.conv1(mel))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        outputs[-1] = self.norm(outputs[-1])
        return torch.stack(outputs, dim=1)


def packaged_whisper() -> WhisperEncoder:
    """Whisper tiny.en's encoder from its package.

    Raises:
        BundleError: The package is not installed.
    """
    return load_ctranslate2(read_ctranslate2(locate(WHISPER_TINY_EN)))


def load_ctranslate2(variables: Mapping[str, np.ndarray]) -> WhisperEncoder:
    """Build the encoder from the variables of a CTranslate2 Whisper model (``encoder/...``)."""
    layers = 1 + max(
        int(k.split("/")[1][6:])
        for k in variables
        if k.startswith("encoder/layer_") and k.split("/")[1] != "layer_norm"
    )
    width = variables["encoder/conv1/weight"].shape[0]
    encoder = WhisperEncoder(
        width, int(variables["encoder/num_heads"]), layers, variables["encoder/conv1/weight"].shape[1]
    )
    encoder.load_state_dict(
        {ours: torch.from_numpy(np.array(variables[theirs], np.float32)) for ours, theirs in _names(layers)},
        strict=True,
    )
    return encoder.eval()


def _names(layers: int) -> list[tuple[str, str]]:
    """Pair our parameter names with CTranslate2's."""
    pairs = [("positions", "encoder/position_encodings/encodings")]
    pairs += _affine("conv1", "encoder/conv1") + _affine("conv2", "encoder/conv2")
    for i in range(layers):
        ours, theirs = f"blocks.{i}", f"encoder/layer_{i}"
        pairs += _norm(f"{ours}.attention_norm", f"{theirs}/self_attention/layer_norm")
        pairs += _affine(f"{ours}.qkv", f"{theirs}/self_attention/linear_0")
        pairs += _affine(f"{ours}.out", f"{theirs}/self_attention/linear_1")
        pairs += _norm(f"{ours}.mlp_norm", f"{theirs}/ffn/layer_norm")
        pairs += _affine(f"{ours}.up", f"{theirs}/ffn/linear_0")
        pairs += _affine(f"{ours}.down", f"{theirs}/ffn/linear_1")
    return pairs + _norm("norm", "encoder/layer_norm")


def _affine(ours: str, theirs: str) -> list[tuple[str, str]]:
    return [(f"{ours}.weight", f"{theirs}/weight"), (f"{ours}.bias", f"{theirs}/bias")]


def _norm(ours: str, theirs: str) -> list[tuple[str, str]]:
    return [(f"{ours}.weight", f"{theirs}/gamma"), (f"{ours}.bias", f"{theirs}/beta")]

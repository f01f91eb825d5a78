"""Conv-Attention pre-fusion (Emotion-LLaMAv2, arXiv 2601.16449; lineage arXiv 2408.10500).

Two views of the same streams: attention weighs the modalities at every time step, convolution finds
local patterns across them; their sum is the fused sequence. Parameter names are those of the authors'
released checkpoints, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Branch = Literal["attention", "conv"]


@dataclass(frozen=True)
class ConvAttentionConfig:
    """Sizes. The defaults, with inputs (1280, 1408, 1408), are the released model's.

    Attributes:
        inputs: Feature size of each stream, in order audio, image, video.
        hidden: Width of the first layer of each projection.
        width: Width of a projected stream.
        output: Width of a fused token.
        blocks: Residual convolution blocks.
        dropout: Dropout of the projections.
        branches: Which of the two views are taken; both is the released model, one is for ablations.
    """

    inputs: tuple[int, ...] = (1280, 1408, 1408)
    hidden: int = 512
    width: int = 128
    output: int = 256
    blocks: int = 4
    dropout: float = 0.1
    branches: tuple[Branch, ...] = ("attention", "conv")


def _projection(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
        nn.ReLU(),
        nn.Dropout(dropout),
    )


class ConvBlock(nn.Module):
    """x + swish(conv(x)), kernel 3, length kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv1d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.silu(self.conv_block(x)) + x


class _ConvModule(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.conv_blocks = nn.ModuleList(ConvBlock(width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.conv_blocks:
            x = block(x)
        return x


class ConvAttention(nn.Module):
    """Fuse streams of equal length into one sequence."""

    def __init__(self, config: ConvAttentionConfig | None = None) -> None:
        super().__init__()
        config = config or ConvAttentionConfig()
        streams, width = len(config.inputs), config.width
        self.config = config
        self.feats_prep = nn.ModuleList(
            _projection(size, config.hidden, width, config.dropout) for size in config.inputs
        )
        if "attention" in config.branches:
            self.attention_mlp = _projection(streams * width, config.hidden, width, config.dropout)
            self.fc_att = nn.Linear(width, streams)
        if "conv" in config.branches:
            self.conv_entry = nn.Conv1d(streams * width, width, 1)
            self.conv_module = _ConvModule(width, config.blocks)
        self.fc_final = nn.Linear(width, config.output)

    def project(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Bring each stream (B, T, d_i) to the common width (B, T, width)."""
        return [prep(stream) for prep, stream in zip(self.feats_prep, streams, strict=True)]

    def fuse(self, projected: Sequence[Tensor]) -> Tensor:
        """Fuse projected streams, each (B, T, width), into (B, T, output)."""
        joined = torch.cat(list(projected), dim=-1)
        views = {"attention": self._attend, "conv": self._convolve}
        return self.fc_final(
            reduce(torch.add, [views[branch](projected, joined) for branch in self.config.branches])
        )

    def _attend(self, projected: Sequence[Tensor], joined: Tensor) -> Tensor:
        weights = self.fc_att(self.attention_mlp(joined)).unsqueeze(-1)
        return (torch.stack(list(projected), dim=-1) @ weights).squeeze(-1)

    def _convolve(self, projected: Sequence[Tensor], joined: Tensor) -> Tensor:
        return self.conv_module(self.conv_entry(joined.transpose(1, 2))).transpose(1, 2)

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Fuse streams, each (B, T, d_i) in the order of ``config.inputs``, into (B, T, output)."""
        return self.fuse(self.project(streams))

"""Pre-fusion of the streams, in the variants that the paper compares, with masks that really mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from training.networks.conv_attention import ConvAttention, ConvAttentionConfig

FusionKind = Literal["none", "attention", "conv", "qformer", "conv_attention"]


@dataclass(frozen=True)
class FusionConfig:
    """A fusion.

    Attributes:
        kind: ``conv_attention`` is the released model's; ``attention`` and ``conv`` are one branch of it;
            ``qformer`` asks the streams with learned queries, as AffectGPT does (arXiv 2501.16566); ``none``
            gives the streams' mean to the perception head, and no tokens to the language model.
        sizes: Sizes of Conv-Attention; of the others as far as they have them.
        tokens: Length of every stream and of the fused sequence.
        layers: Of the Q-Former.
    """

    kind: FusionKind = "conv_attention"
    sizes: ConvAttentionConfig = ConvAttentionConfig()
    tokens: int = 64
    layers: int = 2


class QFormer(nn.Module):
    """Learned queries that attend to all streams, joined in time (AffectGPT, arXiv 2501.16566)."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        width, streams = config.sizes.width, len(config.sizes.inputs)
        self.queries = nn.Parameter(torch.randn(config.tokens, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(streams * config.tokens, width) * 0.02)
        layer = nn.TransformerDecoderLayer(
            width, 4, 4 * width, config.sizes.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, config.layers)
        self.out = nn.Linear(width, config.sizes.output)

    def fuse(self, projected: Sequence[Tensor]) -> Tensor:
        """Fuse projected streams, each (B, T, width), into (B, tokens, output)."""
        memory = torch.cat(list(projected), dim=1) + self.positions
        queries = self.queries.expand(memory.shape[0], -1, -1)
        return self.out(self.decoder(queries, memory))


class Mean(nn.Module):
    """No fusion: the streams' mean, so that a head can be trained beside the language model."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.out = nn.Linear(config.sizes.width, config.sizes.output)

    def fuse(self, projected: Sequence[Tensor]) -> Tensor:
        """Average projected streams, each (B, T, width), into (B, T, output)."""
        return self.out(torch.stack(list(projected)).mean(0))


class Fusion(nn.Module):
    """Streams to one fused sequence; a stream that is missing is a learned embedding instead."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        branches = {"attention": ("attention",), "conv": ("conv",)}.get(config.kind, ("attention", "conv"))
        whole = ConvAttention(replace(config.sizes, branches=branches))
        if config.kind in ("qformer", "none"):
            self.feats_prep = whole.feats_prep
            self.mix: nn.Module = QFormer(config) if config.kind == "qformer" else Mean(config)
        else:
            self.conv_pro_module = whole
        self.absent = nn.Parameter(torch.zeros(len(config.sizes.inputs), config.sizes.width))

    def forward(self, streams: Sequence[Tensor], present: Tensor) -> Tensor:
        """Fuse.

        Args:
            streams: Each (B, tokens, d_i), in the order audio, image, video.
            present: (B, streams) bool; what is False is never read.

        Returns:
            (B, tokens, output).
        """
        is_whole = hasattr(self, "conv_pro_module")
        preps = self.conv_pro_module.feats_prep if is_whole else self.feats_prep
        here = present[:, :, None, None]
        # Zeros before the projection keep NaN of a stream that is not there from its gradient; the embedding
        # after it says that it is not there.
        projected = [
            torch.where(here[:, i], prep(torch.where(here[:, i], stream, 0.0)), self.absent[i])
            for i, (prep, stream) in enumerate(zip(preps, streams, strict=True))
        ]
        return self.conv_pro_module.fuse(projected) if is_whole else self.mix.fuse(projected)

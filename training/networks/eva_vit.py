"""EVA-ViT-G as BLIP-2 distributes it (``eva_vit_g.pth``), the frozen picture encoder of Emotion-LLaMAv2.

Parameter names follow that file, so that it loads with ``strict=True``. One copy serves both views: the
released code keeps a second one in single precision, loaded through another library with ``strict=False``.

Sources: EVA (Fang et al., arXiv 2211.07636), BLIP-2 (Li et al., arXiv 2301.12597).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class EvaConfig:
    """Sizes; the defaults are BLIP-2's, whose last block is left out (39 of EVA's 40).

    Attributes:
        width: Of a token.
        heads: Of attention.
        depth: Blocks.
        hidden: Width inside the MLP.
        patch: Side of a patch, pixels.
        grid: Patches a side that the table of positions is stored for.
    """

    width: int = 1408
    heads: int = 16
    depth: int = 39
    hidden: int = 6144
    patch: int = 14
    grid: int = 16


class EvaAttention(nn.Module):
    """Self-attention whose keys have no bias."""

    def __init__(self, config: EvaConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        batch, time, width = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        joined = F.linear(x, self.qkv.weight, bias).reshape(batch, time, 3, self.heads, width // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, time, width))


class EvaMlp(nn.Module):
    """Two layers with GELU."""

    def __init__(self, config: EvaConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.fc2(F.gelu(self.fc1(x)))


class EvaBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: EvaConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = EvaAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = EvaMlp(config)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _PatchEmbed(nn.Module):
    def __init__(self, config: EvaConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, config.patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class EvaViT(nn.Module):
    """Images of any size that the patch divides, to a token for the image and one for each patch."""

    def __init__(self, config: EvaConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EvaConfig()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.width))
        self.patch_embed = _PatchEmbed(config)
        self.blocks = nn.ModuleList(EvaBlock(config) for _ in range(config.depth))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode normalised images (B, 3, H, W).

        Returns:
            (B, width), and (B, H / patch * W / patch, width), row by row.
        """
        rows, columns = (side // self.config.patch for side in images.shape[-2:])
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), self.patch_embed(images)], dim=1)
        x = x + self._positions(rows, columns)
        for block in self.blocks:
            x = block(x)
        return x[:, 0], x[:, 1:]

    def _positions(self, rows: int, columns: int) -> Tensor:
        """The stored table, interpolated (bicubic) where the image is of another size."""
        first, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        if (rows, columns) != (self.config.grid, self.config.grid):
            side, width = self.config.grid, self.config.width
            table = grid.reshape(1, side, side, width).permute(0, 3, 1, 2).float()
            table = F.interpolate(table, (rows, columns), mode="bicubic", align_corners=False)
            grid = table.permute(0, 2, 3, 1).reshape(1, rows * columns, width).to(first.dtype)
        return torch.cat([first, grid], dim=1)


def config_of(state: Mapping[str, Tensor]) -> EvaConfig:
    """Read the sizes off the weights; the width of a head is 88, as in EVA-ViT-G, where that divides."""
    width = state["cls_token"].shape[-1]
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    return EvaConfig(
        width=width,
        heads=width // 88 if width % 88 == 0 else 1,
        depth=depth,
        hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
        patch=state["patch_embed.proj.weight"].shape[-1],
        grid=round((state["pos_embed"].shape[1] - 1) ** 0.5),
    )

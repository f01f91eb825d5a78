"""EVA-ViT-G as BLIP-2 distributes it (``eva_vit_g.pth``), the frozen picture encoder of Emotion-LLaMAv2.

Parameter names follow that file, so that it loads with ``strict=True``. One copy serves both views: the image
is read where BLIP-2 reads it, in front of EVA's last block, and frames behind that block and the last norm,
as timm's EVA gives them. The released code keeps a second copy for them, in single precision, loaded through
that library with ``strict=False``.

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
    """Sizes; the defaults are those of BLIP-2, which leaves EVA's last block out (39 of 40).

    Attributes:
        width: Of a token.
        heads: Of attention.
        depth: Blocks that the image is read behind.
        hidden: Width inside the MLP.
        patch: Side of a patch, pixels.
        grid: Patches a side that the table of positions is stored for.
        is_whole: EVA's last block and its norm stand behind those blocks.
    """

    width: int = 1408
    heads: int = 16
    depth: int = 39
    hidden: int = 6144
    patch: int = 14
    grid: int = 16
    is_whole: bool = False


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
        self.blocks = nn.ModuleList(EvaBlock(config) for _ in range(config.depth + config.is_whole))
        if config.is_whole:
            self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode normalised images (B, 3, H, W) as far as BLIP-2 does.

        Returns:
            (B, width), and (B, H / patch * W / patch, width), row by row.
        """
        x = self._through(images, self.config.depth)
        return x[:, 0], x[:, 1:]

    def last(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images as `forward`, but through every block and the last norm; for a whole EVA."""
        x = self.norm(self._through(images, self.config.depth + 1))
        return x[:, 0], x[:, 1:]

    def _through(self, images: Tensor, depth: int) -> Tensor:
        rows, columns = (side // self.config.patch for side in images.shape[-2:])
        x = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), self.patch_embed(images)], dim=1)
        x = x + self._positions(rows, columns)
        for block in self.blocks[:depth]:
            x = block(x)
        return x

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
    """Read the sizes off the weights; the width of a head is 88, as in EVA-ViT-G, where that divides.

    Raises:
        KeyError: A weight that tells a size is not there.
        ValueError: They are as wide as EVA-ViT-G's, but blocks are missing or too many, so that the image
            would be read at a depth that nobody trained on.
    """
    width = state["cls_token"].shape[-1]
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    is_whole = "norm.weight" in state
    if width == EvaConfig.width and blocks != EvaConfig.depth + is_whole:
        raise ValueError(
            f"{blocks} blocks {'and' if is_whole else 'without'} norm.weight; 39 stand without it, 40 with it"
        )
    return EvaConfig(
        width=width,
        heads=width // 88 if width % 88 == 0 else 1,
        depth=blocks - is_whole,
        hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
        patch=state["patch_embed.proj.weight"].shape[-1],
        grid=round((state["pos_embed"].shape[1] - 1) ** 0.5),
        is_whole=is_whole,
    )


def without_last(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that the image goes through: those of a whole EVA less its last block and norm."""
    config = config_of(state)
    behind = ("norm.", f"blocks.{config.depth}.") if config.is_whole else ()
    return {name: value for name, value in state.items() if not name.startswith(behind)}

"""The encoders: one picture and many through one backbone, and the sound. All of them are frozen.

Nothing looks for a face: the backbone sees the whole frame, once large and still, and once small and moving.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class VisionBackbone(Protocol):
    """Images (B, 3, H, W), normalised, to one vector (B, D) and a grid of patches (B, P, D), row by row."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images."""


class FramesBackbone(VisionBackbone, Protocol):
    """A backbone that has a path of its own for frames over time; others send them where the image goes."""

    def frames(self, images: Tensor) -> Tensor:
        """Encode frames (B, 3, H, W) into patches (B, P, D), row by row."""


class AudioBackbone(Protocol):
    """Samples (B, n), 16 kHz, full scale 1, to the outputs (B, L, T, D) of L blocks."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Encode sound."""


class MultiviewEncoder(nn.Module):
    """One backbone for both views of a clip.

    Args:
        backbone: Shared by the views: a `VisionBackbone`, or a `FramesBackbone`.
        joined: Neighbouring patches of the image that become one token (4 in the released model).
        cells: Tokens a side that a frame is averaged to (2 in the released model: 4 tokens a frame).
        batch: Frames that go through the backbone at once.
    """

    def __init__(self, backbone: nn.Module, joined: int = 4, cells: int = 2, batch: int = 16) -> None:
        super().__init__()
        self.backbone, self.joined, self.cells, self.batch = backbone, joined, cells, batch

    def image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode one image a clip, (B, 3, H, W): a vector (B, D) and tokens (B, P / joined, joined * D)."""
        whole, patches = self.backbone(image)
        count, patch_count, width = patches.shape
        if patch_count % self.joined:
            raise ValueError(f"{patch_count} patches cannot be joined by {self.joined}")
        return whole, patches.reshape(count, patch_count // self.joined, self.joined * width)

    def video(self, frames: Tensor) -> Tensor:
        """Encode N frames a clip, (B, N, 3, H, W), into tokens (B, N * cells ** 2, D), frame by frame."""
        clips, count = frames.shape[:2]
        parts = [self._cells(self._patches(part)) for part in frames.flatten(0, 1).split(self.batch)]
        return torch.cat(parts).reshape(clips, count * self.cells**2, -1)

    def _patches(self, frames: Tensor) -> Tensor:
        own_path = getattr(self.backbone, "frames", None)
        return self.backbone(frames)[1] if own_path is None else own_path(frames)

    def _cells(self, patches: Tensor) -> Tensor:
        """Average a square grid of patches (B, P, D) into ``cells`` a side."""
        side = round(patches.shape[1] ** 0.5)
        grid = patches.transpose(1, 2).unflatten(2, (side, side))
        return F.adaptive_avg_pool2d(grid, self.cells).flatten(2).transpose(1, 2)

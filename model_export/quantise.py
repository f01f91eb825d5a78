"""Eight-bit matrix products as QuantizeLinear and DequantizeLinear: one graph for CPUs and for TensorRT."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import emollama_ros
from emollama_ros.engines import EngineOptions, load_engine
from emollama_ros.preprocess.audio import SAMPLE_RATE, log_mel
from model_export.graphs import store_half
from training.mmeverse.decoding import sound_of
from training.mmeverse.schema import Media

_LOG = logging.getLogger(__name__)

#: Ships with the package, so that everybody's calibration is the same.
SAMPLE = Path(emollama_ros.__file__).parent / "samples" / "sample.mp4"
#: Length and step of the windows that calibrate, s: those of the robot, half overlapping.
WINDOW_S, STEP_S = 4.0, 2.0
#: Levels the sample is heard at, dB: people speak up, and stand farther away.
LEVELS_DB = (0.0, -20.0)
#: Largest channel of a product's input over the median channel, from which the product stays in float.
#: A tensor has one scale, so at 64 the median channel has two of the 127 steps left, one bit and a sign:
#: nothing of it would come through. Whisper tiny.en has one such product, the last block's second of the MLP.
OUTLIERS = 64.0
#: Largest code; -128 is not used, so that zero is in the middle.
_MOST = 127

Arrays = Mapping[str, NDArray[np.generic]]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Product:
    """A matrix product with a constant: its node, its input and weight, and the input's largest values."""

    node: onnx.NodeProto
    weight: onnx.TensorProto
    channels: Floats

    @property
    def outliers(self) -> float:
        """Largest channel over the median one."""
        return float(self.channels.max() / max(np.median(self.channels), 1e-9))


def to_int8(path: Path, inputs: Sequence[Arrays], *, half: bool = True) -> Path:
    """Rewrite a graph's products of activations (..., K) and constant weights (K, N) to eight bits, in place.

    Explicit quantisation as ONNX Runtime and TensorRT read it: QuantizeLinear and DequantizeLinear before
    each product, symmetric, one scale for the activations, calibrated by the largest value, and one for
    each column of the weights. Either engine makes one integer product of them. Inputs of products with
    outlier channels (`OUTLIERS`) stay as they are, and so do convolutions, which ONNX Runtime runs slower in
    eight bits on CPUs.

    Args:
        path: A graph in single precision.
        inputs: Calibrate: what the graph is run on.
        half: Store weights that stay float in half precision.

    Returns:
        ``path``. The same graph and inputs give the same bytes.
    """
    model = onnx.load(path)
    products = _calibrated(model, inputs)
    chosen = [product for product in products if product.outliers < OUTLIERS]
    _LOG.info("%s: %d of %d products in eight bits", path.name, len(chosen), len(products))
    _quantise(model.graph, chosen)
    if half:
        store_half(model.graph)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def sample_sound() -> list[dict[str, Floats]]:
    """The sound of the packaged clip as the sound encoder takes it: ``mel`` (1, 80, 400) a window."""
    samples = sound_of(SAMPLE, Media())
    size, step = round(WINDOW_S * SAMPLE_RATE), round(STEP_S * SAMPLE_RATE)
    windows = [samples[at : at + size] for at in range(0, len(samples) - size + 1, step)]
    return [{"mel": log_mel(w * np.float32(10 ** (db / 20)))[None]} for db in LEVELS_DB for w in windows]


def _calibrated(model: onnx.ModelProto, inputs: Sequence[Arrays]) -> list[_Product]:
    """The products of a graph with a constant, and what is multiplied with it when the graph is run."""
    weights = {w.name: w for w in model.graph.initializer if w.data_type == TensorProto.FLOAT and len(w.dims) == 2}
    nodes = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    largest = _largest(model, sorted({node.input[0] for node in nodes}), inputs)
    return [_Product(node, weights[node.input[1]], largest[node.input[0]]) for node in nodes]

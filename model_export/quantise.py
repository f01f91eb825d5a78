"""Eight-bit matrix products behind QuantizeLinear, DequantizeLinear: one graph for CPUs and for TensorRT."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

#: Ships with the package: whoever exports has the same sound to calibrate on.
SAMPLE = Path(emollama_ros.__file__).parent / "samples" / "sample.mp4"
#: Windows that calibrate, s, end to end, as long as the robot's.
WINDOW_S = 4.0
#: Levels that the sample is heard at, dB: who stands far away has other quiet bands.
LEVELS_DB = (0.0, -20.0, -40.0)
#: A product stays float where rounding it alone makes what the graph gives wrong by more than this share of
#: its root mean square. Whisper tiny.en has three such products, .018 to .023: the first two, whose errors
#: all blocks inherit, and the last, whose input has channels 85 times larger than the median one, which has
#: three codes left on their scale. All others are at .010 at most.
LARGEST_ERROR = 0.013
#: Largest code; -128 is left out so that zero is in the middle.
_MOST = 127
#: Shares of the range of activations that are tried as the largest code. Few values are that large, and what
#: they lose is less than what all others gain by a finer scale.
_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Rounding:
    """How activations become codes: ``(x - shift) / scale``; the shift is a whole number of steps."""

    scale: float
    shift: float = 0.0

    def __call__(self, values: Floats) -> Floats:
        """What is left of activations."""
        codes = np.clip(np.rint((values - np.float32(self.shift)) / np.float32(self.scale)), -_MOST, _MOST)
        rounded: Floats = codes * np.float32(self.scale) + np.float32(self.shift)
        return rounded


@dataclass(frozen=True)
class _Product:
    """A product of activations with a constant: names of what it gives and of both; how they are rounded."""

    output: str
    activations: str
    weight: str
    rounding: _Rounding


def to_int8(path: Path, inputs: Sequence[Arrays], *, half: bool = True) -> Path:
    """Rewrite a graph's products of activations (..., K) with constants (K, N) to eight bits, in place.

    Explicit quantisation as ONNX Runtime and TensorRT both read it: QuantizeLinear and DequantizeLinear
    before a product, which they make one integer product of. No zero points, as TensorRT wants it: one static
    scale for the activations, at which the product is least wrong on ``inputs``, and one for each column of
    the weights. Activations that are hardly negative, as after GELU, are first moved so that they use codes
    of both signs, and what that changes is added to the product. Products that stand rounding badly
    (`LARGEST_ERROR`) stay as they are, and so do convolutions: ONNX Runtime's integer convolution is slower
    than its float one on CPUs.

    Args:
        path: A graph in single precision, weights too.
        inputs: What the graph is run on to calibrate.
        half: Store what stays float in half precision.

    Returns:
        ``path``; the same graph and inputs give the same bytes.
    """
    model = onnx.load(path)
    products = _calibrated(model, inputs)
    kept = [product for product in products if _error(model, product, inputs) <= LARGEST_ERROR]
    _LOG.info("%s: %d of %d products in eight bits", path.name, len(kept), len(products))
    _rewrite(model.graph, kept)
    if half:
        store_half(model.graph)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def sample_sound() -> list[dict[str, Floats]]:
    """The sound of the packaged clip as a sound encoder takes it: of each window ``mel`` (1, 80, 400)."""
    samples, size = sound_of(SAMPLE, Media()), round(WINDOW_S * SAMPLE_RATE)
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    return [{"mel": log_mel(w * np.float32(10 ** (db / 20)))[None]} for db in LEVELS_DB for w in windows]


# --- calibration --------------------------------------------------------------------------------------------


def _calibrated(model: onnx.ModelProto, inputs: Sequence[Arrays]) -> list[_Product]:
    """The products of a graph with a constant, and how their activations are best rounded."""
    constants = {w.name: w for w in model.graph.initializer if _is_matrix(w)}
    nodes = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    tapped = _copy(model)
    names = dict.fromkeys(node.input[0] for node in nodes)
    tapped.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    runs = _run(tapped, inputs)
    products = []
    for node in nodes:
        activations = np.concatenate(
            [run[node.input[0]].reshape(-1, run[node.input[0]].shape[-1]) for run in runs]
        )
        rounding = _best(activations, numpy_helper.to_array(constants[node.input[1]]))
        products.append(_Product(node.output[0], node.input[0], node.input[1], rounding))
    return products


def _is_matrix(weight: onnx.TensorProto) -> bool:
    return weight.data_type == TensorProto.FLOAT and len(weight.dims) == 2


def _best(activations: Floats, weight: Floats) -> _Rounding:
    """The rounding of activations (n, K) at which their product with a weight (K, N) is least wrong."""
    low, high = float(activations.min()), float(activations.max())
    exact, (codes, scales) = activations @ weight, _codes(weight)
    tried = [_rounding(low, high, clip) for clip in _CLIPS]
    errors = [np.square(rounding(activations) @ (codes * scales) - exact).mean() for rounding in tried]
    return tried[int(np.argmin(errors))]


def _rounding(low: float, high: float, clip: float) -> _Rounding:
    if -low > high / 2:
        return _Rounding(_scale(clip * max(-low, high) / _MOST))
    # Zero stays a code: where most values are near zero, all would be wrong in the same direction.
    scale = _scale((clip * high - low) / (2 * _MOST - 1))
    return _Rounding(scale, scale * (_MOST - math.ceil(max(-low, 0.0) / scale)))


def _scale(value: float) -> float:
    """A scale of eight bits, not less than this one: machines that round differently find the same."""
    mantissa, exponent = math.frexp(max(value, 1e-9))
    return math.ldexp(math.ceil(mantissa * 256) / 256, exponent)


def _codes(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Codes (K, N) of a weight and the scale (N,) of each column."""
    scales: Floats = np.maximum(np.abs(weight).max(axis=0) / np.float32(_MOST), np.float32(1e-12))
    return np.rint(weight / scales).astype(np.int8), scales


def _error(model: onnx.ModelProto, product: _Product, inputs: Sequence[Arrays]) -> float:
    """Error of a graph's output with one product rounded, as a share of the output's root mean square."""
    rounded = _copy(model)
    _rewrite(rounded.graph, [product])
    given = inputs[:: max(1, len(inputs) // 4)]
    wrong = total = 0.0
    for found, exact in zip(_run(rounded, given), _run(model, given), strict=True):
        wrong += sum(float(np.square(found[n] - exact[n], dtype=np.float64).sum()) for n in exact)
        total += sum(float(np.square(exact[n], dtype=np.float64).sum()) for n in exact)
    return math.sqrt(wrong / max(total, 1e-30))


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _run(model: onnx.ModelProto, inputs: Sequence[Arrays]) -> list[dict[str, NDArray[Any]]]:
    with tempfile.TemporaryDirectory(prefix="emollama-") as scratch:
        graph = Path(scratch) / "graph.onnx"
        graph.write_bytes(model.SerializeToString())
        engine = load_engine(graph, EngineOptions("cpu", threads=1))
        return [dict(engine.run(given)) for given in inputs]


# --- the graph ----------------------------------------------------------------------------------------------


def _rewrite(graph: onnx.GraphProto, products: Sequence[_Product]) -> None:
    """Have products read codes and scales."""
    chosen = {product.output: product for product in products}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        product = chosen.get(node.output[0])
        nodes += [node] if product is None else _in_eight_bits(graph, product)
    del graph.node[:]
    graph.node.extend(nodes)


def _in_eight_bits(graph: onnx.GraphProto, product: _Product) -> list[onnx.NodeProto]:
    """Replace a product's weight by codes (K, N); returns the nodes that stand for the product."""
    (stored,) = (weight for weight in graph.initializer if weight.name == product.weight)
    codes, scales = _codes(numpy_helper.to_array(stored))
    stored.CopyFrom(numpy_helper.from_array(codes, f"{product.weight}.codes"))
    rounding, out = product.rounding, product.output
    read, gives = product.activations, out
    nodes = []
    if rounding.shift:
        read, gives = f"{out}.moved", f"{out}.product"
        shift = _store(graph, f"{out}.shift", np.array(rounding.shift, np.float32))
        nodes.append(helper.make_node("Sub", [product.activations, shift], [read], name=read))
    scale = _store(graph, f"{out}.scale", np.array(rounding.scale, np.float32))
    zero = _store(graph, f"{out}.zero", np.array(0, np.int8))
    columns = _store(graph, f"{product.weight}.scale", scales)
    nodes += [
        _node("QuantizeLinear", [read, scale, zero], f"{out}.codes"),
        _node("DequantizeLinear", [f"{out}.codes", scale, zero], f"{out}.rounded"),
        _node("DequantizeLinear", [stored.name, columns], f"{product.weight}.rounded", axis=1),
        _node("MatMul", [f"{out}.rounded", f"{product.weight}.rounded"], gives),
    ]
    if rounding.shift:
        moved = np.float32(rounding.shift) * codes.sum(axis=0, dtype=np.int64).astype(np.float32) * scales
        nodes.append(_node("Add", [gives, _store(graph, f"{out}.unshift", moved)], out))
    return nodes


def _store(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> str:
    graph.initializer.append(numpy_helper.from_array(values, name))
    return name


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=output, **attributes)

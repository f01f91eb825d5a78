"""Graphs as TensorRT takes them: what it cannot parse is rewritten, precision is put into the graph.

Needs the package onnx (and onnxruntime for half precision), where engines are built; running needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emollama_ros.errors import EngineError

#: Operators of these domains are part of ONNX itself.
_STANDARD = ("", "ai.onnx")
#: What moves elements and computes nothing, so that a cast may stand on either side of it.
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")
_UINT8 = 2


@dataclass(frozen=True)
class PreparedGraph:
    """A graph ready to be parsed.

    Attributes:
        path: Of the file it comes from; external weights lie beside it.
        data: Serialised.
        inputs: Shape of each input; a free dimension is a name.
    """

    path: Path
    data: bytes
    inputs: dict[str, tuple[int | str, ...]]


def foreign_operators(path: Path) -> tuple[str, ...]:
    """Operators of a graph that only ONNX Runtime knows, such as ``com.microsoft.MatMulNBits``."""
    model = _onnx().load(str(path), load_external_data=False)
    found = {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in _STANDARD}
    return tuple(sorted(found))


def prepare(path: Path, fp16: bool = False) -> PreparedGraph:
    """Read a graph and make it one that TensorRT parses.

    Args:
        path: The ONNX file.
        fp16: Compute in half precision; inputs and outputs keep their types.

    Raises:
        EngineError: It cannot be read, has operators that TensorRT does not know, or a package is missing.
    """
    onnx = _onnx()
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # whatever protobuf finds wrong
        raise EngineError(f"{path.name}: not an ONNX graph ({error})") from None
    if foreign := [n for n in model.graph.node if n.domain not in _STANDARD]:
        raise EngineError(
            f"{path.name}: has {foreign[0].domain}.{foreign[0].op_type}, which TensorRT does not know; "
            "export it with standard operators"
        )
    cast_bytes_first(model)
    if fp16:
        model = _halved(model, path)
    return PreparedGraph(path, model.SerializeToString(), _shapes(model))


def cast_bytes_first(model: Any) -> None:
    """Swap pairs of a move and a cast behind it, where an input is uint8.

    TensorRT takes pixels as uint8, but only to cast them: it refuses to transpose bytes.
    """
    pixels = {i.name for i in model.graph.input if i.type.tensor_type.elem_type == _UINT8}
    nodes = list(model.graph.node)
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for move in (n for n in nodes if n.op_type in _MOVES and n.input and n.input[0] in pixels):
        behind = readers.get(move.output[0], [])
        if len(behind) == 1 and behind[0].op_type == "Cast":
            _swap(move, behind[0])


def _swap(move: Any, cast: Any) -> None:
    """Turn ``move`` then ``cast`` into cast then move; the nodes keep their places in the order."""
    source, between, target = move.input[0], move.output[0], cast.output[0]
    rest = list(move.input)[1:]
    old = type(move)()
    old.CopyFrom(move)
    move.CopyFrom(cast)
    move.input[0], move.output[0] = source, between
    cast.CopyFrom(old)
    del cast.input[:], cast.output[:]
    cast.input.extend([between, *rest])
    cast.output.append(target)


def _halved(model: Any, path: Path) -> Any:
    if any(weight.data_location == 1 for weight in model.graph.initializer):
        raise EngineError(f"{path.name}: keeps its weights in another file; export it in float16 instead")
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise EngineError(f"half precision needs onnxruntime and its tools to build ({error})") from None
    return convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=False)


def _shapes(model: Any) -> dict[str, tuple[int | str, ...]]:
    weights = {weight.name for weight in model.graph.initializer}
    return {
        item.name: tuple(d.dim_param or d.dim_value for d in item.type.tensor_type.shape.dim)
        for item in model.graph.input
        if item.name not in weights
    }


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise EngineError("building TensorRT engines needs the package onnx: pip install onnx") from None
    return onnx

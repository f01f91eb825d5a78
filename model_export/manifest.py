"""Writing manifests: what an ONNX file takes and gives, and JSON in which a change shows as few lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, ValueInfoProto, helper

from emollama_ros.manifest import DTYPES

#: Objects of this many characters at most stand on one line.
_SHORT = 100


def declare(path: Path, precision: str) -> dict[str, Any]:
    """Describe a graph for the manifest, from the file itself; external data is not read.

    Args:
        path: The ONNX file.
        precision: What its weights are stored in.
    """
    graph = onnx.load(path, load_external_data=False).graph
    weights = {weight.name for weight in graph.initializer}
    return {
        "file": path.name,
        "precision": precision,
        "inputs": _specs(value for value in graph.input if value.name not in weights),
        "outputs": _specs(graph.output),
    }


def _specs(values: Iterable[ValueInfoProto]) -> dict[str, Any]:
    return {value.name: _spec(value) for value in values}


def _spec(value: ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    dtype = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if tensor.elem_type == TensorProto.UNDEFINED or dtype not in DTYPES:
        raise ValueError(f"{value.name}: element type {dtype} has no place in a bundle")
    shape = [d.dim_value if d.HasField("dim_value") else d.dim_param or "free" for d in tensor.shape.dim]
    return {"dtype": dtype, "shape": shape}


def render(manifest: Mapping[str, Any]) -> str:
    """Write a manifest as JSON: one space a level, small objects and lists on one line."""
    return _render(manifest, 0) + "\n"


def _render(value: Any, depth: int) -> str:
    line = json.dumps(value)
    if len(line) + depth <= _SHORT or not isinstance(value, dict | list):
        return line
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{pad}{json.dumps(name)}: {_render(item, depth + 1)}" for name, item in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"
    rows = [pad + _render(item, depth + 1) for item in value]
    return "[\n" + ",\n".join(rows) + "\n" + " " * depth + "]"


def rounded_up(value: float) -> float:
    """A measured error with one digit, never less than it is: the same on machines that round differently."""
    if value <= 0:
        return 0.0
    step = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / step) * step:.0e}")

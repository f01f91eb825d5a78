"""PyTorch modules to ONNX graphs: dynamic batch and time, weights stored in half precision.

Half precision is a storage format here: each stored weight is followed by a Cast, which ONNX Runtime
folds into a float32 constant when it loads the graph. A bundle is half as large and just as fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

#: Weights below this many elements stay float32: norms and biases gain nothing from being halved.
_HALVE_FROM = 4096

#: Names of free dimensions of each input: axis -> name.
FreeDims = Mapping[str, Mapping[int, str]]


def export(
    module: nn.Module,
    example: Sequence[torch.Tensor],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    free: FreeDims,
    half_weights: bool = True,
) -> Path:
    """Write ``module`` as one self-contained ONNX file.

    Args:
        module: In evaluation mode.
        example: One tensor an input; free dimensions must be larger than 1 to stay free.
        path: File to write.
        inputs: Input names, in the order of ``example``.
        outputs: Output names.
        free: Free dimensions of each input.
        half_weights: Store large weights as float16.

    Returns:
        ``path``.
    """
    shapes = tuple(
        {axis: torch.export.Dim(label, min=1, max=4096) for axis, label in free.get(name, {}).items()} or None
        for name in inputs
    )
    program = torch.onnx.export(
        module,
        tuple(example),
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=list(inputs),
        output_names=list(outputs),
        verbose=False,
    )
    model = program.model_proto
    if half_weights:
        store_half(model.graph)
    _strip_traces(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def store_half(graph: onnx.GraphProto) -> None:
    """Store large float32 weights as float16, each followed by a Cast back."""
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or int(np.prod(weight.dims)) < _HALVE_FROM:
            continue
        values, name = numpy_helper.to_array(weight), weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(
            helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT)
        )
    for position, cast in enumerate(casts):
        graph.node.insert(position, cast)


def _strip_traces(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes (stack traces, source paths): they bloat the file and name this machine."""
    del model.metadata_props[:]
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        item.doc_string = ""
        if hasattr(item, "metadata_props"):
            del item.metadata_props[:]
    for weight in model.graph.initializer:
        weight.doc_string = ""
        del weight.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]

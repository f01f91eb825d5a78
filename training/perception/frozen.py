"""Frozen modules through ONNX Runtime: several times faster than eager PyTorch on a CPU, and equal."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Frozen = Callable[[Tensor], Tensor]


def frozen(module: nn.Module, example: Tensor, device: str = "cpu") -> Frozen:
    """Make a function of a module that is not trained any more.

    Args:
        module: Of one tensor to one tensor.
        example: An input; the first axis is free, at least 2 long here.
        device: On ``cpu`` the result runs in ONNX Runtime, with as many threads as PyTorch has now; elsewhere
            it is the module itself.
    """
    module = module.to(device).eval().requires_grad_(False)
    if device != "cpu":
        return torch.no_grad()(module)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(_graph(module, example), options, ["CPUExecutionProvider"])

    def run(values: Tensor) -> Tensor:
        found = session.run(None, {"values": np.ascontiguousarray(values.numpy())})[0]
        return torch.from_numpy(found)

    return run


def _graph(module: nn.Module, example: Tensor) -> bytes:
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("count", min=1, max=4096)},),
        input_names=["values"],
        verbose=False,
    )
    held = io.BytesIO()
    held.write(program.model_proto.SerializeToString())
    return held.getvalue()

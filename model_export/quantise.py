"""Eight-bit weights for graphs that multiply matrices, through ONNX Runtime's own quantiser."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx


def to_int8(path: Path) -> Path:
    """Rewrite a graph's matrix products: weights of 8 bits a channel, activations quantised as they come.

    Convolutions stay as they are: on CPUs ONNX Runtime's ConvInteger is slower than a float convolution.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it recommends a preprocessing step that folds nothing here
    quantize_dynamic(
        path, path, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8
    )
    model = onnx.load(path)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path

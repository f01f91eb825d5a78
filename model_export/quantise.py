"""Eight-bit weights for graphs that multiply matrices, through ONNX Runtime's own quantiser."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx

from emollama_ros.language.packing import BLOCK

#: MatMulNBits: quantise activations block by block as well, so that integer dot products do the work.
_ACCURACY_LEVEL = 4


def to_int8(path: Path) -> Path:
    """Rewrite a graph's matrix products: codes of 8 bits with one scale for 32 weights.

    Activations are quantised in such blocks too. A scale for a whole tensor, as ONNX Runtime's dynamic
    quantisation has it, is faster, but Whisper has channels many times larger than the others, and its
    error is more than twice as large for it (2.5 against 6 % of the last block's root mean square, on clips).

    Convolutions stay as they are: on CPUs ONNX Runtime's ConvInteger is slower than a float convolution.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)  # it names every node
    quantiser = MatMulNBitsQuantizer(
        onnx.load(path), bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=_ACCURACY_LEVEL
    )
    quantiser.process()
    path.write_bytes(quantiser.model.model.SerializeToString(deterministic=True))
    return path

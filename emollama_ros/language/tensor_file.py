"""An array in the file format of ``torch.save``, written without torch: what vLLM takes as embeddings.

Such a file is a zip of the array's bytes and a pickle that says how to read them. The pickle is written here
opcode by opcode and names nothing but a tensor; nothing in this package ever reads a pickle.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile

import numpy as np
from numpy.typing import NDArray

_STORAGES = {"float16": "HalfStorage", "float32": "FloatStorage"}
#: Opcodes of pickle protocol 2 (Lib/pickletools.py).
_PROTOCOL, _MARK, _TUPLE, _REDUCE, _PERSISTENT, _STOP = b"\x80\x02", b"(", b"t", b"R", b"Q", b"."
_FALSE, _EMPTY_TUPLE = b"\x89", b")"


def torch_file(array: NDArray[np.floating]) -> bytes:
    """Return a file that ``torch.load(..., weights_only=True)`` reads as this array.

    Args:
        array: float16 or float32, of any shape.
    """
    values = np.ascontiguousarray(array)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", _pickle(values))
        archive.writestr("archive/byteorder", sys.byteorder)
        archive.writestr("archive/data/0", values.tobytes())
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def _pickle(values: NDArray[np.floating]) -> bytes:
    """``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)``."""
    strides = [step // values.itemsize for step in values.strides]
    storage = _tuple(
        _text("storage"),
        _name("torch", _STORAGES[values.dtype.name]),
        _text("0"),
        _text("cpu"),
        _whole(values.size),
    )
    hooks = _name("collections", "OrderedDict") + _EMPTY_TUPLE + _REDUCE
    arguments = _tuple(
        storage + _PERSISTENT,
        _whole(0),
        _tuple(*map(_whole, values.shape)),
        _tuple(*map(_whole, strides)),
        _FALSE,
        hooks,
    )
    return _PROTOCOL + _name("torch._utils", "_rebuild_tensor_v2") + arguments + _REDUCE + _STOP


def _tuple(*items: bytes) -> bytes:
    return _MARK + b"".join(items) + _TUPLE


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)

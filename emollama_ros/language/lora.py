"""LoRA (Hu et al., arXiv 2106.09685) merged into weights while they are packed. NumPy only.

The sum over the rank is taken element by element and in order, so that it does not depend on the machine, as
everything in ``language.packing``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import BundleError
from emollama_ros.language.packing import WeightSource

Floats = NDArray[np.float32]

#: File of a bundle with the LoRA of its language model, where it has one.
LORA = "lora.npz"


@dataclass(frozen=True)
class LowRank:
    """What is added to a matrix (out, in): ``b @ a``.

    Attributes:
        a: (rank, in).
        b: (out, rank), alpha / rank included.
    """

    a: Floats
    b: Floats

    def product(self) -> Floats:
        """Return (out, in)."""
        total = np.zeros((len(self.b), self.a.shape[1]), np.float32)
        for column, row in zip(self.b.T, self.a, strict=True):
            total += column[:, None] * row[None, :]
        return total


class AdaptedSource:
    """Weights of another source, LoRA added to some; a ``packing.WeightSource``."""

    def __init__(self, source: WeightSource, lora: Mapping[str, LowRank]) -> None:
        """Wrap a source; ``lora`` by names of its matrices."""
        self._source, self._lora = source, lora

    def floats(self, name: str) -> Floats:
        """See ``WeightSource``.

        Raises:
            BundleError: LoRA of this matrix has other sizes.
        """
        weight = self._source.floats(name)
        if name not in self._lora:
            return weight
        added = self._lora[name].product()
        if added.shape != weight.shape:
            raise BundleError(f"{LORA}: {name} is {added.shape}, the weight {weight.shape}; make it anew")
        return weight + added

    def q4_1(self, name: str) -> tuple[Floats, Floats, NDArray[np.uint8]]:
        """See ``WeightSource``; a matrix with LoRA has no such codes any more.

        Raises:
            BundleError: LoRA changes this matrix.
        """
        self._refuse(name)
        return self._source.q4_1(name)

    def q8_0(self, name: str) -> tuple[Floats, NDArray[np.int8]]:
        """See ``WeightSource``, and `q4_1`.

        Raises:
            BundleError: LoRA changes this matrix.
        """
        self._refuse(name)
        return self._source.q8_0(name)

    def _refuse(self, name: str) -> None:
        if name in self._lora:
            raise BundleError(f"{name}: changed by LoRA, so its packed codes are not its weights; use int8")


def write_lora(lora: Mapping[str, LowRank], path: Path) -> None:
    """Write ``lora.npz``, in half precision; the same values give the same bytes."""
    arrays = {f"{name}/{part}": getattr(low, part) for name, low in lora.items() for part in ("a", "b")}
    np.savez(path, **{name: value.astype(np.float16) for name, value in arrays.items()})


def read_lora(path: Path) -> dict[str, LowRank]:
    """Read what ``write_lora`` wrote.

    Raises:
        BundleError: It cannot be read, or ranks do not agree.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            names = dict.fromkeys(key.rpartition("/")[0] for key in held.files)
            found = {n: LowRank(*(held[f"{n}/{p}"].astype(np.float32) for p in "ab")) for n in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: cannot be read as LoRA ({error}); reinstall the bundle") from error
    for name, low in found.items():
        if low.a.ndim != 2 or low.b.ndim != 2 or low.b.shape[1] != len(low.a):
            raise BundleError(f"{path}: {name} has a {low.a.shape} and b {low.b.shape}; reinstall the bundle")
    return found

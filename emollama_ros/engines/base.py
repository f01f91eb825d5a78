"""What an engine is, what it can be asked for, and whether a GPU is there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError

Arrays = Mapping[str, NDArray[np.generic]]
#: Element type (NumPy's name) and shape of each input or output; a free dimension is a name or ``None``.
Signature = Mapping[str, tuple[str, tuple[int | str | None, ...]]]

#: Values of the parameter ``engine``. ``auto`` takes CUDA where a GPU and its provider are present.
KINDS = ("auto", "cpu", "cuda", "tensorrt")


def default_cache_dir() -> Path:
    """Where engines built on this machine are kept, so that only the first start is slow."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emollama_ros" / "tensorrt"


@dataclass(frozen=True)
class EngineOptions:
    """How to run graphs.

    Attributes:
        kind: One of ``KINDS``.
        threads: CPU threads a graph may use, >= 1.
        cache_dir: Where TensorRT engines are kept; ``None`` disables the cache.
    """

    kind: str = "auto"
    threads: int = 2
    cache_dir: Path | None = field(default_factory=default_cache_dir)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"engine is {self.kind!r}; use one of: {', '.join(KINDS)}")
        if self.threads < 1:
            raise ConfigError(f"threads is {self.threads}; use 1 or more")


class Engine(Protocol):
    """A loaded graph. ``run`` may be called from one thread at a time."""

    @property
    def device(self) -> str:
        """Where it runs and through what, for logs and diagnostics, e.g. ``cpu (onnxruntime 1.32.0)``."""

    @property
    def inputs(self) -> Signature:
        """What the graph takes; checked against the manifest when a bundle is loaded."""

    @property
    def outputs(self) -> Signature:
        """What the graph gives."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the graph once.

        Raises:
            EngineError: The inputs do not fit the graph, or the engine failed.
        """


def cuda_available() -> bool:
    """Whether a CUDA driver with at least one device is present.

    Asked of the driver itself: ONNX Runtime lists providers that were compiled in, present or not, and
    some TensorRT builds crash the process when probed without a driver.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return bool(cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0)

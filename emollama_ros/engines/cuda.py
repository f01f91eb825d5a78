"""The little of the CUDA runtime that running an engine needs, through ctypes.

ctypes rather than cuda-python: a dozen functions are called, JetPack and CUDA's wheels both have the library,
and there is no package whose version has to agree with that of the toolkit.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emollama_ros.errors import EngineError

_NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
#: Only calls of this thread are held to what a capture permits; other engines go on working.
_CAPTURE_THREAD_LOCAL = 1
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True)
class Device:
    """A GPU: its name, and its compute capability such as ``8.7``."""

    name: str
    capability: str


def first_device() -> Device:
    """The first GPU, asked of its driver.

    Raises:
        EngineError: There is no driver.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise EngineError(f"no CUDA driver: {error}") from None
    name, found = ctypes.create_string_buffer(128), [ctypes.c_int(), ctypes.c_int()]
    cuda.cuInit(0)
    cuda.cuDeviceGetName(name, len(name), 0)
    for value, attribute in zip(found, (_MAJOR, _MINOR), strict=True):
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
    return Device(name.value.decode(errors="replace"), f"{found[0].value}.{found[1].value}")


def _candidates() -> Iterator[str]:
    yield from (*_NAMES, "/usr/local/cuda/lib64/libcudart.so")
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or []) if spec else []:
        yield from (str(path) for path in sorted(Path(root).glob("*/lib/libcudart.so.*")))


class Cuda:
    """CUDA's runtime: memory, copies, a stream's work, captured graphs. Addresses are plain integers."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            EngineError: It is nowhere to be found.
        """
        self._lib: Any = None
        for name in _candidates():
            try:
                self._lib = ctypes.CDLL(name)
                break
            except OSError:
                continue
        if self._lib is None:
            raise EngineError(
                f"no CUDA runtime: none of {', '.join(_NAMES)} loads; install CUDA's runtime "
                "(JetPack has it; else: pip install nvidia-cuda-runtime)"
            )
        self._lib.cudaGetErrorString.restype = ctypes.c_char_p

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._lib, name)(*arguments)
        if status:
            said = self._lib.cudaGetErrorString(status).decode(errors="replace")
            raise EngineError(f"{name}: {said} (CUDA error {status})")

    def _handle(self, name: str, *arguments: Any) -> int:
        handle = ctypes.c_void_p()
        self._call(name, ctypes.byref(handle), *arguments)
        return int(handle.value or 0)

    def stream(self) -> int:
        """Make a stream that waits for no other."""
        return self._handle("cudaStreamCreateWithFlags", ctypes.c_uint(1))

    def device_memory(self, size: int) -> int:
        """Take bytes of the GPU's memory."""
        return self._handle("cudaMalloc", ctypes.c_size_t(size))

    def pinned_memory(self, size: int) -> int:
        """Take bytes of host memory that are never paged out, so that copies need no detour."""
        return self._handle("cudaMallocHost", ctypes.c_size_t(size))

    def free(self, device: int) -> None:
        """Give memory of the GPU back."""
        self._call("cudaFree", ctypes.c_void_p(device))

    def free_pinned(self, host: int) -> None:
        """Give pinned memory back."""
        self._call("cudaFreeHost", ctypes.c_void_p(host))

    def upload(self, device: int, host: int, size: int, stream: int) -> None:
        """Queue a copy to the GPU."""
        self._copy(device, host, size, _HOST_TO_DEVICE, stream)

    def download(self, host: int, device: int, size: int, stream: int) -> None:
        """Queue a copy from the GPU."""
        self._copy(host, device, size, _DEVICE_TO_HOST, stream)

    def _copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        pointers = (ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size))
        self._call("cudaMemcpyAsync", *pointers, ctypes.c_int(kind), ctypes.c_void_p(stream))

    def wait(self, stream: int) -> None:
        """Wait until everything queued is done."""
        self._call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def begin_capture(self, stream: int) -> None:
        """From here on work is noted, not done."""
        self._call("cudaStreamBeginCapture", ctypes.c_void_p(stream), ctypes.c_int(_CAPTURE_THREAD_LOCAL))

    def end_capture(self, stream: int) -> int:
        """End a capture and return a graph that can be launched."""
        graph = ctypes.c_void_p()
        self._call("cudaStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            return self._handle("cudaGraphInstantiateWithFlags", graph, ctypes.c_ulonglong(0))
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        """Queue a captured graph."""
        self._call("cudaGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def free_graph(self, graph: int) -> None:
        """Give a captured graph back."""
        self._call("cudaGraphExecDestroy", ctypes.c_void_p(graph))

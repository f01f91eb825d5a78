"""Running an engine of TensorRT without torch: memory held once, pinned buffers, one stream, CUDA graphs.

Device memory is taken when the engine is loaded, for the largest shapes of its profile, and kept. Shapes
that come again (a robot's windows do) are captured as a CUDA graph at their second visit and replayed from
then on.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.engines.base import Arrays, EngineOptions, Signature
from emollama_ros.engines.cuda import Cuda
from emollama_ros.engines.tensorrt_api import TensorRt, load_tensorrt
from emollama_ros.engines.tensorrt_build import BuildOptions, ensure_engine, find_engine, target_of
from emollama_ros.errors import EngineError

#: Captured graphs kept; of more shapes, those not used for longest are let go.
MOST_GRAPHS = 8

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Buffer:
    """Memory of one input or output on both sides; ``view`` is the pinned one as bytes."""

    dtype: np.dtype
    shape: tuple[int, ...]
    largest: tuple[int, ...]
    device: int
    host: int
    view: NDArray[np.uint8]

    def array(self, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """The pinned memory as an array of this shape."""
        return self.view[: self.bytes(shape)].view(self.dtype).reshape(shape)

    def bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of an array of this shape."""
        return int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass
class _Visit:
    """What is known of shapes that came before: how often, their outputs' shapes, their captured graph."""

    count: int = 0
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    graph: int = 0


class TensorRtEngine:
    """An engine that was built for this machine. ``run`` may be called from one thread at a time."""

    def __init__(self, name: str, data: bytes, trt: TensorRt, cuda: Cuda, device: str) -> None:
        """Load a serialised engine.

        Args:
            name: Of its graph, for messages.
            data: The engine.
            trt: What built it.
            cuda: CUDA's runtime.
            device: What `device` says.

        Raises:
            EngineError: It does not load here, or there is not enough memory.
        """
        self.name, self._device, self._cuda, self._trt = name, device, cuda, trt.module
        self._buffers: dict[str, _Buffer] = {}
        self._visits: OrderedDict[Shapes, _Visit] = OrderedDict()
        self._log = trt.logger()
        self._runtime = trt.module.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        self._context: Any = self._engine.create_execution_context() if self._engine is not None else None
        if self._context is None:
            raise EngineError(f"{name}: {trt.title} cannot load its engine: {self._said()}")
        self._stream = cuda.stream()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        mode = trt.module.TensorIOMode.INPUT
        self._inputs = [n for n in names if self._engine.get_tensor_mode(n) == mode]
        self._outputs = [n for n in names if n not in self._inputs]
        self._take_memory()

    def _take_memory(self) -> None:
        for name in self._inputs:
            largest = tuple(self._engine.get_tensor_profile_shape(name, 0)[2])
            self._add(name, largest)
            self._context.set_input_shape(name, largest)
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise EngineError(f"{self.name}: the size of {name!r} depends on values; not supported")
            self._add(name, shape)

    def _add(self, name: str, largest: tuple[int, ...]) -> None:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        # TensorRT wants an address even of an empty tensor.
        size = max(1, int(np.prod(largest, dtype=np.int64)) * dtype.itemsize)
        device, host = self._cuda.device_memory(size), self._cuda.pinned_memory(size)
        view = np.frombuffer((ctypes.c_uint8 * size).from_address(host), np.uint8)
        shape = tuple(self._engine.get_tensor_shape(name))
        self._buffers[name] = _Buffer(dtype, shape, largest, device, host, view)
        self._context.set_tensor_address(name, device)

    @property
    def device(self) -> str:
        """TensorRT, its version, precision and GPU."""
        return self._device

    @property
    def inputs(self) -> Signature:
        """See ``Engine.inputs``."""
        return self._signature(self._inputs)

    @property
    def outputs(self) -> Signature:
        """See ``Engine.outputs``."""
        return self._signature(self._outputs)

    def _signature(self, names: list[str]) -> Signature:
        buffers = {name: self._buffers[name] for name in names}
        return {
            name: (b.dtype.name, tuple(None if size < 0 else size for size in b.shape))
            for name, b in buffers.items()
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the graph once; see ``Engine.run``. More rows than fit are run in pieces."""
        given = {name: np.asarray(value) for name, value in inputs.items()}
        self._check(given)
        most = self._most_rows()
        rows = len(next(iter(given.values()))) if most else 0
        if rows <= most:
            return self._run(given)
        parts = [
            self._run({name: value[start : start + most] for name, value in given.items()})
            for start in range(0, rows, most)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def _most_rows(self) -> int:
        """Rows that fit where every input and output has free rows in front; else 0."""
        buffers = [*self._buffers.values()]
        if any(not b.shape or b.shape[0] >= 0 for b in buffers):
            return 0
        sizes = {b.largest[0] for b in buffers}
        has_one_axis = all(min(b.shape[1:], default=0) >= 0 for b in buffers)
        return sizes.pop() if len(sizes) == 1 and has_one_axis else 0

    def _check(self, given: Mapping[str, NDArray[np.generic]]) -> None:
        if set(given) != set(self._inputs):
            wrong = sorted(set(given) ^ set(self._inputs))
            raise EngineError(
                f"inference failed: {self.name} takes {self._inputs}; wrong or missing: {wrong}"
            )
        most = self._most_rows()
        for name, value in given.items():
            buffer = self._buffers[name]
            if value.dtype != buffer.dtype or value.ndim != len(buffer.shape):
                raise EngineError(
                    f"inference failed: {name!r} is {value.dtype}{list(value.shape)}, "
                    f"{self.name} takes {buffer.dtype}{list(buffer.shape)}"
                )
            least = tuple(self._engine.get_tensor_profile_shape(name, 0)[0])
            sizes = list(zip(least, value.shape, buffer.largest, strict=True))[1 if most else 0 :]
            if any(not low <= size <= high for low, size, high in sizes):
                raise EngineError(
                    f"inference failed: {name!r} is {list(value.shape)}; the engine of {self.name} was built "
                    f"for {list(least)} to {list(buffer.largest)}: build it with a wider --range"
                )

    def _run(self, given: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        shapes = tuple(given[name].shape for name in self._inputs)
        for name, shape in zip(self._inputs, shapes, strict=True):
            self._buffers[name].array(shape)[...] = given[name]
        visit = self._visits.setdefault(shapes, _Visit())
        self._visits.move_to_end(shapes)
        self._forget_oldest()
        if visit.graph:
            self._cuda.launch(visit.graph, self._stream)
        else:
            visit.outputs = self._set(shapes)
            self._queue_or_capture(shapes, visit)
        visit.count += 1
        self._cuda.wait(self._stream)
        return {name: self._buffers[name].array(shape).copy() for name, shape in visit.outputs.items()}

    def _queue_or_capture(self, shapes: Shapes, visit: _Visit) -> None:
        """The first visit runs; TensorRT then has everything ready, so that the second can be captured."""
        if visit.count != 1 or not self._is_capturable():
            self._queue(shapes, visit.outputs)
            return
        self._cuda.begin_capture(self._stream)
        try:
            self._queue(shapes, visit.outputs)
        finally:
            visit.graph = self._cuda.end_capture(self._stream)
        self._cuda.launch(visit.graph, self._stream)

    def _is_capturable(self) -> bool:
        """TensorRT-RTX says so of itself; other engines are, where no shape depends on values."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or bool(ask(self._stream))

    def _forget_oldest(self) -> None:
        while len(self._visits) > MOST_GRAPHS:
            _, visit = self._visits.popitem(last=False)
            if visit.graph:
                self._cuda.free_graph(visit.graph)

    def _set(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        for name, shape in zip(self._inputs, shapes, strict=True):
            if not self._context.set_input_shape(name, shape):
                raise EngineError(f"inference failed: {self.name} does not take {name!r} as {list(shape)}")
        return {name: tuple(self._context.get_tensor_shape(name)) for name in self._outputs}

    def _queue(self, shapes: Shapes, outputs: Mapping[str, tuple[int, ...]]) -> None:
        """Queue copies in, the engine, and copies out."""
        for name, shape in zip(self._inputs, shapes, strict=True):
            buffer = self._buffers[name]
            self._cuda.upload(buffer.device, buffer.host, buffer.bytes(shape), self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise EngineError(f"inference failed: {self.name}: {self._said()}")
        for name, shape in outputs.items():
            buffer = self._buffers[name]
            self._cuda.download(buffer.host, buffer.device, buffer.bytes(shape), self._stream)

    def _said(self) -> str:
        return "; ".join(self._log.errors[-3:]) or "no reason given"

    def close(self) -> None:
        """Give all memory back; the engine cannot be used any more."""
        for visit in self._visits.values():
            if visit.graph:
                self._cuda.free_graph(visit.graph)
        for buffer in self._buffers.values():
            self._cuda.free(buffer.device)
            self._cuda.free_pinned(buffer.host)
        self._visits.clear()
        self._buffers.clear()


def load_native(path: Path, options: EngineOptions) -> TensorRtEngine:
    """Load the engine of a graph, built first if there is none for this machine.

    What ``emollama bundle engines`` built is taken, with the ranges given there, and half precision before
    single; what is built here is in single precision.

    Raises:
        EngineError: TensorRT is missing, or the graph cannot be built or loaded.
    """
    trt = load_tensorrt()
    target = target_of(trt)
    if options.cache_dir is None:
        raise EngineError("engine 'tensorrt' needs a folder for its engines; leave cache_dir as it is")
    kept = find_engine(path, target, options.cache_dir)
    built = kept or ensure_engine(path, trt, target, BuildOptions(cache_dir=options.cache_dir))
    device = f"tensorrt ({trt.title}, {built.record['precision']}, {target.gpu})"
    return TensorRtEngine(path.name, built.path.read_bytes(), trt, Cuda(), device)

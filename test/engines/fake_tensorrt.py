"""A TensorRT and a CUDA of a few lines: they keep the rules that matter here, and compute y = -x."""

from __future__ import annotations

import ctypes
import json
from types import SimpleNamespace

import numpy as np


class FakeCuda:
    """Memory of the "device" is memory of the host; what is captured is run at each launch."""

    def __init__(self):
        self.memory, self.capturing, self.graphs, self.launched = {}, None, {}, 0

    def stream(self):
        return 7

    def device_memory(self, size):
        buffer = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    pinned_memory = device_memory

    def free(self, address):
        del self.memory[address]

    free_pinned = free

    def do(self, work):
        if self.capturing is None:
            work()
        else:
            self.capturing.append(work)

    def upload(self, target, source, size, stream):
        assert stream == 7
        self.do(lambda: ctypes.memmove(target, source, size))

    download = upload

    def wait(self, stream):
        assert self.capturing is None, "waited in the middle of a capture"

    def begin_capture(self, stream):
        self.capturing = []

    def end_capture(self, stream):
        self.graphs[len(self.graphs) + 1], self.capturing = self.capturing, None
        return len(self.graphs)

    def launch(self, graph, stream):
        self.launched += 1
        for work in self.graphs[graph]:
            work()

    def free_graph(self, graph):
        del self.graphs[graph]


class _Context:
    def __init__(self, engine, cuda):
        self.engine, self.cuda, self.shapes, self.addresses = engine, cuda, {}, {}

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        return self.shapes["x"] if name == "y" else self.shapes[name]

    def execute_async_v3(self, stream):
        size = int(np.prod(self.shapes["x"])) * 4
        x, y = (
            np.frombuffer((ctypes.c_uint8 * size).from_address(self.addresses[n]), np.float32) for n in "xy"
        )
        self.cuda.do(lambda: np.negative(x, out=y))
        return True


class _Engine:
    def __init__(self, spec, cuda):
        self.spec, self.cuda, self.num_io_tensors = spec, cuda, 2

    def get_tensor_name(self, number):
        return "xy"[number]

    def get_tensor_mode(self, name):
        return "input" if name == "x" else "output"

    def get_tensor_profile_shape(self, name, profile):
        return self.spec["profile"]

    def get_tensor_shape(self, name):
        return tuple(self.spec["shape"])

    def get_tensor_dtype(self, name):
        return np.float32

    def create_execution_context(self):
        return _Context(self, self.cuda)


def fake_module(cuda, version="10.3.0", strongly_typed=True, fails=""):
    """A module like ``tensorrt``; ``fails`` is what its ``parse: `` or ``build: `` complains about."""
    made = SimpleNamespace(flags=None, profiles=[], pools={}, caches=[], builds=0)

    class Logger:
        ERROR, INTERNAL_ERROR = "error", "internal"

        def log(self, severity, message):
            raise NotImplementedError

    class Builder:
        def __init__(self, log):
            self.log = log

        def create_network(self, flags):
            made.flags = flags
            return SimpleNamespace()

        def create_builder_config(self):
            return SimpleNamespace(
                set_memory_pool_limit=made.pools.__setitem__,
                add_optimization_profile=made.profiles.append,
                create_timing_cache=lambda data: (
                    made.caches.append(data) or SimpleNamespace(serialize=lambda: b"timings")
                ),
                set_timing_cache=lambda cache, ignore: True,
            )

        def create_optimization_profile(self):
            shapes = {}
            return SimpleNamespace(shapes=shapes, set_shape=lambda name, *s: shapes.__setitem__(name, s))

        def build_serialized_network(self, network, config):
            made.builds += 1
            if fails.startswith("build: "):
                self.log.log("error", fails[7:])
                return None
            profile = made.profiles[-1].shapes["x"]
            return json.dumps({"profile": profile, "shape": [-1, *profile[0][1:]]}).encode()

    class OnnxParser:
        num_errors = 1

        def __init__(self, network, log):
            pass

        def parse(self, data, path):
            return not fails.startswith("parse: ")

        def get_error(self, number):
            return SimpleNamespace(
                desc=lambda: fails[7:], node_name=lambda: "node_1", node_operator=lambda: "Neg"
            )

    class Runtime:
        def __init__(self, log):
            self.log = log

        def deserialize_cuda_engine(self, data):
            try:
                return _Engine(json.loads(data), cuda)
            except ValueError:
                self.log.log("error", "magic tag does not match")
                return None

    flags = SimpleNamespace(STRONGLY_TYPED=1) if strongly_typed else SimpleNamespace()
    return SimpleNamespace(
        __version__=version,
        ILogger=Logger,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        NetworkDefinitionCreationFlag=flags,
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        TensorIOMode=SimpleNamespace(INPUT="input"),
        nptype=lambda dtype: dtype,
        made=made,
    )

"""Writing an ONNX graph node by node, with its weights in a file beside it.

Weights are described, not held: an initializer points to a place in the data file, and a `Packed` says what
is to be written there (`write_data`), one array at a time. So a graph of any size is built in no memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from emollama_ros.language.packing import Array, Packed, WeightSource, pack

#: Operators of ONNX Runtime alone.
ORT = "com.microsoft"
#: Arrays from this size on begin at a page, so that they can be mapped.
_PAGE, _WORD = 4096, 64
_IR = 10
#: NumPy name of a stored type -> ONNX type. NumPy has no four bits: two codes to a byte.
ELEMENT = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
}

#: From sources' names and options to the stored array.
Packing = Callable[[WeightSource, Sequence[str], Mapping[str, float]], Array]


@dataclass(frozen=True)
class FileInfo:
    """A written file.

    Attributes:
        bytes: Size.
        sha256: Of the content.
    """

    bytes: int
    sha256: str

    @staticmethod
    def of(content: bytes) -> FileInfo:
        """Describe a file by its content."""
        return FileInfo(len(content), hashlib.sha256(content).hexdigest())


class DataFile:
    """Initializers of one external file, in order of offset."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: list[Packed] = []

    def add(
        self, tensor: Packed, element: int | None = None, dims: Sequence[int] | None = None
    ) -> TensorProto:
        """Place a tensor at the end of the file and return the initializer that points to it.

        Args:
            tensor: What is stored; its offset is set here.
            element: ONNX type where it is another than the stored one (4-bit codes, two to a byte).
            dims: ONNX shape in that case.
        """
        end = self.tensors[-1].offset + self.tensors[-1].bytes if self.tensors else 0
        align = _PAGE if tensor.bytes >= _PAGE else _WORD
        placed = replace(tensor, offset=-(-end // align) * align)
        self.tensors.append(placed)
        return external(placed, self.name, element, dims)


def external(
    tensor: Packed, location: str, element: int | None = None, dims: Sequence[int] | None = None
) -> TensorProto:
    """Return an initializer whose data lies in the file ``location`` beside the graph; see `DataFile.add`."""
    proto = TensorProto(
        name=tensor.name,
        data_type=ELEMENT[tensor.dtype] if element is None else element,
        dims=tensor.shape if dims is None else dims,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", tensor.offset), ("length", tensor.bytes)):
        proto.external_data.add(key=key, value=str(value))
    return proto


class GraphBuilder:
    """Collects nodes, weights, inputs and outputs."""

    def __init__(self, data: str) -> None:
        """Build; weights go to the file ``data``."""
        self.data = DataFile(data)
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []

    def node(self, kind: str, inputs: Sequence[str], out: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [out], domain=domain or None, **attributes))
        return out

    def stored(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        packing: str,
        sources: Sequence[str] = (),
        options: Mapping[str, float] | None = None,
    ) -> str:
        """Add a weight that lies in the data file."""
        packed = Packed(name, 0, dtype, shape, packing, tuple(sources), options or {})
        self.initializers[name] = self.data.add(packed)
        return name

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        """Add a small constant to the graph itself, once."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(value, name)
        return name

    def input(self, name: str, element: int, shape: Sequence[int | str]) -> None:
        """Declare an input; a string is a free dimension."""
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))

    def output(self, name: str, element: int, shape: Sequence[int | str]) -> None:
        """Declare an output; a string is a free dimension."""
        self.outputs.append(helper.make_tensor_value_info(name, element, shape))

    def model(self, name: str, opset: int, *domains: str) -> onnx.ModelProto:
        """Return what was collected as a model; ``domains`` are those of its operators besides ONNX's."""
        weights = list(self.initializers.values())
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, weights)
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="emollama_ros")


def write_model(model: onnx.ModelProto, path: Path) -> FileInfo:
    """Write a graph whose weights lie outside it; the same graph gives the same bytes."""
    content = model.SerializeToString(deterministic=True)
    path.write_bytes(content)
    return FileInfo.of(content)


def write_data(
    tensors: Sequence[Packed],
    source: WeightSource,
    path: Path,
    packings: Mapping[str, Packing],
    progress: Callable[[int], None] = lambda _: None,
) -> FileInfo:
    """Write the arrays of a data file, one at a time; an interrupted run leaves no file of that name.

    Args:
        tensors: In order of offset.
        source: Of the weights.
        path: File to write.
        packings: Every packing that ``tensors`` name.
        progress: Called with the bytes written so far.

    Raises:
        BundleError: An array has another type or shape than was promised.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            sink = _Hashing(file)
            for tensor in tensors:
                sink.write(bytes(tensor.offset - sink.size))
                sink.write(memoryview(pack(tensor, source, packings)).cast("B"))
                progress(sink.size)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return FileInfo(sink.size, sink.digest.hexdigest())


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.digest = file, 0, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> None:
        self.file.write(cast(bytes, content))
        self.digest.update(content)
        self.size += len(content)

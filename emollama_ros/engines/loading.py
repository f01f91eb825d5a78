"""From a graph on disk to an engine that runs it, and why that one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emollama_ros.engines.base import Engine, EngineOptions, cuda_available
from emollama_ros.engines.onnx_runtime import OnnxRuntimeEngine, resolve_kind
from emollama_ros.engines.tensorrt_api import installed
from emollama_ros.errors import EngineError


@dataclass(frozen=True)
class Choice:
    """Which engine runs the graphs.

    Attributes:
        kind: ``cpu``, ``cuda`` or ``tensorrt``.
        is_native: TensorRT itself rather than ONNX Runtime.
        why: In words, for logs and diagnostics.
    """

    kind: str
    is_native: bool
    why: str


def choose(options: EngineOptions) -> Choice:
    """Decide what runs the graphs; nothing is loaded.

    ``tensorrt`` is TensorRT itself where its module is installed, else ONNX Runtime's provider.

    Raises:
        EngineError: What was asked for is not there; names what is missing.
    """
    if options.kind == "tensorrt":
        return _tensorrt()
    kind = resolve_kind(options.kind)
    if options.kind != "auto":
        return Choice(kind, False, f"{kind} was asked for")
    if kind == "cuda":
        return Choice(kind, False, "auto: a GPU and ONNX Runtime's CUDA provider are there")
    lacks = "ONNX Runtime has no CUDA provider" if cuda_available() else "no CUDA driver with a device"
    return Choice(kind, False, f"auto: {lacks}")


def _tensorrt() -> Choice:
    if not cuda_available():
        raise EngineError(
            "engine 'tensorrt': no CUDA driver with a device (libcuda.so.1); use engine:=cpu or auto"
        )
    if found := installed():
        return Choice("tensorrt", True, f"tensorrt was asked for, and its module is installed ({found[0]})")
    try:
        resolve_kind("tensorrt")
    except EngineError as error:
        raise EngineError(
            f"engine 'tensorrt': neither tensorrt nor tensorrt_rtx is installed, and {error}"
        ) from None
    return Choice(
        "tensorrt", False, "tensorrt was asked for; its module is not installed, ONNX Runtime's provider is"
    )


def load_engine(path: Path, options: EngineOptions) -> Engine:
    """Load an ONNX graph with the engine that ``options`` ask for.

    Raises:
        EngineError: What was asked for cannot run here; there is no silent fall-back.
    """
    if choose(options).is_native:
        from emollama_ros.engines.tensorrt import load_native

        return load_native(path, options)
    return OnnxRuntimeEngine(path, options)

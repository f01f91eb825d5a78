"""From a graph on disk to an engine that runs it."""

from __future__ import annotations

from pathlib import Path

from emollama_ros.engines.base import Engine, EngineOptions
from emollama_ros.engines.onnx_runtime import OnnxRuntimeEngine


def load_engine(path: Path, options: EngineOptions) -> Engine:
    """Load an ONNX graph with the engine that ``options`` ask for.

    Raises:
        EngineError: What was asked for cannot run here; there is no silent fall-back.
    """
    return OnnxRuntimeEngine(path, options)

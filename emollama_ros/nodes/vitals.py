"""What the process takes of the machine: memory, threads, files, processor; memory of a GPU. No ROS in it."""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

#: The first GPU; engines run on no other.
FIRST = 0


@dataclass(frozen=True)
class Vitals:
    """One look at a process; ``None`` where the system does not tell.

    Attributes:
        cpu_s: Processor time since its start, all threads, seconds.
        threads: Threads.
        memory_bytes: Memory in use (resident set).
        peak_bytes: The most that ever was in use.
        open_files: Open file descriptors.
        gpu_used_bytes: Memory of the first GPU in use, by all processes.
        gpu_bytes: Memory that it has.
    """

    cpu_s: float
    threads: int
    memory_bytes: int | None = None
    peak_bytes: int | None = None
    open_files: int | None = None
    gpu_used_bytes: int | None = None
    gpu_bytes: int | None = None


def look(proc: Path = Path("/proc/self"), gpu: bool = False) -> Vitals:
    """Look at this process.

    Args:
        proc: Where Linux tells of it.
        gpu: Ask for the GPU's memory too.
    """
    told = _status(proc / "status")
    used, total = _gpu_memory() if gpu else (None, None)
    times = os.times()
    return Vitals(
        cpu_s=times.user + times.system,
        threads=told.get("Threads") or threading.active_count(),
        memory_bytes=_kib(told.get("VmRSS")),
        peak_bytes=_kib(told.get("VmHWM")),
        open_files=_count(proc / "fd"),
        gpu_used_bytes=used,
        gpu_bytes=total,
    )


def _status(path: Path) -> dict[str, int]:
    """Numbers of /proc/self/status by name."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    words = ((name, rest.split()) for name, rest in pairs)
    return {name: int(rest[0]) for name, rest in words if rest and rest[0].isdecimal()}


def _kib(value: int | None) -> int | None:
    return None if value is None else value * 1024


def _count(folder: Path) -> int | None:
    try:
        return len(os.listdir(folder))
    except OSError:
        return None


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


@lru_cache(maxsize=1)
def _management_library() -> Any | None:
    """NVIDIA's management library, which comes with the driver; a Jetson has none."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        return library if library.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def _gpu_memory() -> tuple[int | None, int | None]:
    """(used, total) of the first GPU, bytes."""
    library = _management_library()
    device, memory = ctypes.c_void_p(), _Memory()
    if library is None or library.nvmlDeviceGetHandleByIndex_v2(FIRST, ctypes.byref(device)):
        return None, None
    if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
        return None, None
    return memory.used, memory.total

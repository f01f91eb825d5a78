"""What every result file has in common: statistics with their n, the machine, versions, hashes of inputs."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emollama_ros.hashes import file_sha256

SCHEMA = 1
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmark" / "results"
PACKAGES = (
    "numpy",
    "onnxruntime",
    "av",
    "tokenizers",
    "ros-jazzy-rclpy",
    "ros-jazzy-rmw-fastrtps-cpp",
    "torch",
)


def summary(values: Iterable[float], digits: int = 4) -> dict[str, float]:
    """Summarise measurements of one quantity.

    Args:
        values: Measurements in one unit, which the name of the field that holds the summary tells.
        digits: Significant digits kept.

    Returns:
        n, mean, min, p50, p95, p99, max. A percentile is left out when fewer values than it needs were taken
        (p95: 20, p99: 100), because it would only be the maximum under another name.

    Raises:
        ValueError: No value, or one that is not finite.
    """
    taken = np.asarray(list(values), np.float64)
    if not len(taken):
        raise ValueError("nothing was measured: no values to summarise")
    if not np.isfinite(taken).all():
        raise ValueError(f"{int((~np.isfinite(taken)).sum())} of {len(taken)} measurements are not finite")
    found = {"mean": taken.mean(), "min": taken.min(), "p50": np.percentile(taken, 50)}
    for percent, least in ((95, 20), (99, 100)):
        if len(taken) >= least:
            found[f"p{percent}"] = np.percentile(taken, percent)
    found["max"] = taken.max()
    return {"n": len(taken)} | {name: significant(float(value), digits) for name, value in found.items()}


def significant(value: float, digits: int = 4) -> float:
    """Round to so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def document(
    what: str,
    settings: Mapping[str, Any],
    inputs: Sequence[Path],
    results: Mapping[str, Any],
    device: str = "",
) -> dict[str, Any]:
    """Put results together with everything needed to judge and repeat them.

    Args:
        what: Name of the benchmark.
        settings: Seeds, repeats, sizes, durations.
        inputs: Files that were measured with; stored as base name and sha256, never with their place.
        results: The figures.
        device: Accelerator, if one was used.
    """
    return {
        "schema": SCHEMA,
        "what": what,
        "machine": machine() | ({"device": device} if device else {}),
        "versions": versions(),
        "commit": commit(),
        "settings": dict(settings),
        "inputs_sha256": {path.name: file_sha256(path) for path in inputs},
        "results": dict(results),
    }


def write(found: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write a document as ``<what>-<machine tag>.json``; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found['what']}-{tag(found['machine'])}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory, system, and how busy it was."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": significant(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 3),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def tag(of: Mapping[str, Any]) -> str:
    """Short name of a machine for a file name: its device or processor, and its cores."""
    name = re.sub(r"\(R\)|\(TM\)|CPU|Processor|@.*", " ", str(of.get("device") or of["processor"]))
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return words if of.get("device") else f"{words}-{of['cores']}c"


def versions() -> dict[str, str]:
    """Version of Python and of every package that matters and is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def quartiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    """Quartiles of ratios, and how many there are."""
    found = zip(("p25", "p50", "p75"), np.percentile(values, [25, 50, 75]), strict=True)
    return {"n": len(values)} | {name: significant(float(value), 3) for name, value in found}


def commit() -> str:
    """Commit of this checkout, with ``+`` when tracked files differ from it; empty outside of git."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--"], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + "+" * bool(changed)

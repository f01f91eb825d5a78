"""The steps of every graph, each a process of its own, so that its memory can be told."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from model_export.random_preset.sizes import Sizes, sizes_of
from model_export.random_preset.trials import build, check, run_blocks, run_encoders, run_fusion, run_language
from model_export.random_preset.weights import (
    STANDARD,
    write_audio,
    write_decoder,
    write_fusion,
    write_language,
    write_vision,
)
from training.presets import load_preset


def steps(sizes: Sizes, out: Path) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is done with each graph, in order: graph -> what -> function."""
    graphs = ["image", "frames", "audio", "fusion", *STANDARD]
    found: dict[str, dict[str, Callable[[], Any]]] = {
        "frames": {"write": lambda: write_vision(sizes, out)},
        "image": {},
        "audio": {"write": lambda: write_audio(sizes, out)},
        "fusion": {"write": lambda: write_fusion(sizes, out)},
        **{name: {"write": lambda name=name: write_decoder(sizes, out, name)} for name in STANDARD},
        "language": {"write": lambda: write_language(sizes, out)},
    }
    for name in graphs:
        found[name]["check"] = lambda name=name: check(out / f"{name}.onnx")
    found["language"]["check"] = lambda: check(out / "language" / "decoder.onnx")
    for name in ("frames", "image", "audio"):
        found[name]["run"] = lambda name=name: run_encoders(sizes, out, name)
    found["fusion"]["run"] = lambda: run_fusion(sizes, out)
    for name in STANDARD:
        found[name]["run"] = lambda name=name: run_blocks(sizes, out, name)
        found[name]["build_block"] = lambda name=name: build(out / f"{name}.onnx", sizes, "block")
        found[name]["parse"] = lambda name=name: build(out / f"{name}.onnx", sizes, "parse")
    found["language"]["run"] = lambda: run_language(sizes, out)
    for name in ("frames", "image", "audio", "fusion", *STANDARD):
        found[name]["build"] = lambda name=name: build(out / f"{name}.onnx", sizes)
    return found


def export_random(
    config: str, out: Path, limit_gb: float = 10.0, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Write, check, run and build every graph of a preset, each step in a process of its own.

    Args:
        config: The preset: a yaml file, or a name.
        out: Folder of the graphs; steps that succeeded in an earlier run are not done again.
        limit_gb: Most memory of a step; one that takes more is killed.
        tell: Called with a line after each step.

    Returns:
        The report: the machine, and for each graph its bytes and what every step found.
    """
    sizes = sizes_of(load_preset(config))
    out.mkdir(parents=True, exist_ok=True)
    record = out / "report.json"
    report: dict[str, Any] = json.loads(record.read_text()) if record.is_file() else {"graphs": {}}
    report |= {"preset": sizes.preset.name, "limit_gb": limit_gb, "machine": _machine()}
    for graph, todo in steps(sizes, out).items():
        done = report["graphs"].setdefault(graph, {})
        for step in todo:
            if not done.get(step, {}).get("ok"):
                done[step] = _measured(config, out, graph, step, limit_gb)
                done["bytes"] = _bytes(out, graph)
                record.write_text(json.dumps(report, indent=1) + "\n")
                tell(f"{graph} {step}: {json.dumps(done[step])}")
    return report


def _measured(config: str, out: Path, graph: str, step: str, limit_gb: float) -> dict[str, Any]:
    """Run one step as a process, and watch its memory."""
    command = [sys.executable, "-m", "model_export.random_preset.steps", config, str(out), graph, step]
    began, own, resident = time.perf_counter(), 0.0, 0.0
    with (out / "step.log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            now_own, now_resident = _memory_gb(process.pid)
            own, resident = max(own, now_own), max(resident, now_resident)
            if own > limit_gb:
                process.kill()
            time.sleep(0.05)
        log.seek(0)
        lines = [line for line in log.read().splitlines() if line.strip()]
    seconds = round(time.perf_counter() - began, 1)
    found = {"seconds": seconds, "own_gb": round(own, 2), "peak_gb": round(resident, 2)}
    if process.returncode == 0:
        return {"ok": True, **found, **json.loads(lines[-1])}
    why = f"needs more than {limit_gb:g} GB" if own > limit_gb else _error(lines)
    return {"ok": False, **found, "why": why}


def _error(lines: Sequence[str]) -> str:
    """The exception in the output of a step; libraries may have written behind it."""
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Fail)\w*: ", line)]
    return [*lines, *errors][-1][:300] if lines else "killed"


def _memory_gb(process: int) -> tuple[float, float]:
    """What a process has for itself, and all it has, with pages of files that are only mapped."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
        kilobytes = {
            k: int(v.split()[0])
            for k, v in (line.split(":", 1) for line in text.splitlines() if " kB" in line)
        }
        return (kilobytes["RssAnon"] + kilobytes["RssShmem"]) * 1.024e-6, kilobytes["VmHWM"] * 1.024e-6
    except (OSError, KeyError, ValueError):
        return 0.0, 0.0  # it has just ended


def _bytes(out: Path, graph: str) -> int:
    """Size of a graph and its weights; the two views share theirs, which count for the frames."""
    if graph == "language":
        return sum(file.stat().st_size for file in (out / "language").iterdir())
    data = out / ("vision.onnx.data" if graph == "frames" else f"{graph}.onnx.data")
    return sum(file.stat().st_size for file in (out / f"{graph}.onnx", data) if file.is_file())


def _machine() -> dict[str, Any]:

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {"processor": platform.machine(), "cores": os.cpu_count(), "memory_gb": round(memory, 1)}


def main() -> None:
    """One step of one graph; what it found as the last line."""
    config, out, graph, step = sys.argv[1:]
    sizes = sizes_of(load_preset(config))
    found = steps(sizes, Path(out))[graph][step]()
    sys.stdout.write("\n" + json.dumps(found or {}) + "\n")


if __name__ == "__main__":
    main()

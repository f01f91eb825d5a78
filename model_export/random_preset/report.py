"""What the steps found, as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a page."""
    machine, limit = report["machine"], f"{report['limit_gb']:g}"
    lines = [
        f"# `{report['preset']}` with random weights, from export to engine",
        "",
        f"    python -m model_export random --config {report['preset']} --out DIR --limit-gb {limit}",
        "",
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']:g} GB of memory, no GPU. "
        "Other work was on the machine: seconds are an upper bound. Each step is a process. Peak is all its "
        "memory; own is what remains of that without pages of files that are mapped and can be had back. "
        f"A step that takes more than {limit} GB of its own is stopped.",
        "",
        "| graph | GB | operators | step | result | s | peak GB | own GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for graph, done in report["graphs"].items():
        size = f"{done.get('bytes', 0) / 1e9:.2f}"
        operators = done.get("check", {}).get("operators", "")
        for step, found in done.items():
            if step == "bytes":
                continue
            lines.append(
                f"| {graph} | {size} | {operators} | {step} | {_result(step, found)} "
                f"| {found['seconds']:g} | {found['peak_gb']:.1f} | {found['own_gb']:.1f} |"
            )
    return "\n".join([*lines, "", *_NOTES, ""])


def _result(step: str, found: Mapping[str, Any]) -> str:
    if not found["ok"]:
        return f"**not done**: {found['why']}"
    if step == "check":
        return "checker passes, shapes inferred" if found["checked"] else "operators of ONNX Runtime"
    if step == "run":
        shapes = ", ".join(f"{name} {tuple(shape)}" for name, shape in found["outputs"].items())
        extra = "".join(
            f", {name} {found[name]:g}" for name in ("positions", "prefill_s", "step_s") if name in found
        )
        return f"ONNX Runtime: {shapes}, {'finite' if found['finite'] else '**not finite**'}{extra}"
    if step.startswith(("build", "parse")):
        engine = f", engine {found['engine_bytes'] / 1e9:.2f} GB" if "engine_bytes" in found else ""
        what = "one block" if found["part"] == "block" else "the whole"
        return f"TensorRT-RTX parses {what}: {found['layers']} layers{engine}"
    return "written"


_NOTES = (
    "`frames` and `image` share one data file, counted once. `decoder_*` are in standard operators, for",
    "TensorRT: `run` reads one window (soft tokens and 60 words) with one block in memory at a time;",
    "`build_block` builds the first block, which all others are like; `parse` reads the whole graph; `build`",
    "builds the whole. `language` is for ONNX Runtime, 4-bit weights, one scale for 32, run whole;",
    "ONNX's checker knows nothing about its operators, and TensorRT does not have them.",
)


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the report as ``path`` with .json and with .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(report))

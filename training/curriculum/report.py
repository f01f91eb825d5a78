"""What a run came to: scores, what the loss of a modality costs, losses of answers, and how it was run.

``report.json`` and ``report.md`` say the same.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from emollama_ros.bundle import file_sha256
from training.curriculum.checkpoints import Cost
from training.curriculum.examples import ExampleMaker
from training.curriculum.validation import AnswerLoss, answer_loss, score_head, score_removals
from training.networks.emotion_llama import EmotionLlama

#: Packages that a step is computed by, or read by.
PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy", "emollama_ros")


def scores_of(net: EmotionLlama, examples: ExampleMaker) -> dict[str, Any]:
    """Scores on people that were not trained on: of the head by modality, and of the answers by stage.

    Args:
        net: Trained; is left in evaluation mode.
        examples: Of the validation split.
    """
    net.eval()
    stages = sorted({mix for stage in examples.preset.curriculum for mix in stage.mixes})
    answers = {f"stage {stage}": answer_loss(net, examples, stage) for stage in stages}
    return {
        "head": {view: scores.to_json() for view, scores in score_head(net, examples).items()},
        "removal": {name: removal.to_json() for name, removal in score_removals(net, examples).items()},
        "answers": {stage: _rounded(loss) for stage, loss in answers.items() if loss.n},
    }


def _rounded(loss: AnswerLoss) -> dict[str, float]:
    return {"own": round(loss.own, 4), "foreign": round(loss.foreign, 4), "n": loss.n}


def run_facts(weights: Path, cost: Cost, accelerator: Accelerator) -> dict[str, Any]:
    """How it was run: steps, time, memory, machine, versions, and what came of it.

    Args:
        weights: The trained weights.
        cost: Of the whole run.
        accelerator: Of the main process.
    """
    device = accelerator.device
    return {
        "steps": cost.steps,
        "seconds": round(cost.seconds, 1),
        "steps_per_second": round(cost.steps / cost.seconds, 4) if cost.seconds else None,
        "peak_memory_bytes": cost.peak_bytes,
        "processes": accelerator.num_processes,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **_versions()},
        "weights_sha256": file_sha256(weights),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a checkout that is not installed
            continue
    return found


def write(report: Mapping[str, Any], out: Path) -> None:
    """Write ``report.json`` and ``report.md``, beside the plot of the losses."""
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(to_markdown(report), encoding="utf-8")


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as a page."""
    return "\n\n".join(_parts(report)) + "\n"


def _parts(report: Mapping[str, Any]) -> Iterator[str]:
    records = report["records"]
    yield f"# Training of `{report['preset']}`"
    begun = f", begun with `{report['start']}`" if report["start"] else ""
    yield f"{records['train']} records learnt{begun}; scored on {records['validation']} of other people."
    yield "![Losses by step](loss.png)"
    yield "## The perception head, by what clips have and it is given"
    yield _table(("given", *_SCORES), [(view, *_score_cells(row)) for view, row in report["head"].items()])
    if report["removal"]:
        yield "## Clips that have sound and pictures, and one of them removed"
        yield _removals(report["removal"])
    if report["answers"]:
        yield "## Cross entropy of answers, nats a token"
        yield _answers(report["answers"])
    yield "## How it was run"
    yield _run(report["run"])


_SCORES = ("clips", "people", "UAR", "95 % interval", "WAR", "ECE")


def _score_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = row["uar_interval"]
    shares = f"{row['uar']:.3f}", f"{low:.3f} to {high:.3f}", f"{row['war']:.3f}", f"{row['ece']:.3f}"
    return str(row["n"]), str(row["persons"]), *shares


def _removals(rows: Mapping[str, Mapping[str, Any]]) -> str:
    cells = [
        (name, *_score_cells(row), f"{row['answer']:.3f}", "yes" if row["noise_changes"] else "not a bit")
        for name, row in rows.items()
    ]
    table = _table(("given", *_SCORES, "answers, nats a token", "noise in its place changes"), cells)
    return f"{table}\n\nThe last column compares scores, valence, arousal, soft tokens and losses bit by bit."


def _answers(rows: Mapping[str, Mapping[str, Any]]) -> str:
    cells = [
        (
            name,
            str(row["n"]),
            f"{row['own']:.3f}",
            f"{row['foreign']:.3f}",
            f"{row['foreign'] - row['own']:+.3f}",
        )
        for name, row in rows.items()
    ]
    return _table(("tasks", "answers", "of its own clip", "of another clip", "difference"), cells)


def _run(facts: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    speed = facts["steps_per_second"]
    rows = [
        ("steps", str(facts["steps"])),
        ("seconds", f"{facts['seconds']:.0f}"),
        ("steps a second", "-" if speed is None else f"{speed:.3g}"),
        ("most memory of the main process", f"{facts['peak_memory_bytes'] / 1e9:.2f} GB"),
        ("processes", f"{facts['processes']}, of {facts['threads']} threads each, on {facts['device']}"),
        ("versions", versions),
        ("sha256 of weights.safetensors", f"`{facts['weights_sha256']}`"),
    ]
    return _table(("", ""), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

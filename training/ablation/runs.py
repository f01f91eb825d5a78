"""All runs of a plan: every run writes one file, so that what was killed goes on where it was.

What the numbers say: `training.ablation.report`.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from training.ablation.answers import Answered, train_and_ask
from training.ablation.head import head_clips, tell, train_head
from training.ablation.material import LimitedCorpus, Material, settings_of, weighed
from training.ablation.plan import Plan, System, preset_of, systems_of
from training.ablation.results import Result, Told, file_of, read_result, write_result
from training.ablation.views import MEASURED, MEASURES, SEEN, View
from training.networks.emotion_llama import EmotionLlama
from training.presets import Preset


def run_all(
    plan: Plan,
    material: Material,
    out: Path,
    grid: str | None = None,
    shown: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> list[Result]:
    """Run what has no result yet, every system with the first seed first, and return all results.

    Args:
        plan: What is compared.
        material: Clips and models.
        out: Results go into ``runs``; checkpoints, until a run has ended, into ``work``.
        grid: Only this one.
        shown: Wraps what is gone through, such as a progress bar.
    """
    runs = [(system, seed) for seed in plan.seeds for system in systems_of(plan, grid)]
    (out / "runs").mkdir(parents=True, exist_ok=True)
    return [_run_or_read(plan, material, out, system, seed) for system, seed in shown(runs)]


def _run_or_read(plan: Plan, material: Material, out: Path, system: System, seed: int) -> Result:
    known = fresh_result(plan, material, out / "runs", system, seed)
    if known is not None:
        return known
    file = file_of(out / "runs", system, seed)
    settings = settings_of(plan, material, system, seed)
    result = run_one(plan, material, system, seed, out / "work" / f"{file.stem}-{settings}")
    write_result(result, file)
    return result


def fresh_result(plan: Plan, material: Material, runs: Path, system: System, seed: int) -> Result | None:
    """The result of a run; None where there is none, or one of other settings."""
    known = read_result(file_of(runs, system, seed))
    is_fresh = known is not None and known.settings == settings_of(plan, material, system, seed)
    return known if is_fresh else None


def run_one(plan: Plan, material: Material, system: System, seed: int, folder: Path) -> Result:
    """Train one system once, and measure it."""
    start = time.perf_counter()
    preset = preset_of(plan, material.preset, system, seed)
    trained = _trained(plan, material, system, preset, folder)
    return Result(
        system=system,
        seed=seed,
        settings=settings_of(plan, material, system, seed),
        seconds=round(time.perf_counter() - start, 1),
        head=_measured(trained.net, material, preset, system.view),
        answers=trained.told,
        costs=trained.costs,
        machine=machine_of(material.device),
    )


def _trained(plan: Plan, material: Material, system: System, preset: Preset, folder: Path) -> Answered:
    train = LimitedCorpus(material.train, SEEN[system.view])
    if system.grid == "head":
        clips = head_clips(weighed(train, preset), material.shapes, preset.head.labels)
        return Answered(train_head(preset, material.shapes, clips), None, {})
    assert plan.answers is not None
    return train_and_ask(plan.answers, material, system.view, preset, train, folder)


def _measured(net: EmotionLlama, material: Material, preset: Preset, view: View) -> dict[str, Told]:
    labels = preset.head.labels
    clips = head_clips(material.held_out, material.shapes, labels)
    measured = {name: tell(net, clips, MEASURES[name], labels) for name in MEASURED[view]}
    return {name: told for name, told in measured.items() if told is not None}


def machine_of(device: str) -> str:
    """What runs on a device are computed on, in words."""
    is_gpu = device != "cpu"
    chip = torch.cuda.get_device_name() if is_gpu else f"{platform.machine()}, {os.cpu_count()} cores"
    return f"{chip}, torch {torch.__version__}, python {platform.python_version()}"

"""The report of ``leave-one-out``: people told by networks that never saw them, of one seed or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emollama_ros.errors import ConfigError
from training.evaluation.coverage import label_scores
from training.evaluation.seeds import over_seeds
from training.perception.recipe import Workshop, device_name, report


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds such as ``0,1,2``.

    Raises:
        ConfigError: One is no whole number from 0 on, or is there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"seeds {text!r}: use whole numbers from 0 on with commas between, such as 0,1,2")
    seeds = tuple(int(part) for part in parts)
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds {text!r}: one is there twice, and would count twice; name each once")
    return seeds


def leave_out(workshop: Workshop, source: str, seeds: Sequence[int], out: Path) -> str:
    """Hold each person of a source out, once for each seed, and write report and predictions.

    Args:
        workshop: The run.
        source: Name of a source that is packed.
        seeds: Of the networks; scores and calibration are of the first.
        out: Report to write. Predictions of the first seed go beside it as ``.npz``, those of seed 1 as
            ``NAME-seed1.npz``, and so on.

    Returns:
        The report, JSON.
    """
    runs = {seed: workshop.leave_one_out(source, seed) for seed in seeds}
    about = {
        "protocol": f"leave one person of {source} out",
        "device": device_name(workshop.device),
        "seed": seeds[0],
        "seeds": over_seeds(runs),
    }
    text = report(label_scores(runs[seeds[0]]), about)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, seed in zip(predictions_of(out, seeds), seeds, strict=True):
        runs[seed].save(path)
    out.write_text(text + "\n", encoding="utf-8")
    return text


def predictions_of(out: Path, seeds: Sequence[int]) -> list[Path]:
    """Where predictions of each seed go, beside a report."""
    return [out.with_suffix(".npz"), *(out.with_name(f"{out.stem}-seed{seed}.npz") for seed in seeds[1:])]

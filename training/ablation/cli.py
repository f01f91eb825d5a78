"""``python -m training ablate``: what each part of the system is worth, and what is only noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emollama_ros.errors import EmollamaError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ablate")(ablate)
    app.command("ablation-doc")(ablation_doc)


def ablation_doc(
    write: Annotated[bool, typer.Option("--write", help="Write it into docs.")] = False,
) -> None:
    """Print docs/ablation.md with its tables made anew of the committed reports."""
    from training.ablation.summary import DOCUMENT, document

    text = document(DOCUMENT.read_text(encoding="utf-8"))
    if write:
        DOCUMENT.write_text(text, encoding="utf-8")
    typer.echo(f"written: {DOCUMENT}" if write else text, nl=write)


def ablate(
    config: Annotated[Path, typer.Option(help="Plan, such as training/configs/ablations/small.yaml.")],
    prepared: Annotated[Path, typer.Option(help="What `prepare` wrote: a folder a source.")],
    root: Annotated[Path, typer.Option(help="Folder that holds the sources' folders, as distributed.")],
    out: Annotated[Path, typer.Option(help="Results and report; goes on from what is there.")],
    cache: Annotated[
        Path | None, typer.Option(help="Features, shared by runs; OUT/features if left out.")
    ] = None,
    grid: Annotated[str | None, typer.Option(help="Only this one: head or answers.")] = None,
    device: Annotated[str, typer.Option(help="Of encoders and language model: cpu or cuda.")] = "cpu",
) -> None:
    """Train every system of a plan with every seed, and write what differs by more than noise.

    Fusions, views and curricula are compared on people that were held out. A run that has ended is not
    computed again.
    """
    from training.ablation.page import to_markdown

    typer.echo(to_markdown(run(config, prepared, root, out, cache or out / "features", grid, device)))


def run(
    config: Path, prepared: Path, root: Path, out: Path, cache: Path, grid: str | None, device: str
) -> dict[str, Any]:
    """Run a plan; returns the report, which is also written, with its figure."""
    from tqdm import tqdm

    from training.ablation.plan import load_plan, systems_of
    from training.ablation.report import report_of, write_report
    from training.ablation.runs import run_all

    plan = load_plan(config)
    if not systems_of(plan, grid):
        raise _no_grid(config, grid)
    material = _material(plan, prepared, root, cache, device)
    run_all(plan, material, out, grid, lambda runs: tqdm(runs, "runs", unit="run"))
    report = report_of(plan, out / "runs", material)
    write_report(report, out)
    return report


def _no_grid(config: Path, grid: str | None) -> EmollamaError:
    from emollama_ros.errors import ConfigError

    return ConfigError(f"--grid {grid}: {config} has no such grid; grids are head and answers")


def _material(plan: Any, prepared: Path, root: Path, cache: Path, device: str) -> Any:
    from training.ablation.answers import Languages
    from training.ablation.material import Material
    from training.ablation.plan import chosen_of
    from training.curriculum.encoders import Encoders
    from training.curriculum.examples import gather, read_split
    from training.presets import load_preset

    preset = load_preset(plan.preset)
    encoders = Encoders(preset, device)
    train = chosen_of(plan, read_split(prepared, sorted(plan.sources), "train"))
    held_out = [
        record
        for split in plan.held_out.splits
        for record in chosen_of(plan, read_split(prepared, plan.held_out.sources, split))
    ]
    return Material(
        preset=preset,
        train=gather(train, root, cache, encoders),
        held_out=gather(held_out, root, cache, encoders),
        shapes=encoders.shapes,
        version=encoders.version,
        language=Languages(),
        device=device,
    )

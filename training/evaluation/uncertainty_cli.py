"""``python -m training coverage`` and ``nothing-report``: when a bundle should say that it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("coverage")(coverage)
    app.command("nothing-report")(nothing_report)


def coverage(
    held_out: Annotated[Path, typer.Argument(help=".npz of leave-one-out.")],
    out: Annotated[Path, typer.Option(help="Report to write, JSON.")],
    least_coverage: Annotated[
        float, typer.Option(help="Share of people's clips that keep their label, in every set of modalities.")
    ] = 0.9,
    figure: Annotated[Path | None, typer.Option(help="Figure to write: .svg, .png or .pdf.")] = None,
    draws: Annotated[int, typer.Option(min=100, help="Draws of people for the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
) -> None:
    """Accuracy of the labels that are told against how many are, and the threshold that follows."""
    from emollama_ros.labels import DEFAULT_LABELS
    from training.evaluation.coverage import in_words, report, scored_views
    from training.evaluation.coverage_figure import draw
    from training.evaluation.held_out import HeldOut

    found = report(scored_views(HeldOut.load(held_out)), DEFAULT_LABELS, least_coverage, draws, seed)
    out.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if figure:
        draw(found, figure)
    typer.echo(in_words(found))


def nothing_report(
    out: Annotated[Path, typer.Option(help="Report to write, JSON; the same as .md goes beside it.")],
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder of the bundle; the default one if left out.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Generated clips; kinds take turns.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Clips of each kind that was made differently.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the clips; another than that of training.")] = 90_000,
    least_confidence: Annotated[
        float, typer.Option(help="Below it a label is uncertain; negative: as the bundle says.")
    ] = -1.0,
) -> None:
    """How sure a bundle is where nobody is, and how often it says that it is uncertain."""
    from emollama_ros.uncertainty import uncertainty_of
    from training.evaluation.adapters.bundle import BundleModel
    from training.evaluation.nothing_report import everything, markdown, measure, report

    model = BundleModel.load(bundle)
    asked = uncertainty_of(least_confidence, model.bundle.manifest.calibration.uncertain_below)
    told = measure(model.perception, everything(clips, repeats, seed), asked)
    found = report(told, {"bundle": model.name, "uncertain_below": asked.least_confidence, "seed": seed})
    out.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(markdown(found) + "\n", encoding="utf-8")
    typer.echo(markdown(found))

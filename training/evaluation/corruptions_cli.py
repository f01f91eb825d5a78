"""``python -m training corruptions``: what noise, rooms, darkness and distance cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("corruptions")(corruptions)


def corruptions(
    pack: Annotated[
        list[Path] | None,
        typer.Option(help="Packed clips (python -m training pack); without any, the committed report."),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one if left out.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report (build/reports/corruptions); goes on from what is there."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the disturbances.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many clips a set.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Commit the report and write its table into docs.")
    ] = False,
) -> None:
    """Disturb clips in every way at three strengths, and report what each costs in UAR, with intervals."""
    from training.evaluation.corruption_page import DOCUMENT, REPORT, document, summary, write_report

    if not pack:
        from training.evaluation.corruption_page import read_report

        report = read_report(REPORT / "report.json")
    else:
        _refuse_quick_figures(limit, write)
        report = _run(pack, bundle, out or Path("build") / "reports" / "corruptions", seed, limit)
    typer.echo(summary(report))
    if write:
        write_report(report, REPORT)
        DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8"), REPORT), encoding="utf-8")
        typer.echo(f"written: {REPORT} and {DOCUMENT}")


def _refuse_quick_figures(limit: int | None, write: bool) -> None:
    from emollama_ros.errors import ConfigError

    if limit and write:
        raise ConfigError("--write: figures of some clips only do not go into docs; leave --limit out")


def _run(packs: list[Path], bundle: Path | None, out: Path, seed: int, limit: int | None) -> dict[str, Any]:
    from training.evaluation.adapters.bundle_predictor import BundlePredictor
    from training.evaluation.corruption_page import write_report
    from training.evaluation.corruptions import predict, report_of, thinned

    clips = thinned(_unpacked(packs), limit)
    predictor = BundlePredictor(bundle)
    about = {"model": predictor.model.name, "trained_on": predictor.trained_on}
    told = predict(clips, predictor, out / "predictions.jsonl", about, seed)
    report = report_of(clips, told, {**about, "seed": seed}, limit)
    write_report(report, out)
    return report


def _unpacked(packs: list[Path]) -> list[Any]:
    from emollama_ros.errors import InputError
    from training.perception.clip_packs import unpack

    for path in packs:
        if not path.is_file():
            raise InputError(f"{path}: no packed clips; make them by python -m training pack")
    clips = [clip for path in packs for clip in unpack(path)]
    if not clips:
        raise InputError(f"{packs[0]}: holds no clips")
    return clips

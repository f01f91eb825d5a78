"""``python -m training corruptions``: what noise, rooms, darkness and distance cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.evaluation.corruptions import Predictor


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("corruptions")(corruptions)


def corruptions(
    pack: Annotated[
        list[Path] | None,
        typer.Option(help="Packed clips (python -m training pack); without any, the committed report."),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one if left out.")] = None,
    folds: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a run of the recipe: each person is told by weights that never saw the person."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report (build/reports/corruptions); goes on from what is there."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the disturbances.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many clips a set.")] = None,
    each: Annotated[
        int | None, typer.Option(min=1, help="At most so many clips of every person and label.")
    ] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Report what a stopped run has told, and tell nothing more.")
    ] = False,
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
        where = out or Path("build") / "reports" / "corruptions"
        report = _run(pack, _predictor(bundle, folds, pack[0].parent), where, seed, limit, each, as_is)
    typer.echo(summary(report))
    if write:
        write_report(report, REPORT)
        DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8"), REPORT), encoding="utf-8")
        typer.echo(f"written: {REPORT} and {DOCUMENT}")


def _refuse_quick_figures(limit: int | None, write: bool) -> None:
    from emollama_ros.errors import ConfigError

    if limit and write:
        raise ConfigError("--write: figures of some clips only do not go into docs; leave --limit out")


@dataclass(frozen=True)
class _Teller:
    """A predictor, what reports call it, and what it was trained on."""

    predictor: Predictor
    model: str
    trained_on: list[str]


def _predictor(bundle: Path | None, folds: Path | None, packs: Path) -> _Teller:
    if folds is None:
        from training.evaluation.adapters.bundle_predictor import BundlePredictor

        told = BundlePredictor(bundle)
        return _Teller(told, told.model.name, told.trained_on)
    from emollama_ros.bundle import Bundle
    from training.perception.folds import FoldPredictor, Folds
    from training.perception.recipe import Workshop

    loaded = Bundle.load(bundle)
    name = (
        f"{loaded.manifest.name} {loaded.manifest.version}, each person told by weights that never saw them"
    )
    # The senses never saw anybody who is held out, and what was fitted on them is left out person by person.
    return _Teller(FoldPredictor(Folds(Workshop(folds, packs)), loaded), name, [])


def _run(
    packs: list[Path], teller: _Teller, out: Path, seed: int, limit: int | None, each: int | None, as_is: bool
) -> dict[str, Any]:
    from training.evaluation.corruption_page import write_report
    from training.evaluation.corruptions import evenly, predict, report_of, thinned, told_of

    found = _unpacked(packs)
    clips = thinned(evenly(found, each) if each else found, limit)
    if as_is:
        clips = told_of(clips, out / "predictions.jsonl")
    about = {"model": teller.model, "trained_on": teller.trained_on}
    told = predict(clips, teller.predictor, out / "predictions.jsonl", about, seed, talkers=found)
    report = report_of(clips, told, {**about, "seed": seed}, limit, each=each)
    write_report(report, out)
    return report


def _unpacked(packs: list[Path]) -> list[Any]:
    from emollama_ros.errors import InputError
    from training.mmeverse.clip_packs import unpack

    for path in packs:
        if not path.is_file():
            raise InputError(f"{path}: no packed clips; make them by python -m training pack")
    clips = [clip for path in packs for clip in unpack(path)]
    if not clips:
        raise InputError(f"{packs[0]}: holds no clips")
    return clips

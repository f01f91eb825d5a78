"""``python -m training groups`` and ``gallery``: for whom a bundle works, and what its mistakes look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Synthesis = Annotated[
    list[Path],
    typer.Option(help="Generated clips with their truth (python -m training.synthesis); repeatable."),
]
Bundle = Annotated[Path | None, typer.Option("--bundle", help="Bundle; the default one if left out.")]
Kept = Annotated[
    Path, typer.Option("--told", help="What was told so far, JSON Lines; both commands go on from it.")
]
FirstPerson = Annotated[
    int,
    typer.Option(min=0, help="From this number on nobody trained; before it, split train is left out."),
]


_TOLD = Path("build/reports/groups/told.jsonl")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("groups")(groups)
    app.command("gallery")(gallery)


def groups(
    synthesis: Synthesis,
    first_person: FirstPerson,
    bundle: Bundle = None,
    held_out: Annotated[
        list[Path] | None, typer.Option(help=".npz of leave-one-out, by actor; repeatable.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Predictions of RAVDESS (benchmark --suite open), by actor and sex.")
    ] = None,
    ravdess: Annotated[Path | None, typer.Option(help="Folder of RAVDESS, with --predictions.")] = None,
    twins: Annotated[
        int, typer.Option(min=0, help="So many clips are drawn anew with skin of five tones.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Report to write, JSON; the page goes beside it.")] = Path(
        "build/reports/groups/report.json"
    ),
    told: Kept = _TOLD,
    seed: Annotated[int, typer.Option(min=0, help="Of bootstrap, lots and twins.")] = 0,
    write: Annotated[
        bool, typer.Option("--write", help="Commit the report and write its table into the model card.")
    ] = False,
) -> None:
    """Scores by sex, age, skin tone, distance and light of generated people, and by actor, with gaps."""
    from training.evaluation.group_page import DOCUMENT, REPORT, document, summary, write_report
    from training.evaluation.group_report import Given, report

    given = Given(tuple(synthesis), first_person, tuple(held_out or ()), predictions, ravdess, twins)
    found = report(bundle, given, told, seed)
    write_report(found, out)
    typer.echo(summary(found))
    if write:
        write_report(found, REPORT)
        DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8"), REPORT), encoding="utf-8")
        typer.echo(f"written: {REPORT} and {DOCUMENT}")


def gallery(
    synthesis: Synthesis,
    first_person: FirstPerson,
    bundle: Bundle = None,
    out: Annotated[Path, typer.Option(help="Picture to write, .svg.")] = Path("build/reports/gallery.svg"),
    mistakes: Annotated[int, typer.Option(min=1, help="Most confident mistakes to show.")] = 6,
    successes: Annotated[int, typer.Option(min=0, help="Calmest successes to show.")] = 2,
    told: Kept = _TOLD,
    write: Annotated[
        bool, typer.Option("--write", help="Write the picture into docs/images and its rows into docs.")
    ] = False,
) -> None:
    """Draw the most confident mistakes on generated people, and the calmest successes, on one sheet."""
    from training.evaluation.gallery import collect, commit, draw, rows_of

    found = collect(synthesis, first_person, bundle, (mistakes, successes), told)
    draw(found, out)
    typer.echo(rows_of(found))
    typer.echo(f"written: {out}")
    if write:
        for path in commit(found):
            typer.echo(f"written: {path}")

"""``python -m training measure-people`` and ``validate-action-units``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def measure_people(
    records: Annotated[Path, typer.Option(help="Records, JSON Lines.")],
    root: Annotated[Path, typer.Option(help="Folder their media lie in.")],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
) -> None:
    """Measure what is usual for each person: face at rest and voice, over all their clips, labels unseen."""
    from training.annotation.measuring import people
    from training.mmeverse.schema import read_records

    measured = people.measure_people(read_records(records), root)
    out.write_text(measured.model_dump_json(indent=1) + "\n", encoding="utf-8")
    typer.echo(f"{out}: face at rest of {len(measured.rest)} people, voice of {len(measured.voice)}")


def validate_action_units(
    out: Annotated[Path, typer.Option(help="Report to write.")],
    people: Annotated[int, typer.Option(min=2, help="Generated people.")] = 24,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each.")] = 3,
    seed: int = 0,
) -> None:
    """Measure generated faces whose action units are known, and say which units are measured well."""
    from training.annotation.measuring.validation import validate

    result = validate(people, clips, seed)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    typer.echo(f"reliable: {', '.join(result['reliable_alone'])}")
    typer.echo(f"with the person's rest: {', '.join(result['reliable_with_rest'])}")


def register(app: typer.Typer) -> None:
    """Add the commands to ``python -m training``."""
    app.command("measure-people")(measure_people)
    app.command("validate-action-units")(validate_action_units)

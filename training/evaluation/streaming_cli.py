"""The command that measures adaptation to a person: streaming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("streaming")(streaming)


def streaming(
    held_out: Annotated[Path, typer.Argument(help="Predictions of people left out, .npz of leave-one-out.")],
    out: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
    known: Annotated[
        Path | None, typer.Option(help="Of the people others are known by; those of HELD_OUT if left out.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Orders of each person's clips.")] = 5,
    after_s: Annotated[float, typer.Option(help="As the node's adaptation_after_s.")] = 8.0,
    forget_s: Annotated[float, typer.Option(help="As the node's adaptation_forget_s.")] = 300.0,
) -> None:
    """Measure adaptation to a person as the robot works: clip after clip, never knowing the next."""
    from emollama_ros.adaptation import Following
    from training.evaluation.held_out import HeldOut
    from training.evaluation.streaming import Settings, report, summary

    settings = Settings(Following(is_on=True, after_s=after_s, forget_s=forget_s), seeds)
    others = HeldOut.load(known) if known else None
    names = {"held_out": held_out.name, "known": (known or held_out).name}
    found = {**names, **report(HeldOut.load(held_out), settings, others)}
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    typer.echo(summary(found))

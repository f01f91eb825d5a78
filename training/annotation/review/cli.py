"""``python -m training review`` and ``agreement``."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Annotated

import typer


def review(
    records: Annotated[Path, typer.Option(help="Annotated records, JSON Lines.")],
    root: Annotated[Path, typer.Option(help="Folder their media lie in.")],
    out: Annotated[Path, typer.Option(help="Marks, JSON Lines; continued where it exists.")],
    reviewer: Annotated[str | None, typer.Option(help="Your pseudonym; your user name if left out.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Clips to look at; all if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8765,
) -> None:
    """Serve a page, on this machine only, to watch clips and mark what was written about them."""
    from training.annotation.review.server import serve

    serve(records, root, out, reviewer or getpass.getuser(), sample, seed, port)


def agreement(
    marks: Annotated[list[Path], typer.Argument(help="Files that review wrote.")],
    out: Annotated[Path | None, typer.Option(help="Also write the result here, as JSON.")] = None,
) -> None:
    """Say how often each field was right, and how well reviewers agree."""
    from training.annotation.review.agreement import agreement as summarise
    from training.annotation.review.agreement import to_markdown
    from training.annotation.review.marks import read_marks

    result = summarise(mark for path in marks for mark in read_marks(path))
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    typer.echo(f"{text}\n\n{to_markdown(result)}")


def register(app: typer.Typer) -> None:
    """Add the commands to ``python -m training``."""
    app.command()(review)
    app.command()(agreement)

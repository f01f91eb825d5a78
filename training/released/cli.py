"""``python -m training import-released``: the authors' checkpoints into our form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("import-released")(import_released)


def import_released(
    checkpoint: Annotated[Path, typer.Option(help="The authors' checkpoint_9.pth, or .safetensors.")],
    llama: Annotated[Path, typer.Option(help="Folder of LLaMA-2-7B-chat (transformers' form).")],
    eva: Annotated[Path, typer.Option(help="BLIP-2's eva_vit_g.pth, or .safetensors.")],
    whisper: Annotated[Path, typer.Option(help="Folder of Whisper-large-v3 (transformers' form).")],
    out: Annotated[Path, typer.Option(help="Folder for weights, report.json and preset.yaml.")],
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Take a checkpoint with missing or unexpected keys.")
    ] = False,
) -> None:
    """Check released weights key by key and write them as safetensors, with a preset that uses them."""
    from training.released.importing import PRESET, REPORT, Inputs, lines_of
    from training.released.importing import import_released as run

    report = run(Inputs(checkpoint, llama, eva, whisper), out, allow_partial=allow_partial)
    for line in lines_of(report):
        typer.echo(line)
    typer.echo(f"{'in part: ' if report.is_partial else ''}written to {out}; see {REPORT} and {PRESET}")

"""The command that teaches the default bundle's language model: cognition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emollama_ros.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("cognition")(cognition)


def cognition(
    bundle: Annotated[
        Path, typer.Option(help="Perception that is finished: a bundle with detectors of cues.")
    ],
    weights: Annotated[
        Path,
        typer.Option(help="Folder of its weights (python -m training fit); soft tokens and LoRA go there."),
    ],
    synthesis: Annotated[Path, typer.Option(help="Generated people (python -m training.synthesis).")],
    work: Annotated[Path, typer.Option(help="Folder of the run; a run that was killed goes on.")],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder with javanese_av and emodb; without it, generated people alone."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser, eight scenes each.")] = 500,
    seed: Annotated[int, typer.Option(help="Of everything random in training.")] = 0,
    report: Annotated[Path | None, typer.Option(help="JSON report to write.")] = None,
) -> None:
    """Train soft tokens and LoRA of the language model to say what is true, and measure on unseen people."""
    from emollama_ros.bundle import Bundle
    from training.cognition.fit import CognitionConfig
    from training.cognition.recipe import Sources, Studio

    loaded = Bundle.load(bundle)
    if "cues.npz" not in loaded.manifest.files:
        raise ConfigError(f"{bundle}: has no detectors of cues; add them with python -m model_export cues")
    studio = Studio(work, loaded, weights, CognitionConfig(steps=steps, seed=seed))
    found = studio.learn(Sources(synthesis, root), weights)
    text = json.dumps(found, indent=1)
    if report:
        report.write_text(text + "\n")
    typer.echo(text)

"""``python -m training train``: the curriculum over prepared sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from emollama_ros.errors import EmollamaError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    config: Annotated[str, typer.Option(help="Preset: a yaml file, or the name of one in training/configs.")],
    prepared: Annotated[Path, typer.Option(help="What `prepare` wrote: a folder a source.")],
    root: Annotated[Path, typer.Option(help="Folder that holds the sources' folders, as distributed.")],
    out: Annotated[Path, typer.Option(help="Checkpoints, log, weights, report; goes on from what is there.")],
    cache: Annotated[
        Path | None, typer.Option(help="Features, shared by runs; OUT/features if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="Of the frozen encoders: cpu or cuda.")] = "cpu",
) -> None:
    """Train the two stages of a preset; killed and started again, it goes on where it was.

    On many GPUs: `torchrun --nproc-per-node N -m training train ...`, or `accelerate launch -m training
    train ...` with its FSDP settings.
    """
    try:
        typer.echo(json.dumps(run(config, prepared, root, out, cache or out / "features", device), indent=1))
    except EmollamaError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def run(config: str, prepared: Path, root: Path, out: Path, cache: Path, device: str) -> dict[str, Any]:
    """Train, then score the weights on the validation split; returns the report, which is also written."""
    from accelerate import Accelerator

    from training.encoders import Encoders
    from training.examples import ExampleMaker, gather, read_split
    from training.network import build
    from training.networks.language import load_language_model
    from training.presets import load_preset
    from training.trainer import Trainer

    preset = load_preset(config)
    sources = sources_of(preset)
    encoders = Encoders(preset, device)
    corpora = {
        split: gather(read_split(prepared, sources, split), root, cache, encoders)
        for split in ("train", "validation")
    }
    shapes = encoders.shapes
    del encoders
    language = load_language_model(preset.language)
    net = build(preset, shapes, language)
    makers = {
        split: ExampleMaker(corpus, preset, shapes, language.codec, net.config.soft_tokens)
        for split, corpus in corpora.items()
    }
    accelerator = Accelerator(cpu=device == "cpu")
    Trainer(preset, net, makers["train"], out, accelerator).run()
    report = report_of(net, makers["validation"], len(corpora["train"].records))
    if accelerator.is_main_process:
        (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def sources_of(preset: Any) -> list[str]:
    """Sources that some stage gives a weight, in a fixed order."""
    from training.mmeverse.instructions.mixes import mix_of

    named = (name for stage in preset.curriculum for name in stage.weights or mix_of(stage.stage).sources)
    return sorted(set(named))


def report_of(net: Any, examples: Any, trained_on: int) -> dict[str, Any]:
    """Scores on people that were not trained on: of the head by modality, and of the answers by stage."""
    from training.validation import answer_loss, score_head

    net.eval()
    stages = sorted({stage.stage for stage in examples.preset.curriculum})
    return {
        "preset": examples.preset.name,
        "records": {"train": trained_on, "validation": len(examples.corpus.records)},
        "head": {view: scores.to_json() for view, scores in score_head(net, examples).items()},
        "answers": {f"stage {stage}": vars(answer_loss(net, examples, stage)) for stage in stages},
    }

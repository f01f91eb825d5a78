"""``python -m training train``, ``memory``: the curriculum over prepared sources, and what it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train")(train)
    app.command("memory")(memory)


def memory(
    config: Annotated[str, typer.Option(help="Preset: a yaml file, or the name of one in training/configs.")],
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that share the work.")] = 1,
) -> None:
    """Print what training a preset takes of each GPU's memory, worked out from its sizes."""
    from training.curriculum.memory import table
    from training.presets import load_preset

    typer.echo(table(load_preset(config), gpus))


def train(
    config: Annotated[str, typer.Option(help="Preset: a yaml file, or the name of one in training/configs.")],
    prepared: Annotated[Path, typer.Option(help="What `prepare` wrote: a folder a source.")],
    root: Annotated[Path, typer.Option(help="Folder that holds the sources' folders, as distributed.")],
    out: Annotated[Path, typer.Option(help="Checkpoints, log, weights, report; goes on from what is there.")],
    cache: Annotated[
        Path | None, typer.Option(help="Features, shared by runs; OUT/features if left out.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Folder that holds general vision-language sets, by name.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of their pictures; REPLAY if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="Of the frozen encoders: cpu or cuda.")] = "cpu",
) -> None:
    """Train the two stages of a preset; killed and started again, it goes on where it was.

    On many GPUs: `torchrun --nproc-per-node N -m training train ...`, or `accelerate launch -m training
    train ...` with its FSDP settings.
    """
    places = Places(prepared, root, out, cache or out / "features", replay, pictures or replay)
    typer.echo(json.dumps(run(config, places, device), indent=1))


@dataclass(frozen=True)
class Places:
    """Folders: records, sources as distributed, what is written, features, replay and its pictures."""

    prepared: Path
    root: Path
    out: Path
    cache: Path
    replay: Path | None = None
    pictures: Path | None = None


def run(config: str, places: Places, device: str) -> dict[str, Any]:
    """Train, then score the weights on the validation split; returns the report, which is also written."""
    import torch
    from accelerate import Accelerator

    from training.curriculum.encoders import Encoders
    from training.curriculum.examples import ExampleMaker, gather, read_split
    from training.curriculum.network import build
    from training.curriculum.trainer import Trainer
    from training.networks.language import load_language_model
    from training.presets import load_preset

    preset = load_preset(config)
    sources = sources_of(preset)
    encoders = Encoders(preset, device)
    records = {split: read_split(places.prepared, sources, split) for split in ("train", "validation")}
    general = {"train": read_general(places.replay)}
    corpora = {
        split: gather(found, places.root, places.cache, encoders, general.get(split, ()), places.pictures)
        for split, found in records.items()
    }
    shapes = encoders.shapes
    del encoders
    torch.manual_seed(preset.seed)  # LoRA is drawn here
    language = load_language_model(preset.language)
    net = build(preset, shapes, language)
    makers = {
        split: ExampleMaker(corpus, preset, shapes, language.codec, net.config.soft_tokens)
        for split, corpus in corpora.items()
    }
    accelerator = Accelerator(cpu=device == "cpu")
    Trainer(preset, net, makers["train"], places.out, accelerator).run()
    report = report_of(net, makers["validation"], len(corpora["train"].records))
    if accelerator.is_main_process:
        (places.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def read_general(folder: Path | None) -> list[Any]:
    """Samples of every general set that lies in a folder; those that could not be read are counted aloud."""
    from training.mmeverse.replay import REPLAY_SETS, ReplaySample, read_replay

    samples: list[Any] = []
    for name in REPLAY_SETS if folder else ():
        if folder is not None and (folder / name).is_dir():
            items = list(read_replay(name, folder / name, folder))
            samples += (item for item in items if isinstance(item, ReplaySample))
            lost = sum(not isinstance(item, ReplaySample) for item in items)
            typer.echo(f"{name}: {len(items) - lost} samples, {lost} rejects", err=True)
    return samples


def sources_of(preset: Any) -> list[str]:
    """Sources that some stage gives a weight, in a fixed order."""
    from training.mmeverse.instructions.mixes import mix_of

    named = (
        name
        for stage in preset.curriculum
        for mix in stage.mixes
        for name in stage.weights or mix_of(mix).sources
    )
    return sorted(set(named))


def report_of(net: Any, examples: Any, trained_on: int) -> dict[str, Any]:
    """Scores on people that were not trained on: of the head by modality, and of the answers by stage."""
    from training.curriculum.validation import answer_loss, score_head

    net.eval()
    stages = sorted({mix for stage in examples.preset.curriculum for mix in stage.mixes})
    return {
        "preset": examples.preset.name,
        "records": {"train": trained_on, "validation": len(examples.corpus.records)},
        "head": {view: scores.to_json() for view, scores in score_head(net, examples).items()},
        "answers": {f"stage {stage}": vars(answer_loss(net, examples, stage)) for stage in stages},
    }

"""``python -m training train``, ``memory``: the curriculum over prepared sources, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.curriculum.encoders import Shapes
    from training.curriculum.examples import Corpus
    from training.curriculum.team import Team
    from training.presets import Preset


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
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    sharded: Annotated[
        bool, typer.Option("--shard", help="Leave every process a part of each weight (FSDP2).")
    ] = False,
) -> None:
    """Train the two stages of a preset; killed and started again, it goes on where it was.

    On many GPUs: `torchrun --nproc-per-node N -m training train ...`, or `accelerate launch -m training
    train ...`; `--shard`, or accelerate's settings of FSDP, where the weights do not fit on one.
    """
    from training.curriculum.report import to_markdown

    places = Places(prepared, root, out, cache or out / "features", replay, pictures or replay)
    report = run(config, places, device, sharded=sharded)
    if report is not None:
        typer.echo(to_markdown(report))
        typer.echo(f"{report['run']['weights_sha256']}  {out / 'weights.safetensors'}")


@dataclass(frozen=True)
class Places:
    """Folders: records, sources as distributed, what is written, features, replay and its pictures."""

    prepared: Path
    root: Path
    out: Path
    cache: Path
    replay: Path | None = None
    pictures: Path | None = None


def run(config: str, places: Places, device: str, *, sharded: bool = False) -> dict[str, Any] | None:
    """Train, then score the weights on the validation split, and write the report.

    Args:
        config: Preset.
        places: Folders.
        device: cpu or cuda.
        sharded: As for `training.curriculum.trainer.Trainer`.

    Returns:
        The report; None on processes other than the main one.
    """
    import torch

    from training.curriculum import report as reports
    from training.curriculum.examples import ExampleMaker
    from training.curriculum.network import build, start_file
    from training.curriculum.processes import checked_settings, is_sharding_asked, start, team_of
    from training.curriculum.trainer import Trainer
    from training.networks.language import load_language_model
    from training.presets import load_preset

    preset = load_preset(config)
    accelerator = start(device)
    if preset.start is not None:  # these two before hours of decoding
        start_file(Path(preset.start))
    if sharded or is_sharding_asked():
        checked_settings()
    corpora, shapes = _gathered(preset, places, device, team_of(accelerator))
    torch.manual_seed(preset.seed)  # LoRA is drawn here
    language = load_language_model(preset.language)
    net = build(preset, shapes, language)
    makers = {
        split: ExampleMaker(corpus, preset, shapes, language.codec, net.config.soft_tokens)
        for split, corpus in corpora.items()
    }
    trainer = Trainer(preset, net, makers["train"], places.out, accelerator, sharded=sharded)
    weights = trainer.run()
    scores = reports.scores_of(net, makers["validation"])  # sharded weights need all processes for it
    if not accelerator.is_main_process:
        return None
    report = {
        "preset": preset.name,
        "start": preset.start,
        "records": {split: len(corpus.records) for split, corpus in corpora.items()},
        **scores,
        "run": reports.run_facts(weights, trainer.cost, accelerator),
    }
    reports.write(report, places.out)
    return report


def _gathered(preset: Preset, places: Places, device: str, team: Team) -> tuple[dict[str, Corpus], Shapes]:
    """Both splits with their features; afterwards the encoders are gone."""
    from training.curriculum.encoders import Encoders
    from training.curriculum.examples import gather, read_split

    sources = sources_of(preset)
    records = {split: read_split(places.prepared, sources, split) for split in ("train", "validation")}
    general = {"train": read_general(places.replay)}
    encoders = Encoders(preset, device)
    corpora = {
        split: gather(
            found, places.root, places.cache, encoders, general.get(split, ()), places.pictures, team
        )
        for split, found in records.items()
    }
    return corpora, encoders.shapes


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


def sources_of(preset: Preset) -> list[str]:
    """Sources that some stage gives a weight, in a fixed order."""
    from training.mmeverse.instructions.mixes import mix_of

    named = (
        name
        for stage in preset.curriculum
        for mix in stage.mixes
        for name in stage.weights or mix_of(mix).sources
    )
    return sorted(set(named))

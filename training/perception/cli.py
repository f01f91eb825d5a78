"""Commands that make the default bundle's weights: pack, pack-synthesis, leave-one-out, fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

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
        ("pack", pack),
        ("pack-synthesis", pack_synthesis),
        ("leave-one-out", leave_one_out_persons),
        ("fit", fit),
    ):
        app.command(name)(command)


def pack(root: Root, out: Packs, source: Annotated[list[str] | None, typer.Option()] = None) -> None:
    """Decode sources once, into one file each."""
    from training.mmeverse.clip_packs import decode
    from training.mmeverse.clip_packs import pack as write

    out.mkdir(parents=True, exist_ok=True)
    for name in source or TRAINING_SOURCES:
        clips = read_clips(name, root)
        write((decode(clip) for clip in clips), out / f"{name}.safetensors")
        typer.echo(f"{name}: {len(clips)} clips")


def pack_synthesis(
    out: Packs, clips: int = 588, seed: int = 0, first_person: int = 200, people: int = 84
) -> None:
    """Generate people and pack them; the default is what the default bundle was trained on."""
    from training.mmeverse.clip_packs import RawClip
    from training.mmeverse.clip_packs import pack as write
    from training.synthesis.generate import Options, generate_arrays

    options = Options(seed=seed, people=people, first_person=first_person)
    made = (
        RawClip(f"synthesis/{i}", f"synthesis:{record['person']}", record["label"], sound, frames)
        for i, (frames, sound, record) in enumerate(generate_arrays(clips, options))
    )
    out.mkdir(parents=True, exist_ok=True)
    write(made, out / "synthesis.safetensors")


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

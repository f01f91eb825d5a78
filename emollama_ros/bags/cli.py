"""The commands `emollama record`, `replay` and `compare`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emollama_ros.errors import ConfigError

if TYPE_CHECKING:
    from emollama_ros.bags.comparing import Comparison
    from emollama_ros.bags.replay import Replayed, ReplayOptions

#: Exit status when two runs differ; 1 and 2 are those of the other commands.
CHANGED = 3
_S = 1_000_000_000

BagArgument = Annotated[Path, typer.Argument(metavar="BAG", help="Folder of a recording, or its .mcap.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ToleranceOption = Annotated[
    float | None,
    typer.Option(help="Largest difference of a window's scores (total variation, 0 to 1) that is none."),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option("--ignore", metavar="KIND", help="Not to be judged: labels, scores, reasoning, windows."),
]


def record(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="New folder to record into.")],
    namespace: Annotated[str, typer.Option(help="Namespace of the perception node.")] = "",
    node: Annotated[str, typer.Option(help="Name of the perception node.")] = "perception_node",
    duration: Annotated[float, typer.Option(help="End after so many seconds; 0: at Ctrl-C.")] = 0.0,
    limit_mb: Annotated[float, typer.Option(help="End at this size, MB.")] = 4000.0,
    results_only: Annotated[
        bool, typer.Option("--results-only", help="Neither pictures nor sound nor words.")
    ] = False,
    no_video: Annotated[bool, typer.Option("--no-video", help="No pictures.")] = False,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Neither sound nor words.")] = False,
) -> None:
    """Record people: what perception sees and hears, and what it tells, until Ctrl-C."""
    from emollama_ros.bags.definitions import require_rosbags
    from emollama_ros.nodes.recording_options import RecordOptions

    options = RecordOptions(
        out=out,
        namespace=namespace,
        node=node,
        duration_s=duration,
        limit_mb=limit_mb,
        video=not (results_only or no_video),
        audio=not (results_only or no_audio),
    )
    require_rosbags()
    try:
        from emollama_ros.nodes.recorder import run
    except ImportError as error:
        raise ConfigError(f"recording needs ROS 2 and our messages ({error}); source them first") from error
    raise typer.Exit(run(options, say))


def replay(
    bag: BagArgument,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="DIR", help="Model bundle; default: the one in use.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="New folder for the results, a bag.")
    ] = None,
    compare_: Annotated[
        bool, typer.Option("--compare", help=f"Compare with the recorded results; exit {CHANGED} if changed.")
    ] = False,
    as_json: JsonOption = False,
    tolerance: ToleranceOption = None,
    ignore: IgnoreOption = None,
    engine: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    no_reasoning: Annotated[bool, typer.Option("--no-reasoning", help="Labels only.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the node other than recorded."),
    ] = None,
    camera: Annotated[str, typer.Option(metavar="TOPIC", help="Topic of the pictures.")] = "",
    audio: Annotated[str, typer.Option(metavar="TOPIC", help="Topic of the sound.")] = "",
    transcript: Annotated[str, typer.Option(metavar="TOPIC", help="Topic of the words.")] = "",
) -> None:
    """Perceive a recording once more, perhaps by another bundle, without ROS."""
    from emollama_ros.bags.comparing import compare as compare_runs
    from emollama_ros.bags.replay import ReplayOptions

    settings: dict[str, Any] = {"engine": engine, "threads": threads, **parsed(changes or [])}
    settings |= {"bundle": str(bundle.absolute())} if bundle is not None else {}
    settings |= {"reasoning": False} if no_reasoning else {}
    topics = {"camera": camera, "audio": audio, "transcript": transcript}
    began = time.perf_counter()
    done = play(bag, ReplayOptions(settings, topics), out)
    _say_notes(done, time.perf_counter() - began)
    if not compare_:
        show(done, as_json)
        return
    if not done.recorded.states:
        raise ConfigError(f"{bag}: it has no results to compare with; leave --compare out")
    _tell(compare_runs(done.recorded, done.run, **_judging(tolerance, ignore)), as_json)


def compare(
    before: Annotated[Path, typer.Argument(metavar="BAG1", help="The reference.")],
    after: Annotated[Path, typer.Argument(metavar="BAG2", help="What is judged.")],
    as_json: JsonOption = False,
    tolerance: ToleranceOption = None,
    ignore: IgnoreOption = None,
) -> None:
    """Compare the results in two recordings; exit 0 if they are the same, 3 if not."""
    from emollama_ros.bags.comparing import compare as compare_runs
    from emollama_ros.bags.told import read_run

    _tell(compare_runs(read_run(before), read_run(after), **_judging(tolerance, ignore)), as_json)


#: In the order of the help.
COMMANDS = (record, replay, compare)


def say(line: str) -> None:
    """Print to the standard error."""
    typer.echo(line, err=True)


def play(path: Path, options: ReplayOptions, out: Path | None) -> Replayed:
    """Replay a bag, and write the results where that is asked for."""
    from emollama_ros.bags.reading import Recording
    from emollama_ros.bags.replay import replay as replay_bag
    from emollama_ros.bags.results import ResultsInBag

    with Recording(path) as bag:
        if out is None:
            return replay_bag(bag, options)
        with ResultsInBag(out) as sink:
            return replay_bag(bag, options, sink)


def parsed(changes: Sequence[str]) -> dict[str, Any]:
    """Return NAME=VALUE as parameters; values are written as in a parameter file.

    Raises:
        ConfigError: One has no ``=``, or names no parameter of the perception node.
    """
    import yaml

    from emollama_ros.nodes.parameters import PerceptionParameters

    found: dict[str, Any] = {}
    for change in changes:
        name, sign, value = change.partition("=")
        if not sign or name not in PerceptionParameters.__dataclass_fields__:
            raise ConfigError(f"--set {change!r}: write NAME=VALUE with a parameter of perception_node")
        read = yaml.safe_load(value)
        # YAML 1.1 reads `off` as false, and a parameter may be called that.
        is_text = isinstance(PerceptionParameters.__dataclass_fields__[name].default, str)
        found[name] = value if is_text else read
    return found


def _judging(tolerance: float | None, ignore: Sequence[str] | None) -> dict[str, Any]:
    from emollama_ros.bags.comparing import TOLERANCE

    return {"tolerance": TOLERANCE if tolerance is None else tolerance, "ignored": tuple(ignore or ())}


def _say_notes(done: Replayed, seconds: float) -> None:
    for note in done.run.notes:
        say(f"note: {note}")
    speed = f"{done.seconds / max(seconds, 1e-6):.1f} times real time"
    say(f"{len(done.run.states)} windows of {done.seconds:.1f} s in {seconds:.1f} s ({speed})")


def show(done: Replayed, as_json: bool) -> None:
    """Print what was perceived: for people the stretches of one label, as JSON every window."""
    if as_json:
        typer.echo(json.dumps(_as_json(done), ensure_ascii=False, allow_nan=False, indent=2))
        return
    from emollama_ros.nodes.timeline import Segment, merge

    for home in done.run.homes:
        states = done.run.of(home)
        origin = states[0].start_ns
        typer.echo(f"{home}")
        windows = [Segment((s.start_ns - origin) / _S, (s.end_ns - origin) / _S, s.label) for s in states]
        for segment in merge(windows):
            typer.echo(f"  {segment.start_s:7.1f} to {segment.end_s:6.1f} s  {segment.label}")
    for reasoning in done.run.reasonings:
        typer.echo(f"  {reasoning.text}")


def _as_json(done: Replayed) -> dict[str, Any]:
    states = [
        {
            "source": s.home,
            "start_ns": s.start_ns,
            "end_ns": s.end_ns,
            "label": s.label,
            "scores": {label: round(score, 6) for label, score in s.scores.items()},
            "valence": round(s.valence, 6),
            "arousal": round(s.arousal, 6),
        }
        for s in done.run.states
    ]
    reasonings = [
        {"source": r.home, "end_ns": r.end_ns, "label": r.label, "text": r.text} for r in done.run.reasonings
    ]
    model, notes = dict(done.run.model), list(done.run.notes)
    return {"model": model, "windows": states, "reasonings": reasonings, "notes": notes}


def _tell(comparison: Comparison, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(comparison.as_json(), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        typer.echo("\n".join(comparison.lines()))
    if not comparison.is_same:
        raise typer.Exit(CHANGED)

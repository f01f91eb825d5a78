"""Commands of the evaluation room; `register` puts them into ``python -m training``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emollama_ros.estimate import Modality
from emollama_ros.labels import DEFAULT_LABELS
from training.mmeverse.clips import read_clips
from training.mmeverse.sources import SOURCES

if TYPE_CHECKING:
    from training.evaluation.runner import Result
    from training.evaluation.scoring import ScoringOptions

Root = Annotated[Path, typer.Option(help="Folder that holds the sources' folders.")]
SuiteName = Annotated[str, typer.Option("--suite", help="mer-unibench, mmeverse or open.")]
Data = Annotated[
    Path, typer.Option("--data", help="Folder that holds the sources' folders, as distributed, by name.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many clips a set; marked as such.")
]
Tables = Annotated[
    Path | None,
    typer.Option(help="Folder of format.csv, synonym.xlsx and wheel1-5.xlsx; without it, no hit rate."),
]
JudgeName = Annotated[
    str, typer.Option("--judge", help="none, lexical, or openai:MODEL@URL (key in OPENAI_API_KEY).")
]


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for name, command in (
        ("evaluate", evaluate),
        ("evaluate-text", evaluate_text),
        ("score", score),
        ("benchmark", benchmark),
        ("predict", predict_command),
        ("score-predictions", score_predictions),
        ("reasoning-truth", reasoning_truth),
    ):
        app.command(name)(command)


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


def evaluate_text(root: Root) -> None:
    """Score the words' view of the default bundle on GoEmotions dev, single-label sentences."""
    from training.evaluation.clips import evaluate_bundle

    dev = [s for s in read_clips("goemotions", root) if s.id.startswith("dev/")]
    assert all(s.modalities == Modality.TEXT and s.label in DEFAULT_LABELS for s in dev)
    typer.echo(json.dumps(evaluate_bundle(dev, None).scores.to_json(), indent=1))


def score(
    cases: Annotated[Path, typer.Argument(help="JSON with true and predicted labels, by clip.")],
    tables: Annotated[Path, typer.Option(help="Folder of format.csv, synonym.xlsx and wheel1-5.xlsx.")],
) -> None:
    """Score anyone's predictions as MER-UniBench does: hit rate and open-vocabulary sets over five wheels."""
    from training.evaluation.mer_unibench import read_cases, score_cases
    from training.evaluation.wheels import read_grouping

    result = score_cases(read_grouping(tables), read_cases(cases))
    typer.echo(json.dumps(result, indent=1))


def benchmark(
    suite: SuiteName,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report (build/reports/SUITE); a run that was stopped goes on."),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one if left out.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Predictions (JSON Lines) to score instead of a bundle's own.")
    ] = None,
    limit: Limit = None,
    tables: Tables = None,
    judge: JudgeName = "none",
) -> None:
    """Measure a bundle, or given predictions, over every set of a suite that is there, and write a report."""
    from training.evaluation.predictions import read_predictions
    from training.evaluation.runner import run
    from training.evaluation.suites import suite_named

    chosen, options = suite_named(suite), _options(tables, judge)
    out = out or Path("build") / "reports" / chosen.name
    if predictions:
        result = run(chosen, data, read_predictions(predictions), None, options, limit)
    else:
        from training.evaluation.adapters.bundle import BundleModel

        model = BundleModel.load(bundle)
        out.mkdir(parents=True, exist_ok=True)
        result = run(chosen, data, out / "predictions.jsonl", model, options, limit)
    _report(result, out)


def predict_command(
    suite: SuiteName,
    data: Data,
    model: Annotated[
        str, typer.Option(help="bundle:PATH, hf-audio:PATH, hf-video:PATH or openai:MODEL@URL.")
    ],
    out: Annotated[Path, typer.Option(help="Predictions to write or continue, JSON Lines.")],
    limit: Limit = None,
) -> None:
    """Let any model predict a suite; what the file holds already is not asked for again."""
    from training.evaluation.adapters.loading import load_model
    from training.evaluation.runner import contents, failures_path, predict, read_failures
    from training.evaluation.suites import suite_named

    there = contents(suite_named(suite), data, limit)
    out.parent.mkdir(parents=True, exist_ok=True)
    loaded = load_model(model)
    done = predict(loaded, there.present, out)
    failed = read_failures(failures_path(out))
    for gone in there.absent:
        typer.echo(f"absent: {gone.of.title}: {gone.why}")
    typer.echo(f"{loaded.name}: {len(done)} predictions in {out}, {len(failed)} clips failed")


def score_predictions(
    predictions: Annotated[Path, typer.Argument(help="Anyone's predictions, JSON Lines.")],
    suite: SuiteName,
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; without it, only the table.")
    ] = None,
    tables: Tables = None,
    judge: JudgeName = "none",
) -> None:
    """Score anyone's predictions of a suite; no model is run."""
    from training.evaluation.predictions import read_predictions
    from training.evaluation.report import markdown
    from training.evaluation.runner import run
    from training.evaluation.suites import suite_named

    given = read_predictions(predictions)
    result = run(suite_named(suite), data, given, None, _options(tables, judge))
    if out:
        _report(result, out)
    else:
        typer.echo(markdown(result))


def reasoning_truth(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Its folder; the default one if left out.")
    ] = None,
    synthesis: Annotated[
        Path, typer.Option(help="Generated clips with their truth (python -m training.synthesis).")
    ] = Path("build/synthesis"),
    out: Annotated[Path, typer.Option(help="Folder for reasoning_truth.json and reasoning_truth.md.")] = Path(
        "build/reports/reasoning_truth"
    ),
    first_person: Annotated[
        int, typer.Option(min=0, help="People with lower numbers were trained on and are left out.")
    ] = 0,
    clips: Annotated[int | None, typer.Option(min=1, help="At most so many, spread evenly.")] = None,
    windows: Annotated[int, typer.Option(min=1, help="Windows a clip.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
) -> None:
    """Hold every cue that a bundle's reasonings name against the truth about generated people."""
    from emollama_ros.bundle import Bundle
    from training.evaluation.reasoning_truth import markdown, read_truth, report, tell_all

    loaded, records = Bundle.load(bundle), read_truth(synthesis, first_person, clips)
    told = tell_all(loaded, synthesis, records, windows, threads)
    name = f"{loaded.manifest.name} {loaded.manifest.version} {loaded.sha256[:12]}"
    about = {"bundle": name, "first_person": first_person, "windows": windows}
    found = report(told, about, seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "reasoning_truth.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "reasoning_truth.md").write_text(markdown(found))
    typer.echo(markdown(found))


def _options(tables: Path | None, judge: str) -> ScoringOptions:
    from training.evaluation.judge import load_judge
    from training.evaluation.scoring import ScoringOptions
    from training.evaluation.wheels import read_grouping

    return ScoringOptions(read_grouping(tables) if tables else None, load_judge(judge))


def _report(result: Result, out: Path) -> None:
    from training.evaluation.report import summary
    from training.evaluation.report_folder import write

    write(result, out)
    typer.echo(summary(result))
    typer.echo(f"written: {out / 'report.html'}, report.md, report.json and {out / 'figures'}")

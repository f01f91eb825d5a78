"""A suite over a folder of sources: what is there, what is not and why, what a model says, its scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tqdm import tqdm

from emollama_ros.errors import ConfigError, EmollamaError, InputError
from training.evaluation.adapters.base import CannotTellError, Claim, Model
from training.evaluation.predictions import Key, Prediction, append, read_predictions
from training.evaluation.scoring import ScoringOptions, SetScores, score_set
from training.evaluation.suites import BenchmarkSet, Suite
from training.mmeverse.schema import Record
from training.mmeverse.sources import SOURCES, Item, Reject, read_items

#: Examples of each kind of damage that a report shows.
_SHOWN = 3


@dataclass(frozen=True)
class Present:
    """A set that could be read.

    Attributes:
        of: The set.
        root: Folder of its source.
        records: Its clips.
        rejects: Rows of the source that could not become a record, of whatever set.
    """

    of: BenchmarkSet
    root: Path
    records: tuple[Record, ...]
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class Absent:
    """A set that could not be measured, and why."""

    of: BenchmarkSet
    why: str


@dataclass(frozen=True)
class Contents:
    """What of a suite is in a folder."""

    present: tuple[Present, ...]
    absent: tuple[Absent, ...]


@dataclass(frozen=True)
class Measured:
    """A set with its scores.

    Attributes:
        of: The set.
        clips: All of its clips.
        scores: Of the model.
        unreadable: Rows of the source's tables that could not be read.
        damage: A few of them in words.
        failures: Clips that the model failed on, with the reason.
        unsayable: Labels of the set that the model has no word for, and how many clips truly carry each.
        seen: How the model met the set in training; empty where it says that it did not; None where it does
            not tell.
        caution: What else stands against comparing.
    """

    of: BenchmarkSet
    clips: int
    scores: SetScores
    unreadable: int = 0
    damage: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    unsayable: Mapping[str, int] = field(default_factory=dict)
    seen: str | None = None
    caution: str = ""

    @property
    def primary(self) -> float | None:
        """The value of the metric that counts."""
        figure = self.scores.figures.get(self.of.primary)
        return figure.value if figure else None


@dataclass(frozen=True)
class Result:
    """A suite, measured.

    Attributes:
        suite: The suite.
        model: Name of the model.
        measured: Sets with scores.
        absent: Sets without, and why.
        options: Seed, draws and judge used.
        limit: Clips a set, if not all were taken.
        rules: How the model's output became words of the sets.
    """

    suite: Suite
    model: str
    measured: tuple[Measured, ...]
    absent: tuple[Absent, ...]
    options: ScoringOptions
    limit: int | None = None
    rules: tuple[str, ...] = ()

    def mean(self) -> tuple[float | None, int]:
        """Mean of the primary metrics of the sets not seen in training, and how many those are."""
        values = [m.primary for m in self.measured if not m.seen and m.primary is not None]
        return (sum(values) / len(values) if values else None), len(values)


def contents(suite: Suite, data: Path, limit: int | None = None) -> Contents:
    """Read what is there of a suite.

    Args:
        suite: Which one.
        data: Folder that holds the sources' folders, under their names.
        limit: At most so many clips a set: every n-th one, so that all labels and people stay in.

    Raises:
        InputError: The folder is not there.
    """
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; give the folder that holds the sources' folders")
    items = cache(lambda source: _items(source, data))
    found = [_set(of, data, items, limit) for of in suite.sets]
    return Contents(
        tuple(f for f in found if isinstance(f, Present)), tuple(f for f in found if isinstance(f, Absent))
    )


def _items(source: str, data: Path) -> tuple[Item, ...] | str:
    if source not in SOURCES:
        return f"this version has no reader for the source {source}"
    if not (data / source).is_dir():
        return f"no folder {source}/ in the data"
    try:
        return tuple(read_items(source, data / source))
    except EmollamaError as error:
        return str(error).splitlines()[0].replace(f"{data}/", "")


def _set(
    of: BenchmarkSet, data: Path, items: Callable[[str], tuple[Item, ...] | str], limit: int | None
) -> Present | Absent:
    found = items(of.source)
    if isinstance(found, str):
        return Absent(of, found)
    rejects = tuple(item for item in found if isinstance(item, Reject))
    records = [item.record for item in found if not isinstance(item, Reject) and _belongs(item.record, of)]
    if not records:
        return Absent(of, f"{of.source}/ has no clip of it ({len(rejects)} rows could not be read)")
    return Present(of, data / of.source, tuple(thinned(records, limit)), rejects)


def _belongs(record: Record, of: BenchmarkSet) -> bool:
    return record.task is of.task and (not of.splits or record.split in of.splits)


def thinned(records: Sequence[Record], limit: int | None) -> Sequence[Record]:
    """At most ``limit`` records, evenly over the order of the source."""
    if limit is None or len(records) <= limit:
        return records
    return [records[i * len(records) // limit] for i in range(limit)]


def predict(
    model: Model, present: Sequence[Present], path: Path, progress: bool = True
) -> dict[Key, Prediction]:
    """Let a model predict every clip, and keep what it says in a file as it goes.

    What the file already holds is not asked for again, so that a run that was stopped goes on. Clips that
    failed go to ``<path>.rejects.jsonl`` with the reason, and are tried again the next time.

    Args:
        model: The model.
        present: Sets to predict.
        path: JSON Lines, made or continued.
        progress: Show a bar.

    Raises:
        InputError: The file holds predictions of another model, or is damaged.
        ConfigError: The model cannot be used at all; what it said before is kept.
    """
    done = _resumed(path, model.name)
    asked = [(r, p.root) for p in present for r in p.records if not model.cannot_do(r)]
    todo = {r.key: (r, root) for r, root in asked if r.key not in done}
    failures: dict[Key, str] = {}
    bar = tqdm(todo.values(), desc="clips", disable=not progress)
    try:
        append(_predictions(model, bar, done, failures), path)
    finally:
        _write_failures(failures, failures_path(path))
    return done


def _predictions(
    model: Model,
    todo: Iterator[tuple[Record, Path]] | tqdm,
    done: dict[Key, Prediction],
    failures: dict[Key, str],
) -> Iterator[Prediction]:
    for record, root in todo:
        try:
            prediction = model.predict(record, root)
        except (CannotTellError, InputError) as error:
            failures[record.key] = str(error).replace(f"{root}/", "")
        else:
            done[record.key] = prediction
            yield prediction


def _resumed(path: Path, model: str) -> dict[Key, Prediction]:
    if not path.exists():
        return {}
    found = read_predictions(path, may_be_cut=True)
    if others := sorted({p.model for p in found.values()} - {model}):
        raise InputError(
            f"{path}: holds predictions of {others[0]!r}, not of {model!r}; give another file or remove it"
        )
    _cut_tail(path)
    return found


def _cut_tail(path: Path) -> None:
    """Take a last line without its end away: the run was stopped while it wrote."""
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"\n") + 1])


def failures_path(predictions: Path) -> Path:
    """Where `predict` lists the clips that failed."""
    return predictions.with_name(predictions.name + ".rejects.jsonl")


def _write_failures(failures: Mapping[Key, str], path: Path) -> None:
    import json

    lines = (
        json.dumps({"source": s, "id": i, "task": t, "reason": why}) for (s, i, t), why in failures.items()
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_failures(path: Path) -> dict[Key, str]:
    """Read what `predict` wrote; empty where there is no such file."""
    import json

    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row["source"], row["id"], row["task"]): row["reason"] for row in rows}


def measure(
    found: Present,
    predictions: Mapping[Key, Prediction],
    options: ScoringOptions,
    model: Model | None = None,
    failures: Mapping[Key, str] | None = None,
) -> Measured:
    """Score one set.

    Args:
        found: The set.
        predictions: Of any sets.
        options: Wheels, judge, bootstrap.
        model: Who predicted; None where only the predictions are known.
        failures: Of the model, by key.
    """
    first = found.records[0]
    silent = model.unsayable(first) if model else ()
    failed = [failures[r.key] for r in found.records if r.key in failures] if failures else []
    seen, caution = exposure(found.of, found.records, model.trained_on if model else None)
    return Measured(
        of=found.of,
        clips=len(found.records),
        scores=score_set(found.of, found.records, predictions, options, silent),
        unreadable=len(found.rejects),
        damage=tuple(f"{r.where}: {r.reason}" for r in found.rejects[:_SHOWN]),
        failures=tuple(f"{n} x {why}" for why, n in Counter(failed).most_common(_SHOWN)),
        unsayable={label: _carry(found.records, label) for label in silent},
        seen=seen,
        caution=caution,
    )


def _carry(records: Sequence[Record], label: str) -> int:
    return sum(label == r.label or label in r.labels for r in records)


def exposure(
    of: BenchmarkSet, records: Sequence[Record], trained_on: Sequence[Claim] | None
) -> tuple[str | None, str]:
    """How a model met a set in training, and what stands against comparing though it did not.

    Returns:
        The first is None where the model does not tell what it was trained on, and empty where it tells, and
        the set is not among it.
    """
    if trained_on is None:
        return None, ""
    splits = {r.split for r in records}
    for claim in trained_on:
        if claim.source == of.source and (not claim.split or claim.split in splits):
            return "seen in training" + (f" ({claim.split})" if claim.split else ""), ""
    near = [c.source for c in trained_on if c.source in of.related]
    same = [c.split for c in trained_on if c.source == of.source]
    notes = [f"shares recordings with {name}, which it was trained on" for name in near]
    notes += [f"it was trained on the split {split} of the same source" for split in same]
    return "", "; ".join(notes)


def run(
    suite: Suite,
    data: Path,
    predictions: Mapping[Key, Prediction] | Path,
    model: Model | None = None,
    options: ScoringOptions | None = None,
    limit: int | None = None,
) -> Result:
    """Measure a suite.

    Args:
        suite: Which one.
        data: Folder that holds the sources' folders.
        predictions: What to score; with a model, the file where it keeps them.
        model: Who predicts; None to score what is given.
        options: Wheels, judge, bootstrap.
        limit: At most so many clips a set.

    Raises:
        InputError: No data, or predictions of another model.
        ConfigError: A path without a model.
    """
    options, there, failures = options or ScoringOptions(), contents(suite, data, limit), None
    if isinstance(predictions, Path):
        if model is None:
            raise ConfigError("predictions were given as a path to write to, but no model to write them")
        failures_at = failures_path(predictions)
        predictions = predict(model, there.present, predictions)
        failures = read_failures(failures_at)
    able, unable = _able(there.present, model, predictions)
    measured = tuple(measure(p, predictions, options, model, failures) for p in able)
    order = [of.name for of in suite.sets]
    absent = sorted((*there.absent, *unable), key=lambda a: order.index(a.of.name))
    names = sorted({p.model for p in predictions.values() if p.model})
    name = model.name if model else ", ".join(names) or "a model that is not named"
    rules = model.rules if model else ()
    return Result(suite, name, measured, tuple(absent), options, limit, rules)


def _able(
    present: Sequence[Present], model: Model | None, predictions: Mapping[Key, Prediction]
) -> tuple[list[Present], list[Absent]]:
    """Sets that the model can do, or that there is a prediction for; the others become absent."""
    able, unable = [], []
    for found in present:
        why = model.cannot_do(found.records[0]) if model else ""
        if not why and not model and not any(r.key in predictions for r in found.records):
            why = f"no prediction for any of its {len(found.records)} clips"
        if why:
            unable.append(Absent(found.of, why))
        else:
            able.append(found)
    return able, unable

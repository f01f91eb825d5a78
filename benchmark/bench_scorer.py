"""Measure the MER-UniBench scorer against a straightforward loop over words, in one run.

    python -m benchmark.bench_scorer [--clips 36000] [--tables DIR] [--out FILE.json]

The loop is what the metric's definition says, word by word, over tables that it holds in dictionaries; it is
not made slow on purpose. Without ``--tables``, tables of the published size are made up, so that the run
needs no files. Both must give the same figures, or the run fails.

`measure_predictions` times what a researcher does with a file of predictions: read and check it, score every
clip, and draw the intervals.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.record import processor, significant
from training.evaluation.mer_unibench import Answer, group, hit_rate, open_vocabulary, parse_labels
from training.evaluation.wheels import WHEELS, Grouping, Tables, read_tables, work_out

if TYPE_CHECKING:
    from training.evaluation.suites import BenchmarkSet

REPEATS = 3
#: Sizes of the published tables: forms, base words, wheel words, words on a wheel, sectors of a wheel.
FORMS, BASES, WHEEL_WORDS, ON_A_WHEEL, SECTORS = 7386, 1255, 253, 80, 6
_T = TypeVar("_T")
Pairs = dict[str, tuple[float, float]]


def measure(clips: int = 36_000, tables: Tables | None = None, seed: int = 0) -> dict[str, Any]:
    """Time both on the same random clips.

    Returns:
        Seconds for hit rate and open-vocabulary scores of all clips over all wheels (the best of three for
        the scorer, one run of the loop), their ratio, and the seconds to work the tables out, paid once.

    Raises:
        RuntimeError: The two disagree by more than 1e-9.
    """
    draw = random.Random(seed)
    tables = tables or made_up_tables(draw)
    grouping, work_out_s = _timed(lambda: work_out(tables))
    truth, labels, answers = made_up_cases(draw, tables, clips)
    runs = [_timed(lambda: _scorer(grouping, truth, labels, answers)) for _ in range(REPEATS)]
    expected, loop_s = _timed(lambda: _loop(tables, truth, labels, answers))
    _compare(runs[0][0], expected)
    scorer_s = min(seconds for _, seconds in runs)
    times = {"work_out_s": work_out_s, "scorer_s": scorer_s, "loop_s": loop_s, "ratio": loop_s / scorer_s}
    return {"clips": clips} | {name: significant(value) for name, value in times.items()}


def scorer(clips: int, scratch: Path) -> dict[str, Any]:
    """Both measurements, for `make bench`; without what training needs, a reason instead of the second."""
    try:
        predictions = measure_predictions(clips, scratch)
    except ImportError as error:
        predictions = {"skipped": f"needs the extra `training` ({error})"}
    return measure(clips) | {"predictions": predictions}


def measure_predictions(clips: int, scratch: Path, seed: int = 0) -> dict[str, Any]:
    """Time reading and scoring a file of predictions, a third each of emotion, sentiment and multi-label.

    Args:
        clips: How many predictions.
        scratch: Folder for the file.
        seed: Of the made-up clips.

    Returns:
        ``clips``, ``read_s`` (and check), ``score_s`` (with intervals over 100 people a set), ``total_s``.
    """
    from training.evaluation.predictions import append, read_predictions
    from training.evaluation.scoring import ScoringOptions, score_set
    from training.evaluation.suites import SUITES

    draw = random.Random(seed)
    sets = {of.name: of for of in SUITES["mmeverse"].sets}
    cases = {
        name: made_up_predictions(draw, sets[name], clips // 3)
        for name in ("meld_emotion", "cmu_mosei", "bold")
    }
    file = scratch / "predictions.jsonl"
    append((p for _, predictions in cases.values() for p in predictions), file)
    options = ScoringOptions(work_out(made_up_tables(draw)))
    given, read_s = _timed(lambda: read_predictions(file))
    scored = [(sets[name], records) for name, (records, _) in cases.items()]
    _, score_s = _timed(lambda: [score_set(of, records, given, options) for of, records in scored])
    times = {"read_s": read_s, "score_s": score_s, "total_s": read_s + score_s}
    return {"clips": len(given)} | {name: significant(value) for name, value in times.items()}


def made_up_predictions(draw: random.Random, of: BenchmarkSet, clips: int) -> tuple[list, list]:
    """Records of a set and predictions of them, of made-up people and labels."""
    from training.evaluation.predictions import Prediction
    from training.mmeverse.schema import Record, Task

    records, predictions = [], []
    for i in range(clips):
        place = {"id": f"clip{i}", "source": of.source, "task": of.task}
        true, told = draw.sample(of.labels, 2), draw.choices(of.labels, k=2)
        several = of.task is Task.MULTI_LABEL
        answer = {"labels": tuple(true)} if several else {"label": true[0]}
        person = f"{of.source}:{i % 100}"
        records.append(Record(split="test", person=person, label_space=of.labels, **place, **answer))
        said = ", ".join(dict.fromkeys(told)) if several else told[0]
        predictions.append(Prediction(answer=said, **place))
    return records, predictions


def made_up_tables(draw: random.Random) -> Tables:
    """Tables of the published size, of made-up words."""
    wheel_words = [f"wheel{i}" for i in range(WHEEL_WORDS)]
    bases = wheel_words + [f"base{i}" for i in range(BASES - WHEEL_WORDS)]
    forms = bases + [f"form{i}" for i in range(FORMS - BASES)]
    wheels = {
        wheel: {word: f"sector{i % SECTORS}" for i, word in enumerate(draw.sample(wheel_words, ON_A_WHEEL))}
        for wheel in WHEELS
    }
    return Tables(
        {form: frozenset(draw.sample(bases, draw.randint(1, 3))) for form in forms},
        {base: frozenset(draw.sample(wheel_words, draw.randint(1, 6))) for base in bases},
        wheels,
    )


def made_up_cases(
    draw: random.Random, tables: Tables, clips: int
) -> tuple[list[str], list[Answer], list[Answer]]:
    """A true label, true labels and an answer for each clip; some words are in no table."""
    words = [*tables.forms, *(f"unknown{i}" for i in range(len(tables.forms) // 10))]
    classes = draw.sample(list(tables.forms), 6) + ["neutral"]

    def several() -> str:
        return f"[{', '.join(draw.choices(words, k=draw.randint(0, 7)))}]"

    return (
        draw.choices(classes, k=clips),
        [several() for _ in range(clips)],
        [several() for _ in range(clips)],
    )


def loop_hit_rate(
    tables: Tables, wheel: str, truth: Sequence[str], answers: Sequence[Answer]
) -> tuple[float, float]:
    """Hit rate and m_score of one wheel, clip by clip and word by word."""
    candidates = _sectors(tables, wheel, set(truth))
    hits, pointed = [], []
    for label, answer in zip(truth, answers, strict=True):
        expected = _sectors(tables, wheel, parse_labels(label))
        if not expected:
            continue
        found = _sectors(tables, wheel, parse_labels(answer))
        hits.append(len(found & expected))
        pointed.append(len(found & expected) / len(found & candidates) if found & candidates else 0.0)
    return _mean(hits), _mean(pointed)


def loop_open_vocabulary(
    tables: Tables, wheel: str, truth: Sequence[Answer], answers: Sequence[Answer]
) -> tuple[float, float]:
    """Precision and recall of one wheel, clip by clip and word by word."""
    precision, recall = [], []
    for labels, answer in zip(truth, answers, strict=True):
        expected = _sectors(tables, wheel, parse_labels(labels))
        if not expected:
            continue
        found = _sectors(tables, wheel, parse_labels(answer))
        precision.append(len(found & expected) / len(found) if found else 0.0)
        recall.append(len(found & expected) / len(expected))
    return _mean(precision), _mean(recall)


def _sectors(tables: Tables, wheel: str, words: Sequence[str] | set[str]) -> set[str]:
    return {sector for word in words if (sector := tables.sector(word, wheel)) is not None}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _scorer(grouping: Grouping, truth: list[str], labels: list[Answer], answers: list[Answer]) -> list[Pairs]:
    answered = group(grouping, answers)
    hits = hit_rate(grouping, truth, answered)
    sets = open_vocabulary(grouping, labels, answered)
    return [
        {wheel: (s.hit_rate or 0.0, s.m_score or 0.0) for wheel, s in hits.items()},
        {wheel: (s.precision or 0.0, s.recall or 0.0) for wheel, s in sets.items()},
    ]


def _loop(tables: Tables, truth: list[str], labels: list[Answer], answers: list[Answer]) -> list[Pairs]:
    return [
        {wheel: loop_hit_rate(tables, wheel, truth, answers) for wheel in tables.wheels},
        {wheel: loop_open_vocabulary(tables, wheel, labels, answers) for wheel in tables.wheels},
    ]


def _compare(found: Sequence[Mapping[str, tuple]], expected: Sequence[Mapping[str, tuple]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for wheel in theirs:
            if any(abs(a - b) > 1e-9 for a, b in zip(ours[wheel], theirs[wheel], strict=True)):
                raise RuntimeError(f"{wheel}: the scorer gives {ours[wheel]}, the loop {theirs[wheel]}")


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=36_000)
    parser.add_argument("--tables", type=Path, help="folder of the published tables; made up if left out")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    result = measure(given.clips, read_tables(given.tables) if given.tables else None)
    text = json.dumps(
        {"processor": processor(), "tables": "published" if given.tables else "made up"} | result
    )
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

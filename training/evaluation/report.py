"""A result as files: ``report.json``, ``report.md``, ``report.html`` and the figures; the same facts in each.

No clip, no person and no place on this machine is named in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from training.evaluation.runner import Measured, Result
from training.evaluation.scoring import Figure
from training.evaluation.suites import METRICS, BenchmarkSet

#: Raised with every change that a reader of ``report.json`` would misunderstand.
SCHEMA_VERSION = 1
_DIGITS = 4
_DASH = "–"


def to_json(result: Result) -> dict[str, Any]:
    """Plain data: everything that was measured, and what is needed to judge it."""
    mean, count = result.mean()
    suite = result.suite
    return {
        "schema": SCHEMA_VERSION,
        "suite": suite.name,
        "model": result.model,
        "limit": result.limit,
        "bootstrap": {"draws": result.options.draws, "seed": result.options.seed},
        "emotion_wheels": result.options.grouping is not None,
        "judge": result.options.judge.name if result.options.judge else None,
        "rules": list(result.rules),
        "mean_of_primary": {"value": _rounded(mean), "sets": count, "of": len(suite.sets)},
        "sets": [_set_to_json(m) for m in result.measured],
        "absent": [{"set": a.of.name, "why": a.why} for a in result.absent],
        "published": [
            {"system": p.system, "mean": p.mean, "scores": dict(p.scores), "source": p.source}
            for p in suite.published
        ],
    }


def _set_to_json(measured: Measured) -> dict[str, Any]:
    of, scores = measured.of, measured.scores
    return {
        "set": of.name,
        "source": of.source,
        "task": of.task.value,
        "primary": of.primary,
        "seen_in_training": seen_in_words(measured),
        "caution": measured.caution,
        "clips": measured.clips,
        "kept": scores.kept,
        "dropped": dict(scores.dropped),
        "persons": scores.persons,
        "intervals_over": scores.drawn,
        "unreadable_rows": measured.unreadable,
        "damage": list(measured.damage),
        "failures": list(measured.failures),
        "unsayable": dict(measured.unsayable),
        "figures": {name: _figure_to_json(figure) for name, figure in scores.figures.items()},
        "absent_figures": dict(scores.absent),
        "by_wheel": {w: {k: _rounded(v) for k, v in s.items()} for w, s in scores.by_wheel.items()},
        "labels": list(scores.labels),
        "confusion": [list(row) for row in scores.confusion],
    }


def _figure_to_json(figure: Figure) -> dict[str, Any]:
    return {
        "value": _rounded(figure.value),
        "interval": [_rounded(v) for v in figure.interval] if figure.interval else None,
        "kept": figure.kept,
        "dropped": figure.dropped,
    }


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value


def seen_in_words(measured: Measured) -> str:
    """Whether the model met the set in training, in words."""
    return {None: "not told", "": "no"}.get(measured.seen, measured.seen or "")


def markdown(result: Result) -> str:
    """The report as Markdown."""
    return "\n".join(_markdown(result)).rstrip() + "\n"


def _markdown(result: Result) -> Iterator[str]:
    suite = result.suite
    yield f"# {suite.title}: {result.model}\n"
    yield f"{suite.citation}. {suite.note}\n"
    yield f"{mean_in_words(result)}\n"
    if result.limit:
        yield f"**Not the whole sets**: at most {result.limit} clips of each.\n"
    yield from _table(
        ("set", "metric", "score", "95 % interval", "clips", "dropped", "people", "seen in training"),
        (_row_of(m) for m in result.measured),
    )
    if suite.published:
        yield "\n## Beside published rows\n"
        yield f"{PUBLISHED_NOTE}\n"
        yield from _table(*beside(result))
        yield ""
        yield from (f"- {p.system}: {p.source}." for p in suite.published)
    yield "\n## All figures\n"
    for measured in result.measured:
        yield from _set_in_markdown(measured)
    if result.absent:
        yield "## Absent\n"
        yield from (f"- {a.of.title}: {a.why}." for a in result.absent)
        yield ""
    yield from _method(result)


PUBLISHED_NOTE = (
    "Per cent, in each set's primary metric. Rows marked *published* are others' figures, taken with their "
    "own code and prompts, and were not measured here. Scores of sets seen in training stand in brackets and "
    "are in no mean."
)


def mean_in_words(result: Result) -> str:
    """The mean over sets, with what it is of."""
    mean, count = result.mean()
    total = len(result.suite.sets)
    if mean is None:
        return f"No mean: none of the {total} sets was measured on clips that the model had not met."
    seen = sum(bool(m.seen) for m in result.measured)
    more = f"; {seen} seen in training left out" if seen else ""
    comparable = "" if count == total else "; not comparable with means over all sets"
    return f"Mean of the primary metrics of {count} of {total} sets: **{_share(mean)}**{more}{comparable}."


def _row_of(measured: Measured) -> tuple[str, ...]:
    scores, figure = measured.scores, measured.scores.figures.get(measured.of.primary)
    why = scores.absent.get(measured.of.primary, "no clip left")
    return (
        measured.of.title,
        METRICS[measured.of.primary].title,
        _share(figure.value) if figure else f"absent: {why}",
        interval_in_words(figure) if figure else _DASH,
        str(scores.kept),
        str(sum(scores.dropped.values())),
        people_in_words(measured),
        seen_in_words(measured),
    )


def people_in_words(measured: Measured) -> str:
    """How many people the clips are of, where that is told and more than their number."""
    persons, kept = measured.scores.persons, measured.scores.kept
    return "not told" if persons is None else "one a clip" if persons == kept else str(persons)


def beside(result: Result) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Own and published rows by set, per cent: headings and rows."""
    sets = result.suite.sets if any(p.scores for p in result.suite.published) else ()
    head = ("system", "", *(of.title for of in sets), "mean")
    rows = [_own_row(result, sets)]
    for p in result.suite.published:
        scores = (_cent(p.scores.get(of.name)) for of in sets)
        rows.append((p.system, "published", *scores, _cent(p.mean)))
    return head, rows


def _own_row(result: Result, sets: Sequence[BenchmarkSet]) -> tuple[str, ...]:
    by_name = {m.of.name: m for m in result.measured}
    mean, count = result.mean()
    cells = []
    for of in sets:
        found = by_name.get(of.name)
        cell = _cent(found.primary * 100 if found and found.primary is not None else None)
        cells.append(f"({cell})" if found and found.seen and cell != _DASH else cell)
    total = _cent(mean * 100 if mean is not None else None)
    return (
        result.model,
        "measured here",
        *cells,
        total if count == len(result.suite.sets) else f"{total} ({count} sets)",
    )


def _set_in_markdown(measured: Measured) -> Iterator[str]:
    yield f"### {measured.of.title}\n"
    yield from (f"- {line}" for line in facts(measured))
    yield ""
    yield from _table(("metric", "value", "95 % interval", "clips", "left out"), figure_rows(measured))
    yield ""
    if measured.scores.confusion:
        yield from _table(
            ("true \\ told", *measured.scores.labels),
            (
                (f"**{label}**", *map(str, row))
                for label, row in zip(measured.scores.labels, measured.scores.confusion, strict=True)
            ),
        )
        yield ""


def figure_rows(measured: Measured) -> list[tuple[str, ...]]:
    """All figures of a set: title, value, interval, clips, clips that the metric leaves out."""
    rows = [
        (METRICS[name].title, _value(name, figure.value), interval_in_words(figure), str(figure.kept),
         str(figure.dropped))
        for name, figure in measured.scores.figures.items()
    ]  # fmt: skip
    return rows + [
        (METRICS[name].title, "absent", why, _DASH, _DASH) for name, why in measured.scores.absent.items()
    ]


def facts(measured: Measured) -> list[str]:
    """What to know of a set before its figures are read, a sentence each."""
    of, scores = measured.of, measured.scores
    lines = [f"{measured.clips} clips, {scores.kept} kept; intervals by bootstrap over {scores.drawn}."]
    if of.published_n is not None and of.published_n != measured.clips:
        lines.append(f"As published it has {of.published_n} clips.")
    if measured.seen:
        lines.append(
            f"The model has met this set: {measured.seen}. Its figures say nothing about new people."
        )
    if measured.caution:
        lines.append(f"Careful: the model {measured.caution.removeprefix('it ')}.")
    lines += [f"Dropped: {n} x {why}." for why, n in scores.dropped.items()]
    lines += [f"Failed: {why}." for why in measured.failures]
    if measured.unreadable:
        lines.append(f"{measured.unreadable} rows of the source could not be read, among them:")
        lines += list(measured.damage)
    if measured.unsayable:
        words = ", ".join(f"{label} ({n} clips)" for label, n in measured.unsayable.items())
        lines.append(f"The model has no word for: {words}. These clips count as wrong.")
    return [*lines, of.note] if of.note else lines


def _method(result: Result) -> Iterator[str]:
    yield "## How it was measured\n"
    yield from (f"- {line}" for line in method(result))
    yield ""
    used = dict.fromkeys(name for m in result.measured for name in m.scores.figures)
    yield from (f"- **{METRICS[name].title}**: {METRICS[name].definition}" for name in used)


def method(result: Result) -> list[str]:
    """How figures came about, a sentence each."""
    options = result.options
    lines = [
        f"Intervals: 95 %, percentile bootstrap, {options.draws} draws, seed {options.seed}; people are "
        "drawn, not clips, wherever the source tells who they are.",
        "Clips without a usable prediction are dropped and counted; WAR with dropped as wrong stands beside.",
        *result.rules,
    ]
    return lines + ([f"Judge: {options.judge.name}."] if options.judge else [])


def summary(result: Result) -> str:
    """The sets in a few lines, for a terminal."""
    rows = [_row_of(m) for m in result.measured]
    lines = [
        f"{title}: {metric} {score} [{span}], {kept} clips, {dropped} dropped"
        + (f", {seen}" if seen.startswith("seen") else "")
        for title, metric, score, span, kept, dropped, _, seen in rows
    ]
    lines += [f"{a.of.title}: absent, {a.why}" for a in result.absent]
    return "\n".join([*lines, mean_in_words(result).replace("**", "")])


def interval_in_words(figure: Figure | None) -> str:
    """``.350 to .433``, or a dash."""
    if figure is None or figure.interval is None:
        return _DASH
    low, high = figure.interval
    return f"{_share(low)} to {_share(high)}"


def _value(name: str, value: float | None) -> str:
    if value is not None and name.endswith("_overlap"):
        return f"{value:.2f} of 10"
    return _share(value)


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.3f}"


def _cent(value: float | None) -> str:
    return _DASH if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(map(_cell, head)) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(map(_cell, row)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""The report as one page that needs nothing else: no script, no network, light and dark, screen and paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.evaluation import report
from training.evaluation.plots import Plots
from training.evaluation.runner import Measured, Result
from training.evaluation.suites import METRICS

_TEMPLATE = Path(__file__).parent / "report.html.j2"


def page(result: Result, plots: Plots) -> str:
    """Return the page; every word of data in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    used = dict.fromkeys(name for m in result.measured for name in m.scores.figures)
    head, rows = report.beside(result)
    return template.render(
        result=result,
        suite=result.suite,
        mean=report.mean_in_words(result).replace("**", ""),
        overview=plots.inline("overview", _overview_in_words(result)),
        sets=[_set(m, plots) for m in result.measured],
        beside_head=head,
        beside=rows,
        published_note=report.PUBLISHED_NOTE.replace("*", ""),
        method=report.method(result),
        metrics=[METRICS[name] for name in used],
    )


def _set(measured: Measured, plots: Plots) -> dict[str, Any]:
    scores, of = measured.scores, measured.of
    primary = scores.figures.get(of.primary)
    figure = ""
    if scores.confusion:
        words = f"Confusion matrix of {of.title}; the same counts are in the table below."
        figure = plots.inline(f"confusion_{of.name}", words)
    return {
        "name": of.name,
        "title": of.title,
        "metric": METRICS[of.primary].title,
        "value": report.figure_rows(measured)[0][1] if primary else "absent",
        "interval": report.interval_in_words(primary),
        "why": scores.absent.get(of.primary, ""),
        "kept": scores.kept,
        "dropped": sum(scores.dropped.values()),
        "persons": report.people_in_words(measured),
        "seen": report.seen_in_words(measured),
        "is_seen": bool(measured.seen),
        "facts": report.facts(measured),
        "rows": report.figure_rows(measured),
        "figure": figure,
        "labels": scores.labels,
        "matrix": [(label, *row) for label, row in zip(scores.labels, scores.confusion, strict=False)],
        "by_wheel": scores.by_wheel,
    }


def _overview_in_words(result: Result) -> str:
    """The overview for those who do not see it."""
    parts = (
        f"{m.of.title} {METRICS[m.of.primary].title} {m.primary:.3f}{', seen in training' if m.seen else ''}"
        for m in result.measured
        if m.primary is not None
    )
    return "Scores with intervals: " + "; ".join(parts)

"""A report as a figure: every system by its own measures, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.ablation.differences import ANSWERS
from training.ablation.views import MEASURED

#: Title of a panel, name of a row, and what is drawn in it: mean, deviation, by_seed.
_Row = tuple[str, str, Mapping[str, Any]]


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw every system by its own view, its answers, and their loss, seed by seed; one panel a measure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = _panels(report)
    with plt.rc_context({"svg.hashsalt": "ablation", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.2), squeeze=False)
        for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
            _draw(axis, title, rows)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _panels(report: Mapping[str, Any]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    panels: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for title, name, row in (*_scores(report["scores"]), *_losses(report["answer_loss"])):
        panels.setdefault(title, []).append((name, row))
    return panels


def _scores(scores: Sequence[Mapping[str, Any]]) -> Iterator[_Row]:
    for row in scores:
        system, measure = row["system"], row["measure"]
        if measure in (MEASURED[system["view"]][0], ANSWERS):
            varied = "fusion" if system["grid"] == "head" else "curriculum"
            yield f"{row['metric'].upper()}, {measure} ({varied})", _name(system), row


def _losses(losses: Sequence[Mapping[str, Any]]) -> Iterator[_Row]:
    for row in losses:
        yield f"nats a token, tasks of {row['task']}", _name(row["system"]), row["own"]


def _name(system: Mapping[str, str]) -> str:
    return "\n".join(filter(None, (system["fusion"], system["curriculum"]))).replace("_", " ")


def _draw(axis: Any, title: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for place, (_, row) in enumerate(rows):
        axis.plot(row["by_seed"], [place] * len(row["by_seed"]), "o", color="#8fbfe8", markersize=4)
        axis.errorbar(row["mean"], place, xerr=row["deviation"], fmt="d", color="#0b0b0b", markersize=5)
    has_guess = rows[0][1].get("metric") == "uar"
    if has_guess:
        axis.axvline(1 / rows[0][1]["labels"], color="#d1730f", linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set(title=title, xlabel="seeds, mean, sd" + ("; dashed: a guess" if has_guess else ""))
    axis.margins(y=0.15)

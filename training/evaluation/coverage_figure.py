"""The figure of a coverage report: how accurate the told labels are, and how many are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emollama_ros.errors import InputError

_COLOURS = ("#4c9be8", "#d1730f", "#4a9a5b", "#8a63b8")
_TITLES = {"audio": "sound", "video": "pictures", "video+audio": "both"}
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
#: Endings that are drawn.
ENDINGS = (".svg", ".png", ".pdf")


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy over coverage (bands are 95 % intervals over people), and both over the threshold.

    Args:
        report: As ``coverage.report`` makes it.
        path: To write; the ending says the format. The same report gives the same bytes.

    Raises:
        InputError: The ending is none of ``ENDINGS``.
    """
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: figures end with {', '.join(ENDINGS)}")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": "coverage"}):
        figure = Figure(figsize=(9, 3.6))
        left, right = figure.subplots(1, 2)
        for colour, (name, view) in zip(_COLOURS, report["views"].items(), strict=False):
            _draw_curve(left, view, _TITLES.get(name, name), colour)
            _draw_thresholds(right, view, _TITLES.get(name, name), colour)
        _finish(left, right, report["uncertain_below"])
        figure.tight_layout()
        extra: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 160}
        figure.savefig(path, bbox_inches="tight", **extra)


def _draw_curve(axes: Any, view: Mapping[str, Any], title: str, colour: str) -> None:
    coverage, _, _ = _column(view["curve"], "coverage")
    accuracy, low, high = _column(view["curve"], "accuracy")
    axes.plot(coverage, accuracy, color=colour, label=title)
    axes.fill_between(coverage, low, high, color=colour, alpha=0.15, linewidth=0)
    chosen = view["at_uncertain_below"]
    axes.plot(chosen["coverage"]["value"], chosen["accuracy"]["value"], "o", color=colour)


def _draw_thresholds(axes: Any, view: Mapping[str, Any], title: str, colour: str) -> None:
    at = [row["threshold"] for row in view["thresholds"]]
    axes.plot(at, _column(view["thresholds"], "accuracy")[0], color=colour, label=f"accuracy, {title}")
    axes.plot(at, _column(view["thresholds"], "coverage")[0], color=colour, linestyle="--")


def _finish(left: Any, right: Any, threshold: float) -> None:
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="coverage", ylabel="accuracy of the labels that are told")
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="least confidence")
    right.set_title("accuracy, and coverage (dashed)", fontsize=10)
    left.set_title(f"dots: uncertain below {threshold}", fontsize=10)
    right.axvline(threshold, color="#888888", linewidth=0.8)
    for axes in (left, right):
        axes.grid(alpha=0.2)
    left.legend(frameon=False, loc="lower left")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float], list[float]]:
    """Values of a figure and the ends of their intervals; NaN leaves a gap."""
    cells = [(row[name]["value"], *row[name]["interval"]) for row in rows]
    value, low, high = (
        [float("nan") if cell is None else cell for cell in column] for column in zip(*cells, strict=True)
    )
    return value, low, high

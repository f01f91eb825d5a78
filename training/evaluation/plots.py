"""Figures of a report: scores with their intervals, and confusion matrices; as files and inside the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluation.runner import Measured, Result
from training.evaluation.suites import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Stands for "the colour of the text around": the page is read on light and on dark ground.
_INK = "#0b0b0b"
_ACCENT = "#4c9be8"
_SECOND = "#d1730f"
#: Strongest ink of a cell; above it letters could not be read on either ground.
_STRONGEST = 0.75
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "svg.fonttype": "none",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class Plots:
    """The figures of one result, each drawn when asked for."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._files: dict[tuple[str, str], bytes] = {}
        self._drawn: dict[str, Callable[[], Figure]] = {"overview": lambda: _overview(result)}
        for measured in result.measured:
            if measured.scores.confusion:
                self._drawn[f"confusion_{measured.of.name}"] = lambda m=measured: _confusion(m)

    def names(self) -> Iterator[str]:
        """Names of the figures: ``overview`` and ``confusion_<set>``."""
        return iter(self._drawn)

    def save(self, folder: Path) -> None:
        """Write every figure as SVG and PNG."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self._drawn:
            for ending in ("svg", "png"):
                (folder / f"{name}.{ending}").write_bytes(self._bytes(name, ending))

    def inline(self, name: str, words: str) -> str:
        """A figure as an ``svg`` element in the colours of the page.

        Args:
            name: Of `names`.
            words: What it shows, for those who do not see it.
        """
        text = self._bytes(name, "svg").decode()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL).replace(_INK, "currentColor")
        text = re.sub(r'(?<=\bid=")|(?<=url\(#)|(?<=href="#)', f"{name}-", text)
        opening, rest = text.split(">", 1)
        opening = re.sub(r'\s(?:width|height)="[^"]*"', "", opening).removeprefix("<svg")
        return f'<svg role="img" aria-label="{_quoted(words)}"{opening}>{rest}'

    def _bytes(self, name: str, ending: str) -> bytes:
        if (name, ending) not in self._files:
            self._files[name, ending] = self._written(name, ending)
        return self._files[name, ending]

    def _written(self, name: str, ending: str) -> bytes:
        import matplotlib

        buffer = io.BytesIO()
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
            figure = self._drawn[name]()
            extra: dict[str, Any] = {"metadata": {"Date": None}} if ending == "svg" else {"dpi": 160}
            figure.savefig(buffer, format=ending, bbox_inches="tight", transparent=ending == "svg", **extra)
        return buffer.getvalue()


def _quoted(words: str) -> str:
    return words.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    # Not through pyplot, which keeps figures and may open a window.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _overview(result: Result) -> Figure:
    """Primary metric of every set with its interval, and published scores where there are any."""
    rows = [m for m in result.measured if m.primary is not None][::-1]
    figure, axes = _figure(7.2, 1.1 + 0.42 * max(len(rows), 1))
    for y, measured in enumerate(rows):
        _point(axes, y, measured)
        for published in result.suite.published:
            if (score := published.scores.get(measured.of.name)) is not None:
                axes.plot(score / 100, y - 0.28, "|", color=_SECOND, markersize=7, clip_on=False)
    axes.set_yticks(range(len(rows)), [f"{m.of.title} ({METRICS[m.of.primary].title})" for m in rows])
    axes.set(xlim=(0, 1), ylim=(-0.7, max(len(rows), 1) - 0.3), xlabel="score, with 95 % interval")
    axes.grid(axis="x", color=_INK, alpha=0.15)
    return figure


def _point(axes: Any, y: int, measured: Measured) -> None:
    figure, value = measured.scores.figures[measured.of.primary], measured.primary
    low, high = figure.interval or (value, value)
    axes.plot([low, high], [y, y], color=_ACCENT, linewidth=2.4, solid_capstyle="round", clip_on=False)
    axes.plot(
        value, y, "o", markersize=7.5, markeredgecolor=_ACCENT, markeredgewidth=1.8,
        color="none" if measured.seen else _ACCENT, clip_on=False, zorder=3,
    )  # fmt: skip


def _confusion(measured: Measured) -> Figure:
    """Counts; the ink is the share of the true label's clips."""
    from matplotlib.patches import Rectangle

    labels, counts = measured.scores.labels, np.array(measured.scores.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = len(labels)
    figure, axes = _figure(1.6 + 0.62 * size, 1.1 + 0.48 * size)
    for i, j in np.ndindex(size, size):
        ink = _STRONGEST * float(shares[i, j])
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=_ACCENT, alpha=ink, linewidth=0))
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=9 if size < 9 else 7.5)
    axes.set_xticks(range(size), labels, rotation=38, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(size), labels)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="told", ylabel="true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=_INK, alpha=0.18, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    return figure

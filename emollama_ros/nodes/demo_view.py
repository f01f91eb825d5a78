"""What the demo shows: a live picture in a terminal, plain lines everywhere else. No ROS in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

BAR = 28
STATUS = {0: ("ok", "green"), 1: ("degraded", "yellow"), 2: ("stale", "red")}


@dataclass(frozen=True)
class Shown:
    """A state, ready to be shown.

    Attributes:
        start_s: Start of its window, media time or time since the first state.
        end_s: End of its window.
        label: Perceived label.
        scores: Probability by label.
        valence: -1 to 1.
        arousal: -1 to 1.
        confidence: 0 to 1.
        modalities: Names of the inputs used.
        latency_ms: From the window being complete to publishing.
        status: 0 ok, 1 degraded, 2 stale.
        status_text: What is wrong.
    """

    start_s: float
    end_s: float
    label: str
    scores: dict[str, float] = field(default_factory=dict)
    valence: float = 0.0
    arousal: float = 0.0
    confidence: float = 0.0
    modalities: tuple[str, ...] = ()
    latency_ms: float = 0.0
    status: int = 0
    status_text: str = ""


@dataclass(frozen=True)
class Why:
    """A reasoning as far as it is written, and the label and time (end of window, s) it is about."""

    end_s: float
    label: str
    text: str
    final: bool


class View(Protocol):
    """Where the demo shows what happens."""

    def note(self, text: str) -> None:
        """Show a remark."""

    def state(self, shown: Shown) -> None:
        """Show a state."""

    def why(self, why: Why) -> None:
        """Show a reasoning as it grows."""

    def close(self) -> None:
        """Leave the screen as it is."""


class PlainView:
    """One line for each state and each finished reasoning."""

    def __init__(self, console: Console) -> None:
        """Print to a console."""
        self._console = console

    def note(self, text: str) -> None:
        """Print a remark."""
        self._print(f"# {text}")

    def state(self, shown: Shown) -> None:
        """Print time, label, confidence, modalities, latency and status."""
        status = STATUS[shown.status][0] + (f": {shown.status_text}" if shown.status_text else "")
        used = "+".join(shown.modalities) or "-"
        self._print(
            f"{shown.end_s:7.2f} s  {shown.label:<10} {shown.confidence:4.2f}  {used:<16} "
            f"{shown.latency_ms:6.0f} ms  {status}"
        )

    def why(self, why: Why) -> None:
        """Print a finished reasoning."""
        if why.final:
            self._print(f"{why.end_s:7.2f} s  why {why.label}: {why.text}")

    def close(self) -> None:
        """Nothing to leave."""

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """A picture that is redrawn: label and bars, valence and arousal, inputs, latency, the growing reason."""

    def __init__(self, console: Console, title: str) -> None:
        """Take over part of the terminal until ``close``."""
        self._title = title
        self._width = min(88, console.width)
        self._note = ""
        self._shown: Shown | None = None
        self._why: Why | None = None
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self.draw)
        self._live.start()

    def note(self, text: str) -> None:
        """Show a remark below the picture."""
        self._note = text

    def state(self, shown: Shown) -> None:
        """Show a state."""
        self._shown = shown

    def why(self, why: Why) -> None:
        """Show a reasoning as far as it is written."""
        self._why = why

    def close(self) -> None:
        """Stop redrawing."""
        self._live.stop()

    def draw(self) -> RenderableType:
        """Return the picture of this moment."""
        parts: list[RenderableType] = []
        if self._shown is not None:
            parts += [_headline(self._shown), _bars(self._shown), _figures(self._shown)]
            if self._shown.status_text:
                parts.append(Text(self._shown.status_text, style=STATUS[self._shown.status][1]))
        if self._why is not None:
            cursor = "" if self._why.final else " ▌"
            about = f"why {self._why.label} at {self._why.end_s:.1f} s"
            parts.append(
                Panel(Text(self._why.text + cursor), title=about, title_align="left", border_style="dim")
            )
        parts.append(Text(self._note, style="dim"))
        return Panel(Group(*parts), title=self._title, width=self._width)


def _headline(shown: Shown) -> Text:
    name, colour = STATUS[shown.status]
    line = Text(f"{shown.label.upper():<12}", style="bold")
    line.append(f"{shown.confidence:4.0%}   at {shown.end_s:6.1f} s   ", style="default")
    return line.append(name, style=colour)


def _bars(shown: Shown) -> Table:
    table = Table.grid(padding=(0, 1))
    for label, score in shown.scores.items():
        style = "bold cyan" if label == shown.label else "dim"
        table.add_row(Text(label, style=style), Text("█" * round(score * BAR), style=style), f"{score:4.0%}")
    return table


def _figures(shown: Shown) -> Text:
    used = " ".join(f"[{name}]" for name in shown.modalities) or "nothing"
    affect = f"valence {shown.valence:+.2f}   arousal {shown.arousal:+.2f}"
    return Text(f"{affect}   from {used}   {shown.latency_ms:.0f} ms")

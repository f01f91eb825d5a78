"""Cost follows new data: what a longer window costs in the vision stage, and what four people cost at once.

Everything that is compared takes turns, window by window, so that both sides meet the same disturbances; who
goes first changes with each turn, because the second finds caches and threads awake.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmark.offline import cut_windows
from benchmark.record import quartiles, summary
from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.perception import Perception
from emollama_ros.pipeline import PipelineConfig
from emollama_ros.streams import Window

#: Lengths of a window that are compared, s; and how many sources with one.
SHORT_S, LONG_S = 2.0, 8.0
SOURCES = 4
Taken = dict[str, list[float]]
Side = TypeVar("Side")


def growth(bundle: Bundle, clip: Path, windows: int, threads: int) -> dict[str, Any]:
    """Measure both.

    Args:
        bundle: The model.
        clip: With picture and sound, longer than the longest window; what lies beyond it is perceived again
            and again.
        windows: Timed windows of each side, at least.
        threads: CPU threads of the engine.
    """
    return {
        "window": of_windows(bundle, clip, windows, threads),
        "sources": of_sources(bundle, clip, windows, threads),
    }


def of_windows(bundle: Bundle, clip: Path, windows: int, threads: int) -> dict[str, Any]:
    """Vision stage of windows that end together, a short and a long one."""
    sides = {seconds: _perception(bundle, threads) for seconds in (SHORT_S, LONG_S)}
    taken: Taken = {}
    while len(taken.get("vision_short_ms", ())) < windows:
        for perception in sides.values():
            perception.reset()
        for turn, (short, long) in enumerate(_ending_together(clip)):
            for name, seconds, window in in_turn(turn, ("short", SHORT_S, short), ("long", LONG_S, long)):
                stages = sides[seconds].perceive_one(window).stage_ms
                for stage in ("vision", "total"):
                    _add(taken, f"{stage}_{name}_ms", stages[stage])
    return {"short_s": SHORT_S, "long_s": LONG_S} | _compared(taken, "vision") | _compared(taken, "total")


def _ending_together(clip: Path) -> Iterator[tuple[Window, Window]]:
    """Windows of both lengths at every hop at which the long one is full."""
    lengths = [PipelineConfig(window_s=seconds) for seconds in (SHORT_S, LONG_S)]
    cuts = zip(*(cut_windows(clip, config) for config in lengths), strict=True)
    for (_, short), (_, long) in cuts:
        assert short.end_ns == long.end_ns
        if long.end_ns - long.start_ns >= round(LONG_S * 1e9):
            yield short, long


def of_sources(bundle: Bundle, clip: Path, windows: int, threads: int) -> dict[str, Any]:
    """The whole fast path of one source, and of several at once, cutting the windows included.

    ``apart``: everybody has a camera and a microphone; nothing is shared. ``one_microphone``: several faces,
    and the same sound for all.
    """
    sides = {name: _perception(bundle, threads) for name in ("one", "apart", "one_microphone")}
    full_ns = round(PipelineConfig().window_s * 1e9)
    taken: Taken = {}
    while len(taken.get("total_one_ms", ())) < windows:
        for perception in sides.values():
            perception.reset()
        for turn, (cut_ms, window) in enumerate(cut_windows(clip, PipelineConfig())):
            for name, perception in in_turn(turn, *sides.items()):
                given = of_several(window, 1 if name == "one" else SOURCES, name == "one_microphone")
                spent = cut_ms * len(given) + _perceived_ms(perception, given)
                if window.end_ns - window.start_ns >= full_ns:
                    _add(taken, f"total_{name}_ms", spent)
    compared = [_compared(taken, "total", "one", name) for name in ("apart", "one_microphone")]
    return {"many": SOURCES, **compared[0], **compared[1]}


def of_several(window: Window, count: int, one_microphone: bool) -> list[Window]:
    """Windows of so many sources: other pictures, and other sound unless they share a microphone."""
    windows = []
    for source in range(count):
        frames, audio = window.frames, window.audio
        if frames is not None:
            frames = replace(frames, images=np.roll(frames.images, 7 * source, axis=2))
        if audio is not None and not one_microphone:
            audio = replace(audio, samples=np.roll(audio.samples, 1600 * source))
        windows.append(replace(window, frames=frames, audio=audio))
    return windows


def in_turn(turn: int, *sides: Side) -> tuple[Side, ...]:
    """The sides in the order of a turn: as given, and the other way round in every second one."""
    return sides if turn % 2 == 0 else sides[::-1]


def _perceived_ms(perception: Perception, windows: Sequence[Window]) -> float:
    count = len(windows)
    estimates = perception.perceive(windows, [0] * count, range(count))
    return estimates[0].stage_ms["total"]


def _perception(bundle: Bundle, threads: int) -> Perception:
    perception = Perception(bundle, EngineOptions(kind="cpu", threads=threads))
    perception.warm_up()
    return perception


def _add(taken: Taken, name: str, value: float) -> None:
    taken.setdefault(name, []).append(value)


def _compared(taken: Taken, stage: str, less: str = "short", more: str = "long") -> dict[str, Any]:
    """Summaries of both sides, and how many times as much the larger one costs, turn by turn."""
    small, large = taken[f"{stage}_{less}_ms"], taken[f"{stage}_{more}_ms"]
    return {
        f"{stage}_{less}_ms": summary(small),
        f"{stage}_{more}_ms": summary(large),
        f"{stage}_{more}_costs_times": quartiles(np.array(large) / np.array(small)),
    }

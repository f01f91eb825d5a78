"""How a pipeline is doing: counters, times and queues, as of now."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

#: Windows whose stage times are remembered.
REMEMBERED = 128


@dataclass(frozen=True)
class FeedHealth:
    """What became of the input of one source since the pipeline was made.

    Attributes:
        windows: Estimates given.
        windows_skipped: Windows left out because the fast worker was late.
        faults: Windows that failed.
        last_error: Why the latest failed window did, in words; it stays when things work again.
        restarts: Times the clock jumped and everything buffered was forgotten.
        frames_received: Pictures handed in, whether the model needed them or not.
        frames_kept: Pictures put into the buffer.
        audio_samples: Samples put into the buffer.
        audio_lost: Samples that stamps say are missing.
        fill: How much of the latest window was there, 0..1, by stream.
        buffered_s: Time from the oldest to the newest datum in the buffer, by stream.
        buffered_bytes: Memory that the buffers take; constant.
    """

    windows: int = 0
    windows_skipped: int = 0
    faults: int = 0
    last_error: str = ""
    restarts: int = 0
    frames_received: int = 0
    frames_kept: int = 0
    audio_samples: int = 0
    audio_lost: int = 0
    fill: Mapping[str, float] = field(default_factory=dict)
    buffered_s: Mapping[str, float] = field(default_factory=dict)
    buffered_bytes: int = 0


@dataclass(frozen=True)
class Health:
    """What the whole pipeline did since it was made; counters of its sources are summed.

    Attributes:
        windows: Estimates given.
        windows_skipped: Windows left out because the fast worker was late.
        reasonings: Reasonings finished.
        faults: Windows that failed, or whose estimate could not be handed on.
        reasoning_faults: Reasonings that failed; the labels go on.
        last_error: Why the latest failed window did, in words; it stays when things work again.
        reasoning_error: Why the latest reasoning failed; empty when it did not.
        restarts: Times a clock jumped and everything buffered of that source was forgotten.
        frames_received: Pictures handed in, whether the model needed them or not.
        audio_samples: Samples put into the buffers.
        audio_lost: Samples that stamps say are missing.
        stage_ms: Of each stage, ``p50`` and ``p95`` over the last 128 windows. Windows of several sources
            that were perceived together share each stage, and each counts the whole of it.
        busy_ms: How long the fast worker has been at the present window, 0 when idle.
        reasoning_busy_ms: How long the slow worker has been at the present reasoning, 0 when idle.
        queue_ms: Age of the oldest window that is complete and not begun.
    """

    windows: int = 0
    windows_skipped: int = 0
    reasonings: int = 0
    faults: int = 0
    reasoning_faults: int = 0
    last_error: str = ""
    reasoning_error: str = ""
    restarts: int = 0
    frames_received: int = 0
    audio_samples: int = 0
    audio_lost: int = 0
    stage_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    busy_ms: float = 0.0
    reasoning_busy_ms: float = 0.0
    queue_ms: float = 0.0


class Stopwatch:
    """How long the present piece of work has taken; readable from any thread."""

    def __init__(self) -> None:
        self._began_ns: int | None = None

    def __enter__(self) -> None:
        self._began_ns = time.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        self._began_ns = None

    @property
    def ms(self) -> float:
        """Milliseconds since the work began, 0 when there is none."""
        began = self._began_ns
        return 0.0 if began is None else (time.monotonic_ns() - began) / 1e6


class StageTimes:
    """Stage times of the last windows. Thread-safe."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._windows: deque[Mapping[str, float]] = deque(maxlen=remembered)
        self._lock = threading.Lock()

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """Remember those of a window."""
        with self._lock:
            self._windows.append(dict(stage_ms))

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Return ``p50`` and ``p95`` of each stage, ms; a stage that a window lacks is not counted as 0."""
        with self._lock:
            windows = tuple(self._windows)
        taken: dict[str, list[float]] = {}
        for window in windows:
            for name, ms in window.items():
                taken.setdefault(name, []).append(ms)
        return {name: _percentiles(values) for name, values in taken.items()}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50": float(p50), "p95": float(p95)}


@dataclass
class Tally:
    """What the workers write down: the fast one the first three, the slow one the others."""

    stages: StageTimes = field(default_factory=StageTimes)
    perceiving: Stopwatch = field(default_factory=Stopwatch)
    last_error: str = ""
    reasoning: Stopwatch = field(default_factory=Stopwatch)
    reasonings: int = 0
    reasoning_faults: int = 0
    reasoning_error: str = ""


def sum_up(tally: Tally, feeds: Sequence[FeedHealth], queue_ms: float) -> Health:
    """Put together what the workers did and what the sources got."""
    return Health(
        windows=sum(f.windows for f in feeds),
        windows_skipped=sum(f.windows_skipped for f in feeds),
        reasonings=tally.reasonings,
        faults=sum(f.faults for f in feeds),
        reasoning_faults=tally.reasoning_faults,
        last_error=tally.last_error,
        reasoning_error=tally.reasoning_error,
        restarts=sum(f.restarts for f in feeds),
        frames_received=sum(f.frames_received for f in feeds),
        audio_samples=sum(f.audio_samples for f in feeds),
        audio_lost=sum(f.audio_lost for f in feeds),
        stage_ms=tally.stages.percentiles(),
        busy_ms=tally.perceiving.ms,
        reasoning_busy_ms=tally.reasoning.ms,
        queue_ms=queue_ms,
    )

"""Models made of events, and a pipeline over them.

Nothing sleeps. A test steps the fast worker by holding its perceiver at a gate, or waits for what a worker
says through a queue.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning
from emollama_ros.pipeline import EmotionPipeline, PipelineConfig
from emollama_ros.streams import Window

S = 1_000_000_000
PATIENCE_S = 10.0
CONFIG = PipelineConfig(frame_size=8, expected=Modality.AUDIO)
LABELS = ("neutral", "happy")


def picture(value: int) -> np.ndarray:
    return np.full((6, 10, 3), value, np.uint8)


def estimate_of(window: Window, sequence: int, source: int = 0, label: str = "happy") -> EmotionEstimate:
    used = (Modality.AUDIO if window.audio else Modality.NONE) | (
        Modality.VIDEO if window.frames else Modality.NONE
    )
    return EmotionEstimate(
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        sequence=sequence,
        label=label,
        labels=LABELS,
        scores=(0.2, 0.8),
        valence=0.0,
        arousal=0.0,
        confidence=0.8,
        modalities=used,
        stage_ms={"total": 1.0},
        source=source,
    )


@dataclass
class FakePerceiver:
    """Remembers its windows; ``entered`` and ``gate`` let a test hold it inside a batch."""

    label: Callable[[int], str] = lambda sequence: "happy"
    held: bool = False
    windows: list[Window] = field(default_factory=list)
    batches: list[tuple[int, ...]] = field(default_factory=list)
    resets: list[int | None] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.entered: queue.Queue[int] = queue.Queue()
        self.gate = threading.Semaphore(0)

    def perceive(
        self, windows: Sequence[Window], sequences: Sequence[int], sources: Sequence[int]
    ) -> list[EmotionEstimate]:
        self.windows += windows
        self.batches.append(tuple(sources))
        self.entered.put(windows[0].end_ns)
        if self.held:
            assert self.gate.acquire(timeout=PATIENCE_S)
        if self.faults:
            raise self.faults.pop(0)
        if broken := self.broken & set(sources):
            raise ValueError(f"source {min(broken)} sends nonsense")
        return [
            estimate_of(window, sequence, source, self.label(sequence))
            for window, sequence, source in zip(windows, sequences, sources, strict=True)
        ]

    def reset(self, source: int | None = None) -> None:
        self.resets.append(source)


class FakeExplainer:
    """Explains at once, or when ``held`` waits until it is asked to stop or let go."""

    def __init__(self, held: bool = False) -> None:
        self.begun: queue.Queue[tuple[EmotionEstimate, str]] = queue.Queue()
        self.asked: queue.Queue[tuple[str, EmotionEstimate, str]] = queue.Queue()
        self.cancelled = threading.Event()
        self.go = threading.Event()
        self.faults: list[Exception] = []
        self._held = held

    def explain(
        self,
        estimate: EmotionEstimate,
        transcript: str,
        *,
        question: str = "",
        on_text: Callable[[Reasoning], None],
        should_stop: Callable[[], bool],
    ) -> Reasoning:
        if question:
            self.asked.put((question, estimate, transcript))
        else:
            self.begun.put((estimate, transcript))
        while self._held and not self.go.wait(0.001):
            if should_stop():
                self.cancelled.set()
                break
        if self.faults:
            raise self.faults.pop(0)
        text = Reasoning(
            0, estimate.sequence, estimate.start_ns, estimate.end_ns, estimate.label, "because", True
        )
        on_text(text)
        return text


class Run:
    """A started pipeline and what came out of it."""

    def __init__(
        self,
        perceiver: FakePerceiver,
        explainer: FakeExplainer | None,
        config: PipelineConfig,
        sources: int = 1,
    ) -> None:
        self.perceiver, self.explainer = perceiver, explainer
        self.estimates: queue.Queue[EmotionEstimate] = queue.Queue()
        self.reasonings: queue.Queue[Reasoning] = queue.Queue()
        self.pipeline = EmotionPipeline(
            perceiver, explainer, config, self.estimates.put, self.reasonings.put, sources
        )
        self.pipeline.start()
        self.heard_ns = 0
        self._heard = [0] * sources

    def hear(self, until_s: float) -> None:
        """Push sound of the first source up to a time, in chunks of a tenth of a second."""
        while self.heard_ns < until_s * S:
            self.pipeline.push_audio(self.heard_ns, np.full(1600, 0.1, np.float32))
            self.heard_ns += S // 10

    def feed_window(self, until_s: float) -> int:
        """Push sound up to the end of a window, and return that end when the worker has begun it."""
        self.hear(until_s)
        return self.perceiver.entered.get(timeout=PATIENCE_S)

    def hear_all(self, until_s: float, *sources: int) -> None:
        """Push sound of some sources up to a time, one after the other."""
        for source in sources:
            while self._heard[source] < until_s * S:
                self.pipeline.feeds[source].push_audio(self._heard[source], np.full(1600, 0.1, np.float32))
                self._heard[source] += S // 10

    def estimate(self) -> EmotionEstimate:
        return self.estimates.get(timeout=PATIENCE_S)

    def hear_each(self, ends_s: list[float]) -> list[EmotionEstimate]:
        """Push sound until each end and wait for its estimate, so that none is skipped."""
        found = []
        for end_s in ends_s:
            self.hear(end_s)
            found.append(self.estimate())
        return found

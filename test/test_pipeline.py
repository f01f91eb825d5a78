"""The two-rate pipeline with models made of events: order, skipping, faults, restarts, missing inputs.

Nothing here sleeps. A test steps the fast worker by holding its perceiver at a gate, or waits for what a
worker says through a queue.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from emollama_ros.errors import ConfigError, EngineError
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning, Status
from emollama_ros.pipeline import EmotionPipeline, Intake, PipelineConfig
from emollama_ros.streams import Window

S = 1_000_000_000
PATIENCE_S = 10.0
CONFIG = PipelineConfig(frame_size=8, expected=Modality.AUDIO)
LABELS = ("neutral", "happy")


def estimate_of(window: Window, sequence: int, label: str = "happy") -> EmotionEstimate:
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
    )


@dataclass
class FakePerceiver:
    """Remembers its windows; ``entered`` and ``gate`` let a test hold it inside one."""

    label: Callable[[int], str] = lambda sequence: "happy"
    held: bool = False
    windows: list[Window] = field(default_factory=list)
    resets: int = 0
    faults: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.entered: queue.Queue[int] = queue.Queue()
        self.gate = threading.Semaphore(0)

    def perceive(self, window: Window, sequence: int) -> EmotionEstimate:
        self.windows.append(window)
        self.entered.put(window.end_ns)
        if self.held:
            assert self.gate.acquire(timeout=PATIENCE_S)
        if self.faults:
            raise self.faults.pop(0)
        return estimate_of(window, sequence, self.label(sequence))

    def reset(self) -> None:
        self.resets += 1


class FakeExplainer:
    """Explains at once, or when ``held`` waits until it is asked to stop or let go."""

    def __init__(self, held: bool = False) -> None:
        self.begun: queue.Queue[tuple[EmotionEstimate, str]] = queue.Queue()
        self.cancelled = threading.Event()
        self.go = threading.Event()
        self.faults: list[Exception] = []
        self._held = held

    def explain(
        self,
        estimate: EmotionEstimate,
        transcript: str,
        *,
        on_text: Callable[[Reasoning], None],
        should_stop: Callable[[], bool],
    ) -> Reasoning:
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

    def __init__(self, perceiver: FakePerceiver, explainer: FakeExplainer | None, config: PipelineConfig):
        self.perceiver = perceiver
        self.estimates: queue.Queue[EmotionEstimate] = queue.Queue()
        self.reasonings: queue.Queue[Reasoning] = queue.Queue()
        self.pipeline = EmotionPipeline(perceiver, explainer, config, self.estimates.put, self.reasonings.put)
        self.pipeline.start()
        self.heard_ns = 0

    def hear(self, until_s: float) -> None:
        """Push sound up to a time, in chunks of a tenth of a second."""
        while self.heard_ns < until_s * S:
            self.pipeline.push_audio(self.heard_ns, np.full(1600, 0.1, np.float32))
            self.heard_ns += S // 10

    def estimate(self) -> EmotionEstimate:
        return self.estimates.get(timeout=PATIENCE_S)

    def hear_each(self, ends_s: list[float]) -> list[EmotionEstimate]:
        """Push sound until each end and wait for its estimate, so that none is skipped."""
        found = []
        for end_s in ends_s:
            self.hear(end_s)
            found.append(self.estimate())
        return found


@pytest.fixture
def start() -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(
        perceiver: FakePerceiver | None = None,
        explainer: FakeExplainer | None = None,
        config: PipelineConfig = CONFIG,
    ) -> Run:
        runs.append(Run(perceiver or FakePerceiver(), explainer, config))
        return runs[-1]

    yield begin
    for run in runs:
        run.perceiver.held = False
        run.perceiver.gate.release()
        run.pipeline.stop()


def picture(value: int) -> np.ndarray:
    return np.full((6, 10, 3), value, np.uint8)


def test_windows_come_in_order_on_the_grid_and_are_numbered(start: Callable[..., Run]) -> None:
    found = start().hear_each([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0])
    assert [e.sequence for e in found] == list(range(9))
    assert [e.end_ns for e in found] == [S + k * S // 2 for k in range(9)]
    assert [e.start_ns for e in found] == [0] * 7 + [S // 2, S]
    assert all(e.status is Status.OK for e in found)


def test_the_samples_of_a_window_are_those_of_its_interval(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0])
    (window,) = run.perceiver.windows
    assert window.audio is not None and len(window.audio.samples) == 16000 and window.audio.valid == 1.0


def test_a_late_worker_takes_the_newest_window_and_counts_the_others(start: Callable[..., Run]) -> None:
    run = start(FakePerceiver(held=True))
    run.hear(1.0)
    assert run.perceiver.entered.get(timeout=PATIENCE_S) == S
    run.hear(3.0)  # four more windows become complete while the first is being perceived
    run.perceiver.held = False
    run.perceiver.gate.release()
    assert [run.estimate().end_ns, run.estimate().end_ns] == [S, 3 * S]
    health = run.pipeline.health()
    assert (health.windows, health.windows_skipped, health.faults) == (2, 3, 0)


def test_a_label_never_waits_for_the_explainer(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer(held=True)
    run = start(explainer=explainer)
    found = run.hear_each([1.0])
    explained, _ = explainer.begun.get(timeout=PATIENCE_S)
    found += run.hear_each([1.5, 2.0, 2.5, 3.0])  # while the explainer is held in the first
    assert [e.sequence for e in found] == [0, 1, 2, 3, 4]
    assert explained.sequence == 0 and run.reasonings.empty() and explainer.begun.empty()
    assert run.pipeline.health().reasonings == 0


def test_after_a_long_reasoning_the_newest_estimate_is_explained(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer(held=True)
    perceiver = FakePerceiver(label=lambda sequence: LABELS[sequence % 2])
    run = start(perceiver, explainer)
    run.hear_each([1.0])
    explainer.begun.get(timeout=PATIENCE_S)
    run.hear_each([1.5, 2.0, 2.5])  # 1 and 3 differ from what is being explained; the newest of them counts
    explainer.go.set()
    estimate, _ = explainer.begun.get(timeout=PATIENCE_S)
    assert estimate.sequence == 3


def test_an_unchanged_label_is_explained_again_after_the_interval(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer()
    run = start(explainer=explainer)
    run.hear_each([1.0])
    assert explainer.begun.get(timeout=PATIENCE_S)[0].end_ns == S
    run.hear_each([1.5 + 0.5 * k for k in range(6)])
    assert explainer.begun.get(timeout=PATIENCE_S)[0].end_ns == 4 * S  # 3 s later, nothing between


def test_a_reasoning_comes_out_and_is_counted(start: Callable[..., Run]) -> None:
    run = start(explainer=FakeExplainer())
    run.hear_each([1.0])
    reasoning = run.reasonings.get(timeout=PATIENCE_S)
    assert (reasoning.text, reasoning.label, reasoning.final) == ("because", "happy", True)
    run.pipeline.stop()
    assert run.pipeline.health().reasonings == 1


def test_nothing_perceived_is_not_explained(start: Callable[..., Run]) -> None:
    class Blind(FakePerceiver):
        def perceive(self, window: Window, sequence: int) -> EmotionEstimate:
            return estimate_of(Window(window.start_ns, window.end_ns), sequence)

    explainer = FakeExplainer()
    run = start(Blind(), explainer)
    assert all(e.modalities is Modality.NONE for e in run.hear_each([1.0, 1.5]))
    run.pipeline.stop()
    assert explainer.begun.empty()


def test_the_transcript_reaches_perceiver_and_explainer(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer()
    run = start(explainer=explainer)
    run.pipeline.push_transcript(S // 2, "we  won")
    run.hear_each([1.0])
    assert run.perceiver.windows[0].transcript == "we won"
    assert explainer.begun.get(timeout=PATIENCE_S)[1] == "we won"


def test_old_words_are_not_said_again(start: Callable[..., Run]) -> None:
    run = start(config=PipelineConfig(window_s=1.0, frame_size=8, expected=Modality.AUDIO))
    run.pipeline.push_transcript(S // 2, "hello")
    run.hear_each([1.0, 1.5, 2.0])
    assert [w.transcript for w in run.perceiver.windows] == ["hello", "hello", ""]


def test_stopping_cancels_the_reasoning(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer(held=True)
    run = start(explainer=explainer)
    run.hear_each([1.0])
    explainer.begun.get(timeout=PATIENCE_S)
    run.pipeline.stop()
    assert explainer.cancelled.is_set()
    assert not any(t.name.startswith("emollama-") and t.is_alive() for t in threading.enumerate())


def test_it_starts_again_after_a_stop_without_explaining_what_is_old(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer(held=True)
    perceiver = FakePerceiver(label=lambda sequence: LABELS[sequence % 2])
    run = start(perceiver, explainer)
    run.hear_each([1.0])
    explainer.begun.get(timeout=PATIENCE_S)
    run.hear_each([1.5])  # waits in the mailbox
    run.pipeline.stop()
    run.pipeline.start()
    run.pipeline.start()  # the second time does nothing
    assert run.hear_each([2.0])[0].end_ns == 2 * S
    assert explainer.begun.get(timeout=PATIENCE_S)[0].end_ns == 2 * S


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (EngineError("inference failed: no memory"), "inference failed: no memory"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failing_window_is_counted_and_the_next_one_is_perceived(
    start: Callable[..., Run], error: Exception, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = start(FakePerceiver(faults=[error]))
    with caplog.at_level(logging.ERROR):
        run.hear(1.0)
        run.perceiver.entered.get(timeout=PATIENCE_S)
        (found,) = run.hear_each([1.5])
    health = run.pipeline.health()
    assert (found.sequence, found.end_ns) == (0, 3 * S // 2)  # numbers have no gap
    assert (health.windows, health.faults, health.last_error) == (1, 1, text)
    (record,) = caplog.records
    assert text in record.getMessage()
    assert bool(record.exc_info) == (not isinstance(error, EngineError))  # a traceback for the unforeseen


def test_a_repeating_fault_is_logged_once_and_counted_each_time(
    start: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    run = start(FakePerceiver(faults=[ValueError("bad") for _ in range(3)]))
    with caplog.at_level(logging.ERROR):
        for end_s in (1.0, 1.5, 2.0):
            run.hear(end_s)
            run.perceiver.entered.get(timeout=PATIENCE_S)
        run.hear_each([2.5])
    assert run.pipeline.health().faults == 3 and len(caplog.records) == 1


def test_a_subscriber_that_fails_does_not_end_the_worker() -> None:
    seen: queue.Queue[EmotionEstimate] = queue.Queue()

    def fail_first(estimate: EmotionEstimate) -> None:
        seen.put(estimate)
        if estimate.sequence == 0:
            raise RuntimeError("publisher is gone")

    pipeline = EmotionPipeline(FakePerceiver(), None, CONFIG, fail_first)
    pipeline.start()
    for k in range(3):
        pipeline.push_audio(k * S // 2, np.full(8000, 0.1, np.float32))
        if k:
            assert seen.get(timeout=PATIENCE_S).sequence == k - 1
    pipeline.stop()
    health = pipeline.health()
    assert (health.windows, health.faults) == (2, 1) and "publisher is gone" in health.last_error


@pytest.mark.parametrize("error", [EngineError("no memory"), KeyError("token")])
def test_a_failing_reasoning_is_counted_and_the_next_one_is_written(
    start: Callable[..., Run], error: Exception
) -> None:
    explainer = FakeExplainer()
    explainer.faults.append(error)
    perceiver = FakePerceiver(label=lambda sequence: LABELS[sequence % 2])
    run = start(perceiver, explainer)
    run.hear_each([1.0])
    explainer.begun.get(timeout=PATIENCE_S)
    run.hear_each([1.5])
    assert run.reasonings.get(timeout=PATIENCE_S).estimate_sequence == 1
    run.pipeline.stop()
    health = run.pipeline.health()
    assert (health.faults, health.reasonings) == (1, 1) and str(error) in health.last_error


def test_a_clock_that_falls_back_restarts_and_resets_perception(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0 + 0.5 * k for k in range(13)])  # to 7 s
    assert run.perceiver.resets == 0
    run.heard_ns = 0
    found = run.hear_each([1.0])
    assert run.perceiver.resets == 1 and run.pipeline.health().restarts == 1
    assert (found[0].start_ns, found[0].end_ns, found[0].sequence) == (0, S, 13)
    window = run.perceiver.windows[-1]
    assert window.audio is not None and window.audio.valid == 1.0


def test_a_pause_restarts_too(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0])
    run.heard_ns = 60 * S
    (found,) = run.hear_each([61.0])
    assert (found.start_ns, found.end_ns) == (60 * S, 61 * S)
    assert run.perceiver.resets == 1 and run.pipeline.health().restarts == 1


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (Modality.VIDEO | Modality.AUDIO, "no video received in this window"),
        (Modality.AUDIO | Modality.TEXT, ""),  # nobody speaks all the time
        (Modality.NONE, ""),
    ],
)
def test_a_connected_input_that_is_missing_degrades(
    start: Callable[..., Run], expected: Modality, text: str
) -> None:
    run = start(config=PipelineConfig(frame_size=8, expected=expected))
    (found,) = run.hear_each([1.0])
    assert (found.status, found.status_text) == (Status.DEGRADED if text else Status.OK, text)


def test_pictures_alone_make_windows_and_missing_sound_is_said(start: Callable[..., Run]) -> None:
    run = start(config=PipelineConfig(frame_size=8))
    for k in range(11):
        run.pipeline.push_frame(k * S // 10, picture(10 * k))
    found = run.estimate()
    assert found.status_text == "no audio received in this window" and found.modalities is Modality.VIDEO
    frames = run.perceiver.windows[0].frames
    assert frames is not None and frames.images.shape == (4, 8, 8, 3)  # 4 a second of the 10
    assert run.pipeline.health().frames_received == 11


def test_a_stream_that_dies_delays_nothing_for_longer_than_the_patience(start: Callable[..., Run]) -> None:
    run = start(config=PipelineConfig(frame_size=8))
    run.pipeline.push_frame(0, picture(0))
    run.hear(1.2)
    assert run.estimate().end_ns == S


def test_skipped_pictures_move_time_on_too(start: Callable[..., Run]) -> None:
    run = start(config=PipelineConfig(frame_size=8, expected=Modality.VIDEO))
    for k in range(11):
        if run.pipeline.intake.wants_frame(k * S // 10):
            run.pipeline.push_frame(k * S // 10, picture(10 * k))
        else:
            run.pipeline.skip_frame(k * S // 10)
    assert run.estimate().end_ns == S
    assert run.pipeline.health().frames_received == 11


def test_health_counts_samples_that_arrived_and_that_did_not(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0])
    run.heard_ns += S // 2
    run.hear(2.0)
    run.estimate()
    health = run.pipeline.health()
    assert (health.audio_samples, health.audio_lost) == (16000 + 8000, 8000)
    assert health.stage_ms == {"total": 1.0}


@pytest.mark.parametrize(
    "wrong", [{"window_s": 0.5}, {"window_s": 31}, {"hop_s": 0.0}, {"hop_s": 11}, {"window_s": float("nan")}]
)
def test_times_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name} is "):
        PipelineConfig(**wrong)


def test_an_intake_says_when_its_clock_began_anew() -> None:
    intake = Intake(CONFIG)
    assert not intake.push_audio(10 * S, np.zeros(1600, np.float32))
    assert intake.push_audio(5 * S, np.zeros(1600, np.float32))
    assert not intake.push_frame(5 * S, picture(0))
    assert intake.push_frame(2 * S, picture(0))

"""One source: order, skipping, faults, restarts, missing inputs, and words that keep nobody waiting."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fake_workers import (
    CONFIG,
    LABELS,
    PATIENCE_S,
    FakeExplainer,
    FakePerceiver,
    Run,
    S,
    estimate_of,
    picture,
)

from emollama_ros.errors import ConfigError, EngineError
from emollama_ros.estimate import EmotionEstimate, Modality, Status
from emollama_ros.pipeline import EmotionPipeline, Intake, PipelineConfig
from emollama_ros.streams import Window


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
        def perceive(
            self, windows: Sequence[Window], sequences: Sequence[int], sources: Sequence[int]
        ) -> list[EmotionEstimate]:
            return [estimate_of(Window(windows[0].start_ns, windows[0].end_ns), sequences[0])]

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
    assert run.hear_each([2.5])[0].end_ns == 5 * S // 2  # nothing from before the stop is left to explain
    assert explainer.begun.get(timeout=PATIENCE_S)[0].end_ns == 5 * S // 2


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


@pytest.mark.parametrize("error", [EngineError("no model"), KeyError("token"), MemoryError()])
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
    assert (health.reasoning_faults, health.reasonings, health.faults) == (1, 1, 0)
    assert (health.last_error, health.reasoning_error) == ("", "")  # the latest one was written


def test_a_clock_that_falls_back_restarts_and_resets_perception(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0 + 0.5 * k for k in range(13)])  # to 7 s
    assert run.perceiver.resets == []
    run.heard_ns = 0
    found = run.hear_each([1.0])
    assert run.perceiver.resets == [0] and run.pipeline.health().restarts == 1
    assert (found[0].start_ns, found[0].end_ns, found[0].sequence) == (0, S, 13)
    window = run.perceiver.windows[-1]
    assert window.audio is not None and window.audio.valid == 1.0


def test_a_pause_restarts_too(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0])
    run.heard_ns = 60 * S
    (found,) = run.hear_each([61.0])
    assert (found.start_ns, found.end_ns) == (60 * S, 61 * S)
    assert run.perceiver.resets == [0] and run.pipeline.health().restarts == 1


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
    assert health.stage_ms == {"total": {"p50": 1.0, "p95": 1.0}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_s": 0.5},
        {"window_s": 31},
        {"hop_s": 0.0},
        {"hop_s": 11},
        {"window_s": float("nan")},
        {"patience_s": 5.1},
    ],
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


def test_what_is_stopped_forgets_what_was_seen_and_heard(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0, 1.5])
    run.pipeline.push_frame(S, picture(9))
    run.pipeline.push_transcript(S, "a secret")
    assert run.pipeline.health().windows == 2 and min(run.pipeline.feeds[0].health().buffered_s.values()) >= 0
    run.pipeline.stop()
    assert set(run.pipeline.feeds[0].health().buffered_s.values()) == {0.0}
    window = run.pipeline.intake.window(2 * S)
    assert (window.frames, window.audio, window.transcript) == (None, None, "")
    assert run.perceiver.resets[-1] is None  # of all sources
    assert run.pipeline.health().windows == 2

"""What a pipeline says of itself: counters, percentiles, and how long things have taken and waited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_workers import CONFIG, LABELS, PATIENCE_S, FakeExplainer, FakePerceiver, Run, S, picture
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.pipeline.health import REMEMBERED, StageTimes, Stopwatch


def test_idle_nothing_is_busy_and_nothing_waits(start: Callable[..., Run]) -> None:
    health = start().pipeline.health()
    assert (health.busy_ms, health.reasoning_busy_ms, health.queue_ms) == (0.0, 0.0, 0.0)
    assert (health.windows, health.stage_ms, health.last_error) == (0, {}, "")


def test_a_window_that_hangs_and_one_that_waits_are_seen_from_outside(start: Callable[..., Run]) -> None:
    run = start(FakePerceiver(held=True), sources=2)
    run.hear_all(1.0, 0)
    run.perceiver.entered.get(timeout=PATIENCE_S)
    before = run.pipeline.health()
    assert before.busy_ms > 0 and before.queue_ms == 0.0
    run.hear_all(1.0, 1)
    after = run.pipeline.health()
    assert after.busy_ms > before.busy_ms and after.queue_ms > 0
    assert run.pipeline.feeds[1].waiting_ms > 0 == run.pipeline.feeds[0].waiting_ms
    run.perceiver.held = False
    run.perceiver.gate.release()
    run.estimate(), run.estimate()
    run.pipeline.stop()
    assert (run.pipeline.health().busy_ms, run.pipeline.health().queue_ms) == (0.0, 0.0)


def test_a_reasoning_that_takes_long_is_seen_from_outside(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer(held=True)
    run = start(explainer=explainer)
    run.hear_each([1.0])
    explainer.begun.get(timeout=PATIENCE_S)
    assert run.pipeline.health().reasoning_busy_ms > 0
    explainer.go.set()
    run.reasonings.get(timeout=PATIENCE_S)
    run.pipeline.stop()
    assert run.pipeline.health().reasoning_busy_ms == 0


def test_a_reasoning_that_fails_says_so_until_one_succeeds_and_labels_go_on(
    start: Callable[..., Run],
) -> None:
    explainer = FakeExplainer()
    explainer.faults.append(MemoryError("no room for the cache"))
    perceiver = FakePerceiver(label=lambda sequence: LABELS[sequence % 2])
    run = start(perceiver, explainer)
    run.hear_each([1.0])
    explainer.begun.get(timeout=PATIENCE_S)
    run.pipeline.stop()  # the fault is counted by now
    health = run.pipeline.health()
    assert health.reasoning_error == "MemoryError: no room for the cache"
    assert (health.reasoning_faults, health.faults, health.last_error, health.windows) == (1, 0, "", 1)
    run.pipeline.start()
    run.hear_each([2.5])
    run.reasonings.get(timeout=PATIENCE_S)
    run.pipeline.stop()
    health = run.pipeline.health()
    assert (health.reasoning_error, health.reasoning_faults, health.reasonings) == ("", 1, 1)


def test_a_feed_says_how_full_its_windows_and_its_buffers_are(start: Callable[..., Run]) -> None:
    run = start(config=replace(CONFIG, patience_s=5.0))
    for k in range(4):  # half of the 8 frames that 2 s have
        run.pipeline.push_frame(k * S // 4, picture(k))
    run.hear(0.5)
    run.heard_ns = 3 * S // 2
    run.hear(2.0)
    run.pipeline.skip_frame(S)
    assert run.estimate().end_ns == S
    health = run.pipeline.feeds[0].health()
    assert health.fill == {"video": 1.0, "audio": 0.5}
    assert health.buffered_s == {"video": 0.75, "audio": 2.0}
    assert (health.frames_received, health.frames_kept, health.audio_lost) == (5, 4, 16000)
    assert health.buffered_bytes > 10 * 16000 * 5


def test_what_is_forgotten_is_not_buffered(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0])
    run.pipeline.push_audio(-5 * S, np.zeros(1600, np.float32))
    assert run.pipeline.feeds[0].health().buffered_s == {"video": 0.0, "audio": 0.1}


@given(st.lists(st.floats(0.0, 1e4), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_last_windows(times: list[float]) -> None:
    stages = StageTimes()
    for ms in times:
        stages.add({"total": ms})
    found = stages.percentiles()["total"]
    kept = times[-REMEMBERED:]
    assert found == {"p50": pytest.approx(np.median(kept)), "p95": pytest.approx(np.percentile(kept, 95))}


def test_a_stage_that_a_window_lacks_is_not_counted_as_nothing() -> None:
    stages = StageTimes()
    for stage_ms in ({"audio": 4.0}, {"vision": 2.0}, {"audio": 6.0}):
        stages.add(stage_ms)
    assert stages.percentiles()["audio"]["p50"] == 5.0 and stages.percentiles()["vision"]["p50"] == 2.0


def test_a_stopwatch_stops_when_the_work_fails() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="nonsense"), watch:
        assert watch.ms >= 0
        raise ValueError("nonsense")
    assert watch.ms == 0

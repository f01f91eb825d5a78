"""Several sources: together where they can be, apart where they must, and nobody waits for another."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_workers import CONFIG, LABELS, PATIENCE_S, FakeExplainer, FakePerceiver, Run, S, estimate_of
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.labels import UNCERTAIN
from emollama_ros.pipeline import EmotionPipeline, Feed
from emollama_ros.pipeline.slow import Mailbox
from emollama_ros.smoothing import Smoothing
from emollama_ros.streams import Window
from emollama_ros.uncertainty import Uncertainty

EMPTY = Window(0, S)


def held(run: Run) -> None:
    """Hold the fast worker inside a batch of source 0 alone."""
    run.hear_all(1.0, 0)
    run.perceiver.entered.get(timeout=PATIENCE_S)


def let_go(run: Run) -> None:
    run.perceiver.held = False
    run.perceiver.gate.release()


def test_windows_that_are_complete_together_are_perceived_together(start: Callable[..., Run]) -> None:
    run = start(FakePerceiver(held=True), sources=4)
    held(run)
    run.hear_all(1.0, 1, 3)
    let_go(run)
    found = [run.estimate() for _ in range(3)]
    assert [(e.source, e.sequence, e.end_ns) for e in found] == [(0, 0, S), (1, 0, S), (3, 0, S)]
    assert run.perceiver.batches == [(0,), (1, 3)]


def test_a_source_without_input_keeps_nobody_waiting(start: Callable[..., Run]) -> None:
    run = start(sources=2)
    for k in range(4):
        run.hear_all(1.0 + 0.5 * k, 1)
        assert (run.estimate().source, run.perceiver.batches[-1]) == (1, (1,))
    first, second = (feed.health() for feed in run.pipeline.feeds)
    assert (first.windows, second.windows, run.pipeline.health().windows) == (0, 4, 4)


def test_sources_that_begin_apart_end_their_windows_together(start: Callable[..., Run]) -> None:
    run = start(sources=2)
    run.hear_all(1.1, 0)
    run.pipeline.feeds[1].push_audio(13 * S // 100, np.full(30000, 0.1, np.float32))  # to 2.005 s
    assert {run.estimate().end_ns for _ in range(2)} == {S, 2 * S}
    assert run.pipeline.feeds[1].health().windows_skipped == 1  # that of 1.5 s; 1.0 s would be too short
    run.hear_all(2.6, 0)
    run.pipeline.feeds[1].push_audio(2 * S + 5 * S // 1000, np.full(9600, 0.1, np.float32))
    while (found := run.estimate()).source == 0:
        pass
    assert found.end_ns == 5 * S // 2


def test_sources_are_numbered_and_skipped_each_by_itself(start: Callable[..., Run]) -> None:
    run = start(FakePerceiver(held=True), sources=2)
    held(run)
    run.hear_all(2.0, 1)  # its windows at 1.0 and 1.5 s are late when the worker comes back
    let_go(run)
    assert [run.estimate().source for _ in range(2)] == [0, 1]
    run.hear_all(1.5, 0)
    assert (run.estimate().sequence, run.pipeline.feeds[1].health().windows_skipped) == (1, 2)
    assert run.pipeline.feeds[0].health().windows_skipped == 0
    assert run.pipeline.health().windows_skipped == 2


def test_what_one_source_sends_does_not_take_the_others_estimates_with_it(start: Callable[..., Run]) -> None:
    run = start(FakePerceiver(held=True, broken={1}), sources=3)
    held(run)
    run.hear_all(1.0, 1, 2)
    let_go(run)
    assert [run.estimate().source for _ in range(2)] == [0, 2]
    health = run.pipeline.feeds[1].health()
    assert (health.windows, health.faults, health.last_error) == (0, 1, "ValueError: source 1 sends nonsense")
    assert run.pipeline.feeds[2].health().faults == 0 and run.pipeline.health().faults == 1


def test_a_clock_that_jumps_is_the_matter_of_its_source_alone(start: Callable[..., Run]) -> None:
    run = start(sources=2)
    run.hear_all(3.0, 0, 1)
    run.pipeline.feeds[1].push_audio(60 * S, np.full(16000, 0.1, np.float32))
    while run.estimate().end_ns != 61 * S:
        pass
    assert run.perceiver.resets == [1]
    run.hear_all(4.0, 0)
    while (found := run.estimate()).end_ns != 4 * S:
        pass
    assert (found.source, found.start_ns) == (0, 0)
    assert [feed.health().restarts for feed in run.pipeline.feeds] == [0, 1]


def test_labels_are_smoothed_by_source_before_they_are_published_and_explained(
    start: Callable[..., Run],
) -> None:
    class Turning(FakePerceiver):
        def perceive(
            self, windows: list[Window], sequences: list[int], sources: list[int]
        ) -> list[EmotionEstimate]:
            self.windows += windows
            scores = (0.9, 0.1) if sequences[0] == 0 else (0.45, 0.55)
            label = LABELS[int(np.argmax(scores))]
            found = estimate_of(windows[0], sequences[0], sources[0], label)
            return [replace(found, scores=scores, confidence=max(scores))]

    explainer = FakeExplainer()
    config = replace(CONFIG, smoothing=Smoothing(label_margin=0.3), reasoning_interval_s=0.0)
    run = start(Turning(), explainer, config, sources=2)
    run.hear_all(1.0, 0)
    run.estimate()
    # Each is begun before the next comes, which would take its place.
    assert explainer.begun.get(timeout=PATIENCE_S)[0].label == "neutral"
    run.hear_all(1.5, 0)
    assert (run.estimate().label, run.perceiver.windows[-1].end_ns) == ("neutral", 3 * S // 2)
    assert explainer.begun.get(timeout=PATIENCE_S)[0].label == "neutral"
    run.hear_all(1.0, 1)
    assert run.estimate().label == "neutral"  # its own first
    run.pipeline.reconfigure(replace(config, smoothing=Smoothing()))
    run.hear_all(2.0, 0)
    assert run.estimate().label == "happy"  # at once


def test_windows_that_contradict_each_other_are_uncertain_once_they_are_averaged(
    start: Callable[..., Run],
) -> None:
    class Torn(FakePerceiver):
        def perceive(
            self, windows: list[Window], sequences: list[int], sources: list[int]
        ) -> list[EmotionEstimate]:
            scores = ((0.9, 0.1), (0.1, 0.9))[sequences[0] % 2]
            label = LABELS[int(np.argmax(scores))]
            found = estimate_of(windows[0], sequences[0], sources[0], label)
            return [replace(found, scores=scores, confidence=0.9)]

    explainer = FakeExplainer()
    config = replace(
        CONFIG, smoothing=Smoothing(smoothing_s=2.0), uncertainty=Uncertainty(0.8), reasoning_interval_s=0.0
    )
    run = start(Torn(), explainer, config, sources=2)
    run.hear_all(1.0, 0)
    assert run.estimate().label == "neutral"
    assert explainer.begun.get(timeout=PATIENCE_S)[0].label == "neutral"
    run.hear_all(1.5, 0)
    unsure = run.estimate()
    assert (unsure.label, unsure.confidence) == (UNCERTAIN, pytest.approx(max(unsure.scores)))
    assert explainer.begun.get(timeout=PATIENCE_S)[0].label == UNCERTAIN
    run.hear_all(1.0, 1)
    assert run.estimate().label == "neutral"  # another source, another doubt
    run.pipeline.reconfigure(replace(config, uncertainty=Uncertainty()))
    run.hear_all(2.0, 0)
    assert run.estimate().label in LABELS


def test_what_is_forgotten_is_not_doubted_any_more() -> None:
    feed = Feed(0, replace(CONFIG, uncertainty=Uncertainty(0.6)), lambda: None)

    def told(second: int, p: float) -> str:
        found = estimate_of(Window(0, second * S), second, 0, "happy")
        return feed.complete(replace(found, scores=(1 - p, p), confidence=p), EMPTY).label

    assert [told(1, 0.55), told(2, 0.62)] == [UNCERTAIN, UNCERTAIN]
    feed.forget()
    assert told(3, 0.62) == "happy"


# --- words -----------------------------------------------------------------------------------------------


def test_sources_are_explained_in_turn_though_one_of_them_never_rests(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer(held=True)
    perceiver = FakePerceiver(label=lambda sequence: LABELS[sequence % 2])  # always news
    run = start(perceiver, explainer, sources=3)
    run.hear_all(1.0, 0)
    begun = [explainer.begun.get(timeout=PATIENCE_S)[0]]
    run.estimate()
    for end_s in (1.5, 2.0, 2.5):  # source 0 has something to say all the time
        run.hear_all(end_s, 0)
        run.estimate()
    run.hear_all(1.0, 1)
    run.estimate()
    run.hear_all(1.0, 2)
    run.estimate()
    explainer.go.set()
    begun += [explainer.begun.get(timeout=PATIENCE_S)[0] for _ in range(3)]
    assert [(e.source, e.sequence) for e in begun] == [(0, 0), (1, 0), (2, 0), (0, 3)]
    assert [run.reasonings.get(timeout=PATIENCE_S).source for _ in range(4)] == [0, 1, 2, 0]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_nobody_is_served_twice_while_another_waits(offers: list[int]) -> None:
    box = Mailbox()
    newest: dict[int, int] = {}
    for number, source in enumerate(offers):
        box.put((estimate_of(EMPTY, number, source), ""))
        newest[source] = number
    served = [box.take()[0] for _ in range(len(box))]
    assert sorted(e.source for e in served) == sorted(newest)
    assert all(newest[e.source] == e.sequence for e in served)


@given(st.lists(st.one_of(st.integers(0, 3), st.none()), max_size=60))
def test_a_letter_waits_for_at_most_one_of_each_other_source(steps: list[int | None]) -> None:
    box, waited = Mailbox(), dict[int, int]()
    for step in steps:
        if step is not None:
            box.put((estimate_of(EMPTY, 0, step), ""))
            waited.setdefault(step, 0)
        elif len(box):
            source = box.take()[0].source
            assert waited.pop(source) <= 3
            waited = {other: count + 1 for other, count in waited.items()}


# --- settings --------------------------------------------------------------------------------------------


def test_a_hop_can_be_changed_while_it_runs(start: Callable[..., Run]) -> None:
    run = start()
    run.hear_each([1.0, 1.5])
    run.pipeline.reconfigure(replace(CONFIG, hop_s=1.0))
    assert [e.end_ns for e in run.hear_each([2.0, 3.0])] == [2 * S, 3 * S]
    run.pipeline.reconfigure(replace(CONFIG, hop_s=0.2))
    assert [e.end_ns for e in run.hear_each([3.2, 3.4])] == [32 * S // 10, 34 * S // 10]
    assert run.perceiver.resets == [] and run.pipeline.health().windows_skipped == 0


def test_a_shorter_patience_frees_a_window_that_waits(start: Callable[..., Run]) -> None:
    config = replace(CONFIG, patience_s=2.0)
    run = start(config=config)
    run.pipeline.skip_frame(0)
    run.hear(1.2)
    run.pipeline.reconfigure(replace(config, patience_s=0.1))
    assert run.estimate().end_ns == S


def test_expectations_can_be_changed_while_it_runs(start: Callable[..., Run]) -> None:
    run = start()
    assert run.hear_each([1.0])[0].status_text == ""
    run.pipeline.reconfigure(replace(CONFIG, expected=Modality.VIDEO))
    assert run.hear_each([1.5])[0].status_text == "no video received in this window"


@pytest.mark.parametrize(("name", "value"), [("window_s", 2.0), ("frame_size", 16), ("frame_hz", 8.0)])
def test_what_needs_other_rings_is_refused_by_name(
    start: Callable[..., Run], name: str, value: float
) -> None:
    run = start()
    with pytest.raises(ConfigError, match=f"{name} is .* cannot become {value}"):
        run.pipeline.reconfigure(replace(CONFIG, **{name: value}))
    assert run.hear_each([1.0])[0].end_ns == S


def test_words_can_be_switched_off_and_on(start: Callable[..., Run]) -> None:
    explainer = FakeExplainer(held=True)
    perceiver = FakePerceiver(label=lambda sequence: LABELS[sequence % 2])
    run = start(perceiver, explainer)
    run.hear_each([1.0])
    explainer.begun.get(timeout=PATIENCE_S)
    run.hear_each([1.5])  # waits in the mailbox
    run.pipeline.reconfigure(replace(CONFIG, reasoning=False))
    assert explainer.cancelled.wait(PATIENCE_S)
    run.hear_each([2.0])
    assert explainer.begun.empty()
    run.pipeline.reconfigure(CONFIG)
    run.hear_each([2.5])
    assert explainer.begun.get(timeout=PATIENCE_S)[0].sequence == 3


def test_there_must_be_a_source() -> None:
    with pytest.raises(ConfigError, match="sources is 0"):
        EmotionPipeline(FakePerceiver(), None, CONFIG, queue.Queue[EmotionEstimate]().put, sources=0)

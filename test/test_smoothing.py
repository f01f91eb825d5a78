"""Smoothing: what may change between two states, and what may not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.labels import UNKNOWN
from emollama_ros.smoothing import FORGET_NS, Smoother, Smoothing

LABELS = ("calm", "glad", "cross")
SECOND = 1_000_000_000


def estimate(end_s, *scores, valence=0.0, arousal=0.0):
    label = LABELS[scores.index(max(scores))]
    return EmotionEstimate(
        start_ns=0,
        end_ns=round(end_s * SECOND),
        sequence=0,
        label=label,
        labels=LABELS,
        scores=scores,
        valence=valence,
        arousal=arousal,
        confidence=max(scores),
        modalities=Modality.VIDEO,
    )


def unknown(end_s):
    nothing = EmotionEstimate(
        0, round(end_s * SECOND), 0, UNKNOWN, LABELS, (0.0,) * 3, 0, 0, 0, Modality.NONE
    )
    return nothing


@st.composite
def streams(draw):
    """Estimates at irregular, increasing stamps."""
    gaps = draw(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30))
    made, now = [], 0.0
    for gap in gaps:
        now += gap
        raw = draw(st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3))
        total = sum(raw)
        valence = draw(st.floats(-1, 1))
        made.append(estimate(now, *(value / total for value in raw), valence=valence, arousal=-valence))
    return made


settings = st.builds(Smoothing, st.floats(0, 5), st.floats(0, 1), st.floats(0, 5))


@given(settings, streams())
def test_scores_stay_a_distribution_and_affect_stays_in_range(chosen, stream):
    smoother = Smoother(chosen)
    for told in map(smoother.update, stream):
        assert math.isclose(sum(told.scores), 1.0, abs_tol=1e-9) and min(told.scores) >= 0
        assert -1.0 <= told.valence <= 1.0 and -1.0 <= told.arousal <= 1.0
        assert told.confidence == told.scores[LABELS.index(told.label)]


@given(settings, streams())
def test_a_new_label_has_the_margin_and_the_old_one_had_its_dwell(chosen, stream):
    smoother = Smoother(chosen)
    told = [smoother.update(e) for e in stream]
    since = told[0].end_ns
    for before, now in zip(told, told[1:], strict=False):
        if now.label == before.label:
            continue
        lead = now.confidence - now.scores[LABELS.index(before.label)]
        assert lead >= chosen.label_margin and lead > 0
        assert (now.end_ns - since) / SECOND >= chosen.min_dwell_s
        since = now.end_ns


@given(streams())
def test_switched_off_nothing_changes(stream):
    smoother = Smoother(Smoothing())
    for given_, told in ((e, smoother.update(e)) for e in stream):
        assert told.scores == pytest.approx(given_.scores)
        assert told.confidence == pytest.approx(max(given_.scores))


@given(st.lists(st.floats(0.01, 2.0), min_size=2, max_size=20), st.floats(0.1, 3.0))
def test_the_average_is_by_stamps_however_irregular(gaps, time_constant):
    """Halfway stations of the same value do not matter: only the time that passed does."""
    smoother = Smoother(Smoothing(smoothing_s=time_constant))
    smoother.update(estimate(0.0, 1.0, 0.0, 0.0))
    now = 0.0
    for gap in gaps:
        now += gap
        told = smoother.update(estimate(now, 0.0, 1.0, 0.0))
    assert told.scores[0] == pytest.approx(math.exp(-now / time_constant), rel=1e-6, abs=1e-9)


def test_a_step_is_delayed_by_seven_tenths_of_the_time_constant():
    smoother = Smoother(Smoothing(smoothing_s=1.0))
    smoother.update(estimate(0.0, 1.0, 0.0, 0.0))
    labels = [smoother.update(estimate(t / 100, 0.0, 1.0, 0.0)).label for t in range(1, 101)]
    assert labels.index("glad") + 1 == pytest.approx(100 * math.log(2), abs=1)


def test_flutter_is_held_by_the_margin():
    stream = [estimate(t / 2, 0.40 + 0.02 * (-1) ** t, 0.40 - 0.02 * (-1) ** t, 0.2) for t in range(20)]
    assert len({e.label for e in stream}) == 2
    smoother = Smoother(Smoothing(label_margin=0.05))
    assert {smoother.update(e).label for e in stream} == {"calm"}


def test_dwell_holds_and_then_lets_go():
    smoother = Smoother(Smoothing(min_dwell_s=1.0))
    stream = [estimate(0.0, 1.0, 0.0, 0.0), *(estimate(t / 2, 0.0, 1.0, 0.0) for t in range(1, 4))]
    assert [smoother.update(e).label for e in stream] == ["calm", "calm", "glad", "glad"]


@pytest.mark.parametrize("chosen", [Smoothing(5.0), Smoothing(0.0, 0.9), Smoothing(0.0, 0.0, 30.0)])
def test_reset_and_time_that_starts_again_forget(chosen):
    smoother = Smoother(chosen)
    smoother.update(estimate(100.0, 1.0, 0.0, 0.0))
    assert smoother.update(estimate(101.0, 0.3, 0.5, 0.2)).label == "calm"
    smoother.reset()
    assert smoother.update(estimate(102.0, 0.3, 0.5, 0.2)).label == "glad"
    again = estimate(3.0, 0.0, 0.0, 1.0)
    assert smoother.update(again) is again


def test_a_stamp_that_repeats_has_no_weight():
    for chosen in (Smoothing(), Smoothing(1.0)):
        smoother = Smoother(chosen)
        first = smoother.update(estimate(1.0, 0.6, 0.3, 0.1))
        assert smoother.update(estimate(1.0, 0.0, 0.0, 1.0)).scores == pytest.approx(first.scores)


def test_unknown_passes_through_and_two_seconds_of_it_forget():
    smoother = Smoother(Smoothing(smoothing_s=10.0))
    smoother.update(estimate(0.0, 1.0, 0.0, 0.0))
    gap = unknown(0.5)
    assert smoother.update(gap) is gap
    assert smoother.update(estimate(1.0, 0.0, 1.0, 0.0)).label == "calm"
    for t in range(5):
        smoother.update(unknown(1.5 + t * FORGET_NS / SECOND / 4))
    assert smoother.update(estimate(4.0, 0.0, 1.0, 0.0)).label == "glad"


def test_another_label_set_starts_afresh():
    smoother = Smoother(Smoothing(smoothing_s=10.0))
    smoother.update(estimate(0.0, 1.0, 0.0, 0.0))
    other = EmotionEstimate(0, SECOND, 1, "x", ("x", "y"), (0.8, 0.2), 0, 0, 0.8, Modality.VIDEO)
    assert smoother.update(other) is other


def test_settings_change_without_forgetting():
    smoother = Smoother(Smoothing(smoothing_s=10.0))
    smoother.update(estimate(0.0, 1.0, 0.0, 0.0))
    smoother.settings = Smoothing(label_margin=0.9)
    assert smoother.update(estimate(1.0, 0.1, 0.9, 0.0)).label == "calm"


@pytest.mark.parametrize("wrong", [{"smoothing_s": -1}, {"label_margin": 1.1}, {"min_dwell_s": math.nan}])
def test_impossible_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Smoothing(**wrong)

"""Labels that are not likely enough are withheld, and do not come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.labels import DEFAULT_LABELS, HRI_EXPRESSIONS, UNCERTAIN, UNKNOWN, WITHOUT_FEELING
from emollama_ros.uncertainty import HYSTERESIS, NEVER, Doubt, Uncertainty, uncertainty_of

PROBABILITIES = st.floats(0, 1)


def estimate(confidence: float, label: str = "happy") -> EmotionEstimate:
    rest = (1 - confidence) / (len(DEFAULT_LABELS) - 1)
    scores = tuple(confidence if name == "happy" else rest for name in DEFAULT_LABELS)
    return EmotionEstimate(
        0, 4_000_000_000, 0, label, DEFAULT_LABELS, scores, 0.4, 0.2, confidence, Modality.AUDIO
    )


def told(least: float, *confidences: float) -> list[str]:
    doubt = Doubt(Uncertainty(least))
    return [doubt.update(estimate(confidence)).label for confidence in confidences]


def test_by_default_every_label_is_told() -> None:
    doubt = Doubt(NEVER)
    assert doubt.update(estimate(0.0)).label == "happy"


def test_what_is_not_likely_enough_is_uncertain_and_everything_else_stays() -> None:
    before = estimate(0.3)
    after = Doubt(Uncertainty(0.4)).update(before)
    assert after.label == UNCERTAIN
    assert (after.scores, after.confidence, after.valence, after.arousal, after.status) == (
        before.scores, before.confidence, before.valence, before.arousal, before.status,
    )  # fmt: skip


def test_a_label_that_is_just_likely_enough_is_told() -> None:
    assert told(0.4, 0.4) == ["happy"]


def test_a_label_comes_back_only_with_a_margin() -> None:
    assert told(0.4, 0.45, 0.39, 0.44, 0.46, 0.41, 0.39) == [
        "happy", UNCERTAIN, UNCERTAIN, "happy", "happy", UNCERTAIN,
    ]  # fmt: skip


def test_unknown_passes_and_what_follows_is_judged_afresh() -> None:
    doubt = Doubt(Uncertainty(0.4))
    labels = [doubt.update(e).label for e in (estimate(0.1), estimate(0.0, UNKNOWN), estimate(0.41))]
    assert labels == [UNCERTAIN, UNKNOWN, "happy"]


def test_after_a_reset_the_next_is_judged_afresh() -> None:
    doubt = Doubt(Uncertainty(0.4))
    assert doubt.update(estimate(0.39)).label == UNCERTAIN
    doubt.reset()
    assert doubt.update(estimate(0.41)).label == "happy"


def test_a_threshold_may_change_on_the_way() -> None:
    doubt = Doubt(Uncertainty(0.9))
    assert doubt.update(estimate(0.6)).label == UNCERTAIN
    doubt.settings = NEVER
    assert doubt.update(estimate(HYSTERESIS)).label == "happy"


@given(least=PROBABILITIES, confidences=st.lists(PROBABILITIES))
def test_no_label_is_told_below_the_threshold(least: float, confidences: list[float]) -> None:
    for label, confidence in zip(told(least, *confidences), confidences, strict=True):
        assert label == UNCERTAIN or confidence >= least


@given(least=PROBABILITIES, confidences=st.lists(PROBABILITIES))
def test_what_is_sure_enough_is_always_told(least: float, confidences: list[float]) -> None:
    enough = Uncertainty(least).enough
    for label, confidence in zip(told(least, *confidences), confidences, strict=True):
        assert label == "happy" or confidence < enough


@given(least=st.floats(0.01, 0.9), trembling=st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_a_confidence_that_trembles_within_the_margin_changes_the_label_once_at_most(
    least: float, trembling: list[float]
) -> None:
    enough = Uncertainty(least).enough
    # Between the threshold and what ends a doubt, once the first has fallen below it.
    near = [least * 0.999, *(least + share * 0.99 * (enough - least) for share in trembling)]
    assert set(told(least, *near)) == {UNCERTAIN}
    assert set(told(least, *near[1:])) == {"happy"}


@given(least=PROBABILITIES)
def test_certainty_ends_every_doubt(least: float) -> None:
    assert told(least, 0.0, 1.0)[-1] == "happy"


@pytest.mark.parametrize("wrong", [-0.1, 1.01, float("nan")])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigError, match="least_confidence is .*; use 0 to 1"):
        Uncertainty(wrong)


def test_a_negative_wish_leaves_it_to_the_bundle() -> None:
    assert uncertainty_of(-1.0, 0.35) == Uncertainty(0.35)
    assert uncertainty_of(0.0, 0.35) == NEVER
    assert uncertainty_of(0.5, 0.35) == Uncertainty(0.5)


def test_what_is_said_instead_of_a_label_is_no_label() -> None:
    assert not WITHOUT_FEELING & {*DEFAULT_LABELS, *HRI_EXPRESSIONS}

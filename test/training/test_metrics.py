"""Sentiment and multi-label scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="metrics need scikit-learn (make test installs it)")

from emollama_ros.errors import InputError  # noqa: E402
from training.evaluation.multilabel import score_multilabel  # noqa: E402
from training.evaluation.sentiment import score_sentiment  # noqa: E402

sentiments = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=20)
sets = st.integers(2, 4).flatmap(
    lambda labels: st.lists(
        st.tuples(*[st.lists(st.integers(0, 1), min_size=labels, max_size=labels)] * 2),
        min_size=1,
        max_size=8,
    )
)


def test_neutral_is_dropped_in_one_protocol_and_a_class_in_the_other():
    scores = score_sentiment([-1, 0.5, 2, 0, 0], [-3, 1, -1, 0, 1])
    dropped, kept = scores.neutral_dropped, scores.neutral_kept
    assert (dropped.kept, dropped.dropped, kept.kept, kept.dropped) == (3, 2, 5, 0)
    assert dropped.acc == pytest.approx(2 / 3)
    assert kept.acc == pytest.approx(3 / 5)
    # Both classes have F1 2/3: one hit, one miss or one false alarm.
    assert dropped.waf == pytest.approx(2 / 3)


def test_a_predicted_neutral_counts_as_not_positive():
    assert score_sentiment([-1, 1], [0, 0]).neutral_dropped.acc == 0.5


def test_only_neutral_leaves_nothing_to_score():
    scores = score_sentiment([0, 0], [1, -1])
    assert (scores.neutral_dropped.waf, scores.neutral_dropped.kept, scores.neutral_dropped.dropped) == (
        None,
        0,
        2,
    )


@given(sentiments)
def test_sentiment_scores_are_shares_and_perfect_ones_are_one(pairs):
    truth, guess = zip(*pairs, strict=True)
    for scores in vars(score_sentiment(truth, guess)).values():
        assert scores.kept + scores.dropped == len(truth)
        assert scores.kept == 0 or (0 <= scores.waf <= 1 and 0 <= scores.acc <= 1)
    assert score_sentiment(truth, truth).neutral_kept.waf == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [([1], [1, 2], "1 true and 2"), ([np.nan], [1], "finite"), ([[1]], [1], "shape")],
)
def test_sentiment_that_cannot_be_scored_is_refused(truth, guess, message):
    with pytest.raises(InputError, match=message):
        score_sentiment(truth, guess)


def test_multilabel_by_hand():
    scores = score_multilabel([[1, 1, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 0]])
    assert (scores.n, scores.labels, scores.labels_dropped) == (2, 2, 1)
    assert scores.micro_f1 == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert scores.sample_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert scores.jaccard == pytest.approx((1 / 2 + 1) / 2)
    assert scores.mean_ap == pytest.approx(
        1.0
    )  # yes and no rank each occurring label's clips without a mistake


def test_scores_rank_finer_than_yes_and_no():
    truth, guess = [[1, 0], [0, 0], [1, 0]], [[1, 0], [1, 0], [0, 0]]
    assert (
        score_multilabel(truth, guess).mean_ap
        < score_multilabel(truth, guess, [[0.9, 0], [0.6, 0], [0.8, 0]]).mean_ap
        == 1.0
    )


@given(sets)
def test_multilabel_scores_are_shares_and_perfect_ones_are_one(pairs):
    truth, guess = map(np.array, zip(*pairs, strict=True))
    found, perfect = score_multilabel(truth, guess), score_multilabel(truth, truth)
    for scores in (found, perfect):
        assert all(
            0 <= s <= 1 for s in (scores.micro_f1, scores.sample_f1, scores.jaccard, scores.mean_ap or 0)
        )
        assert scores.labels + scores.labels_dropped == truth.shape[1]
    assert (perfect.micro_f1, perfect.sample_f1, perfect.jaccard) == (1.0, 1.0, 1.0)
    assert (perfect.mean_ap is None) == (not truth.any())


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        ([[1, 0]], [[1, 0], [0, 1]], "shapes differ"),
        ([[2, 0]], [[1, 0]], "0 and 1"),
        ([[1]], [[1]], "2 or more labels"),
        ([], [], "found"),
    ],
)
def test_multilabel_that_cannot_be_scored_is_refused(truth, guess, message):
    with pytest.raises(InputError, match=message):
        score_multilabel(truth, guess)

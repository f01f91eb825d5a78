"""Scores of confusion matrices and their bootstrap, against scikit-learn and drawing by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from training.evaluation.metrics import (
    bootstrap,
    bootstrap_over_persons,
    confusion_parts,
    confusion_scores,
)

labels = st.integers(0, 3)
clips = st.lists(st.tuples(labels, labels), min_size=1, max_size=40)


def scores_of(truth, chosen, size=4):
    return confusion_scores(confusion_parts(truth, chosen, size).sum(0).reshape(size, size))


@given(clips)
def test_scores_of_a_confusion_matrix_are_those_of_sklearn(pairs):
    truth, chosen = map(np.array, zip(*pairs, strict=True))
    found, occurring = scores_of(truth, chosen), np.unique(truth)
    expected = {
        "uar": recall_score(truth, chosen, labels=occurring, average="macro", zero_division=0),
        "war": accuracy_score(truth, chosen),
        "waf": f1_score(truth, chosen, average="weighted", zero_division=0),
        "macro_f1": f1_score(truth, chosen, labels=occurring, average="macro", zero_division=0),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected)


def test_scores_by_hand():
    # Two labels: 3 of 4 and 1 of 2 are told right.
    found = confusion_scores(np.array([[3, 1], [1, 1]]))
    assert found["uar"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["war"] == pytest.approx(4 / 6)
    assert found["macro_f1"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert found["waf"] == pytest.approx((6 / 8 * 4 + 2 / 4 * 2) / 6)


def test_scores_of_no_clips_are_not_numbers():
    assert all(np.isnan(value) for value in confusion_scores(np.zeros((2, 2))).values())


def test_interval_is_that_of_drawing_people_by_hand():
    rng = np.random.default_rng(1)
    owner, right = rng.integers(0, 12, 150), rng.random(150) < 0.7
    parts = np.column_stack([right, np.ones(150)])
    low, high = bootstrap(parts, [str(o) for o in owner], lambda s: s[:, 0] / s[:, 1], draws=4000)
    rows = [np.flatnonzero(owner == o) for o in np.unique(owner)]
    drawn = [np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))]) for _ in range(4000)]
    by_hand = np.percentile([right[index].mean() for index in drawn], [2.5, 97.5])
    assert (low, high) == pytest.approx(tuple(by_hand), abs=0.012)


def test_clips_of_one_person_are_not_independent():
    # Ten people, each told wholly right or wholly wrong: a hundred clips know no more than ten people.
    truth = np.zeros(100, int)
    chosen = np.repeat([0, 1] * 5, 10)
    by_person = bootstrap_over_persons(truth, chosen, [str(i // 10) for i in range(100)])
    by_clip = bootstrap_over_persons(truth, chosen, [str(i) for i in range(100)])
    assert by_person[1] - by_person[0] > 2 * (by_clip[1] - by_clip[0])


@given(st.integers(0, 2**31), st.integers(2, 6))
def test_interval_is_repeatable_and_in_range(seed, people):
    rng = np.random.default_rng(seed)
    truth, chosen = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    owners = [str(p) for p in rng.integers(0, people, 30)]
    first, second = (bootstrap_over_persons(truth, chosen, owners, draws=50) for _ in range(2))
    assert first == second and 0 <= first[0] <= first[1] <= 1


def test_a_statistic_without_value_has_no_interval():
    assert np.isnan(bootstrap(np.ones((3, 1)), list("abc"), lambda sums: sums[:, 0] * np.nan)).all()

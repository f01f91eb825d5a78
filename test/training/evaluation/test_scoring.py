"""Scores of sets: by hand, against scikit-learn and against the scorer of the conformance vectors."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from benchmark.bench_scorer import made_up_predictions, made_up_tables
from training.evaluation.mer_unibench import group, hit_rate, open_vocabulary
from training.evaluation.metrics import calibration_error
from training.evaluation.predictions import NO_PREDICTION, NOT_A_LABEL, Prediction
from training.evaluation.scoring import ScoringOptions, score_set
from training.evaluation.suites import METRICS, SUITES
from training.evaluation.wheels import work_out
from training.mmeverse.schema import Record, Task

TABLES = made_up_tables(random.Random(1))
GROUPING = work_out(TABLES)
KNOWN = sorted(TABLES.forms)
SETS = {of.name: of for suite in SUITES.values() for of in suite.sets}


def by_key(predictions):
    return {p.key: p for p in predictions}


def test_one_label_by_hand(record, prediction):
    truth = ["joy", "joy", "joy", "joy", "fear", "fear", "neutral"]
    told = ["joy", "joy", "fear", "joy", "fear", "joy", "?"]
    records = [record(str(i), label, person=f"meld:{i % 2}") for i, label in enumerate(truth)]
    predictions = by_key(prediction(str(i), answer=word) for i, word in enumerate(told))
    scores = score_set(SETS["goemotions"], records, predictions)
    assert (scores.kept, scores.dropped, scores.persons, scores.drawn) == (6, {NOT_A_LABEL: 1}, 2, "persons")
    values = {name: figure.value for name, figure in scores.figures.items()}
    assert values["uar"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert values["war"] == pytest.approx(4 / 6)
    assert values["war_all"] == pytest.approx(4 / 7)
    assert list(values)[:2] == ["uar", "war"] and "ece" not in values
    at = scores.labels.index
    assert scores.confusion[at("joy")][at("fear")] == 1 and sum(map(sum, scores.confusion)) == 6


def test_labels_that_a_model_cannot_say_stay_wrong_and_have_a_figure_without_them(record, prediction):
    records = [record("a", "joy"), record("b", "fear"), record("c", "disgust")]
    predictions = by_key(
        prediction(i, label=label) for i, label in (("a", "joy"), ("b", "fear"), ("c", "joy"))
    )
    scores = score_set(SETS["goemotions"], records, predictions, unsayable=("disgust",))
    assert scores.figures["uar"].value == pytest.approx(2 / 3)
    sayable = scores.figures["uar_sayable"]
    assert (sayable.value, sayable.kept, sayable.dropped) == (1.0, 2, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_set_of_the_suites_against_sklearn(seed):
    draw = random.Random(seed)
    for name in ("meld_emotion", "dfew", "mc_eiu_intent"):
        records, predictions = made_up_predictions(draw, SETS[name], 60)
        found = score_set(SETS[name], records, by_key(predictions), ScoringOptions(draws=50))
        truth, told = [r.label for r in records], [p.answer for p in predictions]
        assert found.figures["war"].value == pytest.approx(accuracy_score(truth, told))
        assert found.figures["waf"].value == pytest.approx(f1_score(truth, told, average="weighted"))
        recall = recall_score(truth, told, labels=sorted(set(truth)), average="macro", zero_division=0)
        assert found.figures["uar"].value == pytest.approx(recall)
        low, high = found.figures["uar"].interval
        assert low <= found.figures["uar"].value <= high


def test_calibration_is_that_of_the_probabilities_given(record, prediction):
    rows = [{"joy": 0.9, "fear": 0.1}, {"joy": 0.4, "fear": 0.6}, {"joy": 0.8, "fear": 0.2}]
    records = [
        record(str(i), label, label_space=("fear", "joy")) for i, label in enumerate(("joy", "fear", "fear"))
    ]
    told = [prediction(str(i), label=max(p, key=p.get), probabilities=p) for i, p in enumerate(rows)]
    scores = score_set(SETS["goemotions"], records, by_key(told))
    columns = np.array([[p["fear"], p["joy"]] for p in rows])
    assert scores.figures["ece"].value == pytest.approx(calibration_error(columns, np.array([1, 0, 0])))
    without = score_set(SETS["goemotions"], records, by_key([*told[:2], prediction("2", label="joy")]))
    assert "ece" not in without.figures


words = st.lists(st.sampled_from([*KNOWN[:60], "xyzzy"]), min_size=1, max_size=4, unique=True)


@given(st.lists(st.tuples(st.sampled_from([*KNOWN[:40], "neutral"]), words), min_size=1, max_size=12))
def test_hit_rates_are_those_of_the_conforming_scorer(pairs):
    space = tuple(dict.fromkeys(label for label, _ in pairs))
    records = [
        Record(id=str(i), source="mer2023", split="test", task=Task.EMOTION, label=label, label_space=space)
        for i, (label, _) in enumerate(pairs)
    ]
    said = [space[len(answer) % len(space)] for _, answer in pairs]
    told = [Prediction(source="mer2023", id=str(i), task=Task.EMOTION, label=s) for i, s in enumerate(said)]
    found = score_set(SETS["mer2023"], records, by_key(told), ScoringOptions(GROUPING, draws=20))
    expected = hit_rate(GROUPING, [label for label, _ in pairs], group(GROUPING, [[s] for s in said]))
    for wheel, scores in expected.items():
        mine = found.by_wheel[wheel]
        assert (mine["kept"], mine["dropped"]) == (scores.kept, scores.dropped)
        assert (mine["hit_rate"], mine["m_score"]) == pytest.approx((scores.hit_rate, scores.m_score))
    rates = [s.hit_rate for s in expected.values()]
    value = found.figures["hit_rate"].value
    assert value is None if None in rates else value == pytest.approx(np.mean(rates))


@given(st.lists(st.tuples(words, words), min_size=1, max_size=12))
def test_open_vocabulary_scores_are_those_of_the_conforming_scorer(pairs):
    def of(i):
        return {"id": str(i), "source": "ov_merd_plus", "task": Task.OPEN_VOCABULARY}

    records = [Record(split="test", labels=tuple(true), **of(i)) for i, (true, _) in enumerate(pairs)]
    told = [Prediction(answer=", ".join(said), **of(i)) for i, (_, said) in enumerate(pairs)]
    found = score_set(SETS["ov_merd_plus"], records, by_key(told), ScoringOptions(GROUPING, draws=20))
    expected = open_vocabulary(GROUPING, [t for t, _ in pairs], group(GROUPING, [s for _, s in pairs]))
    f_scores = [s.f_score for s in expected.values()]
    value = found.figures["ov_f"].value
    assert value is None if None in f_scores else value == pytest.approx(np.mean(f_scores))
    recalls = [s["ov_recall"] for s in found.by_wheel.values()]
    assert recalls == pytest.approx([s.recall for s in expected.values()])


def test_truly_neutral_clips_are_not_in_the_hit_rate_but_in_the_accuracy(record, prediction):
    word = next(w for w in KNOWN if GROUPING.codes[w])
    records = [
        record("a", word, label_space=(word, "neutral")),
        record("b", "neutral", label_space=(word, "neutral")),
    ]
    predictions = by_key(prediction(i, label=word) for i in "ab")
    figures = score_set(SETS["meld_emotion"], records, predictions, ScoringOptions(GROUPING)).figures
    assert (figures["hit_rate"].kept, figures["hit_rate"].dropped) == (1, 1)
    assert (figures["war"].value, figures["war"].kept) == (0.5, 2)


def test_without_tables_the_hit_rate_is_absent_with_a_reason(record, prediction):
    scores = score_set(SETS["meld_emotion"], [record()], by_key([prediction(label="joy")]))
    assert "hit_rate" not in scores.figures and "--tables" in scores.absent["hit_rate"]


def test_sentiment_with_and_without_neutral(record, prediction):
    def of(i, score):
        label = "negative" if score < 0 else "positive" if score else "neutral"
        return record(
            str(i),
            label,
            task=Task.SENTIMENT,
            label_space=(),
            sentiment_score=score,
            sentiment_range=(-3.0, 3.0),
        )

    records = [of(i, score) for i, score in enumerate((-1.0, 0.5, 2.0, 0.0, 0.0))]
    said = (
        {"sentiment_score": -3.0},
        {"answer": "positive"},
        {"label": "negative"},
        {"answer": "Neutral"},
        {"sentiment_score": 1.0},
    )
    told = [prediction(str(i), task=Task.SENTIMENT, **given) for i, given in enumerate(said)]
    figures = score_set(SETS["cmu_mosi"], records, by_key(told)).figures
    two, three = figures["sentiment_acc"], figures["sentiment3_acc"]
    assert (two.value, two.kept, two.dropped) == (pytest.approx(2 / 3), 3, 2)
    assert (three.value, three.kept, three.dropped) == (pytest.approx(3 / 5), 5, 0)
    assert figures["sentiment_waf"].value == pytest.approx(2 / 3)


def test_several_labels_by_hand(record, prediction):
    space = ("a", "b", "c")
    given = {"task": Task.MULTI_LABEL, "label_space": space}
    records = [record("1", None, labels=("a", "b"), **given), record("2", None, labels=("b",), **given)]
    told = [
        prediction("1", task=Task.MULTI_LABEL, answer="a"),
        prediction("2", task=Task.MULTI_LABEL, labels=("b",)),
    ]
    found = score_set(SETS["bold"], records, by_key(told))
    values = {name: figure.value for name, figure in found.figures.items()}
    assert values == pytest.approx(
        {"micro_f1": 4 / 5, "sample_f1": (2 / 3 + 1) / 2, "jaccard": (1 / 2 + 1) / 2, "mean_ap": 1.0}
    )
    assert found.figures["mean_ap"].interval is None and found.drawn == "clips"


def test_clips_without_prediction_are_counted(record, prediction):
    records = [record("a"), record("b")]
    scores = score_set(SETS["goemotions"], records, by_key([prediction("a", label="joy")]))
    assert (scores.kept, scores.dropped) == (1, {NO_PREDICTION: 1})
    nothing = score_set(SETS["goemotions"], records, {})
    assert (nothing.kept, nothing.figures) == (0, {})


def test_every_figure_has_a_definition():
    draw = random.Random(3)
    for name in ("meld_emotion", "cmu_mosi", "bold"):
        records, predictions = made_up_predictions(draw, SETS[name], 20)
        figures = score_set(
            SETS[name], records, by_key(predictions), ScoringOptions(GROUPING, draws=10)
        ).figures
        assert figures and set(figures) <= set(METRICS)
        assert list(figures)[: len(SETS[name].metrics)] == list(SETS[name].metrics)

"""Predictions of anyone: what is read, what a free answer becomes, what is refused and with which line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from training.evaluation.predictions import (
    EMPTY_ANSWER,
    NO_PREDICTION,
    NOT_A_LABEL,
    SEVERAL_LABELS,
    Prediction,
    append,
    interpret,
    read_predictions,
)
from training.mmeverse.schema import Task


@pytest.mark.parametrize(
    ("answer", "label", "dropped"),
    [
        ("joy", "joy", ""),
        (" Joy.\n", "joy", ""),
        ("['joy']", "joy", ""),
        ("[joy, joy]", "joy", ""),
        ("<think>fear? anger?</think><answer>Joy</answer>", "joy", ""),
        ("<think>never closed", None, EMPTY_ANSWER),
        ("", None, EMPTY_ANSWER),
        ("[]", None, EMPTY_ANSWER),
        ("The person is full of joy", None, NOT_A_LABEL),
        ("happiness", None, NOT_A_LABEL),
        ("joy, fear", None, SEVERAL_LABELS),
        ("joy, and a little proud", None, SEVERAL_LABELS),
    ],
)
def test_a_free_answer_is_taken_word_for_word(record, prediction, answer, label, dropped):
    told = interpret(record(), prediction(answer=answer))
    assert (told.labels, told.dropped) == ((label,) if label else (), dropped)


def test_a_label_counts_in_the_spelling_of_its_set(record, prediction):
    space = ("Anger", "Joy")
    assert interpret(record(label="Joy", label_space=space), prediction(label="JOY")).labels == ("Joy",)


def test_no_prediction_is_dropped(record):
    assert interpret(record(), None).dropped == NO_PREDICTION


def test_a_set_of_labels_keeps_those_of_the_space_and_may_be_empty(record, prediction):
    of = record(label=None, labels=("joy",), task=Task.MULTI_LABEL)
    said = {"task": Task.MULTI_LABEL}
    assert interpret(of, prediction(answer="joy, bliss; fear", **said)).labels == ("joy",)
    assert interpret(of, prediction(answer="joy, fear", **said)).labels == ("joy", "fear")
    assert interpret(of, prediction(labels=(), **said)) == interpret(of, prediction(answer="[]", **said))
    assert interpret(of, prediction(labels=(), **said)).dropped == ""
    assert interpret(of, prediction(answer="bliss", **said)).dropped == NOT_A_LABEL


def test_an_open_vocabulary_takes_any_word(record, prediction):
    of = record(label=None, labels=("glad",), label_space=(), task=Task.OPEN_VOCABULARY)
    told = interpret(of, prediction(answer="Relieved, quietly proud", task=Task.OPEN_VOCABULARY))
    assert told.labels == ("relieved", "quietly proud")


@pytest.mark.parametrize(
    ("said", "score"),
    [({"sentiment_score": -0.2}, -0.2), ({"answer": "Positive"}, 1.0), ({"label": "neutral"}, 0.0)],
)
def test_sentiment_is_a_score_or_a_word(record, prediction, said, score):
    of = record(label="positive", label_space=(), task=Task.SENTIMENT)
    assert interpret(of, prediction(task=Task.SENTIMENT, **said)).score == score


@given(
    st.lists(
        st.builds(
            Prediction,
            source=st.just("meld"),
            id=st.uuids().map(str),
            task=st.sampled_from(Task),
            answer=st.text(),
            probabilities=st.dictionaries(st.text(max_size=5), st.floats(0, 1), max_size=3),
        ),
        max_size=8,
    )
)
def test_what_is_written_is_read_again(tmp_path_factory, predictions):
    path = tmp_path_factory.mktemp("round") / "p.jsonl"
    assert append(predictions, path) == len(predictions)
    assert list(read_predictions(path).values()) == predictions


GOOD = {"source": "meld", "id": "a", "task": "emotion", "label": "joy"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "p.jsonl:2: .*JSON"),
        (json.dumps(GOOD | {"task": "mood"}), r"p\.jsonl:2: task"),
        (json.dumps({**GOOD, "labels": ["joy"], "id": "b"}), r"p\.jsonl:2: .*one of answer, label"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "label"}), "found none"),
        (json.dumps(GOOD | {"id": "b", "probabilities": {"joy": 1.5}}), r"probabilities\.joy"),
        (json.dumps(GOOD | {"id": "b", "lable": "joy"}), "lable"),
        (json.dumps(GOOD), "predicted before"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(InputError, match=message):
        read_predictions(path)


def test_a_file_that_is_not_there_is_an_error_and_a_cut_line_only_where_it_may_be(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_predictions(tmp_path / "none.jsonl")
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(GOOD) + '\n{"source": "me')
    assert len(read_predictions(path, may_be_cut=True)) == 1
    with pytest.raises(InputError, match=r"p\.jsonl:2"):
        read_predictions(path)

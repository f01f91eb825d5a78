"""Targets, and the way back from a model's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from training.mmeverse.instructions.answers import read_answer
from training.mmeverse.instructions.tags import Tag
from training.mmeverse.instructions.targets import labels_target, think_target, why_unusable
from training.mmeverse.instructions.template import as_data
from training.mmeverse.label_sets import LABEL_SPACES

MER = LABEL_SPACES["mer"]
spaces = st.sampled_from(sorted(LABEL_SPACES)).map(LABEL_SPACES.__getitem__)
one_of_a_space = spaces.flatmap(lambda space: st.tuples(st.just(space), st.sampled_from(space)))
some_of_a_space = spaces.flatmap(
    lambda space: st.tuples(st.just(space), st.lists(st.sampled_from(space), min_size=1, unique=True))
)
terms = st.lists(st.from_regex(r"[b-z]{2,9}( [b-z]{2,9}){0,2}", fullmatch=True), min_size=1, unique=True)
#: What models put around a label.
dressed = st.sampled_from(
    ["{}", " {}\n", "{}.", "**{}**", '"{}"', "['{}']", "{}</s>", "{}<|im_end|>\nmore", "- {}"]
)


@given(case=one_of_a_space, form=dressed, shout=st.booleans())
def test_a_label_comes_back_whatever_is_around_it(case, form, shout):
    space, label = case
    said = form.format(labels_target([label.upper() if shout else label]))
    assert read_answer(said, Tag.EMOTION, space).labels == (label,)


@given(case=some_of_a_space, form=dressed)
def test_labels_come_back_in_their_order(case, form):
    space, labels = case
    answer = read_answer(form.format(labels_target(labels)), Tag.MULTI_LABEL, space)
    assert (answer.labels, answer.problem, answer.foreign) == (tuple(labels), "", ())


@given(labels=terms)
def test_free_terms_come_back(labels):
    assert read_answer(labels_target(labels), Tag.OPEN_VOCABULARY).labels == tuple(labels)


@given(case=some_of_a_space, reasoning=st.text(max_size=80))
def test_reasons_and_labels_come_back(case, reasoning):
    space, labels = case
    answer = read_answer(think_target(reasoning, labels), Tag.THINK_MULTI, space)
    assert answer.labels == tuple(labels)
    assert answer.reasoning == (as_data(reasoning) or None)


@given(text=st.text(max_size=60), tag=st.sampled_from(sorted(Tag)), space=spaces)
def test_nothing_is_invented(text, tag, space):
    """Whatever is read was written: every label is a word of the text, and no label comes with its reason."""
    answer = read_answer(text, tag, space)
    for label in answer.labels or ():
        assert label in space and label.lower() in text.lower()
    if answer.reasoning:
        assert answer.reasoning in text
    assert (answer.labels is None and answer.reasoning is None) <= bool(answer.problem)


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("The emotion is sad.", "sad"),
        ("I would say the person is happy", "happy"),
        ("Emotion: Surprise!", "surprise"),
        ("<answer>angry</answer>", "angry"),
        ("The speaker, whose brows are drawn, looks worried.", "worried"),
    ],
)
def test_a_sentence_with_one_label_is_understood(said, label):
    assert read_answer(said, Tag.EMOTION, MER).labels == (label,)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("", "empty answer"),
        ("</s>", "empty answer"),
        ("joyful", "no label of the space in 'joyful'"),
        ("unhappy", "no label of the space"),
        ("surprised", "no label of the space"),
        ("The person is not happy.", "a sentence with a negation"),
        ("I can't tell; neutral perhaps", "a sentence with a negation"),
        ("happy or sad", "2 labels"),
        ("happy, sad", "2 labels, one was asked for: happy, sad"),
        ("First sad, then the person brightens up and looks happy", "a sentence with 2 labels: sad, happy"),
    ],
)
def test_what_cannot_be_read_says_why(said, problem):
    answer = read_answer(said, Tag.EMOTION, MER)
    assert answer.labels is None and problem in answer.problem


def test_foreign_terms_of_a_list_are_told():
    answer = read_answer("sad, ecstatic, worried", Tag.MULTI_LABEL, MER)
    assert (answer.labels, answer.foreign, answer.problem) == (("sad", "worried"), ("ecstatic",), "")
    assert read_answer("ecstatic, thrilled", Tag.MULTI_LABEL, MER).labels is None


def test_a_set_may_come_as_a_sentence_but_not_with_a_negation():
    said = "There is anger in the voice, and some fear in the eyes."
    assert read_answer(said, Tag.MULTI_LABEL, LABEL_SPACES["mafw"]).labels == ("anger", "fear")
    assert read_answer("anger but no fear", Tag.MULTI_LABEL, LABEL_SPACES["mafw"]).labels is None
    assert read_answer("anger, no fear", Tag.MULTI_LABEL, LABEL_SPACES["mafw"]).labels is None


def test_a_label_within_a_label_is_not_a_second_one():
    space = ("surprise", "happy surprise")
    assert read_answer("It looks like a happy surprise to me.", Tag.EMOTION, space).labels == (
        "happy surprise",
    )


@pytest.mark.parametrize(
    ("said", "labels", "reasoning", "problem"),
    [
        ("<think>a b</think>\n<answer> Sad </answer>", ("sad",), "a b", ""),
        ("<think>a b<answer>sad</answer>", ("sad",), "a b", ""),
        ("<think>a b</think><answer>sad", ("sad",), "a b", ""),
        ("<answer>sad</answer>", ("sad",), None, ""),
        ("<think>sad voice</think>", None, "sad voice", "no <answer>"),
        ("<think>sad voi", None, "sad voi", "no <answer>"),
        ("sad", None, None, "no <answer>"),
        ("<think>a</think><answer>sad</answer><answer>happy</answer>", None, "a", "2 <answer>"),
        ("<think>a</think><answer></answer>", None, "a", "no label"),
        ("<think>a</think><answer>glad</answer>", None, "a", "no label of the space in 'glad'"),
    ],
)
def test_thinking_is_read_as_far_as_it_goes(said, labels, reasoning, problem):
    answer = read_answer(said, Tag.THINK, MER)
    assert (answer.labels, answer.reasoning) == (labels, reasoning)
    assert problem in answer.problem and bool(problem) == bool(answer.problem)


def test_a_free_answer_that_was_cut_off_is_not_taken_for_whole():
    assert "cut off" in read_answer("<think>a</think><answer>joy, frust", Tag.THINK).problem


def test_a_sentence_is_no_list_of_terms():
    answer = read_answer("The man seems to be rather pleased", Tag.OPEN_VOCABULARY)
    assert answer.labels is None and "not a list of terms" in answer.problem


@pytest.mark.parametrize("tag", [Tag.REASON, Tag.AUDIO, Tag.IMAGE, Tag.CAPTION])
def test_descriptions_are_taken_as_they_are(tag):
    answer = read_answer(" A low voice.</s>", tag)
    assert (answer.labels, answer.reasoning, answer.problem) == (None, "A low voice.", "")


@pytest.mark.parametrize("label", ["sad, very", "a<b", "</answer>", "one\ntwo"])
def test_a_label_that_could_not_be_read_back_is_refused(label):
    with pytest.raises(InputError, match="labels in a target need none"):
        labels_target([label])


@pytest.mark.parametrize(("stage", "longest"), [(1, 120), (2, 200)])
def test_descriptions_are_learnt_up_to_their_length(stage, longest):
    assert why_unusable("word " * longest, stage) == ""
    assert why_unusable("word " * (longest + 1), stage) == (
        f"description of {longest + 1} words, more than {longest}"
    )
    assert why_unusable(" \n", stage) == "no description"

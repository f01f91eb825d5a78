"""What ROS4HRI is told of a state, and the table of it in the documents."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS, HRI_EXPRESSIONS, UNCERTAIN, UNKNOWN
from emollama_ros.nodes import parameters
from emollama_ros.nodes.hri_mapping import (
    HriMirrorParameters,
    Humans,
    Words,
    expressions,
    ids_by_source,
    words_of,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ros4hri.md"
NAMES = [*sorted(HRI_EXPRESSIONS), "fear", "joy", "anger", "contempt", "calm", "worried", "x"]


def state(label, labels=DEFAULT_LABELS, valence=0.5, arousal=-0.5, confidence=0.7):
    return SimpleNamespace(
        label=label, labels=labels, valence=valence, arousal=arousal, confidence=confidence
    )


@given(st.lists(st.sampled_from(NAMES), unique=True))
def test_no_two_labels_become_the_same_word_and_words_stay_what_they_are(labels):
    found = expressions(labels)
    assert len(set(found.values())) == len(found) and set(found.values()) <= HRI_EXPRESSIONS
    assert all(found[label] == label for label in labels if label in HRI_EXPRESSIONS)


def test_the_labels_that_ship_lose_nothing():
    assert expressions(DEFAULT_LABELS) == {label: label for label in DEFAULT_LABELS}


def test_other_names_of_a_word_become_it_unless_it_is_taken():
    assert expressions(("fear", "joy", "contempt")) == {"fear": "scared", "joy": "happy"}
    assert expressions(("fear", "scared")) == {"scared": "scared"}


@given(st.floats(width=32), st.floats(width=32), st.floats(width=32))
def test_scales_are_kept_and_bounded(valence, arousal, confidence):
    found = words_of(state("sad", valence=valence, arousal=arousal, confidence=confidence))
    for was, now, low in (
        (valence, found.valence, -1),
        (arousal, found.arousal, -1),
        (confidence, found.confidence, 0),
    ):
        assert now == (0.0 if math.isnan(was) else min(1.0, max(low, was)))


def test_what_has_no_word_keeps_its_numbers_and_what_is_not_perceived_has_none():
    assert words_of(state(UNCERTAIN)) == Words("", 0.5, -0.5, 0.7)
    assert words_of(state("contempt", ("contempt", "sad"))) == Words("", 0.5, -0.5, 0.7)
    assert words_of(state(UNKNOWN, valence=0.9)) == Words("")


def test_why_a_state_is_not_mirrored_is_told():
    humans = Humans()
    assert "nobody publishes which faces" in humans.target("face", "f").why
    humans.tracked["face"] = ()
    assert humans.target("face", "").why == "no face is tracked"
    assert humans.target("face", "f").why == "the face f is not tracked"
    assert humans.target("person", "ann").why == "no face is known of the person ann"
    humans.tracked["face"], humans.faces["ann"] = ("f",), "f"
    assert humans.target("person", "ann").face == humans.target("face", "").face == "f"


@pytest.mark.parametrize("wrong", ["left", "left=", "right=f1", "=f1"])
def test_an_id_of_no_source_is_refused(wrong):
    with pytest.raises(ConfigError, match="SOURCE=ID, with SOURCE one of: left"):
        ids_by_source(wrong, ["left"])
    assert ids_by_source("=f1", []) == {"": "f1"} and ids_by_source("", []) == {}
    assert ids_by_source("a=f1, b=f2", ["a", "b"]) == {"a": "f1", "b": "f2"}


def test_the_document_has_every_label_and_parameter():
    text = DOCUMENT.read_text()
    for label in sorted(HRI_EXPRESSIONS):
        assert re.search(rf"`{label}`", text), label
    for label in DEFAULT_LABELS:
        assert f"| `{label}` | `{expressions(DEFAULT_LABELS)[label]}` |" in text
    for name, default, legal, doc in parameters.table_rows(HriMirrorParameters):
        assert f"| `{name}` | `{default}` | {legal} | {doc} |" in text
    assert (
        parameters.check(HriMirrorParameters, dataclasses.asdict(HriMirrorParameters()))
        == HriMirrorParameters()
    )


def test_without_hri_msgs_the_node_says_how_to_get_it(monkeypatch):
    pytest.importorskip("rclpy", reason="needs ROS 2")
    pytest.importorskip("emollama_ros.msg", reason="needs the built messages")
    from emollama_ros.nodes.hri_mirror_node import messages

    monkeypatch.setitem(sys.modules, "hri_msgs", None)
    with pytest.raises(ConfigError, match="sudo apt install ros-.*-hri-msgs"):
        messages()

"""A node says ``uncertain`` where the label is not likely enough, over real topics."""

from __future__ import annotations

from functools import partial

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from rclpy.parameter import Parameter
from rig import Rig

from emollama_ros.client import EmotionListener
from emollama_ros.labels import DEFAULT_LABELS, UNCERTAIN, UNKNOWN
from emollama_ros.msg import EmotionState
from emollama_ros.nodes.loading import pipeline_config
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.uncertainty import NEVER, Uncertainty

pytestmark = pytest.mark.ros
RAW = {"smoothing_s": 0.0, "label_margin": 0.0}


@pytest.fixture
def rig(graph):
    return partial(Rig, graph, **RAW)


def change(rig, least_confidence):
    return rig.node.set_parameters([Parameter("least_confidence", value=least_confidence)])[0]


def test_a_state_says_so_and_keeps_its_scores(rig):
    rig = rig(least_confidence=0.9).activate()  # the model is always as sure as 0.7
    rig.feed(1.3)
    state = rig.until_states(1)[0]
    assert (state.label, state.status, state.status_text) == (EmotionState.UNCERTAIN, EmotionState.OK, "")
    assert state.confidence == pytest.approx(0.7) and sum(state.scores) == pytest.approx(1)
    assert (
        list(state.labels) == list(DEFAULT_LABELS)
        and state.labels[state.scores.index(max(state.scores))] == "happy"
    )
    assert (state.valence, state.arousal) == (0.25, -0.5)
    rig.graph.until(lambda: rig.events, "the event")
    assert (rig.events[0].previous, rig.events[0].label) == (UNKNOWN, UNCERTAIN)
    told = rig.graph.until(lambda: next((r for r in rig.reasonings if r.final), None), "a reasoning")
    assert told.label == UNCERTAIN, "what is not told is not explained"


def test_the_threshold_can_be_changed_while_it_runs_and_behaviours_hear_of_it(rig):
    rig = rig(least_confidence=0.9).activate()
    listener, heard = EmotionListener(rig.graph.observer), []
    listener.on_change(lambda state: heard.append(state.label))
    rig.feed(1.3)
    rig.until_states(1)
    assert change(rig, 0.5).successful
    rig.feed(1.0)
    rig.graph.until(lambda: rig.perceived[-1].label == "happy", "a label")
    rig.graph.until(lambda: [e.label for e in rig.events] == [UNCERTAIN, "happy"], "the events")
    rig.graph.until(lambda: heard[-2:] == [UNCERTAIN, "happy"], "the listener")
    assert rig.events[-1].previous == UNCERTAIN
    listener.close()


def test_by_default_it_is_the_bundle_that_says_when(rig):
    rig = rig().activate()  # this one says never
    rig.feed(1.3)
    assert rig.until_states(1)[0].label == "happy"


@pytest.mark.parametrize("wrong", [1.5, -2.0, "often"])
def test_what_is_no_probability_is_refused(rig, wrong):
    found = change(rig(), wrong)
    assert not found.successful and "least_confidence" in found.reason


@pytest.mark.parametrize(
    ("asked", "expected"), [(-1.0, Uncertainty(0.35)), (0.0, NEVER), (0.5, Uncertainty(0.5))]
)
def test_a_parameter_outranks_the_bundle(asked, expected):
    config = pipeline_config(PerceptionParameters(least_confidence=asked), uncertain_below=0.35)
    assert config.uncertainty == expected

"""The person in front of the robot, over real services: neutral, new, and clear answers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakePerceiver, load_fake
from rclpy.parameter import Parameter
from rig import Far, Rig
from std_srvs.srv import SetBool, Trigger

from emollama_ros.adaptation import People
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.manifest import Adaptation
from emollama_ros.nodes import qos
from emollama_ros.nodes.loading import pipeline_config
from emollama_ros.pipeline import EmotionPipeline

pytestmark = pytest.mark.ros
PRIOR = Adaptation({"video": 1.0}, {"video": tuple(map(tuple, 3 * np.eye(7)))}, 2.0)
#: What the picture says of everybody here, before anything is learnt of them.
LOGITS = np.array([2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])


class Follower(FakePerceiver):
    """Learns from every window, as ``perception.Perception`` does."""

    def __init__(self):
        super().__init__()
        self.people = People(PRIOR, DEFAULT_LABELS)

    def reset(self, source=None):
        super().reset(source)
        self.people.forget(source)

    def perceive_one(self, window, sequence, source):
        person = self.people.at(source)
        shown = person.corrected(window.end_ns, {"video": LOGITS})["video"]
        scores = np.exp(shown) / np.exp(shown).sum()
        person.observe(window.start_ns, window.end_ns, {"video": LOGITS}, scores)
        return replace(super().perceive_one(window, sequence, source), scores=tuple(scores.tolist()))


def load_follower(parameters):
    perceiver = Follower()

    def make_pipeline(on_estimate, on_reasoning, parameters=parameters):
        sources = max(1, len(parameters.sources))
        return EmotionPipeline(
            perceiver, None, pipeline_config(parameters), on_estimate, on_reasoning, sources
        )

    return replace(load_fake(parameters), make_pipeline=make_pipeline, people=perceiver.people)


@pytest.fixture
def rig(graph):
    return partial(Rig, graph, load_follower, smoothing_s=0.0, hop_s=0.2)


def call(rig, name, request=None):
    client = rig.graph.observer.create_client(SetBool if request else Trigger, name)
    rig.graph.until(client.service_is_ready, name)
    future = client.call_async(request or Trigger.Request())
    rig.graph.until(future.done, f"an answer of {name}")
    return future.result()


def perceive(rig, seconds=1.5):
    """Feed a picture stream; at least one more window is perceived."""
    count = len(rig.perceived)
    rig.feed(seconds, audio=False)
    rig.until_states(count + 2)


def entry(rig, reports, wanted, name="adaptation"):
    """Values of the first report's entry in which something holds, and its message."""

    def found():
        entries = [e for r in reports for e in r.status if e.name == f"perception_node: {name}"]
        told = [({v.key: v.value for v in e.values}, e.message) for e in entries]
        return next((t for t in told if wanted(*t)), None)

    return rig.graph.until(found, f"an entry {name}")


class TestServices:
    def test_a_neutral_reference_is_used_from_the_next_state_on(self, rig):
        rig = rig(adaptation_after_s=600.0).activate()
        reports = rig.graph.hear(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        perceive(rig)
        before = rig.perceived[-1].scores
        answer = call(rig, "emotion/set_neutral")
        assert answer.success and "this person's neutral face and voice" in answer.message
        perceive(rig)
        after = rig.perceived[-1].scores
        assert after[0] > before[0] + 0.1 and after[1] < before[1]
        values, message = entry(rig, reports, lambda v, m: v["neutral reference"] == "set for this person")
        assert float(values["offset video"]) > 0.1 and message == "allowing for the person"

    def test_somebody_new_is_somebody_unknown(self, rig):
        rig = rig(adaptation_after_s=1.0).activate()
        perceive(rig)
        call(rig, "emotion/set_neutral")
        answer = call(rig, "emotion/new_person")
        assert answer.success and "somebody else" in answer.message
        person = rig.node._model.people.at(0)
        assert (person.report().evidence_s, person.report().neutral) == (0.0, "not set")

    def test_another_source_id_is_somebody_new(self, rig):
        rig = rig().activate()
        perceive(rig)
        call(rig, "emotion/set_neutral")
        person = rig.node._model.people.at(0)
        rig.node.set_parameters([Parameter("hop_s", value=0.25)])
        rig.graph.spin_for(0.1)
        assert person.report().neutral == "set for this person"
        rig.node.set_parameters([Parameter("source_id", value="ann")])
        rig.graph.until(lambda: person.report().neutral == "not set", "forgotten")

    def test_what_cannot_be_done_is_said(self, rig):
        rig = rig()
        for name in ("emotion/set_neutral", "emotion/new_person"):
            answer = call(rig, name)
            assert not answer.success and "nothing is perceived now" in answer.message
        rig.activate()
        answer = call(rig, "emotion/set_neutral")
        assert not answer.success and "nobody was perceived" in answer.message
        rig.node.set_parameters([Parameter("adaptation", value="off")])
        rig.graph.spin_for(0.1)
        answer = call(rig, "emotion/set_neutral")
        assert not answer.success and "set the parameter adaptation to person" in answer.message
        call(rig, "emotion/enable", SetBool.Request(data=False))
        assert "paused" in call(rig, "emotion/set_neutral").message

    def test_a_bundle_that_cannot_follow_says_so(self, graph):
        rig = Rig(graph).activate()
        for name in ("emotion/set_neutral", "emotion/new_person"):
            answer = call(rig, name)
            assert not answer.success and "calibration.adaptation" in answer.message
        assert rig.node.set_parameters([Parameter("adaptation", value="off")])[0].successful
        rig.graph.spin_for(0.1)
        (result,) = rig.node.set_parameters([Parameter("adaptation", value="person")])
        assert not result.successful and "calibration.adaptation" in result.reason

    def test_a_source_has_services_of_its_own(self, graph):
        rig = Rig(graph, load_follower, sources=["left", "right"])
        left = Far(graph, "left/")
        assert rig.node.trigger_configure() and rig.node.trigger_activate()
        for _ in range(20):
            rig.feed_one(left, rig.inputs(0), audio=False)
            rig.now += 100_000_000
        graph.until(lambda: left.perceived, "a state of the left")
        assert call(rig, "left/emotion/set_neutral").success
        answer = call(rig, "right/emotion/set_neutral")
        assert not answer.success and "nobody was perceived" in answer.message

    def test_switching_it_on_and_off_needs_no_new_pipeline(self, rig):
        rig = rig(adaptation="off").activate()
        reports = rig.graph.hear(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        pipeline = rig.pipeline
        perceive(rig)
        entry(rig, reports, lambda _, message: message == "off")
        assert rig.node.set_parameters([Parameter("adaptation", value="person")])[0].successful
        perceive(rig)
        entry(rig, reports, lambda _, message: message.startswith("knows too little of the person"))
        assert rig.pipeline is pipeline

"""The node's own speech-to-text: loaded with the model, fed with the sound, forgotten with it."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from rclpy.parameter import Parameter
from rig import Rig, state_of

from emollama_ros.errors import ConfigError
from emollama_ros.msg import EmotionState
from emollama_ros.nodes import perception_node
from emollama_ros.nodes.hearing import load_recogniser
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.nodes.perception_node import DONE, REFUSED

pytestmark = pytest.mark.ros


class Speech:
    """A recogniser that hears the same words in every chunk."""

    made = []

    def __init__(self, model, threads, on_text):
        self.model, self.on_text, self.is_on = model, on_text, False
        self.made.append(self)

    def start(self):
        self.is_on = True

    def stop(self):
        self.is_on = False

    def push(self, stamp_ns, samples):
        self.on_text(stamp_ns, "what a lovely day")


@pytest.fixture
def speech(monkeypatch):
    monkeypatch.setattr("emollama_ros.speech.SpeechToText", Speech)
    monkeypatch.setattr(Speech, "made", [])
    loaded = SimpleNamespace()
    load = lambda asked: loaded if asked.speech_to_text else None  # noqa: E731
    monkeypatch.setattr(perception_node, "load_recogniser", load)
    return loaded


@pytest.fixture
def rig(graph):
    return partial(Rig, graph)


def test_what_is_said_becomes_part_of_the_states(rig, speech):
    rig = rig(speech_to_text=True).activate()
    rig.feed(1.3)
    assert rig.until_states(1)[0].modalities == EmotionState.VIDEO | EmotionState.AUDIO | EmotionState.TEXT
    (heard,) = Speech.made
    assert heard.is_on and heard.model is speech
    assert rig.node.trigger_deactivate() == DONE
    assert not heard.is_on
    assert rig.node.trigger_activate() == DONE
    assert len(Speech.made) == 2 and Speech.made[1].model is speech  # loaded once
    assert rig.node.trigger_deactivate() == DONE and rig.node.trigger_cleanup() == DONE
    assert rig.node._recogniser is None


def test_it_is_off_by_default_and_needs_configuring(rig, speech):
    rig = rig().activate()
    rig.feed(1.3)
    assert not rig.until_states(1)[0].modalities & EmotionState.TEXT and not Speech.made
    (result,) = rig.node.set_parameters([Parameter("speech_to_text", value=True)])
    assert not result.successful and "speech_to_text" in result.reason


def test_a_missing_recogniser_is_a_reason_not_to_be_configured(rig, monkeypatch):
    def missing(asked):
        raise ConfigError("the speech model is not assembled")

    monkeypatch.setattr(perception_node, "load_recogniser", missing)
    rig = rig()
    assert rig.node.trigger_configure() == REFUSED and state_of(rig.node) == "unconfigured"
    assert rig.node._model is None


def test_the_packaged_recogniser_is_loaded_only_if_asked_for(monkeypatch):
    asked = []
    load = lambda *given: asked.append(given)  # noqa: E731
    monkeypatch.setattr("emollama_ros.speech.Whisper.load", load)
    load_recogniser(PerceptionParameters())
    assert asked == []
    load_recogniser(PerceptionParameters(speech_to_text=True))
    assert asked == [(None, 1)]

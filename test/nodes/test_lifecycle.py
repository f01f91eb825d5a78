"""Lifecycle, pause and parameters of the perception node: what a robot does to software."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_model import load_fake
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rig import Rig, state_of
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from emollama_ros.msg import EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.perception_node import DONE, REFUSED, PerceptionNode

pytestmark = pytest.mark.ros
CYCLES = 200


@pytest.fixture
def rig(graph):
    return partial(Rig, graph)


def subscribed(node):
    """Topics of a node's own subscriptions."""
    return {s.topic_name for s in node.subscriptions} - {"/parameter_events", "/clock"}


def call(rig, kind, name, request):
    """Call a service as another node would; its response."""
    client = rig.graph.observer.create_client(kind, name)
    rig.graph.until(client.service_is_ready, name)
    future = client.call_async(request)
    rig.graph.until(future.done, f"an answer of {name}")
    return future.result()


def enable(rig, on):
    return call(rig, SetBool, "emotion/enable", SetBool.Request(data=on))


class TestLifecycle:
    def test_missing_model_leaves_the_node_unconfigured(self, rig):
        node = rig(bundle="missing").node
        assert node.trigger_configure() == REFUSED
        assert state_of(node) == "unconfigured"
        node.set_parameters([Parameter("bundle", value="there now")])
        assert node.trigger_configure() == DONE

    def test_a_defect_in_loading_is_refused_not_swallowed(self, rig):
        node = rig(bundle="defect").node
        assert node.trigger_configure() == REFUSED
        assert state_of(node) == "unconfigured"

    def test_a_pipeline_that_cannot_start_leaves_the_node_inactive_and_deaf(self, rig, monkeypatch):
        rig = rig()
        assert rig.node.trigger_configure() == DONE
        with monkeypatch.context() as patch:
            patch.setattr("emollama_ros.nodes.channel.Sensors", lambda *_: 1 / 0)
            assert rig.node.trigger_activate() == REFUSED
        assert state_of(rig.node) == "inactive" and not subscribed(rig.node)
        assert not [t for t in threading.enumerate() if t.name.startswith("emollama")]
        rig.node.trigger_activate()
        rig.heard()

    @pytest.mark.parametrize("what", ["configure", "activate", "deactivate", "cleanup"])
    def test_an_error_in_any_transition_ends_unconfigured_and_can_be_recovered(self, rig, monkeypatch, what):
        rig = rig()
        steps = ["configure", "activate", "deactivate", "cleanup"]
        for step in steps[: steps.index(what)]:
            assert getattr(rig.node, f"trigger_{step}")() == DONE
        with monkeypatch.context() as patch:
            patch.setattr(rig.node, "get_logger", lambda: 1 / 0)
            patch.setattr(rig.node, "_stop", lambda: 1 / 0)
            patch.setattr(type(rig.node._channels[0]), "begin", lambda *_: 1 / 0)
            getattr(rig.node, f"trigger_{what}")()
        assert state_of(rig.node) in ("unconfigured", "finalized")

    @pytest.mark.parametrize("steps", [(), ("configure",), ("configure", "activate")])
    def test_shutdown_from_every_state(self, rig, steps):
        rig = rig()
        for step in steps:
            assert getattr(rig.node, f"trigger_{step}")() == DONE
        assert rig.node.trigger_shutdown() == DONE
        assert state_of(rig.node) == "finalized" and rig.pipeline is None and not subscribed(rig.node)
        count = len(rig.states)
        rig.graph.spin_for(1.0)
        assert len(rig.states) == count

    def test_deactivated_means_deaf_and_blind(self, rig):
        rig = rig().activate()
        rig.feed(1.3)
        rig.until_states(1)
        assert rig.node.trigger_deactivate() == DONE
        assert not [t for t in threading.enumerate() if t.name.startswith("emollama")]
        rig.heard(0)
        count = len(rig.states)
        rig.graph.spin_for(1.2)
        assert len(rig.states) == count
        assert rig.node.trigger_activate() == DONE
        rig.heard()
        rig.feed(1.3)
        state = rig.graph.until(lambda: [s for s in rig.states[count:] if s.label == "happy"], "a state")[0]
        assert state.reasoning == ""
        assert [s.sequence for s in rig.states] == list(range(len(rig.states)))
        assert rig.node.trigger_deactivate() == DONE and rig.node.trigger_cleanup() == DONE
        assert rig.node._model is None

    def test_cleanup_gives_the_memory_of_the_model_back(self, rig):
        rig = rig().activate()
        held = [weakref.ref(rig.node._model), weakref.ref(rig.pipeline)]
        assert rig.node.trigger_deactivate() == DONE and rig.node.trigger_cleanup() == DONE
        rig.graph.until(lambda: [ref() for ref in held] == [None, None], "memory given back")

    def test_two_hundred_cycles_leave_nothing_behind(self, rig):
        node = rig().node

        def cycle():
            for step in ("configure", "activate", "deactivate", "cleanup"):
                assert getattr(node, f"trigger_{step}")() == DONE

        def held():
            entities = (node.subscriptions, node.publishers, node.timers, node.guards, node.services)
            return (
                threading.active_count(),
                len(os.listdir("/proc/self/fd")),
                len(node._managed_entities),
                *(len(list(kind)) for kind in entities),
            )

        for _ in range(5):
            cycle()
        before = held()
        for _ in range(CYCLES - 5):
            cycle()
        assert held() == before

    def test_a_transition_that_is_not_possible_now_is_refused(self, rig):
        rig = rig()
        wrong = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
        assert not call(rig, ChangeState, "perception_node/change_state", wrong).success
        right = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        assert call(rig, ChangeState, "perception_node/change_state", right).success


class TestPause:
    def test_when_enable_returns_nothing_is_subscribed_to_or_remembered(self, rig):
        rig = rig().activate()
        paused = rig.graph.hear(Bool, "emotion/paused", qos.PAUSED)
        rig.graph.until(lambda: paused, "the latched word")
        assert not paused[-1].data
        rig.feed(1.3)
        rig.until_states(1)
        rig.graph.until(lambda: any(r.final for r in rig.reasonings), "a reasoning")
        feed, held = rig.pipeline.feeds[0], weakref.ref(rig.pipeline)
        assert feed.health().buffered_s["audio"] > 1
        told = enable(rig, False)
        assert (told.success, told.message) == (True, "paused")
        assert not subscribed(rig.node)
        assert set(feed.health().buffered_s.values()) == {0.0}
        feed = None
        rig.graph.until(lambda: held() is None, "memory given back")
        rig.graph.until(lambda: paused[-1].data, "the word")
        state = rig.next_state()
        assert (state.status, state.status_text) == (EmotionState.STALE, "paused by emotion/enable")
        assert (state.label, state.reasoning) == ("unknown", "")
        rig.next_state(what="another one a second later")

        assert enable(rig, True).message == "perceiving"
        rig.heard()
        count = len(rig.perceived)
        rig.feed(1.3)
        rig.until_states(count + 1)
        assert [s.sequence for s in rig.states] == list(range(len(rig.states)))

    def test_paused_is_no_fault(self, rig):
        rig = rig(enabled=False)
        assert rig.node.trigger_configure() == DONE and rig.node.trigger_activate() == DONE
        assert not subscribed(rig.node) and rig.pipeline is None
        reports = rig.graph.hear(DiagnosticArray, "/diagnostics")
        report = rig.graph.until(lambda: reports and reports[-1], "diagnostics")
        assert {entry.level for entry in report.status} == {DiagnosticStatus.OK}
        assert "paused by emotion/enable" in {entry.message for entry in report.status}

    def test_before_activation_it_is_kept_for_later(self, rig):
        rig = rig()
        assert enable(rig, False).message == "paused as soon as the node is active"
        assert rig.node.trigger_configure() == DONE and rig.node.trigger_activate() == DONE
        assert not subscribed(rig.node)
        assert enable(rig, True).success
        rig.heard()

    def test_the_parameter_is_the_same_switch(self, rig):
        rig = rig().activate()
        rig.node.set_parameters([Parameter("enabled", value=False)])
        rig.heard(0)
        assert enable(rig, True).success
        assert rig.node.get_parameter("enabled").value is True

    def test_enabling_twice_changes_nothing(self, rig):
        rig = rig().activate()
        pipeline = rig.pipeline
        assert enable(rig, True).success and rig.pipeline is pipeline

    def test_enabling_that_fails_is_said(self, rig, monkeypatch):
        rig = rig(enabled=False)
        assert rig.node.trigger_configure() == DONE and rig.node.trigger_activate() == DONE
        monkeypatch.setattr("emollama_ros.nodes.channel.Sensors", lambda *_: 1 / 0)
        told = enable(rig, True)
        assert (told.success, told.message) == (False, "cannot perceive: see the log")
        assert not subscribed(rig.node) and rig.node.get_parameter("enabled").value is False
        assert "paused" in rig.next_state().status_text


class TestParameters:
    def test_wrong_values_are_refused_with_the_reason(self, rig):
        node = rig().node
        for name, value, words in [
            ("engine", "gpu", "'gpu' is not one of auto, cpu"),
            ("hop_s", 100.0, "Min: 0.1, Max: 10.0, value: 100.0"),
            ("hop_s", "fast", "parameter hop_s: 'fast' is of type str, it must be float"),
            ("threads", 0, "Min: 1, Max: 64, value: 0"),
            ("sources", ["a/b"], "'a/b' cannot be part of a topic name"),
            ("autostart", True, "autostart"),
        ]:
            (result,) = node.set_parameters([Parameter(name, value=value)])
            assert not result.successful and words in result.reason

    def test_what_needs_a_new_model_is_refused_while_there_is_one(self, rig):
        rig = rig()
        assert rig.node.set_parameters([Parameter("threads", value=3)])[0].successful
        rig.activate()
        (result,) = rig.node.set_parameters([Parameter("threads", value=4)])
        assert not result.successful
        assert "parameter threads: 4" in result.reason and "unconfigured" in result.reason
        assert rig.node.set_parameters([Parameter("threads", value=3)])[0].successful
        assert rig.node.get_parameter("threads").value == 3

    def test_live_ones_are_used_at_once_and_nothing_is_forgotten(self, rig):
        rig = rig().activate()
        pipeline = rig.pipeline
        rig.feed(1.3)
        rig.until_states(1)
        for name, value in [("hop_s", 1), ("source_id", "ann"), ("label_margin", 0.3), ("reasoning", False)]:
            assert rig.node.set_parameters([Parameter(name, value=value)])[0].successful
        count = len(rig.perceived)
        rig.feed(2.4)
        rig.until_states(count + 2)
        assert rig.pipeline is pipeline and rig.perceived[-1].source_id == "ann"
        ends = [s.header.stamp.sec + s.header.stamp.nanosec / 1e9 for s in rig.perceived[-2:]]
        assert ends[1] - ends[0] == pytest.approx(1.0)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("window_s", 2.0), ("audio_latency_ms", 40.0), ("audio_reliability", "best_effort")],
    )
    def test_others_start_a_fresh_pipeline_by_themselves(self, rig, name, value):
        rig = rig().activate()
        pipeline, model = rig.pipeline, rig.node._model
        assert rig.node.set_parameters([Parameter(name, value=value)])[0].successful
        rig.graph.until(lambda: rig.pipeline is not pipeline, "a fresh pipeline")
        assert rig.node._model is model
        rig.heard()
        rig.feed(1.3)
        rig.until_states(1)

    def test_a_language_model_that_was_not_loaded_cannot_be_switched_on(self, rig):
        rig = rig(reasoning=False).activate()
        (result,) = rig.node.set_parameters([Parameter("reasoning", value=True)])
        assert not result.successful and "was not loaded" in result.reason

    def test_an_array_that_is_written_empty_is_empty(self, graph):
        import rclpy

        context = rclpy.Context()
        rclpy.init(context=context, args=["--ros-args", "-p", "sources:=[]"])
        node = PerceptionNode(load_fake, context=context)
        assert node._tuning.settings.sources == ()
        node.destroy_node()
        rclpy.shutdown(context=context)

    def test_several_at_once_are_set_together_or_not_at_all(self, rig):
        rig = rig().activate()
        wrong = [Parameter("hop_s", value=2.0), Parameter("expect", value="smell")]
        assert not rig.node.set_parameters_atomically(wrong).successful
        assert rig.node.get_parameter("hop_s").value == 0.5
        rig.graph.spin_for(0.1)
        assert rig.node._tuning.settings.hop_s == 0.5

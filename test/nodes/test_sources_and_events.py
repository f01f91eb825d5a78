"""Several sources, changes of the label, simulated time and a recording that loops."""

from __future__ import annotations

from functools import partial

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from rig import START, Far, Rig, bright
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool

from emollama_ros.msg import EmotionState
from emollama_ros.nodes.clock import SECOND, ros_time, stamp_ns
from emollama_ros.nodes.perception_node import DONE

pytestmark = pytest.mark.ros
RAW = {"smoothing_s": 0.0, "label_margin": 0.0}
dark = partial(bright, value=30)


@pytest.fixture
def rig(graph):
    return partial(Rig, graph)


class Pair(Rig):
    """A node with two sources: a bright one on the left, a dark one on the right."""

    def __init__(self, graph, **parameters):
        super().__init__(graph, sources=["left", "right"], **parameters)
        self.far = [Far(graph, "left/"), Far(graph, "right/")]

    @property
    def publishers(self):
        return [p for far in getattr(self, "far", ()) for p in far.publishers]

    def feed(self, seconds, only=(0, 1)):
        for _ in range(round(seconds * 10)):
            for source in only:
                picture = (bright, dark)[source]
                self.feed_one(self.far[source], self.inputs(source), image=picture)
            self.now += SECOND // 10


def test_two_sources_are_perceived_apart_by_one_model(graph):
    rig = Pair(graph).activate()
    rig.feed(2.5)
    left, right = rig.far
    graph.until(lambda: left.perceived and right.perceived, "states of both")
    assert {s.label for s in left.perceived} == {"happy"} and {s.label for s in right.perceived} == {"sad"}
    assert {s.source_id for s in left.states} == {"left"} and {s.source_id for s in right.states} == {"right"}
    for far in rig.far:
        assert [s.sequence for s in far.states] == list(range(len(far.states)))
        graph.until(lambda far=far: any(r.final for r in far.reasonings), "a reasoning of each")
    assert {(r.source_id, r.label) for r in left.reasonings} == {("left", "happy")}
    assert {(r.source_id, r.label) for r in right.reasonings} == {("right", "sad")}
    assert not rig.states  # nothing without a name


def test_one_source_that_is_silent_does_not_silence_the_other(graph):
    rig = Pair(graph, timeout_s=0.5).activate()
    rig.feed(1.3)
    left, right = rig.far
    graph.until(lambda: right.perceived, "a state of the right")
    count = len(left.perceived)

    def gone():
        rig.feed(0.1, only=[0])
        return right.states[-1].status == EmotionState.STALE

    graph.until(gone, "STALE on the right")
    assert "/right/camera/image_raw" in right.states[-1].status_text
    graph.until(lambda: rig.feed(0.1, only=[0]) or len(left.perceived) > count, "the left goes on")


def test_each_source_has_its_diagnostics_and_one_switch_pauses_all(graph):
    rig = Pair(graph).activate()
    reports = graph.hear(DiagnosticArray, "/diagnostics")
    names = {e.name for e in graph.until(lambda: reports and reports[-1], "diagnostics").status}
    assert {f"perception_node: perception {side}" for side in ("left", "right")} <= names
    client = graph.observer.create_client(SetBool, "emotion/enable")
    graph.until(client.service_is_ready, "the service")
    future = client.call_async(SetBool.Request(data=False))
    graph.until(future.done, "an answer")
    rig.heard(0)
    for far in rig.far:
        graph.until(lambda far=far: far.states and "paused" in far.states[-1].status_text, "paused")


def test_other_sources_are_taken_when_the_node_is_configured_again(graph):
    rig = Pair(graph).activate()
    node = rig.node
    assert not node.set_parameters([Parameter("sources", value=["up"])])[0].successful
    assert node.trigger_deactivate() == DONE and node.trigger_cleanup() == DONE
    assert node.set_parameters([Parameter("sources", value=[""])])[0].successful
    assert node.trigger_configure() == DONE and node.trigger_activate() == DONE
    Rig.heard(rig, 0)
    state = rig.next_state(what="a state without a name")
    assert state.source_id == ""


def test_an_event_says_what_changed_and_how_long_it_lasted(rig):
    rig = rig(**RAW).activate()
    rig.feed(1.3)
    rig.until_states(1)
    for count in range(2, 4):
        rig.feed(0.5)
        rig.until_states(count)
    rig.feed(0.7, image=dark)
    sad = rig.graph.until(lambda: next((s for s in rig.perceived if s.label == "sad"), None), "sad")
    rig.graph.until(lambda: rig.events and rig.events[-1].label == "sad", "the event")
    first, last = rig.events[0], rig.events[-1]
    assert (first.previous, first.label) == ("unknown", "happy")
    happy = rig.perceived[0]
    assert (first.state_sequence, first.header) == (happy.sequence, happy.header)
    assert (last.previous, last.state_sequence, last.header) == ("happy", sad.sequence, sad.header)
    assert (last.valence, last.arousal, last.confidence) == (sad.valence, sad.arousal, sad.confidence)
    assert last.modalities == sad.modalities
    lasted = stamp_ns(sad.header.stamp) - stamp_ns(happy.header.stamp)
    assert last.previous_for.sec * SECOND + last.previous_for.nanosec == lasted


def test_labels_are_steadied_and_the_text_agrees_with_them(rig):
    rig = rig(min_dwell_s=30.0).activate()
    rig.feed(1.3)
    rig.until_states(1)
    rig.feed(3.0, image=dark)
    rig.until_states(3)
    assert {s.label for s in rig.perceived} == {"happy"}
    assert rig.perceived[-1].confidence < rig.perceived[0].confidence
    rig.graph.until(lambda: any(r.final for r in rig.reasonings), "a reasoning")
    assert {r.label for r in rig.reasonings} == {"happy"}


class Recording:
    """``ros2 bag play --loop --clock``: stamps and /clock begin again."""

    def __init__(self, rig):
        self.rig = rig
        self.clock = rig.graph.observer.create_publisher(Clock, "/clock", 10)
        rig.graph.until(lambda: self.clock.get_subscription_count() == 1, "/clock")

    def play(self, seconds):
        self.rig.now = START
        for _ in range(round(seconds * 10)):
            self.clock.publish(Clock(clock=ros_time(self.rig.now)))
            self.rig.feed(0.1)


def test_simulated_time_and_a_recording_that_loops(rig):
    rig = rig(use_sim_time=True).activate()
    recording = Recording(rig)
    last = ros_time(START + 2 * SECOND)
    for turn in (1, 2, 3):
        count = len(rig.perceived)
        recording.play(2.3)
        rig.graph.until(lambda n=count: [s.header.stamp for s in rig.perceived[n:]][-1:] == [last], "the end")
        fresh = rig.perceived[count:]
        ends = [stamp_ns(s.header.stamp) - START for s in fresh]
        assert all(SECOND <= end <= 3 * SECOND for end in ends), turn
        assert ends == sorted(ends)
    assert rig.pipeline.health().restarts == 2
    assert [s.sequence for s in rig.states] == list(range(len(rig.states)))


def test_simulated_time_that_nobody_publishes_keeps_nobody_silent(rig):
    rig = rig(use_sim_time=True, timeout_s=0.4).activate()
    state = rig.next_state(lambda s: s.status == EmotionState.STALE, "STALE")
    assert stamp_ns(state.header.stamp) == 0
    rig.feed(1.3)
    rig.until_states(1)

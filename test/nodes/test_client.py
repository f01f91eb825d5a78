"""The listener for behaviours."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

import rclpy
from std_msgs.msg import Bool

from emollama_ros.client import EmotionListener
from emollama_ros.msg import EmotionEvent, EmotionReasoning, EmotionState
from emollama_ros.nodes import qos

pytestmark = pytest.mark.ros


@pytest.fixture
def robot(graph):
    """Says what the test wants, from the observer node."""
    states = graph.observer.create_publisher(EmotionState, "emotion/state", qos.STATE)
    reasons = graph.observer.create_publisher(EmotionReasoning, "emotion/reasoning", qos.REASONING)

    def say(label, confidence=0.8):
        states.publish(EmotionState(label=label, confidence=confidence))

    say.why = lambda text, final: reasons.publish(EmotionReasoning(text=text, final=final))
    say.heard = lambda: states.get_subscription_count() and reasons.get_subscription_count()
    return say


def test_latest_and_reasoning(graph, robot):
    listener = EmotionListener(graph.observer)
    assert listener.latest() is None and listener.latest_reasoning() is None
    graph.until(robot.heard, "matching")
    robot("happy")
    graph.until(listener.latest, "a state")
    assert listener.latest().label == "happy"
    assert listener.latest(max_age=60.0) is not None and listener.latest(max_age=0.0) is None
    robot.why("Looks", False)
    robot.why("Looks happy", True)
    graph.until(listener.latest_reasoning, "a reasoning")
    assert listener.latest_reasoning().text == "Looks happy"


def test_on_change_is_called_on_changes_only_and_can_be_ended(graph, robot):
    listener, seen = EmotionListener(graph.observer), []
    end = listener.on_change(lambda state: seen.append(state.label))
    graph.until(robot.heard, "matching")
    for label in ("sad", "sad", "happy"):
        before = listener.latest()
        robot(label)
        graph.until(lambda before=before: listener.latest() is not before, "the state")
    assert seen == ["sad", "happy"]
    end()
    end()
    before = listener.latest()
    robot("angry")
    graph.until(lambda: listener.latest() is not before, "the state")
    assert seen == ["sad", "happy"]


def test_wait_for_spins_a_node_that_nobody_spins(graph, robot):
    node = rclpy.create_node("behaviour")
    listener = EmotionListener(node)
    assert listener.wait_for("happy", timeout=0.05) is None
    graph.until(robot.heard, "matching")
    robot("happy", 0.4)
    assert listener.wait_for(["sad", "happy"], timeout=5.0, min_confidence=0.3).label == "happy"
    assert listener.wait_for("happy", timeout=0.05, min_confidence=0.9) is None
    listener.close()
    node.destroy_node()


def test_wait_for_waits_while_another_thread_spins(graph, robot):
    listener = EmotionListener(graph.observer)
    graph.until(robot.heard, "matching")
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            graph.executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        threading.Timer(0.1, lambda: robot("scared")).start()
        assert listener.wait_for("scared", timeout=10.0).label == "scared"
        assert listener.wait_for("happy", timeout=0.05) is None
    finally:
        stop.set()
        thread.join()


def test_events_of_one_source_and_the_pause_of_all(graph):
    make = graph.observer.create_publisher
    publishers = {
        side: make(EmotionEvent, f"robot/{side}/emotion/event", qos.EVENT) for side in ("left", "right")
    }
    paused = make(Bool, "robot/emotion/paused", qos.PAUSED)
    listener, seen = EmotionListener(graph.observer, namespace="robot", source="left"), []
    end = listener.on_event(lambda event: seen.append((event.previous, event.label)))
    graph.until(publishers["left"].get_subscription_count, "matching")
    assert not listener.paused
    paused.publish(Bool(data=True))
    graph.until(lambda: listener.paused, "the pause")
    assert publishers["right"].get_subscription_count() == 0
    publishers["left"].publish(EmotionEvent(previous="sad", label="happy"))
    graph.until(lambda: seen == [("sad", "happy")], "the event")
    end()
    end()
    publishers["left"].publish(EmotionEvent(previous="happy", label="sad"))
    paused.publish(Bool(data=False))
    graph.until(lambda: not listener.paused, "the end of the pause")
    assert seen == [("sad", "happy")]
    listener.close()
    graph.until(lambda: publishers["left"].get_subscription_count() == 0, "unsubscribed")

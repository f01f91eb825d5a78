"""Two hundred lifecycle cycles of a node in a process of its own, asked for as a lifecycle manager does."""

from __future__ import annotations

import os
import sys
from time import time_ns

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from fault_table import Row, seconds
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from play import HERE, Process, holds

from emollama_ros.conditions import NO_INPUT, recognise
from emollama_ros.estimate import Status
from emollama_ros.msg import EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND

pytestmark = [pytest.mark.ros, pytest.mark.slow]
CYCLES, FIRST = 200, 5
NODE, NAMESPACE = "perception_node", "/cycled"
CYCLE = (
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
)


@pytest.fixture
def node(graph):
    command = [sys.executable, str(HERE / "misbehaving_model.py"), "--ros-args", "-r", f"__ns:={NAMESPACE}"]
    process = Process("cycled", command, os.environ)
    yield process
    process.stop()


def test_two_hundred_cycles_leave_nothing_behind_and_states_come_again(graph, node, fault_table):
    change = graph.observer.create_client(ChangeState, f"{NAMESPACE}/{NODE}/change_state")
    heard = []

    def hear(state, info):
        heard.append((state, info["source_timestamp"]))

    graph.observer.create_subscription(EmotionState, f"{NAMESPACE}/emotion/state", hear, qos.STATES_HEARD)
    graph.until(change.service_is_ready, "the node", timeout=60)

    def do(transition):
        future = change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        graph.until(future.done, f"transition {transition}", timeout=60)
        assert future.result().success, f"transition {transition} was refused"

    def endpoints():
        by_node = (
            graph.observer.get_subscriber_names_and_types_by_node,
            graph.observer.get_publisher_names_and_types_by_node,
        )
        counts = tuple(len(find(NODE, NAMESPACE)) for find in by_node)
        return counts if all(counts) else None

    def cycle(times):
        for transition in CYCLE * times:
            do(transition)

    def activate():
        """Go to active; the first state that says that nothing is there, and how long it took, ns."""
        do(Transition.TRANSITION_CONFIGURE)
        do(Transition.TRANSITION_ACTIVATE)
        asked_ns, count = time_ns(), len(heard)
        told = graph.until(
            lambda: next((h for h in heard[count:] if NO_INPUT in recognise(h[0].status_text)), None),
            "a state",
        )
        return told[0], told[1] - asked_ns

    def end():
        do(Transition.TRANSITION_DEACTIVATE)
        do(Transition.TRANSITION_CLEANUP)

    cycle(FIRST)
    activate()
    held, offered = holds(node.pid), graph.until(endpoints, "its topics")
    end()
    cycle(CYCLES - FIRST)
    state, waited_ns = activate()
    # A timer that was cancelled ends a moment later, and topics are heard of by and by.
    graph.until(lambda: holds(node.pid) <= held, f"{held} threads and files, or fewer")
    graph.until(lambda: endpoints() == offered, "the topics of before")
    kept = "{} threads, {} files, {} subscriptions, {} publishers: as before".format(*held, *offered)
    observed = f"{Status(state.status).name}: {state.status_text}; {kept}"
    expected = f"STALE: {NO_INPUT.name}; nothing left behind"
    fault_table(Row(f"{CYCLES} lifecycle cycles", expected, observed, seconds(waited_ns), None, None))
    assert waited_ns < 4 * SECOND

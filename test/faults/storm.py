"""Subscribers that join all at once, get the present state, and leave; again and again.

Says on stdout, in JSON, when it begins and when it is over (epoch, ns), and how many subscribers of each
round got a state.
"""

from __future__ import annotations

import json
import os
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor

from emollama_ros.msg import EmotionState
from emollama_ros.nodes import qos

TOPIC = "/inputs/steady/emotion/state"
PARTICIPANTS, EACH, ROUNDS = 5, 10, 4
#: Longest wait for the states of a round, s.
PATIENCE_S = 20.0


def join(number, heard):
    """Join with a participant that has several subscriptions; returns what is needed to spin and to leave."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node(f"subscriber_{number}", context=context, start_parameter_services=False)
    for _ in range(EACH):
        own = []
        heard.append(own)
        node.create_subscription(EmotionState, TOPIC, own.append, qos.STATE)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    return context, node, executor


def leave(context, node, executor):
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def one_round():
    """Return how many subscribers got a state."""
    heard = []
    joined = [join(number, heard) for number in range(PARTICIPANTS)]
    deadline = time.monotonic() + PATIENCE_S
    while not all(heard) and time.monotonic() < deadline:
        for _, _, executor in joined:
            executor.spin_once(timeout_sec=0.01)
    for one in joined:
        leave(*one)
    return sum(bool(own) for own in heard)


if __name__ == "__main__":
    os.nice(10)  # what is looked at is what subscribers cost the node, not what they take of two cores
    print(json.dumps({"event": "on", "ns": time.time_ns()}), flush=True)
    rounds = [one_round() for _ in range(ROUNDS)]
    print(json.dumps({"event": "off", "ns": time.time_ns(), "heard": rounds}), flush=True)

"""The perception node with a stopwatch: the same node, run as ``python -m benchmark.traced_node TRACE``.

It notes when each message was sent, arrived, and was in its buffer, and when each estimate came from the
worker. Nothing of the node is changed; every note is one append to a list. The file is written at the end.
``--null`` puts an engine in that answers at once; ``--restless`` has a language model write all the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image

from benchmark.null_engine import load_null
from benchmark.restless import Writer
from emollama_ros.bundle import Bundle
from emollama_ros.errors import ConfigError
from emollama_ros.msg import AudioChunk
from emollama_ros.nodes.clock import stamp_ns
from emollama_ros.nodes.loading import Model, ModelLoader, OnEstimate, OnReasoning, Pipeline, load_model
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.nodes.perception_node import PerceptionNode
from emollama_ros.nodes.running import run_node
from emollama_ros.reasoning import load_reasoner

TRACED = {Image: "image", AudioChunk: "audio"}


class TracedNode(PerceptionNode):
    """A perception node that notes times on the system's clock, which is that of DDS, ns."""

    def __init__(self, trace: Path, load: ModelLoader = load_model, restless: bool = False) -> None:
        """Make the node.

        Args:
            trace: JSON file to write when it is closed.
            load: Loads the model.
            restless: Whether a language model writes without a pause, beside whatever the node does.
        """
        self._trace, self._load_model, self._restless = trace, load, restless
        self._writer: Writer | None = None
        #: stamp, sent, received, begun, done
        self._messages: dict[str, list[tuple[int, ...]]] = {"image": [], "audio": []}
        self._estimates: list[dict[str, Any]] = []
        self._last: Pipeline | None = None
        super().__init__(load=self._load_traced)

    def create_subscription(
        self, kind: type, topic: str, callback: Callable, *rest: Any, **named: Any
    ) -> Any:
        """Subscribe with a callback that notes the time before and after."""
        if kind in TRACED:
            callback = self._noting(self._messages[TRACED[kind]], callback)
        return super().create_subscription(kind, topic, callback, *rest, **named)

    @property
    def taken(self) -> int:
        """Messages taken from the topics that are traced."""
        return sum(map(len, self._messages.values()))

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Write the trace as well."""
        self._write()
        return super().on_deactivate(state)

    def close(self) -> None:
        """Write the trace as well."""
        self._write()
        if self._writer is not None:
            self._writer.stop()
        super().close()

    @staticmethod
    def _noting(notes: list[tuple[int, ...]], callback: Callable) -> Callable[[Any, Any], None]:
        def take(message: Any, info: Any) -> None:
            begun = time.time_ns()
            callback(message)
            sent, received = info["source_timestamp"], info["received_timestamp"]
            notes.append((stamp_ns(message.header.stamp), sent, received, begun, time.time_ns()))

        return take

    def _load_traced(self, parameters: PerceptionParameters) -> Model:
        model = self._load_model(parameters)
        if self._restless:
            self._writer = writer(parameters)

        def make(
            on_estimate: OnEstimate, on_reasoning: OnReasoning, parameters: PerceptionParameters = parameters
        ) -> Pipeline:
            def noted(estimate: Any) -> None:
                self._estimates.append(
                    {
                        "start_ns": estimate.start_ns,
                        "end_ns": estimate.end_ns,
                        "at_ns": time.time_ns(),
                        "stage_ms": dict(estimate.stage_ms),
                    }
                )
                on_estimate(estimate)

            self._last = model.make_pipeline(noted, on_reasoning, parameters)
            return self._last

        return replace(model, make_pipeline=make)

    def _write(self) -> None:
        if self._last is None:
            return
        health = self._last.health()
        counts = {
            name: getattr(health, name)
            for name in ("windows", "windows_skipped", "reasonings", "faults", "restarts", "frames_received")
        }
        counts |= {"audio_samples": health.audio_samples, "audio_lost": health.audio_lost}
        trace = {"messages": self._messages, "estimates": self._estimates, "counts": counts}
        trace |= {"restless": self._writer.told()} if self._writer else {}
        self._trace.write_text(json.dumps(trace))


def writer(parameters: PerceptionParameters) -> Writer:
    """A language model as the node would load it, already writing.

    Raises:
        ConfigError: The bundle has none, or it is not assembled.
    """
    reasoner, notices = load_reasoner(Bundle.load(parameters.bundle or None), threads=1)
    if reasoner is None:
        raise ConfigError("; ".join(notices))
    return Writer(reasoner)


def main(arguments: Sequence[str]) -> int:
    """Run the node; what follows ``--ros-args`` is for rclpy. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.traced_node")
    parser.add_argument("trace", type=Path, help="JSON file to write")
    parser.add_argument("--null", action="store_true", help="an engine that answers at once")
    parser.add_argument("--restless", action="store_true", help="a language model writes all the time")
    given, _ = parser.parse_known_args(arguments)
    return run_node(lambda: TracedNode(given.trace, load_null if given.null else load_model, given.restless))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

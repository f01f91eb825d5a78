"""The lifecycle node: camera, microphone and words in; emotion states and reasonings out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from emollama_ros.errors import EmollamaError
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.nodes import diagnostics, qos
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.inputs import Inputs
from emollama_ros.nodes.loading import Model, ModelLoader, Pipeline, load_model
from emollama_ros.nodes.outbox import Outbox
from emollama_ros.nodes.outlet import Outlet
from emollama_ros.nodes.parameters import PerceptionParameters, declare, read
from emollama_ros.nodes.running import main_of
from emollama_ros.nodes.sensors import Sensors

DONE, REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
TICK_S = 1.0


class PerceptionNode(LifecycleNode):
    """Feeds a pipeline from topics and publishes what it finds.

    Everything runs in the executor's thread except the pipeline's own two workers, whose results come
    back through an ``Outbox``.

    Attributes:
        failed: It was to start by itself and could not; the process then ends with status 1.
    """

    def __init__(self, load: ModelLoader = load_model, **node_options: Any) -> None:
        """Declare parameters and publishers.

        Args:
            load: Loads the model on configure.
            **node_options: Of ``rclpy.node.Node``, such as ``parameter_overrides``.

        Raises:
            ConfigError: A parameter given at start is not legal.
        """
        super().__init__("perception_node", **node_options)
        self.failed = False
        self._load = load
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._settings = declare(self, PerceptionParameters)
        self._model: Model | None = None
        self._pipeline: Pipeline | None = None
        self._sensors: Sensors | None = None
        self._estimated_ns = 0
        self._outbox = Outbox(self)
        self._outlet = Outlet(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self.create_timer(TICK_S, self._tick, clock=self._steady)
        self._start = self.create_timer(0.0, self._autostart, clock=self._steady)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and warm it up; a missing one is a failure with a reason, not an exception."""
        model = self._attempt("configure", lambda: self._load(read(self, PerceptionParameters)))
        if model is None:
            return REFUSED
        self._settings, self._model = read(self, PerceptionParameters), model
        for notice in model.notices:
            self.get_logger().warning(notice)
        self.get_logger().info(
            "configured: " + ", ".join(f"{name} {fact}" for name, fact in model.facts.items())
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start a fresh pipeline and subscribe."""
        pipeline = self._attempt("activate", self._start_pipeline)
        if pipeline is None:
            return REFUSED
        self._pipeline = pipeline
        self._estimated_ns = self._now_ns()
        self._outlet.reset("waiting for input")
        self._outlet.source_id = self._settings.source_id
        self._sensors = Sensors(self, self._settings, pipeline.feeds[0], self._now_ns)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop perceiving at once and forget what was seen and heard."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        self.close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self.close()
        super().on_deactivate(state)  # else rclpy leaves the publishers enabled
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after an unexpected error in a transition."""
        self.close()
        return super().on_deactivate(state)

    def close(self) -> None:
        """Stop the workers and free the model; may be called in any state, more than once."""
        self._stop()
        self._model = None

    def _autostart(self) -> None:
        self._start.cancel()
        if not self._settings.autostart:
            self.get_logger().info(
                "waiting to be configured (set autostart:=true to start without a manager)"
            )
        elif self.trigger_configure() != DONE or self.trigger_activate() != DONE:
            self.failed = True  # nobody manages this node, so nobody would ever try again
            rclpy.try_shutdown(context=self.context)

    def _attempt(self, what: str, action: Callable[[], Any]) -> Any | None:
        """Do something that may fail in ways a user can act on; rclpy swallows exceptions of transitions."""
        try:
            return action()
        except EmollamaError as error:
            self.get_logger().error(f"cannot {what}: {error}")
        except Exception:
            self.get_logger().fatal(f"cannot {what}, a defect of emollama_ros:\n{traceback.format_exc()}")
        return None

    def _start_pipeline(self) -> Pipeline:
        assert self._model is not None
        pipeline: Pipeline = self._model.make_pipeline(
            lambda estimate: self._outbox.put(lambda: self._on_estimate(pipeline, estimate)),
            lambda reasoning: self._outbox.put(lambda: self._on_reasoning(pipeline, reasoning)),
        )
        pipeline.start()
        return pipeline

    def _stop(self) -> None:
        if self._sensors is not None:
            self._sensors.close()
        if self._pipeline is not None:
            self._pipeline.stop()
        self._sensors = self._pipeline = None
        self._outbox.clear()
        self._outlet.reset("not active")

    def _on_estimate(self, pipeline: Pipeline, estimate: EmotionEstimate) -> None:
        if pipeline is not self._pipeline or self._sensors is None:
            return  # late news from before a deactivation
        now, inputs = self._now_ns(), self._sensors.inputs
        self._estimated_ns = now
        self._outlet.frame_id = self._sensors.frame_id
        latency_ns = now - (inputs.completed_ns(estimate.end_ns) or now)
        self._outlet.state(estimate, inputs.complaints(now, self._timeout_ns), latency_ns / 1e6)

    def _on_reasoning(self, pipeline: Pipeline, reasoning: Reasoning) -> None:
        if pipeline is self._pipeline:
            self._outlet.reasoning(reasoning)

    def _tick(self) -> None:
        if self._sensors is not None:
            self._sensors.tick()
            if self._now_ns() - self._estimated_ns > self._timeout_ns:
                self._say_why_nothing(self._sensors.inputs)
        self._diagnostics.publish(self._report())

    def _say_why_nothing(self, inputs: Inputs) -> None:
        now = self._now_ns()
        verdict = inputs.why_nothing(now, self._timeout_ns, self.count_publishers)
        if verdict is None:
            return
        fault = self._health().get("last_error", "")
        status, why = verdict
        stamp = inputs.sensor_time_ns(now) or self.get_clock().now().nanoseconds
        self._outlet.nothing(stamp, status, f"{why}; last error: {fault}" if fault else why)

    def _health(self) -> dict[str, str]:
        return diagnostics.flatten(self._pipeline.health()) if self._pipeline else {}

    def _report(self) -> DiagnosticArray:
        facts = dict(self._model.facts) if self._model else {}
        if self._sensors is not None:
            facts.update(diagnostics.input_facts(self._sensors.inputs))
            facts.update({f"pipeline {name}": value for name, value in self._health().items()})
        now, name = self.get_clock().now().to_msg(), self.get_fully_qualified_name()
        return diagnostics.report(now, name, self._outlet.status, self._outlet.words, facts)

    @property
    def _timeout_ns(self) -> int:
        return round(self._settings.timeout_s * SECOND)

    def _now_ns(self) -> int:
        return self._steady.now().nanoseconds


main = main_of(PerceptionNode)

if __name__ == "__main__":
    main()

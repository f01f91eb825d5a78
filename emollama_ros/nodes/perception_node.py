"""The lifecycle node: cameras, microphones and words in; emotion states, events and reasonings out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from emollama_ros.errors import EmollamaError
from emollama_ros.nodes import qos
from emollama_ros.nodes.answering import Answering
from emollama_ros.nodes.channel import Channel
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.diagnostics import NodeView
from emollama_ros.nodes.hearing import load_recogniser
from emollama_ros.nodes.loading import Model, ModelLoader, load_model
from emollama_ros.nodes.memory import give_back
from emollama_ros.nodes.outbox import Outbox
from emollama_ros.nodes.reporting import Reporting
from emollama_ros.nodes.running import main_of
from emollama_ros.nodes.session import Session
from emollama_ros.nodes.transitions import refuse_impossible
from emollama_ros.nodes.tuning import Tuning
from emollama_ros.nodes.watchdog import Watchdog

DONE, REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
TICK_S = 0.2
REPORT_S = 1.0
#: Reports until the executor has let go of what was stopped in one of its callbacks.
REPORTS_HELD = 2


class PerceptionNode(LifecycleNode):
    """Feeds a pipeline from the topics of its sources and publishes what it finds.

    Everything runs in the executor's thread except the pipeline's own two workers; see ``Session``.

    Attributes:
        failed: It was to start by itself and could not; the process then ends with status 1.
    """

    def __init__(self, load: ModelLoader = load_model, **node_options: Any) -> None:
        """Declare parameters, publishers, the service and the action.

        Args:
            load: Loads the model on configure.
            **node_options: Of ``rclpy.node.Node``, such as ``parameter_overrides``.

        Raises:
            ConfigError: A parameter given at start is not legal.
        """
        super().__init__("perception_node", **node_options)
        refuse_impossible(self)
        self.failed = False
        self._load = load
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._model: Model | None = None
        self._recogniser: Any | None = None
        self._session: Session | None = None
        self._is_active = False
        self._litter = 0
        self._watchdog = Watchdog(self.get_logger().fatal)
        self._outbox = Outbox(self)
        self._answering = Answering(self, self._outbox)
        self._tuning = Tuning(self, lambda: self._model, self._on_change)
        self._channels: tuple[Channel, ...] = ()
        self._make_channels()
        self._reporting = Reporting(self, self._now_ns())
        self._paused = self.create_publisher(Bool, "emotion/paused", qos.PAUSED)
        self._paused.publish(Bool(data=not self._tuning.settings.enabled))
        self.create_service(SetBool, "emotion/enable", self._on_enable)
        self.create_timer(TICK_S, self._tick, clock=self._steady)
        self.create_timer(REPORT_S, self._report, clock=self._steady)
        self._start = self.create_timer(0.0, self._autostart, clock=self._steady)

    # --- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and warm it up; a missing one is a failure with a reason, not an exception."""
        self._tuning.apply()
        settings = self._tuning.settings
        loaded = self._attempt("configure", lambda: (self._load(settings), load_recogniser(settings)))
        if loaded is None:
            return REFUSED
        self._model, self._recogniser = model, _ = loaded
        self._make_channels()
        for notice in model.notices:
            self.get_logger().warning(notice)
        self.get_logger().info(
            "configured: " + ", ".join(f"{name} {fact}" for name, fact in model.facts.items())
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start a fresh pipeline and subscribe; paused, do neither."""
        for channel in self._channels:
            channel.begin(self._tuning.settings)
        if self._tuning.settings.enabled and not self._perceive("activate"):
            return REFUSED
        self._is_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop perceiving at once and forget what was seen and heard."""
        self._end()
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
        self._end()
        if self._model is not None:
            self._litter = REPORTS_HELD
        self._model = self._recogniser = None

    def _autostart(self) -> None:
        self._start.cancel()
        if not self._tuning.settings.autostart:
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

    # --- perceiving

    def _make_channels(self) -> None:
        """Have one channel for each source that the parameters name."""
        names = self._tuning.settings.sources or ("",)
        if names == tuple(channel.name for channel in self._channels):
            return
        for channel in self._channels:
            channel.destroy()
        self._channels = tuple(Channel(self, name, self._now_ns) for name in names)

    def _perceive(self, what: str) -> bool:
        """Start a pipeline and subscribe; return whether that was possible."""
        model, session = self._model, Session(self._channels, self._outbox, self._watchdog, self._answering)
        assert model is not None
        settings, recogniser = self._tuning.settings, self._recogniser
        if self._attempt(what, lambda: session.start(model, settings, recogniser)) is None:
            session.stop()
            return False
        self._session = session
        return True

    def _stop(self) -> None:
        """Perceive no more; nothing remains of what was seen and heard."""
        session, self._session = self._session, None
        if session is not None:
            session.stop()
            self._litter = REPORTS_HELD

    def _end(self) -> None:
        self._is_active = False
        self._stop()
        for channel in self._channels:
            channel.end()

    # --- changes while it runs

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Pause or go on; when this returns, it is so."""
        self._enable(request.data)
        response.success = not self._is_active or (self._session is not None) == request.data
        doing = "perceiving" if request.data else "paused"
        response.message = doing if self._is_active else f"{doing} as soon as the node is active"
        if not response.success:
            response.message = "cannot perceive: see the log"
        return response

    def _enable(self, on: bool) -> None:
        self.set_parameters([Parameter("enabled", value=on)])
        self._tuning.apply()

    def _on_change(self, changed: set[str]) -> None:
        """Use parameters that have changed: names and effects."""
        settings = self._tuning.settings
        if "enabled" in changed:
            self._paused.publish(Bool(data=not settings.enabled))
        for channel in self._channels:
            channel.use(settings)
        if self._session is not None and settings.enabled and "restart" not in changed:
            self._session.reconfigure(settings)
        elif self._is_active:
            self._stop()
            if settings.enabled and not self._perceive("go on"):
                self._enable(False)  # what cannot perceive is paused, and says so
            self._tick()

    # --- what is due

    def _tick(self) -> None:
        if self._session is not None:
            self._session.tick()
        elif self._is_active:
            for channel in self._channels:
                channel.tick_paused()

    def _report(self) -> None:
        if self._litter:
            self._litter -= 1
            give_back()
        model, settings = self._model, self._tuning.settings
        view = NodeView(
            now_ns=self._now_ns(),
            timeout_ns=round(settings.timeout_s * SECOND),
            sources=[channel.view() for channel in self._channels],
            facts=model.facts if model else {},
            notices=model.notices if model else (),
            health=self._session.health if self._session else None,
            reasoning=settings.reasoning,
        )
        self._reporting.publish(view)

    def _now_ns(self) -> int:
        return self._steady.now().nanoseconds


main = main_of(PerceptionNode)

if __name__ == "__main__":
    main()

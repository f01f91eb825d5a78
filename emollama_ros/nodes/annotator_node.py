"""Draws what is perceived on the camera's pictures: ``emotion/annotated``, for RViz, Foxglove and rqt.

A process of its own, so that drawing never takes time from perceiving; and while nobody subscribes to the
topic, this node subscribes to nothing and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from emollama_ros.dashboard.drawing import annotate
from emollama_ros.dashboard.views import ReasoningView, StateView
from emollama_ros.msg import EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, stamp_ns
from emollama_ros.nodes.image_input import image_pixels
from emollama_ros.nodes.listening import Listener
from emollama_ros.nodes.media_player_node import image_message, shrink
from emollama_ros.nodes.parameters import declare, option
from emollama_ros.nodes.running import main_of
from emollama_ros.nodes.watching import Presence, camera, reasoning_view, state_view, step_back

TOPIC = "emotion/annotated"
TICK_S = 0.25


@dataclass(frozen=True)
class AnnotatorParameters:
    """Parameters of ``annotator_node``; read when the node starts."""

    sources: tuple[str, ...] = option(
        (), "names of the sources, as perception_node has them; empty = one without a name"
    )
    image_transport: str = option(
        "raw",
        "raw = sensor_msgs/Image; compressed = sensor_msgs/CompressedImage on camera/image_raw/compressed",
        choices=("raw", "compressed"),
    )
    fps: float = option(10.0, "pictures a second, at most", 0.2, 60.0)
    max_side: int = option(640, "larger pictures are scaled down to this, pixels; 0 = as they are", 0, 8192)


class AnnotatedSource:
    """Draws one source while somebody subscribes to its topic. Used in the executor's thread only."""

    def __init__(
        self, node: Node, name: str, settings: AnnotatorParameters, now_ns: Callable[[], int]
    ) -> None:
        """Create the publisher.

        Args:
            node: Where.
            name: Of the source; empty where there is but one.
            settings: Of the node.
            now_ns: The steady clock.
        """
        self._node, self._settings, self._now_ns = node, settings, now_ns
        self._prefix = f"{name}/" if name else ""
        self._publisher = node.create_publisher(Image, self._prefix + TOPIC, qos.IMAGE_OUT)
        self._subscriptions: list[Any] = []
        self._camera: Listener | None = None
        self.forget()

    def forget(self) -> None:
        """Know nothing."""
        self._presence = Presence()
        self._state: StateView | None = None
        self._reasoning: ReasoningView | None = None
        self._drawn_ns = 0

    def tick(self) -> None:
        """Subscribe where somebody subscribes to us, and to the camera where the robot looks."""
        if bool(self._publisher.get_subscription_count()) != bool(self._subscriptions):
            self._close() if self._subscriptions else self._open()
        if not self._subscriptions or not self._presence.may_look(self._now_ns()):
            self._look_away()
            return
        if self._camera is None:
            transport = self._settings.image_transport
            self._camera = camera(self._node, self._prefix, transport, self._on_image, self._now_ns)
        self._camera.tick()

    def _open(self) -> None:
        hear, own = self._node.create_subscription, self._prefix
        self._subscriptions = [
            hear(EmotionState, f"{own}emotion/state", self._on_state, qos.STATE),
            hear(EmotionReasoning, f"{own}emotion/reasoning", self._on_reasoning, qos.REASONING),
            hear(Bool, "emotion/paused", self._on_paused, qos.PAUSED),
        ]

    def _close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self.forget()

    def _look_away(self) -> None:
        if self._camera is not None:
            self._camera.close()
        self._camera = None

    def _on_state(self, message: EmotionState) -> None:
        self._presence.state(self._now_ns())
        self._state = state_view(message)

    def _on_reasoning(self, message: EmotionReasoning) -> None:
        self._reasoning = reasoning_view(message)

    def _on_paused(self, message: Bool) -> None:
        self._presence.is_paused = message.data
        if message.data:
            self._state = self._reasoning = None
            self._look_away()

    def _on_image(self, message: Any) -> None:
        now = self._now_ns()
        if now - self._drawn_ns < SECOND / self._settings.fps:
            return
        self._drawn_ns = now
        small = shrink(image_pixels(message), self._settings.max_side)
        drawn = annotate(small, self._state, self._reasoning)
        header = message.header
        self._publisher.publish(image_message(drawn, stamp_ns(header.stamp), header.frame_id))


class AnnotatorNode(Node):
    """Draws every source that somebody looks at."""

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters and the topics.

        Raises:
            ConfigError: A parameter is not legal.
        """
        super().__init__("annotator", **node_options)
        settings = declare(self, AnnotatorParameters)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._sources = [
            AnnotatedSource(self, name, settings, lambda: steady.now().nanoseconds)
            for name in settings.sources or ("",)
        ]
        self.create_timer(TICK_S, self._tick, clock=steady)

    def _tick(self) -> None:
        for source in self._sources:
            source.tick()


def main() -> None:
    """Run the node, at a low priority."""
    step_back()
    main_of(AnnotatorNode)()


if __name__ == "__main__":
    main()

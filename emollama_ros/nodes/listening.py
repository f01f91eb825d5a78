"""One input topic: a subscription that follows what is really published there."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from emollama_ros import conditions
from emollama_ros.conditions import Finding
from emollama_ros.errors import InputError
from emollama_ros.nodes.adapters.choice import Adapter, Choice, Wish, choose
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.inputs import InputMeter

try:
    from rclpy.event_handler import SubscriptionEventCallbacks as SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks as SubscriptionEventCallbacks

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.topic_endpoint_info import TopicEndpointInfo

#: How often the graph is asked who publishes what, ns. It costs about a tenth of a millisecond a topic.
LOOK_NS = SECOND
#: Silence after which a publisher of another type is tried, ns: one that was killed is listed for 20 s more.
DEAF_NS = 2 * SECOND
#: A message that waited longer than this for the executor has a reception time that means something else.
MAX_WAIT_NS = 10 * SECOND
#: What rmw calls a node that it does not know (yet).
_NO_NAME = "_NODE_NAME_UNKNOWN_"

#: Uses a message: gets it and how long ago it arrived, ns; returns the stamp up to which its stream is now
#: complete and how long its content is, ns, or raises ``InputError``.
Take = Callable[[Any, int], tuple[int, int]]


class Listener:
    """Subscribes to a topic with the type and the reliability that its publishers have.

    Used in the executor's thread only.

    Attributes:
        adapter: What is listened for; ``None``: what was asked for cannot be.
    """

    def __init__(
        self,
        node: Node,
        meter: InputMeter,
        wish: Wish,
        profile: Callable[[str], QoSProfile],
        reliability: str,
        taker: Callable[[Adapter], Take],
        now_ns: Callable[[], int],
    ) -> None:
        """Look who publishes, and subscribe.

        Args:
            node: Where to subscribe.
            meter: Counts what arrives.
            wish: What may be listened for.
            profile: Makes the quality of service of a reliability.
            reliability: What was asked for: ``reliable`` falls back where a publisher offers less.
            taker: Makes what uses the messages of an adapter; called again at each change.
            now_ns: The steady clock.
        """
        self._node, self._meter, self._wish, self._now_ns = node, meter, wish, now_ns
        self._profile, self._reliability, self._taker = profile, reliability, taker
        self._subscription: Any = None
        self._opened: tuple[Adapter | None, str] = (None, "")
        self._opened_ns = now_ns()
        self._looked_ns: int | None = None
        self._look()

    @property
    def adapter(self) -> Adapter | None:
        """What is listened for; ``None``: what was asked for cannot be."""
        return self._opened[0]

    @property
    def _is_deaf(self) -> bool:
        if not self._wish.steady:
            return False
        return self._now_ns() - max(self._opened_ns, self._meter.pace.seen_ns or 0) > DEAF_NS

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None

    def tick(self) -> None:
        """Look again if it is time, or if a publisher turned out not to offer what was asked."""
        if self._meter.mismatch or self._now_ns() - (self._looked_ns or 0) >= LOOK_NS:
            self._look()

    def _look(self) -> None:
        self._looked_ns = self._now_ns()
        publishers = self._node.get_publishers_info_by_topic(self._meter.topic)
        choice = choose(self._wish, _offered(publishers), self.adapter, deaf=self._is_deaf)
        wanted = (choice.adapter, self._reliable_enough(publishers, choice.adapter))
        failure = None
        if wanted != self._opened or (self._subscription is None and choice.adapter is not None):
            failure = self._open(choice, *wanted)
        self._note(choice.obstacle or failure)
        self._meter.mismatch = False

    def _note(self, obstacle: Finding | None) -> None:
        if obstacle is not None and obstacle != self._meter.obstacle:
            self._node.get_logger().warning(str(obstacle))
        self._meter.obstacle = obstacle

    def _reliable_enough(self, publishers: list[TopicEndpointInfo], adapter: Adapter | None) -> str:
        """Return what every publisher of the type offers, at most what was asked for."""
        poor = any(
            _type_of(p) == adapter.type and p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            for p in publishers
            if adapter is not None
        )
        return "best_effort" if poor else self._reliability

    def _open(self, choice: Choice, adapter: Adapter | None, reliability: str) -> Finding | None:
        """Subscribe in place of what there was; returns why that failed, if it did."""
        self.close()
        self._log_change(adapter, reliability)
        self._opened, self._opened_ns = (adapter, reliability), self._now_ns()
        if adapter is None:
            return None
        try:
            self._subscription = self._subscribe(choice.kind, adapter, self._profile(reliability))
        except RuntimeError as error:  # rcl's: a node of this process uses the topic for another type
            return conditions.NOT_SUBSCRIBED.say(topic=self._meter.topic, heard=adapter.type, error=error)
        return None

    def _log_change(self, adapter: Adapter | None, reliability: str) -> None:
        logger, (before, offered) = self._node.get_logger(), self._opened
        if adapter is not None and before not in (None, adapter):
            logger.info(f"{self._meter.topic} is heard as {adapter.type} from now on")
        if reliability not in (self._reliability, offered):
            logger.warning(f"{self._meter.topic} is published best effort: messages may be lost on the way")

    def _subscribe(self, kind: Any, adapter: Adapter, profile: QoSProfile) -> Any:
        events = SubscriptionEventCallbacks(
            message_lost=lambda event: self._meter.lose(self._now_ns(), event.total_count_change),
            incompatible_qos=lambda event: setattr(self._meter, "mismatch", True),
        )
        callback = self._callback(adapter, self._taker(adapter))
        return self._node.create_subscription(
            kind, self._meter.topic, callback, profile, event_callbacks=events
        )

    def _callback(self, adapter: Adapter, take: Take) -> Callable[..., None]:
        """Return the callback; rclpy hands the reception time to one of two parameters, at some cost."""
        if adapter.stamped or not hasattr(Subscription, "CallbackType"):
            return lambda message: self._accept(take, message, 0)
        return lambda message, info: self._accept(take, message, _waited_ns(info))

    def _accept(self, take: Take, message: Any, waited_ns: int) -> None:
        try:
            self._meter.accept(self._now_ns(), *take(message, waited_ns))
        except InputError as error:
            if self._meter.refuse(self._now_ns(), str(error)):
                self._node.get_logger().warning(f"{self._meter.topic}: {error}")
        except Exception as error:  # one strange message must not end a robot's perception
            if self._meter.refuse(self._now_ns(), f"unexpected {type(error).__name__}: {error}"):
                self._node.get_logger().error(f"{self._meter.topic}:\n{traceback.format_exc()}")


def _waited_ns(info: dict[str, int]) -> int:
    """Return how long a message waited for the executor: that is no property of the sound."""
    waited = time.time_ns() - info.get("received_timestamp", 0)
    return waited if 0 < waited < MAX_WAIT_NS else 0


def _type_of(publisher: TopicEndpointInfo) -> str:
    return publisher.topic_type.replace("/msg/", "/")


def _offered(publishers: list[TopicEndpointInfo]) -> dict[str, set[str]]:
    offered: dict[str, set[str]] = {}
    for publisher in publishers:
        offered.setdefault(_type_of(publisher), set()).add(_name_of(publisher))
    return offered


def _name_of(publisher: TopicEndpointInfo) -> str:
    """Return the node's full name; discovery may find a publisher a moment before its node."""
    if publisher.node_name == _NO_NAME:
        return "an unknown node"
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"

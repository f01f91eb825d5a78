"""What the author of a behaviour imports: the robot's perception of emotion, without the plumbing.

listener = EmotionListener(node)  # where there are several sources: EmotionListener(node, source="left")
listener.on_change(lambda state: face.show(state.label))
if listener.wait_for("happy", timeout=10.0):
    wave()
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.node import Node
    from std_msgs.msg import Bool

    from emollama_ros.msg import EmotionEvent, EmotionReasoning, EmotionState

OnState = Callable[["EmotionState"], None]
OnEvent = Callable[["EmotionEvent"], None]


class EmotionListener:
    """Follows the topics of one source of a perception node, on a node of yours.

    Who spins the node does not matter: everything needs somebody to; ``wait_for`` spins it itself where
    nobody does. Do not call ``wait_for`` from a callback of the same node: it would wait
    for messages that only arrive when the callback has returned.
    """

    def __init__(self, node: Node, namespace: str = "", source: str = "") -> None:
        """Subscribe.

        Args:
            node: Any rclpy node.
            namespace: That of the perception node, if not the node's own.
            source: Name of the source, where the perception node has several.
        """
        from std_msgs.msg import Bool

        from emollama_ros.msg import EmotionEvent, EmotionReasoning, EmotionState
        from emollama_ros.nodes import qos

        self._node = node
        self._news = threading.Condition()
        self._state: tuple[EmotionState, float] | None = None
        self._reasoning: EmotionReasoning | None = None
        self._label: str | None = None
        self._paused = False
        self._listeners: list[OnState] = []
        self._event_listeners: list[OnEvent] = []
        home = f"{namespace.rstrip('/')}/" if namespace else ""
        own = f"{home}{source}/" if source else home
        hear = node.create_subscription
        self._subscriptions = [
            hear(EmotionState, f"{own}emotion/state", self._on_state, qos.STATES_HEARD),
            hear(EmotionEvent, f"{own}emotion/event", self._on_event, qos.EVENT),
            hear(EmotionReasoning, f"{own}emotion/reasoning", self._on_reasoning, qos.REASONING),
            hear(Bool, f"{home}emotion/paused", self._on_paused, qos.PAUSED),
        ]

    def latest(self, max_age: float | None = None) -> EmotionState | None:
        """Return the newest state, ``None`` before the first.

        Args:
            max_age: Do not return one received longer ago than this, seconds.
        """
        with self._news:
            if self._state is None:
                return None
            state, received = self._state
        return state if max_age is None or monotonic() - received <= max_age else None

    def latest_reasoning(self) -> EmotionReasoning | None:
        """Return the newest finished reasoning, ``None`` before the first."""
        with self._news:
            return self._reasoning

    @property
    def paused(self) -> bool:
        """Whether perception is switched off (``emotion/enable``); states are then ``unknown``."""
        return self._paused

    def wait_for(
        self, label: str | Iterable[str], timeout: float, min_confidence: float = 0.0
    ) -> EmotionState | None:
        """Wait until a label is perceived; a state received before the call counts if it is the newest.

        Args:
            label: One label, or several of which any will do.
            timeout: How long to wait, seconds.
            min_confidence: Ignore states that are less sure than this, 0 to 1.

        Returns:
            The state, or ``None`` when the time is over.
        """
        wanted = {label} if isinstance(label, str) else set(label)

        def found() -> EmotionState | None:
            state = self.latest()
            return state if state and state.label in wanted and state.confidence >= min_confidence else None

        wait = self._wait_spun if self._node.executor is not None else self._wait_spinning
        return wait(found, monotonic() + timeout)

    def on_change(self, callback: OnState) -> Callable[[], None]:
        """Have a function called with the state whenever the label changes, the first time included.

        ``unknown`` (nothing could be perceived) and ``uncertain`` (no label is likely enough) count too.

        Args:
            callback: Called in the thread that spins the node; should return quickly.

        Returns:
            A function that ends it.
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    def on_event(self, callback: OnEvent) -> Callable[[], None]:
        """Have a function called with every event: the previous label, the new one, and how long it lasted.

        Unlike ``on_change`` it says nothing about the label that is there when you begin to listen.

        Args:
            callback: Called in the thread that spins the node; should return quickly.

        Returns:
            A function that ends it.
        """
        self._event_listeners.append(callback)
        return lambda: self._event_listeners.remove(callback) if callback in self._event_listeners else None

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._listeners = []
        self._event_listeners = []

    def _on_state(self, state: EmotionState) -> None:
        with self._news:
            self._state = (state, monotonic())
            self._news.notify_all()
        changed, self._label = state.label != self._label, state.label
        for listener in list(self._listeners) if changed else ():
            listener(state)

    def _on_event(self, event: EmotionEvent) -> None:
        for listener in list(self._event_listeners):
            listener(event)

    def _on_paused(self, message: Bool) -> None:
        self._paused = message.data

    def _on_reasoning(self, reasoning: EmotionReasoning) -> None:
        if reasoning.final:
            with self._news:
                self._reasoning = reasoning

    def _wait_spun(self, found: Callable[[], EmotionState | None], deadline: float) -> EmotionState | None:
        """Wait while another thread spins the node."""
        with self._news:  # a re-entrant lock: ``found`` takes it again
            while (state := found()) is None and (left := deadline - monotonic()) > 0:
                self._news.wait(left)
        return state

    def _wait_spinning(
        self, found: Callable[[], EmotionState | None], deadline: float
    ) -> EmotionState | None:
        """Wait by spinning the node here."""
        from rclpy.executors import SingleThreadedExecutor

        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        try:
            while (state := found()) is None and (left := deadline - monotonic()) > 0:
                executor.spin_once(timeout_sec=left)
            return state
        finally:
            self._node.executor = None  # else the next call takes the node for spun by somebody
            executor.shutdown()

"""What the author of a behaviour imports: the robot's perception of emotion, without the plumbing.

listener = EmotionListener(node)  # where there are several sources: EmotionListener(node, source="left")
listener.on_change(lambda state: face.show(state.label))
if listener.wait_for("happy", timeout=10.0):
    wave()
    say(listener.ask("why?").text)

A program without a node of its own, and without anything of ROS in it:

with EmotionListener.connect() as listener:
    print(listener.ask("What does the voice say?", on_text=print).text)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from rclpy.action import ActionClient
    from rclpy.node import Node
    from rclpy.task import Future
    from std_msgs.msg import Bool

    from emollama_ros.action import AskEmotion
    from emollama_ros.msg import EmotionEvent, EmotionReasoning, EmotionState
    from emollama_ros.nodes.outbox import Outbox

Found = TypeVar("Found")
OnState = Callable[["EmotionState"], None]
OnEvent = Callable[["EmotionEvent"], None]
OnText = Callable[[str], None]
OnAnswer = Callable[["Answer"], None]

#: Outcomes of a question, in the order of ``AskEmotion.Result``.
OUTCOMES = ("answered", "late", "cancelled", "failed", "stopped", "refused")
#: Of one that no node heard.
UNREACHABLE = "unreachable"
#: Longest deadline that a node takes, s.
MOST_S = 60.0
#: What an answer needs to come back in time once the node has ended it, s.
RETURN_S = 0.3
#: Between two looks for the node that answers, s.
LOOK_S = 0.05


@dataclass(frozen=True)
class Answer:
    """What became of a question.

    Attributes:
        text: The answer as far as it was written; empty where nothing was.
        outcome: ``answered``, or why the text is not whole: ``late``, ``cancelled``, ``failed``, ``stopped``,
            ``refused``, ``unreachable``.
        why: The same in a sentence; empty when answered.
        state: What it is about; None where nothing was asked.
    """

    text: str
    outcome: str
    why: str = ""
    state: EmotionState | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the text is a whole answer."""
        return self.outcome == OUTCOMES[0]


class Asking:
    """A question under way.

    Attributes:
        text: The answer as far as it was heard.
        answer: What became of it; None until it has ended.
    """

    def __init__(
        self, goal: AskEmotion.Goal, timeout: float, on_text: OnText | None, on_answer: OnAnswer | None
    ) -> None:
        self.text = ""
        self.answer: Answer | None = None
        self._goal, self._timeout, self._deadline = goal, timeout, monotonic() + timeout
        self._on_text, self._on_answer = on_text, on_answer
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._handle: Any | None = None
        self._outbox: Outbox | None = None

    def cancel(self) -> None:
        """Have it ended at the next token. Any thread; the answer then says ``cancelled``."""
        self._is_cancelled = True
        if self._outbox is not None:
            self._outbox.put(self._cancel_goal)

    def give_up(self) -> Answer:
        """End it here and now, whatever the node does, and return what was heard of the answer."""
        self.cancel()
        reached = self._handle is not None
        why = f"no whole answer within {self._timeout:g} s" if reached else _nobody(self._timeout)
        return self._end(Answer(self.text, "late" if reached else UNREACHABLE, why))

    # What follows runs in the thread that spins the node.

    def _begin(self, node: Node, client: ActionClient, outbox: Outbox) -> None:
        from rclpy.clock import Clock, ClockType

        self._outbox = outbox
        timers: list[Any] = []

        def look() -> None:
            if timers and self._send(client):
                node.destroy_timer(timers.pop())

        timers.append(node.create_timer(LOOK_S, look, clock=Clock(clock_type=ClockType.STEADY_TIME)))

    def _send(self, client: ActionClient) -> bool:
        """Send the goal if there is somebody to send it to; returns whether nothing remains to do."""
        left = self._deadline - monotonic()
        if self.answer is not None:
            pass
        elif self._is_cancelled:
            self._end(Answer("", "cancelled", "cancelled before anybody was asked"))
        elif left <= 0:
            self._end(Answer("", UNREACHABLE, _nobody(self._timeout)))
        elif not client.server_is_ready():
            return False
        else:
            self._goal.deadline_s = min(max(LOOK_S, left - RETURN_S), MOST_S)
            client.send_goal_async(self._goal, self._on_feedback).add_done_callback(self._on_goal)
        return True

    def _on_goal(self, future: Future) -> None:
        self._handle = future.result()
        if not self._handle.accepted:
            self._end(Answer("", "refused", "the node rejected the question"))
            return
        self._handle.get_result_async().add_done_callback(self._on_result)
        if self._is_cancelled:
            self._cancel_goal()

    def _cancel_goal(self) -> None:
        if self._handle is not None and self._handle.accepted:
            self._handle.cancel_goal_async()

    def _on_feedback(self, message: Any) -> None:
        self._show(message.feedback.text)

    def _on_result(self, future: Future) -> None:
        result = future.result().result
        self._show(
            result.text
        )  # feedback and result come on different topics, and the last words may be late
        state = result.state if result.state.label else None
        self._end(Answer(result.text, OUTCOMES[result.outcome], result.status_text, state))

    def _show(self, text: str) -> None:
        if self.answer is None and text and text != self.text:
            self.text = text
            if self._on_text is not None:
                self._on_text(text)

    def _end(self, answer: Answer) -> Answer:
        with self._lock:
            if self.answer is not None:
                return self.answer
            self.answer = answer
        if self._on_answer is not None:
            self._on_answer(answer)
        return answer


def _nobody(timeout: float) -> str:
    return f"no perception node answered within {timeout:g} s; does one run in this namespace and domain?"


class EmotionListener:
    """Follows the topics of one source of a perception node, on a node of yours.

    Who spins the node does not matter: everything needs somebody to; ``wait_for`` and ``ask`` spin it
    themselves where nobody does. Do not call these two from a callback of the same node: they would wait for
    messages that only arrive when the callback has returned. ``ask_async`` may be called anywhere.
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

        self._node, self._source = node, source
        self._news = threading.Condition()
        self._state: tuple[EmotionState, float] | None = None
        self._reasoning: EmotionReasoning | None = None
        self._label: str | None = None
        self._paused = False
        self._listeners: list[OnState] = []
        self._state_listeners: list[OnState] = []
        self._event_listeners: list[OnEvent] = []
        home = f"{namespace.rstrip('/')}/" if namespace else ""
        self._action = f"{home}emotion/ask"
        self._asker: tuple[ActionClient, Outbox] | None = None
        own = f"{home}{source}/" if source else home
        hear = node.create_subscription
        self._subscriptions = [
            hear(EmotionState, f"{own}emotion/state", self._on_state, qos.STATES_HEARD),
            hear(EmotionEvent, f"{own}emotion/event", self._on_event, qos.EVENT),
            hear(EmotionReasoning, f"{own}emotion/reasoning", self._on_reasoning, qos.REASONING),
            hear(Bool, f"{home}emotion/paused", self._on_paused, qos.PAUSED),
        ]

    @classmethod
    @contextmanager
    def connect(
        cls, namespace: str = "", source: str = "", domain_id: int | None = None
    ) -> Iterator[EmotionListener]:
        """Listen from a program that has no node: it gets a context, a node and a thread of its own.

        Args:
            namespace: That of the perception node.
            source: Name of the source, where the perception node has several.
            domain_id: ROS domain; None takes that of the environment (``ROS_DOMAIN_ID``).
        """
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor

        context, stopping = Context(), threading.Event()
        rclpy.init(args=[], context=context, domain_id=domain_id)
        node = rclpy.create_node(f"emotion_listener_{os.getpid()}", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)

        def spin() -> None:
            while not stopping.is_set():
                executor.spin_once()

        listener = cls(node, namespace, source)
        thread = threading.Thread(target=spin, name="emotion-listener", daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            stopping.set()
            executor.wake()
            thread.join()
            listener.close()
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()

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

        return self._wait(found, monotonic() + timeout)

    def ask(
        self,
        question: str,
        timeout: float = 10.0,
        *,
        seconds: float = 0.0,
        about: EmotionState | Time | None = None,
        on_text: OnText | None = None,
    ) -> Answer:
        """Ask in words about the last seconds, and wait for the answer.

        Args:
            question: In words, up to 300 characters; data, never an instruction.
            timeout: Longest time until this returns, up to 60 s; the node ends the answer in time for it.
            seconds: How far to look back for the surest feeling, 0..30 s; 0 asks about the latest state.
            about: A state, or its stamp, to ask about that one; up to 30 s old.
            on_text: Called with the text so far as it grows, in the thread that spins the node.

        Returns:
            The answer. It does not raise where there is none: ``outcome`` and ``why`` say so.
        """
        asking = self.ask_async(question, timeout, seconds=seconds, about=about, on_text=on_text)
        return self._wait(lambda: asking.answer, monotonic() + timeout) or asking.give_up()

    def ask_async(
        self,
        question: str,
        timeout: float = 10.0,
        *,
        seconds: float = 0.0,
        about: EmotionState | Time | None = None,
        on_text: OnText | None = None,
        on_answer: OnAnswer | None = None,
    ) -> Asking:
        """Ask without waiting; the same as ``ask`` otherwise.

        Args:
            question: See ``ask``, as the others.
            timeout: The same.
            seconds: The same.
            about: The same.
            on_text: The same.
            on_answer: Called once, when the question has ended, in the thread that spins the node.

        Returns:
            The question under way, which can be cancelled.
        """
        from emollama_ros.action import AskEmotion

        goal = AskEmotion.Goal(question=question, source=self._source, seconds=float(seconds))
        if about is not None:
            goal.about = about.header.stamp if hasattr(about, "header") else about

        def ended(answer: Answer) -> None:
            if on_answer is not None:
                on_answer(answer)
            with self._news:
                self._news.notify_all()

        asking = Asking(goal, timeout, on_text, ended)
        asking._begin(self._node, *self._ask_through())
        return asking

    def on_state(self, callback: OnState) -> Callable[[], None]:
        """Have a function called with every state: once per hop, and once a second whatever happens.

        Args:
            callback: Called in the thread that spins the node; should return quickly.

        Returns:
            A function that ends it.
        """
        self._state_listeners.append(callback)
        return lambda: self._state_listeners.remove(callback) if callback in self._state_listeners else None

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
        if self._asker is not None:
            self._asker[0].destroy()
        self._subscriptions, self._asker = [], None
        self._listeners = []
        self._state_listeners = []
        self._event_listeners = []

    def _on_state(self, state: EmotionState) -> None:
        with self._news:
            self._state = (state, monotonic())
            self._news.notify_all()
        changed, self._label = state.label != self._label, state.label
        for listener in [*self._state_listeners, *(self._listeners if changed else ())]:
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

    def _ask_through(self) -> tuple[ActionClient, Outbox]:
        """Make what it takes to ask when somebody asks first: it is eight endpoints of DDS."""
        from rclpy.action import ActionClient

        from emollama_ros.action import AskEmotion
        from emollama_ros.nodes.outbox import Outbox

        if self._asker is None:
            self._asker = ActionClient(self._node, AskEmotion, self._action), Outbox(self._node)
        return self._asker

    def _wait(self, found: Callable[[], Found | None], deadline: float) -> Found | None:
        wait = self._wait_spun if self._node.executor is not None else self._wait_spinning
        return wait(found, deadline)

    def _wait_spun(self, found: Callable[[], Found | None], deadline: float) -> Found | None:
        """Wait while another thread spins the node."""
        with self._news:  # a re-entrant lock: ``found`` takes it again
            while (value := found()) is None and (left := deadline - monotonic()) > 0:
                self._news.wait(left)
        return value

    def _wait_spinning(self, found: Callable[[], Found | None], deadline: float) -> Found | None:
        """Wait by spinning the node here."""
        from rclpy.executors import SingleThreadedExecutor

        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        try:
            while (value := found()) is None and (left := deadline - monotonic()) > 0:
                executor.spin_once(timeout_sec=left)
            return value
        finally:
            self._node.executor = None  # else the next call takes the node for spun by somebody
            executor.shutdown()

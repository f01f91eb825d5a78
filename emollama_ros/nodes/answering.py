"""The action `emotion/ask`: goals become questions of the pipeline, words feedback, answers results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from rclpy.action import ActionServer, CancelResponse

from emollama_ros.action import AskEmotion
from emollama_ros.errors import EmollamaError, InputError
from emollama_ros.msg import EmotionState
from emollama_ros.nodes.clock import stamp_ns
from emollama_ros.pipeline import Answer, Inquiry, Outcome, Question

if TYPE_CHECKING:
    from rclpy.action.server import ServerGoalHandle
    from rclpy.lifecycle import LifecycleNode

    from emollama_ros.estimate import EmotionEstimate, Reasoning
    from emollama_ros.nodes.channel import Channel
    from emollama_ros.nodes.loading import Pipeline
    from emollama_ros.nodes.outbox import Outbox

#: What is answered while nothing is perceived.
NOT_PERCEIVING = "nothing is perceived now: the node is not active, or paused"
#: How long a result is kept for who has not fetched it yet, s.
RESULT_KEPT_S = 10


class PatientServer(ActionServer):
    """An action server whose goals end when they are told to, and not when a callback returns.

    A coroutine that waits would do the same, but up to rclpy 7.1.8 the executor runs one that waits again and
    again without a pause, and burns the core that the language model needs.
    """

    def notify_execute(
        self, goal_handle: ServerGoalHandle, execute_callback: Callable[..., object] | None
    ) -> None:
        """Begin a goal, which needs nothing, or end it."""
        if execute_callback is not None:
            super().notify_execute(goal_handle, execute_callback)


class Goal:
    """One goal under way: its question, and where it stands among others.

    Attributes:
        question: Of the pipeline.
        state: What it is about, as it was published; None where it is still to be.
        ahead: Questions before it, as the client was told last.
    """

    def __init__(self, handle: ServerGoalHandle) -> None:
        self.question: Question | None = None
        self.state: EmotionState | None = None
        self.ahead: int | None = None
        self.handle = handle
        self._asked_s = monotonic()

    @property
    def elapsed_ms(self) -> float:
        """Time since it was accepted."""
        return (monotonic() - self._asked_s) * 1e3

    def tell(self, text: str = "", tokens: int = 0) -> None:
        """Send feedback."""
        self.handle.publish_feedback(
            AskEmotion.Feedback(ahead=self.ahead, text=text, tokens=tokens, elapsed_ms=self.elapsed_ms)
        )


class Answering:
    """Answers questions while something is perceived. Used in the executor's thread only.

    A refusal carries no words in ROS 2, so what cannot be asked is accepted, and aborted at once with the
    reason in its result.
    """

    def __init__(self, node: LifecycleNode, outbox: Outbox) -> None:
        """Create the action server; it is there in every lifecycle state, and says so where it cannot answer.

        Args:
            node: Where.
            outbox: Brings texts and answers into the executor's thread.
        """
        self._node, self._outbox = node, outbox
        self._pipeline: Pipeline | None = None
        self._channels: Sequence[Channel] = ()
        self._goals: list[Goal] = []
        self._server = PatientServer(
            node,
            AskEmotion,
            "emotion/ask",
            execute_callback=lambda _: AskEmotion.Result(),
            handle_accepted_callback=self._on_goal,
            cancel_callback=self._on_cancel,
            result_timeout=RESULT_KEPT_S,
        )

    def open(self, pipeline: Pipeline, channels: Sequence[Channel]) -> None:
        """Answer from now on: what a pipeline perceives, what channels published."""
        self._pipeline, self._channels = pipeline, channels

    def close(self) -> None:
        """Answer no more; what is being answered ends as far as it is written."""
        for goal in list(self._goals):
            # Not through the outbox: what is in there is thrown away when perception stops.
            self._on_answer(goal, self._question(goal).abandon(NOT_PERCEIVING))
        self._pipeline = None

    def tick(self) -> None:
        """End what is late; call it a few times a second."""
        for goal in list(self._goals):
            self._question(goal).look()

    def destroy(self) -> None:
        """Take the action server away."""
        self._server.destroy()

    def _on_goal(self, handle: ServerGoalHandle) -> None:
        handle.execute()
        goal = Goal(handle)
        try:
            goal.question = self._ask(goal, handle.request)
        except EmollamaError as error:
            self._end(goal, AskEmotion.Result(outcome=Outcome.REFUSED, status_text=str(error)))
        else:
            goal.state = self._published(goal.question.estimate)
            self._goals.append(goal)
            self._tell_places()

    def _ask(self, goal: Goal, asked: AskEmotion.Goal) -> Question:
        if self._pipeline is None:
            raise InputError(NOT_PERCEIVING)
        inquiry = Inquiry(
            asked.question, self._source(asked.source), asked.seconds, stamp_ns(asked.about), asked.deadline_s
        )
        return self._pipeline.ask(
            inquiry,
            lambda text: self._outbox.put(lambda: self._on_text(goal, text)),
            lambda answer: self._outbox.put(lambda: self._on_answer(goal, answer)),
        )

    @staticmethod
    def _question(goal: Goal) -> Question:
        assert goal.question is not None  # a goal without one is refused, and never listed
        return goal.question

    def _source(self, name: str) -> int:
        names = [channel.name for channel in self._channels]
        if name in names:
            return names.index(name)
        if not name and len(names) == 1:
            return 0
        there = ", ".join(names) if any(names) else "one source without a name"
        raise InputError(f"source is {name!r}; this node has {there}")

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        goal = next((goal for goal in self._goals if goal.handle == handle), None)
        if goal is None:
            return CancelResponse.REJECT
        self._question(goal).cancel()
        return CancelResponse.ACCEPT

    def _on_text(self, goal: Goal, text: Reasoning) -> None:
        if goal in self._goals:
            goal.ahead = 0
            goal.tell(text.text, text.tokens)

    def _on_answer(self, goal: Goal, answer: Answer) -> None:
        if goal not in self._goals:
            return
        self._goals.remove(goal)
        result = AskEmotion.Result(
            outcome=int(answer.outcome),
            status_text=answer.status_text,
            text=answer.text,
            state=goal.state or self._published(answer.estimate) or EmotionState(),
            tokens=answer.tokens,
            elapsed_ms=goal.elapsed_ms,
        )
        self._end(goal, result)
        self._tell_places()

    def _published(self, estimate: EmotionEstimate) -> EmotionState | None:
        return self._channels[estimate.source].published(estimate)

    def _tell_places(self) -> None:
        """Tell those who wait how many are before them, when that changes."""
        for ahead, goal in enumerate(self._goals):
            if goal.ahead is None or ahead < goal.ahead:
                goal.ahead = ahead
                goal.tell()

    def _end(self, goal: Goal, result: AskEmotion.Result) -> None:
        def conclude(handle: ServerGoalHandle) -> AskEmotion.Result:
            if result.outcome == Outcome.CANCELLED:
                handle.canceled()
            elif result.outcome in (Outcome.ANSWERED, Outcome.LATE) and result.text:
                handle.succeed()
            else:
                handle.abort()
            return result

        if self._node.executor is not None:  # else nobody is left to send it
            self._server.notify_execute(goal.handle, conclude)

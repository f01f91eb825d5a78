"""A perception node whose language model writes a word when a test lets it, and clients that ask it."""

from __future__ import annotations

import threading
from dataclasses import replace

from action_msgs.msg import GoalStatus
from fake_model import FakePerceiver, load_fake
from rclpy.action import ActionClient
from rig import Rig

from emollama_ros.action import AskEmotion
from emollama_ros.estimate import Reasoning
from emollama_ros.nodes.loading import pipeline_config
from emollama_ros.pipeline import EmotionPipeline

SUCCEEDED, ABORTED, CANCELED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_ABORTED,
    GoalStatus.STATUS_CANCELED,
)


class Typist:
    """Answers word by word: each word waits for a key, until it is asked to stop."""

    def __init__(self):
        self.keys = threading.Semaphore(0)
        self.free = threading.Event()
        self.questions = []

    def explain(self, estimate, transcript, *, question="", on_text, should_stop):
        words = f"Seems {estimate.label} . You asked {question}".split() if question else ["Because"]
        self.questions += [question] if question else []
        for n in range(1, len(words) + 1):
            if question and not self._may_go_on(should_stop):
                break
            written = Reasoning(
                0, estimate.sequence, estimate.start_ns, estimate.end_ns, estimate.label,
                " ".join(words[:n]), n == len(words), tokens=n,
            )  # fmt: skip
            on_text(written)
        return written if question == "" or n > 1 else None

    def _may_go_on(self, should_stop):
        while not (self.free.is_set() or self.keys.acquire(timeout=0.002)):
            if should_stop():
                return False
        return not should_stop()


def loader(typist):
    """Make a ``ModelLoader`` over a fake perceiver and this language model."""

    def load(parameters):
        perceiver = FakePerceiver()

        def make_pipeline(on_estimate, on_reasoning, parameters=parameters):
            config = pipeline_config(parameters)
            return EmotionPipeline(
                perceiver, typist, config, on_estimate, on_reasoning, max(1, len(parameters.sources))
            )

        return replace(load_fake(parameters), make_pipeline=make_pipeline)

    return load


class Client:
    """One who asks."""

    def __init__(self, graph, node=None):
        self.graph, self.heard = graph, []
        self._client = ActionClient(node or graph.observer, AskEmotion, "emotion/ask")
        graph.until(self._client.server_is_ready, "the action server")

    def ask(self, question="why?", **goal):
        """Send a goal; returns its handle. Feedback is put into ``heard``."""
        heard = self.heard = []
        sent = self._client.send_goal_async(
            AskEmotion.Goal(question=question, **goal), lambda message: heard.append(message.feedback)
        )
        self.graph.until(sent.done, "the goal's acceptance")
        assert sent.result().accepted
        return sent.result()

    def result(self, handle):
        """Status and result of a goal."""
        future = handle.get_result_async()
        self.graph.until(future.done, "the result")
        return future.result().status, future.result().result

    def cancel(self, handle):
        """Ask to cancel; returns how many goals will be."""
        future = handle.cancel_goal_async()
        self.graph.until(future.done, "the answer to the cancelling")
        return len(future.result().goals_canceling)

    def until_text(self, text):
        self.graph.until(lambda: any(f.text == text for f in self.heard), f"the text {text!r}")

    def close(self):
        self._client.destroy()


class AskedRig(Rig):
    """A perception node that sees somebody, and can be asked."""

    def __init__(self, graph, typist, **parameters):
        super().__init__(graph, loader(typist), smoothing_s=0.0, label_margin=0.0, **parameters)
        self.typist = typist

    def see(self, image):
        """Have another two windows perceived, so that something fresh can be asked about; the last state."""
        count = len(self.perceived) + 2
        while len(self.perceived) < count:
            self.feed(0.5, audio=False, image=image)
        return self.perceived[-1]

"""The slow worker: estimates to words, one source after the other; questions come first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from emollama_ros.errors import InputError
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.pipeline.config import PipelineConfig
from emollama_ros.pipeline.faults import describe_fault
from emollama_ros.pipeline.health import Tally
from emollama_ros.pipeline.interfaces import Explainer
from emollama_ros.pipeline.questions import MOST_WAITING, NOT_RUNNING, OFF, Question

Mail = tuple[EmotionEstimate, str]


class Mailbox:
    """One letter a source, the newest; sources are served in turn. Not thread-safe."""

    def __init__(self) -> None:
        self._letters: dict[int, Mail] = {}
        self._served = -1

    def put(self, mail: Mail) -> None:
        """Leave a letter; one of the same source that was not taken yet is replaced."""
        self._letters[mail[0].source] = mail

    def take(self) -> Mail:
        """Take the letter of the next source that has one, counting on from the one served last."""
        later = [source for source in self._letters if source > self._served]
        self._served = min(later or self._letters)
        return self._letters.pop(self._served)

    def clear(self) -> None:
        """Throw every letter away."""
        self._letters.clear()

    def __len__(self) -> int:
        return len(self._letters)


class SlowWorker:
    """The language model in a thread of its own, behind a mailbox of depth one a source.

    Who asks waits, who is told unasked does not: a reasoning that is being written gives way to a question at
    the next token, and questions are answered in the order in which they came.
    """

    def __init__(
        self,
        explainer: Explainer,
        config: PipelineConfig,
        tally: Tally,
        on_reasoning: Callable[[Reasoning], None],
    ) -> None:
        self._explainer, self._tally, self._on_reasoning = explainer, tally, on_reasoning
        self._config = config
        self._wake = threading.Condition()
        self._mail = Mailbox()
        self._questions: deque[Question] = deque()
        self._answering: Question | None = None
        self._last: dict[int, tuple[int, str]] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="emollama-slow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel at the next token and end the thread."""
        with self._wake:
            self._stopping = True
            self._drop_questions(NOT_RUNNING)
            self._wake.notify()
        self._thread.join()

    def reconfigure(self, config: PipelineConfig) -> None:
        """Take another interval, or be switched on or off; what is being written when off is cancelled."""
        with self._wake:
            self._config = config
            if not config.reasoning:
                self._mail.clear()
                self._drop_questions(OFF)

    def offer(self, estimate: EmotionEstimate, transcript: str) -> None:
        """Leave an estimate to be explained; one of the same source that was not begun yet is replaced."""
        with self._wake:
            if self._is_wanted(estimate):
                self._mail.put((estimate, transcript))
                self._wake.notify()

    def ask(self, question: Question) -> None:
        """Have a question answered.

        Raises:
            InputError: Too many wait, or the language model is switched off.
        """
        with self._wake:
            waiting = [asked for asked in self._questions if not asked.is_over]
            if self._stopping or not self._config.reasoning:
                raise InputError(NOT_RUNNING if self._stopping else OFF)
            if len(waiting) >= MOST_WAITING:
                raise InputError(f"{len(waiting)} questions are waiting already; ask again later")
            self._questions = deque([*waiting, question])
            self._wake.notify()

    def _drop_questions(self, why: str) -> None:
        for question in (*self._questions, *([self._answering] if self._answering else [])):
            question.stop(why)
        self._questions.clear()

    def _is_wanted(self, estimate: EmotionEstimate) -> bool:
        """Explain at once when the label changes, else not more often than the interval."""
        if not self._config.reasoning:
            return False
        if estimate.source not in self._last:
            return True
        begun_ns, label = self._last[estimate.source]
        interval_ns = round(self._config.reasoning_interval_s * 1e9)
        return estimate.label != label or not 0 <= estimate.end_ns - begun_ns < interval_ns

    def _run(self) -> None:
        while (work := self._next()) is not None:
            with self._tally.reasoning:
                work()

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; None when it is time to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._questions or len(self._mail) or self._stopping)
            if self._stopping:
                return None
            if self._questions:
                question = self._answering = self._questions.popleft()
                return lambda: self._answer(question)
            estimate, transcript = self._mail.take()
            self._last[estimate.source] = (estimate.end_ns, estimate.label)
            return lambda: self._explain(estimate, transcript)

    def _answer(self, question: Question) -> None:
        if not question.begin():
            return
        try:
            self._explainer.explain(
                question.estimate,
                question.transcript,
                question=question.text,
                on_text=question.show,
                should_stop=question.should_stop,
            )
        except Exception as error:  # MemoryError too: labels go on without words
            question.fail(describe_fault("answer", error, ""))
        else:
            question.finish()
        finally:
            self._answering = None

    def _explain(self, estimate: EmotionEstimate, transcript: str) -> None:
        try:
            self._explainer.explain(
                estimate,
                transcript,
                on_text=lambda text: self._on_reasoning(replace(text, source=estimate.source)),
                should_stop=lambda: self._stopping or bool(self._questions) or not self._config.reasoning,
            )
        except Exception as error:  # MemoryError too: labels go on without words
            self._tally.reasoning_error = describe_fault("reasoning", error, self._tally.reasoning_error)
            self._tally.reasoning_faults += 1
        else:
            self._tally.reasoning_error = ""
            self._tally.reasonings += 1

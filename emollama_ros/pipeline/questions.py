"""Questions in words: what of the last seconds they are about, and how each of them ends, once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from time import monotonic

from emollama_ros.errors import InputError
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.labels import WITHOUT_FEELING
from emollama_ros.language.prompts import QUESTION_LIMIT
from emollama_ros.language.templates import as_data
from emollama_ros.preprocess.instructions import instruction_in

#: How long what was perceived can be asked about, s; then, and when perception stops, it is forgotten.
REMEMBERED_S = 30.0
#: Most bytes of soft tokens that are remembered of one source: those of large models are large.
REMEMBERED_BYTES = 16 * 2**20
#: Oldest state that passes for the latest, s.
FRESH_S = 5.0
#: Questions that may wait while another is being answered.
MOST_WAITING = 4
#: Longest and usual time until an answer, waiting included, s.
MOST_DEADLINE_S, USUAL_DEADLINE_S = 60.0, 10.0
#: Time after which an answer that was to end is taken as it is, s: a server may hang.
GRACE_S = 1.0
#: Why answers end early.
LATE, CANCELLED = "the deadline of {:g} s came first", "cancelled by who asked"
OFF = "the language model is switched off (parameter reasoning)"
MISSING = "there is no language model: see the log and /diagnostics for why"
NOT_RUNNING = "nothing is perceived now"


class Outcome(IntEnum):
    """How a question ended. The values are those of ``AskEmotion.Result.outcome``."""

    ANSWERED = 0
    LATE = 1
    CANCELLED = 2
    FAILED = 3
    STOPPED = 4
    REFUSED = 5


@dataclass(frozen=True)
class Inquiry:
    """What somebody wants to know.

    Attributes:
        text: In words, 1..300 characters; data.
        source: Index of the source.
        seconds: How far to look back for the surest feeling, 0..30 s; 0 takes the latest state.
        about_ns: ``end_ns`` of the one estimate that is asked about; 0 leaves it to ``seconds``.
        deadline_s: Longest time until the answer, 0..60 s; 0 takes the usual one.
    """

    text: str
    source: int = 0
    seconds: float = 0.0
    about_ns: int = 0
    deadline_s: float = 0.0

    def checked(self) -> Inquiry:
        """Return it with its text made harmless and its times in range.

        Raises:
            InputError: It cannot be asked like this; names the value and what is legal.
        """
        _require("seconds", self.seconds, REMEMBERED_S)
        _require("deadline_s", self.deadline_s, MOST_DEADLINE_S)
        deadline_s = self.deadline_s or USUAL_DEADLINE_S
        return Inquiry(question_as_data(self.text), self.source, self.seconds, self.about_ns, deadline_s)


@dataclass(frozen=True)
class Answer:
    """What became of a question.

    Attributes:
        outcome: How it ended.
        estimate: What it is about.
        text: The answer as far as it was written.
        tokens: Tokens generated.
        elapsed_ms: From asking to the end, waiting included.
        status_text: Why there is no whole answer; empty when there is.
    """

    outcome: Outcome
    estimate: EmotionEstimate
    text: str = ""
    tokens: int = 0
    elapsed_ms: float = 0.0
    status_text: str = ""


def question_as_data(text: str) -> str:
    """Return a question that can be put into a prompt, and asks about a person.

    Raises:
        InputError: It is empty, too long, or tells the machine what to do.
    """
    if len(text) > QUESTION_LIMIT:
        raise InputError(f"the question has {len(text)} characters; use {QUESTION_LIMIT} at most")
    words = as_data(text)
    if not words:
        raise InputError("the question is empty; ask in words, for example: why?")
    if told := instruction_in(text):
        raise InputError(f"the question asks the machine {told}; ask about the person")
    return words


def _require(name: str, value: float, high: float) -> None:
    if not 0.0 <= value <= high:  # refuses NaN too
        raise InputError(f"{name} is {value:g}; use 0 to {high:g} seconds")


class Recent:
    """What was perceived in the last seconds, by source. Thread-safe."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        """Remember nothing.

        Args:
            now: A clock in seconds; not that of the sensors, which may jump.
        """
        self._now = now
        self._lock = threading.Lock()
        self._kept: dict[int, deque[tuple[float, EmotionEstimate, str]]] = {}

    def add(self, estimate: EmotionEstimate, transcript: str) -> None:
        """Remember an estimate and what was said in its window."""
        with self._lock:
            kept = self._kept.setdefault(estimate.source, deque())
            kept.append((self._now(), estimate, transcript))
            while len(kept) > 1 and self._is_too_much(kept):
                kept.popleft()

    def forget(self) -> None:
        """Remember nothing any more."""
        with self._lock:
            self._kept.clear()

    def choose(self, source: int, seconds: float = 0.0, about_ns: int = 0) -> tuple[EmotionEstimate, str]:
        """Return what a question is about, and what was said then; see ``Inquiry``.

        Raises:
            InputError: Nothing of the kind is remembered.
        """
        oldest = self._now() - (REMEMBERED_S if about_ns else max(seconds, FRESH_S))
        with self._lock:
            found = [(e, words) for at, e, words in self._kept.get(source, ()) if at >= oldest]
        if about_ns:
            return self._exactly(found, about_ns)
        if not found:
            raise InputError(f"nothing was perceived in the last {max(seconds, FRESH_S):g} s")
        felt = [(e, words) for e, words in found if e.label not in {*WITHOUT_FEELING, "neutral"}]
        return max(reversed(felt), key=lambda kept: kept[0].confidence) if felt and seconds else found[-1]

    @staticmethod
    def _exactly(found: list[tuple[EmotionEstimate, str]], end_ns: int) -> tuple[EmotionEstimate, str]:
        for estimate, words in reversed(found):
            if estimate.end_ns == end_ns:
                return estimate, words
        raise InputError(
            f"no state with this stamp is remembered; those of the last {REMEMBERED_S:g} s are, if something"
            " was perceived"
        )

    def _is_too_much(self, kept: deque[tuple[float, EmotionEstimate, str]]) -> bool:
        tokens = kept[-1][1].soft_tokens
        size = 0 if tokens is None else tokens.nbytes
        return kept[0][0] < self._now() - REMEMBERED_S or size * len(kept) > REMEMBERED_BYTES


class Question:
    """One question under way, from any thread: it waits, is answered word by word, and ends once.

    Attributes:
        answer: What became of it; None until it has ended.
    """

    def __init__(
        self,
        inquiry: Inquiry,
        about: tuple[EmotionEstimate, str],
        on_text: Callable[[Reasoning], None],
        on_answer: Callable[[Answer], None],
        now: Callable[[], float] = monotonic,
    ) -> None:
        """Begin to wait; the deadline runs from here.

        Args:
            inquiry: Checked.
            about: The estimate it is about, and what was said then.
            on_text: Called with the text so far.
            on_answer: Called once, in the thread that ends it.
            now: A clock in seconds.
        """
        self.text, (self.estimate, self.transcript) = inquiry.text, about
        self._on_text, self._on_answer, self._now = on_text, on_answer, now
        self._asked_s, self._deadline_s = now(), inquiry.deadline_s
        self._lock = threading.Lock()
        self._ending: tuple[Outcome, str, float] | None = None
        self._written: Reasoning | None = None
        self._is_begun = False
        self.answer: Answer | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.answer is not None

    def begin(self) -> bool:
        """Note that it is being answered; false where it has ended before."""
        self.look()
        with self._lock:
            self._is_begun = not self.is_over
        return self._is_begun

    def cancel(self) -> None:
        """End it at the next token, or at once where it was only waiting."""
        self._end_soon(Outcome.CANCELLED, CANCELLED)

    def stop(self, why: str) -> None:
        """The same, because the model will not be there any more."""
        self._end_soon(Outcome.STOPPED, why)

    def abandon(self, why: str) -> Answer:
        """End it now, whatever the model does, and return the answer as far as it was written."""
        self._note(Outcome.STOPPED, why)
        return self._end(Outcome.STOPPED, why)

    def should_stop(self) -> bool:
        """Whether to write no more; asked before every token."""
        if self._now() - self._asked_s >= self._deadline_s:
            self._note(Outcome.LATE, LATE.format(self._deadline_s))
        return self._ending is not None

    def show(self, text: Reasoning) -> None:
        """Hand on the text so far."""
        with self._lock:
            if self.is_over:
                return
            self._written = text
        self._on_text(text)

    def finish(self) -> None:
        """The model has written what it will."""
        outcome, why, _ = self._ending or (Outcome.ANSWERED, "", 0.0)
        self._end(outcome, why)

    def fail(self, why: str) -> None:
        """The model could not."""
        self._end(Outcome.FAILED, why)

    def look(self) -> None:
        """End it if it must and the model does not: call it a few times a second."""
        if self.should_stop():
            assert self._ending is not None
            outcome, why, since = self._ending
            if not self._is_begun or self._now() - since >= GRACE_S:
                self._end(outcome, why)

    def _end_soon(self, outcome: Outcome, why: str) -> None:
        self._note(outcome, why)
        self.look()

    def _note(self, outcome: Outcome, why: str) -> None:
        with self._lock:
            if self._ending is None:
                self._ending = outcome, why, self._now()

    def _end(self, outcome: Outcome, why: str) -> Answer:
        with self._lock:
            if self.answer is not None:
                return self.answer
            written, elapsed_ms = self._written, (self._now() - self._asked_s) * 1e3
            text, tokens = (written.text, written.tokens) if written else ("", 0)
            self.answer = answer = Answer(outcome, self.estimate, text, tokens, elapsed_ms, why)
        self._on_answer(answer)
        return answer

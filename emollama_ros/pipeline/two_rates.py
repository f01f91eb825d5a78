"""The pipeline itself: feeds, two workers and what they tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.pipeline.config import PipelineConfig
from emollama_ros.pipeline.fast import FastWorker
from emollama_ros.pipeline.feed import Feed
from emollama_ros.pipeline.health import Health, Tally, sum_up
from emollama_ros.pipeline.intake import Intake
from emollama_ros.pipeline.interfaces import Explainer, Perceiver
from emollama_ros.pipeline.questions import MISSING, NOT_RUNNING, Answer, Inquiry, Question, Recent
from emollama_ros.pipeline.slow import SlowWorker
from emollama_ros.streams import Grid


class EmotionPipeline:
    """Several sources over one perception and one reasoner.

    Attributes:
        feeds: Where the input of each source goes in.
    """

    def __init__(
        self,
        perception: Perceiver,
        reasoner: Explainer | None,
        config: PipelineConfig,
        on_estimate: Callable[[EmotionEstimate], None],
        on_reasoning: Callable[[Reasoning], None] = lambda _: None,
        sources: int = 1,
    ) -> None:
        """Make a stopped pipeline.

        Args:
            perception: Fast path; used by the fast worker alone.
            reasoner: Slow path, or ``None`` for labels only.
            config: Times and expectations.
            on_estimate: Called from the fast worker.
            on_reasoning: Called from the slow worker, several times a reasoning.
            sources: How many cameras, microphones, people: each has a feed.

        Raises:
            ConfigError: There is no source.
        """
        if sources < 1:
            raise ConfigError(f"sources is {sources}; use 1 or more")
        self._perception, self._reasoner, self._config = perception, reasoner, config
        self._on_estimate, self._on_reasoning = on_estimate, on_reasoning
        self._tally = Tally()
        self._recent = Recent()
        self._worker: FastWorker | None = None
        self._slow: SlowWorker | None = None
        grid = Grid() if sources > 1 else None
        self.feeds = tuple(Feed(source, config, self._notify, grid) for source in range(sources))

    def start(self) -> None:
        """Start the workers. Does nothing when they run."""
        if self._worker is not None:
            return
        if self._reasoner is not None:
            self._slow = SlowWorker(self._reasoner, self._config, self._tally, self._on_reasoning)
            self._slow.start()
        self._worker = FastWorker(self._perception, self.feeds, self._tally, self._on_estimate, self._offer)
        self._worker.start()

    def stop(self) -> None:
        """Stop the workers and forget all input.

        The current window is finished, a reasoning under way is cancelled.
        """
        if self._worker is not None:
            self._worker.stop()
        if self._slow is not None:
            self._slow.stop()
        self._worker = self._slow = None
        for feed in self.feeds:
            feed.forget()
        self._recent.forget()
        self._perception.reset()  # it remembers pictures of people

    def reconfigure(self, config: PipelineConfig) -> None:
        """Take other times and expectations at once; nothing buffered is lost.

        Raises:
            ConfigError: The rings would have to be others (``config.FIXED``); names the value.
        """
        self._config.require_same_rings(config)
        self._config = config
        for feed in self.feeds:
            feed.reconfigure(config)
        if self._slow is not None:
            self._slow.reconfigure(config)

    def ask(
        self,
        inquiry: Inquiry,
        on_text: Callable[[Reasoning], None] = lambda _: None,
        on_answer: Callable[[Answer], None] = lambda _: None,
    ) -> Question:
        """Have a question about the last seconds answered; labels do not wait for it.

        Args:
            inquiry: What is asked.
            on_text: Called from the slow worker with the text so far.
            on_answer: Called once: from the slow worker, or from whoever ends the question or looks after it.

        Raises:
            InputError: It cannot be asked now, or not like this; the message says why.
        """
        inquiry, slow = inquiry.checked(), self._slow
        if self._reasoner is None:
            raise InputError(MISSING)
        if slow is None:
            raise InputError(NOT_RUNNING)
        about = self._recent.choose(inquiry.source, inquiry.seconds, inquiry.about_ns)
        question = Question(inquiry, about, on_text, on_answer)
        slow.ask(question)
        return question

    def health(self) -> Health:
        """Counters, times and queues as of now."""
        oldest_ms = max(feed.waiting_ms for feed in self.feeds)
        return sum_up(self._tally, [feed.health() for feed in self.feeds], oldest_ms)

    def _notify(self) -> None:
        worker = self._worker  # another thread may be stopping it
        if worker is not None:
            worker.notify()

    def _offer(self, estimate: EmotionEstimate, transcript: str) -> None:
        slow = self._slow
        if slow is not None:
            self._recent.add(estimate, transcript)
            slow.offer(estimate, transcript)

    # With one source: its feed.

    @property
    def intake(self) -> Intake:
        """Rings and clock of the first source."""
        return self.feeds[0].intake

    def push_frame(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        """See ``Feed.push_frame``, of the first source."""
        self.feeds[0].push_frame(stamp_ns, rgb)

    def skip_frame(self, stamp_ns: int) -> None:
        """See ``Feed.skip_frame``, of the first source."""
        self.feeds[0].skip_frame(stamp_ns)

    def push_audio(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        """See ``Feed.push_audio``, of the first source."""
        self.feeds[0].push_audio(stamp_ns, samples)

    def push_transcript(self, stamp_ns: int, text: str) -> None:
        """See ``Feed.push_transcript``, of the first source."""
        self.feeds[0].push_transcript(stamp_ns, text)

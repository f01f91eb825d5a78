"""The fast worker: complete windows of all sources to estimates, without waiting for anything else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from emollama_ros.estimate import EmotionEstimate
from emollama_ros.pipeline.faults import describe_fault
from emollama_ros.pipeline.feed import Feed, Turn
from emollama_ros.pipeline.health import Tally
from emollama_ros.pipeline.interfaces import Perceiver

#: Takes an estimate and the transcript of its window.
Offer = Callable[[EmotionEstimate, str], None]


class FastWorker:
    """A thread that perceives. Windows that are complete together are perceived together."""

    def __init__(
        self,
        perceiver: Perceiver,
        feeds: Sequence[Feed],
        tally: Tally,
        on_estimate: Callable[[EmotionEstimate], None],
        offer: Offer,
    ) -> None:
        self._perceiver, self._feeds, self._tally = perceiver, feeds, tally
        self._on_estimate, self._offer = on_estimate, offer
        self._wake = threading.Condition()
        self._pending = True  # input may have come before the start
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="emollama-fast", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the present window and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def notify(self) -> None:
        """Look for complete windows."""
        with self._wake:
            self._pending = True
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pending or self._stopping)
                if self._stopping:
                    return
                self._pending = False
            with self._tally.perceiving:
                self._step()

    def _step(self) -> None:
        turns = [turn for feed in self._feeds if (turn := self._next(feed)) is not None]
        for turn, estimate in self._perceive(turns):
            self._publish(turn, estimate)

    def _next(self, feed: Feed) -> Turn | None:
        try:
            if feed.take_restart():
                self._perceiver.reset(feed.source)
            return feed.take_turn()
        except Exception as error:  # a worker that died would leave a robot that only seems to run
            self._fail(feed, error)
            return None

    def _perceive(self, turns: Sequence[Turn]) -> list[tuple[Turn, EmotionEstimate]]:
        if not turns:
            return []
        try:
            estimates = self._perceiver.perceive(
                [turn.window for turn in turns],
                [turn.sequence for turn in turns],
                [turn.feed.source for turn in turns],
            )
            return list(zip(turns, estimates, strict=True))
        except Exception as error:
            if len(turns) > 1:  # what one source sends must not take the others' estimates with it
                return [pair for turn in turns for pair in self._perceive([turn])]
            self._fail(turns[0].feed, error)
            return []

    def _publish(self, turn: Turn, estimate: EmotionEstimate) -> None:
        self._tally.stages.add(estimate.stage_ms)
        estimate = turn.feed.complete(estimate, turn.window)
        try:
            self._on_estimate(estimate)
            if estimate.modalities:
                self._offer(estimate, turn.window.transcript)
        except Exception as error:  # whoever listens is not the worker's problem
            self._fail(turn.feed, error)

    def _fail(self, feed: Feed, error: Exception) -> None:
        self._tally.last_error = describe_fault("window", error, self._tally.last_error)
        feed.fail(self._tally.last_error)

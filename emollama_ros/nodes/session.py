"""A pipeline at work for the channels of a node: from subscribing until nothing is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.nodes.answering import Answering
from emollama_ros.nodes.channel import Channel
from emollama_ros.nodes.loading import following
from emollama_ros.nodes.outbox import Outbox
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.nodes.watchdog import Watchdog
from emollama_ros.pipeline import Health

if TYPE_CHECKING:
    from emollama_ros.nodes.loading import Model, Pipeline
    from emollama_ros.speech import Whisper


class Session:
    """Perceiving, once. Used in the executor's thread only; the workers' results come through an ``Outbox``.

    Attributes:
        health: Of the pipeline, as of the latest tick.
    """

    def __init__(
        self, channels: Sequence[Channel], outbox: Outbox, watchdog: Watchdog, answering: Answering
    ) -> None:
        """Prepare.

        Args:
            channels: One for each source.
            outbox: Brings results into the executor's thread.
            watchdog: Ends the process when the model hangs.
            answering: Has questions answered while this lasts.
        """
        self._channels, self._outbox, self._watchdog = channels, outbox, watchdog
        self._answering = answering
        self._pipeline: Pipeline | None = None
        self.health = Health()

    def start(self, model: Model, settings: PerceptionParameters, recogniser: Whisper | None) -> Session:
        """Start a fresh pipeline over a model, and subscribe; returns itself."""
        self._model, self._settings = model, settings
        self._pipeline = model.make_pipeline(
            lambda estimate: self._outbox.put(lambda: self._tell(estimate)),
            lambda reasoning: self._outbox.put(lambda: self._explain(reasoning)),
            settings,
        )
        self._follow(settings)
        self._pipeline.start()
        for channel, feed in zip(self._channels, self._pipeline.feeds, strict=True):
            person = None if model.people is None else model.people.at(feed.source)
            channel.open(settings, feed, recogniser, person)
        self._answering.open(self._pipeline, self._channels)
        return self

    def stop(self) -> None:
        """Unsubscribe, stop the workers, and forget what was seen and heard."""
        self._answering.close()
        for channel in self._channels:
            channel.close()
        if self._pipeline is not None:
            with self._watchdog.waiting(self._settings.watchdog_s):
                self._pipeline.stop()
        self._pipeline = None
        self._outbox.clear()

    def reconfigure(self, settings: PerceptionParameters) -> None:
        """Take parameters that need no fresh pipeline."""
        assert self._pipeline is not None
        self._settings = settings
        self._follow(settings)
        self._pipeline.reconfigure(self._model.config(settings))

    def tick(self) -> None:
        """Look after model and channels; call it a few times a second."""
        assert self._pipeline is not None
        self.health = self._pipeline.health()
        self._watchdog.look(self.health.busy_ms, self._settings.watchdog_s)
        for channel in self._channels:
            channel.tick(self.health)
        self._answering.tick()

    def _follow(self, settings: PerceptionParameters) -> None:
        if self._model.people is not None:
            self._model.people.use(following(settings))

    def _tell(self, estimate: EmotionEstimate) -> None:
        if self._pipeline is not None:  # else late news
            self._channels[estimate.source].tell(estimate, self.health)

    def _explain(self, reasoning: Reasoning) -> None:
        if self._pipeline is not None:
            self._channels[reasoning.source].explain(reasoning)

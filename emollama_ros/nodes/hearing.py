"""The node's own speech-to-text, between the microphone and a feed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from emollama_ros.nodes.parameters import PerceptionParameters
    from emollama_ros.pipeline import Feed
    from emollama_ros.speech import Whisper
    from emollama_ros.speech.listener import SpeechHealth

#: The recogniser shares the cores with the labels, which must not wait for it.
THREADS = 1


def load_recogniser(settings: PerceptionParameters) -> Whisper | None:
    """Load the packaged recogniser, if the parameters ask for it.

    Raises:
        EmollamaError: It is not assembled, damaged, or cannot run.
    """
    if not settings.speech_to_text:
        return None
    from emollama_ros.speech import Whisper

    return Whisper.load(None, THREADS)


class Hearing:
    """A feed whose sound is also written down, and handed in as its transcript."""

    def __init__(self, feed: Feed, recogniser: Whisper) -> None:
        """Start to listen.

        Args:
            feed: What is fed.
            recogniser: May serve several.
        """
        from emollama_ros.speech import SpeechToText

        self._feed = feed
        self._speech = SpeechToText(recogniser, THREADS, feed.push_transcript)
        self._speech.start()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the feed's."""
        return getattr(self._feed, name)

    def push_audio(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        """See ``Feed.push_audio``."""
        self._feed.push_audio(stamp_ns, samples)
        self._speech.push(stamp_ns, samples)

    def speech_health(self) -> SpeechHealth:
        """What became of the sound; ``health`` is the feed's."""
        return self._speech.health()

    def close(self) -> None:
        """Stop listening and forget all sound; no words come after it."""
        self._speech.stop()

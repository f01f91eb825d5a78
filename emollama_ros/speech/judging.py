"""Whether a text was heard or made up. Whisper writes something even where nobody speaks.

The measures and the three thresholds are those of openai/whisper (``transcribe.py``: ``no_speech_threshold``,
``logprob_threshold``, ``compression_ratio_threshold``). What is done with them is stricter. There a doubtful
text is tried again at higher temperatures; here it is left out, because a robot is better off without words
than with words nobody said. There the probability that nobody speaks counts only for a text that is unsure;
here it counts alone: music and silence give "you" with a mean of -0.8, as sure as a real "Yes."
(docs/speech.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from emollama_ros.speech.whisper import Heard

#: Why a text is left out.
REASONS = ("no words", "no speech", "unsure", "repeats", "cut")


@dataclass(frozen=True)
class Doubts:
    """Thresholds.

    Attributes:
        no_speech: Above this probability that nobody speaks, nobody does.
        log_probability: Below this mean a text is unsure.
        compression: Above this ratio it goes round in circles.
    """

    no_speech: float = 0.6
    log_probability: float = -1.0
    compression: float = 2.4

    def why_not(self, heard: Heard) -> str:
        """Return one of ``REASONS``, or nothing for a text to believe."""
        if not any(character.isalnum() for character in heard.text):
            return "no words"
        if heard.no_speech > self.no_speech:
            return "no speech"
        if heard.compression > self.compression:
            return "repeats"
        if not heard.is_whole:
            return "cut"
        return "unsure" if heard.log_probability < self.log_probability else ""

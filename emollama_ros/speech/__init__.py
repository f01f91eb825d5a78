"""The robot's own speech-to-text: a microphone's sound to utterances, and those to words, by Whisper tiny.en.

No torch and no download at run time: the weights are made of a pinned package at set-up (docs/speech.md).
"""

from __future__ import annotations

from emollama_ros.speech.judging import Doubts
from emollama_ros.speech.listener import SpeechHealth, SpeechToText
from emollama_ros.speech.utterances import UtteranceSettings
from emollama_ros.speech.whisper import Heard, Whisper

__all__ = ["Doubts", "Heard", "SpeechHealth", "SpeechToText", "UtteranceSettings", "Whisper"]

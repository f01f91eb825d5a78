"""What is said, by the packaged Whisper tiny.en, for clips that come without words and may be English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from emollama_ros.errors import ConfigError
from training.annotation.agents import Finding, Request, Role
from training.annotation.measuring.clip_media import sound_file
from training.mmeverse.decoding import RATE, sound_of
from training.packaged_weights import WHISPER_TINY_EN, locate

#: Less than this mean log probability a token, or more than this probability of no speech: nothing is added.
_LEAST_LOGPROB, _NO_SPEECH_FROM = -1.0, 0.6
_SHORTEST_S = 0.3


@dataclass(frozen=True)
class TranscriptAgent:
    """Writes ``transcript``. The model knows English only: other languages are left alone, never guessed."""

    role: Role = "transcript"
    model: str = "whisper-tiny.en"
    prompt: str = ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything else the words depend on."""
        return {
            "weights": WHISPER_TINY_EN.sha256[:12],
            "beam": 1,
            "least_logprob": _LEAST_LOGPROB,
            "no_speech_from": _NO_SPEECH_FROM,
        }

    def annotate(self, request: Request) -> Finding:
        """Transcribe the clip where it has no transcript.

        Raises:
            AgentError: The file cannot be read.
        """
        record = request.record
        path = None if record.transcript or not _may_be_english(record.language) else sound_file(request)
        if path is None:
            return Finding({})
        samples = sound_of(path, record.media)
        words = _transcribe(samples) if len(samples) >= _SHORTEST_S * RATE else ""
        return Finding({"transcript": words} if words else {})


def _may_be_english(language: str | None) -> bool:
    return language is None or language.partition("-")[0] == "en"


def _transcribe(samples: Any) -> str:
    segments, _ = _whisper().transcribe(
        samples, language="en", beam_size=1, temperature=0.0, condition_on_previous_text=False
    )
    believed = [s for s in segments if s.avg_logprob > _LEAST_LOGPROB and s.no_speech_prob < _NO_SPEECH_FROM]
    return " ".join(segment.text.strip() for segment in believed)


@lru_cache(maxsize=1)
def _whisper() -> Any:
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise ConfigError(
            f"transcribing needs faster-whisper ({error}): run `pip install faster-whisper`"
        ) from None
    folder = locate(WHISPER_TINY_EN).parent
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)

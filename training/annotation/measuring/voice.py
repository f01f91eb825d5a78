"""How something is said, measured by Praat and by the robot's own prosody, in words.

Praat (Boersma & Weenink; praat-parselmouth, Jadoul et al. 2018) measures pitch (autocorrelation, in two
passes with a range fitted to the speaker, De Looze & Hirst 2008) and what only it can: jitter, shimmer and
harmonicity. Loudness, syllable rate, pauses and sharpness are those of `emollama_ros.prosody`. Praat is
GPL-3: a tool of the workstation, of which nothing ships.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.cues import SPEC_BY_NAME, voice_values
from emollama_ros.errors import ConfigError
from emollama_ros.estimate import Cue
from emollama_ros.prosody import MIN_VOICED_S, SILENCE_DBFS, analyse
from training.annotation.agents import Finding, Request, Role
from training.annotation.measuring.clip_media import sound_file
from training.annotation.measuring.fusion import rng_of
from training.annotation.measuring.labels import emotions_of
from training.annotation.measuring.words import SPECS, VOICE_WORDS, join, say, sentence, stance
from training.mmeverse.decoding import RATE, sound_of

#: Limits of the first pass of pitch, Hz, and the step of the analysis, s.
_FLOOR, _CEILING, _STEP = 60.0, 500.0, 0.01
#: The second pass looks from 0.7 times the lower quartile to 1.8 times the upper.
_BELOW, _ABOVE = 0.7, 1.8
#: Praat's usual limits: of a glottal period, s, and of the ratio of neighbouring periods and amplitudes.
_SHORTEST, _LONGEST, _PERIOD_RATIO, _AMPLITUDE_RATIO = 0.0001, 0.02, 1.3, 1.6
#: Praat's harmonicity of a frame without voice.
_UNVOICED_DB = -200
#: Clauses in one description.
_NAMED = 4
#: Cue -> its value for the person, and what it is compared as.
_USUAL = {"voice.loudness": "usual.loudness", "voice.rate": "usual.rate", "voice.pitch": "usual.pitch"}
_SPECS = {**SPEC_BY_NAME, **{spec.name: spec for spec in SPECS}}


def measure_voice(samples: NDArray[np.float32]) -> dict[str, float]:
    """Measure a piece of sound.

    Args:
        samples: float32 [n], mono, 16 kHz.

    Returns:
        Values by cue name (``voice.*``, units as in the cue tables); only ``voice.activity`` where there is
        less than 0.3 s of voice, and nothing where there is silence.
    """
    prosody = analyse(samples)
    if prosody.level_dbfs <= SILENCE_DBFS:
        return {}
    values = voice_values(prosody)
    return {**values, **_praat(samples)} if prosody.pitch_hz is not None else values


def _praat(samples: NDArray[np.float32]) -> dict[str, float]:
    parselmouth = _parselmouth()
    heard = parselmouth.Sound(samples.astype(np.float64), RATE)
    rough = _hertz(heard.to_pitch_ac(time_step=_STEP, pitch_floor=_FLOOR, pitch_ceiling=_CEILING))
    if len(rough) * _STEP < MIN_VOICED_S:
        return {}
    quarter, three_quarters = np.percentile(rough, [25, 75])
    floor, ceiling = max(_FLOOR, _BELOW * quarter), min(_CEILING, _ABOVE * three_quarters)
    pitch = heard.to_pitch_ac(time_step=_STEP, pitch_floor=floor, pitch_ceiling=ceiling)
    hertz = _hertz(pitch)
    if len(hertz) * _STEP < MIN_VOICED_S:
        return {}
    low, middle, high = np.percentile(12 * np.log2(hertz), [10, 50, 90])
    values = {
        "voice.pitch": float(2 ** (middle / 12)),
        "voice.pitch_range": float(high - low),
        **_quality(parselmouth, heard, pitch),
    }
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _hertz(pitch: Any) -> NDArray[np.float64]:
    hertz = pitch.selected_array["frequency"]
    return hertz[hertz > 0]


def _quality(parselmouth: Any, heard: Any, pitch: Any) -> dict[str, float]:
    call = parselmouth.praat.call
    pulses = call([heard, pitch], "To PointProcess (cc)")
    limits = (0, 0, _SHORTEST, _LONGEST, _PERIOD_RATIO)
    harmonicity = heard.to_harmonicity_cc().values
    voiced = harmonicity[harmonicity > _UNVOICED_DB]
    return {
        "voice.jitter": 100 * call(pulses, "Get jitter (local)", *limits),
        "voice.shimmer": 100 * call([heard, pulses], "Get shimmer (local)", *limits, _AMPLITUDE_RATIO),
        "voice.harmonicity": float(voiced.mean()) if len(voiced) else float("nan"),
    }


def _parselmouth() -> Any:
    try:
        import parselmouth
    except ImportError as error:
        raise ConfigError(
            f"measuring a voice needs Praat ({error}): run `pip install praat-parselmouth`"
        ) from None
    return parselmouth


def praat_version() -> str:
    """Version of the installed praat-parselmouth.

    Raises:
        ConfigError: It is not installed.
    """
    _parselmouth()
    return metadata.version("praat-parselmouth")


def cues_of(values: Mapping[str, float], usual: Mapping[str, float]) -> list[Cue]:
    """Cues of measured values, and of how they differ from what is usual for the person."""
    differences = {
        name: _difference(measure, values[measure], usual[measure])
        for measure, name in _USUAL.items()
        if measure in values and measure in usual
    }
    return [_SPECS[name].cue(value) for name, value in {**values, **differences}.items()]


def _difference(measure: str, value: float, usual: float) -> float:
    return 12 * float(np.log2(value / usual)) if measure == "voice.pitch" else value - usual


@dataclass(frozen=True)
class VoiceAgent:
    """Writes ``clues.audio``: what stands out in a voice, at most four clauses.

    Attributes:
        is_guided: Whether clues that speak for the label are named first; nothing else depends on it.
        usual: By person (`Record.person`), the medians of the voice over that person's clips.
    """

    is_guided: bool = True
    usual: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    role: Role = "audio"
    model: str = field(default_factory=lambda: f"praat-parselmouth-{praat_version()}")
    prompt: str = ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything else the clues depend on."""
        return {
            "guided": self.is_guided,
            "named": _NAMED,
            "usual": {k: dict(v) for k, v in self.usual.items()},
        }

    def annotate(self, request: Request) -> Finding:
        """Listen to the clip; a clip without sound, or a silent one, adds nothing.

        Raises:
            AgentError: The file cannot be read.
        """
        path = sound_file(request)
        if path is None:
            return Finding({})
        values = measure_voice(sound_of(path, request.record.media))
        cues = cues_of(values, self.usual.get(request.record.person or "", {}))
        text = self._describe(request, cues)
        return Finding({"clues.audio": text} if text else {})

    def _describe(self, request: Request, cues: list[Cue]) -> str:
        is_guided = self.is_guided and request.is_guided
        emotions = emotions_of(request.record) if is_guided else ()

        def weight(cue: Cue) -> tuple[int, float]:
            return max((stance(e, (cue.name, cue.level)) for e in emotions), default=0), cue.strength

        known = [cue for cue in cues if (cue.name, cue.level) in VOICE_WORDS]
        telling = sorted((c for c in known if max(weight(c)) > 0), key=weight, reverse=True) or known
        if not telling:
            return ""
        chosen = [(cue.name, cue.level) for cue in telling[:_NAMED]]
        return sentence(join(say(chosen, rng_of(request.record, self.role))))

"""How a generated person sounds: one neural voice turned into many speakers and seven emotions.

The speech model of package ``hibari-tts`` (Apache-2.0) predicts, per 12.5 ms frame, a pitch value, a
harmonic and a noise spectrum, from which its own DSP makes the waveform. Prosody and speaker are changed
*between* the two: the pitch curve is replaced, spectra are warped along frequency (formants), tilted
and made breathy. There is no vocoder loss, and the true pitch is known.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from emollama_ros.errors import InputError
from training.synthesis.assets import Floats, find_package
from training.synthesis.prosody import Prosody, Speaker
from training.synthesis.voice_facts import PAUSE_S, active_rms, prosody_facts

_MODEL_RATE = 24_000
_FRAME_S = 0.0125
#: Pitch above this is voice, Hz.
_VOICED_HZ = 55.0
#: Frames kept around the voice on both sides of a pause, for consonants.
_EDGE = 8
#: Natural logarithm of the amplitude in pauses.
_SILENCE = -12.0
#: Rate of ``Speech.envelope``, Hz.
ENVELOPE_HZ = 80.0
#: Middle of the speech model's own pitch, Hz.
_MODEL_PITCH = 198.0
#: Vowels and diphthongs of the model's phoneme alphabet.
_VOWELS = frozenset("AIOQWYaeiouæɐɑɒɔəɚɛɜɝɨɪʉʊʌᵊᵻ")


@dataclass(frozen=True)
class Speech:
    """A spoken sentence.

    Attributes:
        samples: float32 [n] at ``RATE``, about -26 dBFS for a usual voice at usual distance.
        envelope: Mouth opening implied by the sound, float32 [frames at 80 Hz], 0 to 1.
        pitch: Hz, 0 where unvoiced, float32 [frames at 80 Hz].
        syllables: In the words.
        facts: The true prosody; see ``voice_facts.prosody_facts``.
    """

    samples: Floats
    envelope: Floats
    pitch: Floats
    syllables: int
    facts: Mapping[str, float]


@functools.lru_cache(maxsize=1)
def _model() -> Any:
    """Load the speech model once per process."""
    find_package("hibari", "hibari-tts==0.2.1")
    try:
        from hibari import Hibari
    except ImportError as error:
        raise InputError(
            f"hibari-tts cannot be used ({error}): run `pip install hibari-tts==0.2.1`"
        ) from error
    return Hibari(threads=1)


@functools.lru_cache(maxsize=256)
def _phoneme_ids(text: str) -> tuple[tuple[int, ...], int]:
    """Return the model's phoneme numbers of ``text`` and its number of syllables."""
    model = _model()
    ids: list[int] = []
    syllables = 0
    for phonemes in model.phonemize(text):
        ids += model.ids(phonemes)
        syllables += sum(symbol in _VOWELS for symbol in phonemes)
    if not syllables:
        raise InputError(f"the text {text!r} has nothing that can be spoken; give it English words")
    return tuple(ids), syllables


def speak(text: str, speaker: Speaker, prosody: Prosody, rng: np.random.Generator) -> Speech:
    """Say ``text``.

    Args:
        text: English.
        speaker: Whose voice.
        prosody: How.
        rng: Source of chance (noise parts, tremor phase, jitter).

    Raises:
        InputError: ``hibari-tts`` is not installed, or nothing in ``text`` can be spoken.
    """
    (harmonic, phase, noise, free, pitch), syllables = _predict(text, speaker, prosody)
    curve, voiced = pitch_curve(pitch, speaker, prosody, rng)
    warp = speaker.formant * prosody.formant
    harmonic, free, noise = (_warp_log(part, warp) for part in (harmonic, free, noise))
    gain = _gain_curve(harmonic, free, voiced, prosody)
    shape = _tilt_curve(harmonic.shape[0], speaker.tilt + prosody.tilt)[:, None]
    breath = min(1.0, speaker.breath + prosody.breath)
    samples = _synthesise(
        harmonic + gain + shape,
        phase,
        np.logaddexp(noise, free) + gain + shape,
        curve,
        breath,
        prosody.creak,
        rng,
    )
    samples = _to_rate(samples)
    level = 10 ** ((-26 + prosody.level_db) / 20)
    samples *= level / (active_rms(samples) + 1e-9)
    samples = _soft_clip(samples).astype(np.float32)
    facts = prosody_facts(samples, curve, syllables)
    return Speech(samples, _envelope(harmonic, free), curve, syllables, facts)


def _predict(text: str, speaker: Speaker, prosody: Prosody) -> tuple[list[Floats], int]:
    """Predict log spectra, phase and pitch of ``text``, with a pause in it where one is wanted.

    Returns:
        Harmonic, phase, noise and free spectra [bins, f] and pitch [f]; and the number of syllables.
    """
    speed = float(np.clip(speaker.rate * prosody.rate, 0.5, 1.8))
    said = split_at_pause(text) if prosody.pause_s >= PAUSE_S else (text,)
    spoken = [_phoneme_ids(part) for part in said]
    parts = [_stretch_time(_run(ids), speed) for ids, _ in spoken]
    joined = parts[0]
    for part in parts[1:]:
        until, since = _last_voice(joined[-1]) + _EDGE, max(0, _first_voice(part[-1]) - _EDGE)
        silence = prosody.pause_s - 2 * _EDGE * _FRAME_S
        joined = [_join(a[..., :until], b[..., since:], silence) for a, b in zip(joined, part, strict=True)]
    return joined, sum(syllables for _, syllables in spoken)


def _first_voice(pitch: Floats) -> int:
    return int(np.argmax(pitch > _VOICED_HZ))


def _last_voice(pitch: Floats) -> int:
    return len(pitch) - int(np.argmax(pitch[::-1] > _VOICED_HZ))


def _run(ids: tuple[int, ...]) -> tuple[Floats, ...]:
    feeds = {"ids": np.array([ids], np.int64), "speed": np.ones(1, np.float32)}
    harmonic, phase, noise, free, _, pitch = (part[0] for part in _model().sess.run(None, feeds))
    return harmonic, phase, noise, free, pitch


def _join(first: Floats, second: Floats, pause_s: float) -> Floats:
    """Put silence between two frame sequences [..., f]; spectra are logarithms, pitch is 0 in silence."""
    silence = np.full((*first.shape[:-1], round(pause_s / _FRAME_S)), _SILENCE if first.ndim > 1 else 0.0)
    return np.concatenate([first, silence.astype(np.float32), second], -1)


#: Words before which people hesitate.
_HESITATE = frozenset(
    {
        "and", "at", "before", "beside", "by", "for", "from", "in", "like", "near", "next", "on", "that",
        "to", "under", "when", "with",
    }
)  # fmt: skip


def split_at_pause(text: str) -> tuple[str, ...]:
    """Divide a sentence before the word nearest its middle at which people hesitate.

    Returns:
        Two parts, or the sentence where there is no such word.
    """
    words = text.split()
    places = [i for i in range(2, len(words) - 1) if words[i].lower() in _HESITATE]
    if not places:
        return (text,)
    at = min(places, key=lambda i: (abs(i - len(words) / 2), -i))
    return " ".join(words[:at]).rstrip(",") + ",", " ".join(words[at:])


def pitch_curve(
    pitch: Floats, speaker: Speaker, prosody: Prosody, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Turn the model's pitch curve into the speaker's in this prosody.

    Returns:
        Pitch per frame in Hz (0 where unvoiced), float32 [f], and the voiced mask, bool [f].
    """
    voiced = pitch > _VOICED_HZ
    semitones = np.where(voiced, 12 * np.log2(np.maximum(pitch, _VOICED_HZ) / _MODEL_PITCH), 0)
    # Frames where the model's voice creaks lie up to an octave low; they are artefacts of its voice.
    semitones = np.clip(semitones, -4, 7)
    count = len(pitch)
    seconds = np.arange(count) * _FRAME_S
    progress = seconds / max(seconds[-1], _FRAME_S)
    last = seconds[np.flatnonzero(voiced)[-1]] if voiced.any() else seconds[-1]
    ending = np.clip((seconds - (last - 0.4)) / 0.4, 0, 1)
    # A final rise replaces the natural fall of a statement instead of fighting it.
    semitones *= 1 - ending * min(1.0, max(0.0, prosody.end_st / 3))
    semitones = semitones * prosody.range * speaker.liveliness + prosody.pitch_st
    semitones += prosody.slope_st * (progress - 0.5) + prosody.end_st * ending
    tremor = np.sin(2 * np.pi * (rng.uniform(5.0, 8.0) * seconds + rng.random()))
    semitones += prosody.tremor_st * tremor + prosody.jitter * rng.standard_normal(count)
    curve = speaker.pitch_hz * 2 ** (semitones / 12)
    curve = np.clip(curve, 58, 620)
    return np.where(voiced, curve, 0).astype(np.float32), voiced


def _stretch_time(parts: tuple[Floats, ...], speed: float) -> list[Floats]:
    """Resample frame sequences [..., f] to ``f / speed`` frames.

    The model has a speed input of its own, which follows only about half of what is asked for.
    """
    count = parts[0].shape[-1]
    at = np.linspace(0, count - 1.001, max(2, round(count / speed)))
    low = at.astype(int)
    share = (at - low).astype(np.float32)
    stretched = [part[..., low] * (1 - share) + part[..., low + 1] * share for part in parts[:-1]]
    # Pitch is not mixed with the zero of a neighbouring unvoiced frame.
    return [*stretched, parts[-1][np.round(at).astype(int)]]


def _warp_log(spectrum: Floats, factor: float) -> Floats:
    """Stretch a log spectrum [bins, frames] along frequency by ``factor`` (formant shift)."""
    if abs(factor - 1) < 1e-3:
        return spectrum
    bins = spectrum.shape[0]
    at = np.minimum(np.arange(bins) / factor, bins - 1.001)
    low = at.astype(int)
    part = (at - low)[:, None].astype(np.float32)
    return spectrum[low] * (1 - part) + spectrum[low + 1] * part


def _gain_curve(harmonic: Floats, free: Floats, voiced: Floats, prosody: Prosody) -> Floats:
    """Natural-log gain per frame that widens or narrows loudness differences; float32 [f]."""
    level = 0.5 * np.log(
        np.exp(2 * np.minimum(harmonic, 7)).mean(0) + np.exp(2 * np.minimum(free, 7)).mean(0) + 1e-9
    )
    if not voiced.any():
        return np.zeros_like(level)
    swing = np.clip(level - np.median(level[voiced]), -2.0, 1.5)
    return ((prosody.dynamics - 1) * swing).astype(np.float32)


def _tilt_curve(bins: int, db_per_octave: float) -> Floats:
    """Natural-log gain per bin for a spectral tilt around 700 Hz; float32 [bins]."""
    frequency = np.maximum(np.arange(bins) * (_MODEL_RATE / 2 / (bins - 1)), 100)
    octaves = np.clip(np.log2(frequency / 700), -2.5, 2.6)
    return (db_per_octave * octaves * np.log(10) / 20).astype(np.float32)


def _synthesise(
    harmonic, phase, noise, curve, breath: float, creak: float, rng: np.random.Generator
) -> Floats:
    """Make the waveform at the model's rate from log spectra and a pitch curve."""
    from hibari import dsp

    frames = harmonic.shape[1]
    pulses = dsp.pulses(curve)
    if creak > 0.05:
        pulses = _creak(pulses, curve, creak, rng)
    spectrum = dsp.stft(pulses, frames) * np.exp(
        np.minimum(harmonic, 7.0) + 1j * np.pi * np.tanh(phase)
    ).astype(np.complex64)
    bins = harmonic.shape[0]
    if breath > 0:
        rise = (
            np.log(10)
            / 20
            * np.interp(np.arange(bins), [0, 60, 150, bins], [-34.0, -22.0, -10.0, -6.0])[:, None]
        )
        aspiration = harmonic + rise + np.log(breath)
        noise = np.logaddexp(noise, np.where(curve > 0, aspiration, -60.0))
    chance = rng.standard_normal((bins, 2 * frames), dtype=np.float32).view(np.complex64) * np.float32(
        np.sqrt(0.5)
    )
    spectrum += np.exp(np.minimum(noise, 7.0)).astype(np.float32) * chance
    return dsp.ola(np.ascontiguousarray(spectrum.astype(np.complex64)))


def _creak(pulses: Floats, curve: Floats, depth: float, rng: np.random.Generator) -> Floats:
    """Weaken every other glottal pulse irregularly, as in creaky voice."""
    per_sample = np.repeat(curve, len(pulses) // len(curve))[: len(pulses)]
    cycle = np.floor(np.cumsum(per_sample / _MODEL_RATE)).astype(int)
    strength = 1 - depth * np.where(np.arange(cycle[-1] + 2) % 2, rng.uniform(0.5, 1.0, cycle[-1] + 2), 0)
    return (pulses * strength[cycle]).astype(np.float32)


def _to_rate(samples: Floats) -> Floats:
    """Resample 24 kHz to 16 kHz through the spectrum (band-limited)."""
    block = 3000
    padded = np.pad(samples, (0, -len(samples) % block))
    spectrum = np.fft.rfft(padded)[: len(padded) // 3 + 1]
    return (np.fft.irfft(spectrum, len(padded) * 2 // 3) * (2 / 3))[: len(samples) * 2 // 3].astype(
        np.float32
    )


def _soft_clip(samples: Floats) -> Floats:
    """Keep loud voices below full scale without hard corners."""
    return np.where(
        np.abs(samples) < 0.6,
        samples,
        np.sign(samples) * (0.6 + 0.35 * np.tanh((np.abs(samples) - 0.6) / 0.35)),
    )


def _envelope(harmonic: Floats, free: Floats) -> Floats:
    """Mouth opening per frame from first-formant energy, 0 to 1, smoothed over 60 ms."""
    low = np.exp(2 * np.minimum(harmonic[14:60], 7)).mean(0)
    level = np.sqrt(low)
    level = level / (np.quantile(level, 0.97) + 1e-9)
    kernel = np.hanning(7)[1:-1]
    return np.clip(np.convolve(level, kernel / kernel.sum(), "same"), 0, 1).astype(np.float32)

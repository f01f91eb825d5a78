"""How a generated person sounds: one neural voice turned into many speakers and seven emotions.

The speech model of package ``hibari-tts`` (Apache-2.0) predicts, per 12.5 ms frame, a pitch value, a
harmonic and a noise spectrum, from which its own DSP makes the waveform. Prosody and speaker are changed
*between* the two: the pitch curve is replaced, spectra are warped along frequency (formants), tilted
and made breathy. There is no vocoder loss, and the true pitch is known.

The emotion profiles follow Scherer (2003, Speech Communication 40, table 3) and Banse and Scherer
(1996): anger loud, fast, wide, with energy at high frequencies; sadness slow, low, quiet, flat;
happiness high, wide, lively; fear high, fast, trembling; surprise high with a rise at the end; disgust
low, slow, creaking.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from emollama_ros.errors import ConfigError, InputError
from training.synthesis.assets import Floats, find_package
from training.synthesis.people import Look, person_rng

#: Sampling rate of what this module returns, Hz.
RATE = 16_000
_MODEL_RATE = 24_000
_FRAME_S = 0.0125
#: Rate of ``Speech.envelope``, Hz.
ENVELOPE_HZ = 80.0
#: Middle of the speech model's own pitch, Hz.
_MODEL_PITCH = 198.0
#: Vowels and diphthongs of the model's phoneme alphabet.
_VOWELS = frozenset("AIOQWYaeiouæɐɑɒɔəɚɛɜɝɨɪʉʊʌᵊᵻ")


@dataclass(frozen=True)
class Speaker:
    """What is constant about a voice.

    Attributes:
        pitch_hz: Usual middle pitch.
        formant: Vocal-tract scale relative to the model's woman; above 1 is a shorter tract.
        rate: Usual speaking rate relative to the model's.
        breath: Usual breathiness, 0 to 1.
        tilt: Usual spectral tilt in dB per octave relative to the model's.
        liveliness: Usual pitch range relative to the model's.
    """

    pitch_hz: float
    formant: float
    rate: float
    breath: float
    tilt: float
    liveliness: float


@dataclass(frozen=True)
class Prosody:
    """How something is said, relative to the speaker's usual way.

    Attributes:
        pitch_st: Middle pitch, semitones.
        range: Factor on the pitch excursions.
        slope_st: Change of pitch from the beginning to the end of the sentence, semitones.
        end_st: Extra rise (or fall) over the last 0.4 s, semitones.
        rate: Factor on the speaking rate.
        level_db: Loudness, dB.
        tilt: Spectral tilt, dB per octave; positive is sharper and tenser.
        dynamics: Factor on the loudness differences inside the sentence.
        tremor_st: Depth of a 5 to 8 Hz trembling of the pitch, semitones.
        jitter: Irregularity of the pitch from frame to frame, semitones.
        breath: Added breathiness, 0 to 1.
        creak: Depth of creaking (every other pulse weakened, low pitch), 0 to 1.
        formant: Factor on the formants (spread or rounded lips).
    """

    pitch_st: float = 0.0
    range: float = 1.0
    slope_st: float = 0.0
    end_st: float = 0.0
    rate: float = 1.0
    level_db: float = 0.0
    tilt: float = 0.0
    dynamics: float = 1.0
    tremor_st: float = 0.0
    jitter: float = 0.0
    breath: float = 0.0
    creak: float = 0.0
    formant: float = 1.0


#: How each label is spoken at full strength, by variant.
PROFILES: Mapping[str, tuple[Prosody, ...]] = {
    "neutral": (Prosody(), Prosody(range=0.9), Prosody(rate=1.03, range=1.05)),
    "happy": (
        Prosody(
            pitch_st=4.0, range=1.75, rate=1.08, level_db=4, tilt=1.0, dynamics=1.15, formant=1.04, end_st=1.0
        ),
        Prosody(pitch_st=3.0, range=1.5, rate=1.15, level_db=3, tilt=0.8, formant=1.05, slope_st=1.5),
    ),
    "sad": (
        Prosody(
            pitch_st=-2.0,
            range=0.45,
            slope_st=-2.0,
            rate=0.74,
            level_db=-8,
            tilt=-2.2,
            breath=0.45,
            dynamics=0.8,
        ),
        Prosody(
            pitch_st=-0.5,
            range=0.5,
            slope_st=-2.5,
            rate=0.8,
            level_db=-6,
            tilt=-1.6,
            breath=0.6,
            tremor_st=0.25,
        ),
    ),
    "angry": (
        Prosody(
            pitch_st=3.0,
            range=1.4,
            rate=1.16,
            level_db=9,
            tilt=2.6,
            dynamics=1.35,
            jitter=0.25,
            slope_st=-1.0,
        ),
        Prosody(
            pitch_st=0.5, range=1.1, rate=1.05, level_db=8, tilt=3.0, dynamics=1.5, jitter=0.3, slope_st=-2.0
        ),
    ),
    "surprised": (
        Prosody(pitch_st=5.0, range=1.8, rate=1.0, level_db=4, tilt=0.6, end_st=7.0, slope_st=2.0),
        Prosody(pitch_st=6.0, range=2.0, rate=0.95, level_db=4, tilt=0.4, end_st=5.0, breath=0.2),
    ),
    "scared": (
        Prosody(
            pitch_st=5.5,
            range=0.65,
            rate=1.25,
            level_db=0,
            tremor_st=0.8,
            jitter=0.3,
            breath=0.4,
            slope_st=1.0,
        ),
        Prosody(
            pitch_st=4.5, range=0.6, rate=1.15, level_db=-4, tremor_st=1.0, jitter=0.35, breath=0.7, tilt=-0.8
        ),
    ),
    "disgusted": (
        Prosody(
            pitch_st=-3.0, range=0.8, rate=0.8, level_db=-1, creak=0.7, tilt=0.4, slope_st=-3.0, formant=0.97
        ),
        Prosody(
            pitch_st=-2.0, range=1.1, rate=0.84, level_db=1, creak=0.5, tilt=0.8, slope_st=-4.0, formant=1.04
        ),
    ),
}


@dataclass(frozen=True)
class Speech:
    """A spoken sentence.

    Attributes:
        samples: float32 [n] at ``RATE``, about -26 dBFS for a usual voice at usual distance.
        envelope: Mouth opening implied by the sound, float32 [frames at 80 Hz], 0 to 1.
        facts: The true prosody: pitch, range, rate, level and so on; see ``prosody_facts``.
    """

    samples: Floats
    envelope: Floats
    facts: Mapping[str, float]


def make_speaker(person_id: int, look: Look) -> Speaker:
    """Draw the voice of a person; it fits the person's sex and age.

    Args:
        person_id: The person's number; the same number always has the same voice.
        look: For gender and age.
    """
    rng = person_rng(person_id, "voice")
    child = max(0.0, 1 - look.age / 0.33)
    old = max(0.0, (look.age - 0.6) / 0.4)
    pitch = 205.0 * (112.0 / 205.0) ** look.gender
    pitch *= (280.0 / pitch) ** (0.9 * child) * 2 ** (rng.normal(0, 1.9) / 12)
    formant = (1 - 0.15 * look.gender) * (1.16**child) * rng.normal(1, 0.035)
    return Speaker(
        pitch_hz=float(np.clip(pitch, 80, 320)),
        formant=float(np.clip(formant, 0.78, 1.25)),
        rate=float(np.clip(rng.normal(1.0 - 0.08 * old, 0.07), 0.8, 1.2)),
        breath=float(np.clip(rng.normal(0.1 + 0.1 * old, 0.1), 0, 0.5)),
        tilt=float(np.clip(rng.normal(0, 0.8), -2, 2)),
        liveliness=float(np.clip(rng.normal(0.95, 0.15), 0.6, 1.3)),
    )


def draw_prosody(label: str, rng: np.random.Generator, intensity: float) -> Prosody:
    """Draw how ``label`` is spoken at ``intensity`` (0 to 1), with personal variation.

    Raises:
        ConfigError: No profile for this label.
    """
    if label not in PROFILES:
        raise ConfigError(f"no voice profile for label {label!r}; known: {', '.join(PROFILES)}")
    full = PROFILES[label][rng.integers(len(PROFILES[label]))]
    usual = Prosody()
    values = {}
    for field in fields(Prosody):
        rest, apex = getattr(usual, field.name), getattr(full, field.name)
        values[field.name] = rest + (apex - rest) * intensity * rng.uniform(0.75, 1.25)
    drawn = Prosody(**values)
    return replace(
        drawn,
        pitch_st=drawn.pitch_st + rng.normal(0, 0.6),
        range=max(0.2, drawn.range * rng.normal(1, 0.1)),
        rate=float(np.clip(drawn.rate * rng.normal(1, 0.05), 0.6, 1.5)),
        level_db=drawn.level_db + rng.normal(0, 1.5),
        tilt=drawn.tilt + rng.normal(0, 0.4),
    )


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
    ids, syllables = _phoneme_ids(text)
    speed = float(np.clip(speaker.rate * prosody.rate, 0.5, 1.8))
    feeds = {"ids": np.array([ids], np.int64), "speed": np.ones(1, np.float32)}
    harmonic, phase, noise, free, _, pitch = (part[0] for part in _model().sess.run(None, feeds))
    harmonic, phase, noise, free, pitch = _stretch_time((harmonic, phase, noise, free, pitch), speed)
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
    samples *= level / (_active_rms(samples) + 1e-9)
    samples = _soft_clip(samples)
    facts = prosody_facts(samples, curve, voiced, syllables)
    return Speech(samples.astype(np.float32), _envelope(harmonic, free), facts)


def pitch_curve(
    pitch: Floats, speaker: Speaker, prosody: Prosody, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Turn the model's pitch curve into the speaker's in this prosody.

    Returns:
        Pitch per frame in Hz (0 where unvoiced), float32 [f], and the voiced mask, bool [f].
    """
    voiced = pitch > 55
    semitones = np.where(voiced, 12 * np.log2(np.maximum(pitch, 55) / _MODEL_PITCH), 0)
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


def _active_rms(samples: Floats) -> float:
    """RMS of the frames that carry speech."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    power = (frames**2).mean(1)
    return float(np.sqrt(power[power > 0.05 * power.max()].mean())) if len(power) else 0.0


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


def prosody_facts(samples: Floats, curve: Floats, voiced: Floats, syllables: int) -> dict[str, float]:
    """Return the truth about how something was said.

    Keys: ``pitch_hz`` (median), ``pitch_range_st`` (5th to 95th percentile), ``pitch_end_st`` (last 0.3 s of
    voice against the median), ``rate_hz`` (syllables per second), ``voiced`` (share), ``level_dbfs``.
    """
    heard = curve[voiced]
    if not len(heard):
        heard = np.array([1.0], np.float32)
    median = float(np.median(heard))
    low, high = np.percentile(heard, [5, 95])
    return {
        "pitch_hz": round(median, 1),
        "pitch_range_st": round(float(12 * np.log2(high / low)), 2),
        "pitch_end_st": round(float(12 * np.log2(np.median(heard[-24:]) / median)), 2),
        "rate_hz": round(syllables / max(len(curve) * _FRAME_S, 0.1), 2),
        "voiced": round(float(voiced.mean()), 3),
        "level_dbfs": round(float(20 * np.log10(_active_rms(samples) + 1e-9)), 1),
    }


@dataclass(frozen=True)
class Room:
    """Where the microphone hears the voice.

    Attributes:
        reverb_s: Reverberation time (RT60) in seconds; 0 is none.
        wet: Share of reverberated sound, 0 to 1.
        snr_db: Level of the speech over the background noise.
        noise_slope: Spectral slope of the noise, 0 white, 1 pink, 2 brown.
        gain_db: Microphone gain.
    """

    reverb_s: float = 0.0
    wet: float = 0.0
    snr_db: float = 60.0
    noise_slope: float = 1.0
    gain_db: float = 0.0


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a room: mostly quiet and dry, sometimes noisy and live."""
    return Room(
        reverb_s=float(rng.uniform(0.1, 0.6)),
        wet=float(rng.beta(1, 3) * 0.5),
        snr_db=float(rng.uniform(12, 45)),
        noise_slope=float(rng.uniform(0.3, 2.0)),
        gain_db=float(rng.normal(0, 2.5)),
    )


def place_in_room(samples: Floats, room: Room, rng: np.random.Generator) -> Floats:
    """Return ``samples`` as the microphone of ``room`` hears them, float32 [n]."""
    wet = samples
    if room.wet > 0.01 and room.reverb_s > 0.02:
        length = int(room.reverb_s * RATE)
        decay = rng.standard_normal(length).astype(np.float32) * 10 ** (
            -3 * np.arange(length, dtype=np.float32) / length
        )
        decay /= np.linalg.norm(decay) + 1e-9
        size = 1 << int(len(samples) + length - 1).bit_length()
        wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(decay, size), size)[: len(samples)]
    heard = (1 - room.wet) * samples + room.wet * wet
    level = 10 ** ((-26 - room.snr_db) / 20)
    heard = heard + level * coloured_noise(len(samples), room.noise_slope, rng)
    return np.clip(heard * 10 ** (room.gain_db / 20), -1, 1).astype(np.float32)


def coloured_noise(count: int, slope: float, rng: np.random.Generator) -> Floats:
    """Return noise of unit RMS whose power falls as frequency to the power ``-slope``."""
    size = 1 << max(4, int(count - 1).bit_length())
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.arange(len(spectrum)) * RATE / size, 60)
    noise = np.fft.irfft(spectrum * frequency ** (-slope / 2), size)[:count]
    return (noise / (noise.std() + 1e-12)).astype(np.float32)

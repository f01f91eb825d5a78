"""How something was said: pitch, loudness, rhythm and tone of a piece of speech, in NumPy.

Methods, each simplified to what four seconds in a few milliseconds allow:
    pitch: autocorrelation of windowed frames divided by that of the window (Boersma 1993, "Accurate
        short-term analysis of the fundamental frequency"), in two passes, the second inside a range taken
        from the quartiles of the first (De Looze and Hirst 2008), which removes most octave errors;
    syllables: peaks of intensity in voiced frames with a dip between them (De Jong and Wempe 2009);
    sharpness: energy of 1..4 kHz against 0.1..1 kHz, the alpha ratio of eGeMAPS (Eyben et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: Rate of the samples taken, and of the analysis after halving it.
RATE = 16_000
_HALF_RATE = RATE // 2
_FRAME, _HOP = 320, 160  # 40 ms every 20 ms
HOP_S = _HOP / _HALF_RATE
_FFT = 512
_LAGS = (_HALF_RATE // 500, _HALF_RATE // 60)  # 500 .. 60 Hz
#: Autocorrelation from which a frame is voiced; white noise stays below 0.5.
_VOICED_FROM = 0.55
#: Preference for higher candidates, per octave: without it a pulse train fits its own multiples as well.
_OCTAVE_COST = 0.03
_MIN_RUN = 3
#: Level that nothing spoken near a microphone falls below, dB of full scale.
SILENCE_DBFS = -60.0
#: Voiced speech needed before anything is said about a voice, s.
MIN_VOICED_S = 0.3
#: A silence shorter than this belongs to a consonant, s.
_PAUSE_S = 0.16
_DIP_DB = 2.0


@dataclass(frozen=True)
class Prosody:
    """What was measured in one piece of sound. Measures of voice are ``None`` without enough of it.

    Attributes:
        level_dbfs: Level of the loudest twentieth of the frames, dB of full scale, at least -120.
        voiced: Share of frames that are voiced, 0..1.
        pitch_hz: Median fundamental frequency.
        pitch_range: From the 10th to the 90th percentile of the fundamental frequency, semitones.
        pitch_slope: Of the line through the fundamental frequency over time, semitones per second.
        unsteadiness: Median change of pitch from one 20 ms frame to the next, semitones.
        loudness_dbfs: Mean level of voiced frames.
        loudness_spread: Standard deviation of the level of voiced frames, dB.
        rate: Syllables per second of speech, pauses left out.
        pauses: Share of the time between first and last sound that is silent, 0..1.
        sharpness: Energy above 1 kHz against that below, in voiced frames, dB.
    """

    level_dbfs: float
    voiced: float
    pitch_hz: float | None = None
    pitch_range: float | None = None
    pitch_slope: float | None = None
    unsteadiness: float | None = None
    loudness_dbfs: float | None = None
    loudness_spread: float | None = None
    rate: float | None = None
    pauses: float | None = None
    sharpness: float | None = None


def analyse(samples: Floats) -> Prosody:
    """Measure a piece of sound.

    Args:
        samples: float32 (n,), mono, 16 kHz, full scale 1; any length, values that are not finite count as 0.
    """
    frames = _frames(samples)
    if not len(frames):
        return Prosody(level_dbfs=-120.0, voiced=0.0)
    level = 10 * np.log10(np.maximum(np.square(frames).mean(axis=1), 1e-12))
    active = _active(level)
    power = np.square(np.abs(np.fft.rfft(frames * _window(), _FFT))).astype(np.float32)
    hertz, voiced = _track(power, active)
    loudest = float(np.percentile(level, 95))
    share = float(voiced.mean())
    if voiced.sum() * HOP_S < MIN_VOICED_S:
        return Prosody(loudest, share)
    pitch = 12 * np.log2(hertz[voiced])
    low, middle, high = np.percentile(pitch, [10, 50, 90])
    times = np.flatnonzero(voiced) * HOP_S
    return Prosody(
        level_dbfs=loudest,
        voiced=share,
        pitch_hz=float(2 ** (middle / 12)),
        pitch_range=float(high - low),
        pitch_slope=float(np.polyfit(times, pitch, 1)[0]),
        unsteadiness=_unsteadiness(pitch, voiced),
        loudness_dbfs=float(level[voiced].mean()),
        loudness_spread=float(level[voiced].std()),
        rate=_rate(level, voiced, active),
        pauses=_pauses(active),
        sharpness=_sharpness(power[voiced]),
    )


def pitch_curve(samples: Floats) -> tuple[Floats, Floats]:
    """Fundamental frequency over time, as ``analyse`` finds it; for figures.

    Args:
        samples: As there.

    Returns:
        Middles of the frames in seconds, and the frequency in Hz, NaN where nothing is voiced; both (n,).
    """
    frames = _frames(samples)
    times = (np.arange(len(frames)) * HOP_S + _FRAME / _HALF_RATE / 2).astype(np.float32)
    if not len(frames):
        return times, times
    level = 10 * np.log10(np.maximum(np.square(frames).mean(axis=1), 1e-12))
    power = np.square(np.abs(np.fft.rfft(frames * _window(), _FFT))).astype(np.float32)
    hertz, voiced = _track(power, _active(level))
    return times, np.where(voiced, hertz, np.nan).astype(np.float32)


def _frames(samples: Floats) -> Floats:
    """Cut into overlapping frames (n, 320) at 8 kHz, each without its mean."""
    clean = np.nan_to_num(np.asarray(samples, dtype=np.float32), posinf=0.0, neginf=0.0)
    half = clean[: len(clean) // 2 * 2].reshape(-1, 2).mean(axis=1)
    if len(half) < _FRAME:
        return np.zeros((0, _FRAME), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(half, _FRAME)[::_HOP]
    return frames - frames.mean(axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _window() -> Floats:
    return np.hanning(_FRAME + 2)[1:-1].astype(np.float32)


@lru_cache(maxsize=1)
def _window_correlation() -> Floats:
    power = np.square(np.abs(np.fft.rfft(_window(), _FFT)))
    correlation = np.fft.irfft(power)[: _LAGS[1] + 2]
    return (correlation / correlation[0]).astype(np.float32)


def _active(level: Floats) -> Bools:
    """Whether each frame is louder than the background."""
    quiet, loud = np.percentile(level, [5, 95])
    floor = max(SILENCE_DBFS, loud - 25)
    if loud - quiet > 12:
        floor = max(floor, quiet + 6)
    return np.asarray(level > floor)


def _track(power: Floats, active: Bools) -> tuple[Floats, Bools]:
    """Fundamental frequency (n,) in Hz and whether each frame is voiced, from power spectra (n, bins)."""
    correlation = np.fft.irfft(power)[:, : _LAGS[1] + 2].astype(np.float32)
    correlation /= np.maximum(correlation[:, :1], 1e-9)
    correlation /= _window_correlation()
    hertz, voiced = _peaks(correlation, active, *_LAGS)
    if not voiced.any():
        return hertz, voiced
    quarter, three_quarters = np.percentile(hertz[voiced], [25, 75])
    shortest = max(_LAGS[0], int(_HALF_RATE / (2.0 * three_quarters)))
    longest = min(_LAGS[1], int(_HALF_RATE / (0.6 * quarter)) + 1)
    hertz, voiced = _peaks(correlation, active, shortest, longest)
    return hertz, _long_runs(voiced)


def _peaks(correlation: Floats, active: Bools, shortest: int, longest: int) -> tuple[Floats, Bools]:
    """Best lag of each frame between two lags, as frequency, and whether it makes the frame voiced."""
    before, here, after = (correlation[:, shortest + k : longest + 1 + k] for k in (-1, 0, 1))
    cost = _OCTAVE_COST * np.log2(np.arange(shortest, longest + 1, dtype=np.float32) / shortest)
    score = np.where((here >= before) & (here >= after), here - cost, -1.0)
    best = score.argmax(axis=1)
    rows = np.arange(len(correlation))
    left, top, right = before[rows, best], here[rows, best], after[rows, best]
    bend = left - 2 * top + right
    offset = np.where(np.abs(bend) > 1e-9, 0.5 * (left - right) / np.where(bend == 0, 1, bend), 0)
    lag = shortest + best + np.clip(offset, -0.5, 0.5)
    # Above 1 only by dividing by a small number: not a correlation, but the edge of the window.
    voiced = active & (score[rows, best] > 0) & (top > _VOICED_FROM) & (top < 1.3)
    return (_HALF_RATE / lag).astype(np.float32), voiced


def _runs(flags: Bools) -> list[tuple[int, int]]:
    """Return (begin, end) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return list(zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True))


def _long_runs(flags: Bools) -> Bools:
    kept = np.zeros_like(flags)
    for begin, end in _runs(flags):
        if end - begin >= _MIN_RUN:
            kept[begin:end] = True
    return kept


def _unsteadiness(pitch: Floats, voiced: Bools) -> float:
    adjacent = np.diff(np.flatnonzero(voiced)) == 1
    return float(np.median(np.abs(np.diff(pitch))[adjacent]))


def _rate(level: Floats, voiced: Bools, active: Bools) -> float:
    """Syllables per second of speech: voiced intensity peaks, each followed by a dip."""
    smooth = np.convolve(np.pad(level, 1, mode="edge"), np.array([0.25, 0.5, 0.25], np.float32), "valid")
    count, top, bottom, climbing = 0, -np.inf, np.inf, True
    for value, has_voice in zip(smooth.tolist(), voiced.tolist(), strict=True):
        if climbing:
            top = max(top, value if has_voice else -np.inf)
            if value < top - _DIP_DB:
                count, climbing, bottom = count + 1, False, value
        else:
            bottom = min(bottom, value)
            if has_voice and value > bottom + _DIP_DB:
                climbing, top = True, value
    count += climbing and top > -np.inf
    return count / _speech_s(active)


def _speech_s(active: Bools) -> float:
    """Seconds from first to last sound, pauses left out; at least one hop."""
    begin, end = _extent(active)
    silent = sum(b - a for a, b in _gaps(active))
    return max(1, end - begin - silent) * HOP_S


def _pauses(active: Bools) -> float:
    begin, end = _extent(active)
    return sum(b - a for a, b in _gaps(active)) / max(1, end - begin)


def _extent(active: Bools) -> tuple[int, int]:
    where = np.flatnonzero(active)
    return (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)


def _gaps(active: Bools) -> list[tuple[int, int]]:
    """Silences between first and last sound that are long enough to be pauses."""
    begin, end = _extent(active)
    return [(a + begin, b + begin) for a, b in _runs(~active[begin:end]) if (b - a) * HOP_S >= _PAUSE_S]


def _sharpness(power: Floats) -> float:
    per_bin = _FFT / _HALF_RATE
    low, middle = round(100 * per_bin), round(1000 * per_bin)
    below, above = power[:, low:middle].sum(), power[:, middle:].sum()
    return float(10 * np.log10(max(float(above), 1e-12) / max(float(below), 1e-12)))

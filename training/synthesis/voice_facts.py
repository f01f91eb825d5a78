"""What a voice did, measured on the sound that was made and on the pitch curve that it was made from."""

from __future__ import annotations

import numpy as np

from training.synthesis.assets import Floats

#: Samples per second, and of one pitch value.
RATE, FRAME = 16_000, 200
#: A pause is at least this long, and this far below the speech around it.
PAUSE_S, PAUSE_DB = 0.2, -26.0
_BLOCK = 160


def active_rms(samples: Floats) -> float:
    """RMS of the 20 ms blocks that carry speech; 0 for none."""
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    power = (blocks**2).mean(1)
    return float(np.sqrt(power[power >= 0.05 * power.max()].mean())) if len(power) else 0.0


def dbfs(rms: float) -> float:
    """Level in dB relative to full scale."""
    return 20 * float(np.log10(rms + 1e-9))


def pauses(samples: Floats) -> tuple[int, float, float]:
    """Return number of pauses, their length together, and the time from first to last sound, seconds.

    Args:
        samples: Speech without the room, float32 [n] at ``RATE``.
    """
    blocks = samples[: len(samples) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    rms = np.sqrt((blocks**2).mean(1))
    loud = np.flatnonzero(rms > active_rms(samples) * 10 ** (PAUSE_DB / 20))
    if not len(loud):
        return 0, 0.0, 0.0
    gaps = (np.diff(loud) - 1) * _BLOCK / RATE
    long = gaps[gaps >= PAUSE_S]
    return len(long), float(long.sum()), float((loud[-1] - loud[0] + 1) * _BLOCK / RATE)


def prosody_facts(
    samples: Floats, curve: Floats, syllables: int, kept: np.ndarray | None = None
) -> dict[str, float]:
    """Return the truth about how something was said.

    Args:
        samples: Speech without the room, float32 [n] at ``RATE``.
        curve: Pitch in Hz, 0 where unvoiced, one value for ``FRAME`` samples, [f].
        syllables: In the words.
        kept: Which pitch values belong to sound that is in the clip, bool [f]; all unless given.

    Returns:
        ``pitch_hz`` (median; 0 where nothing voiced was kept), ``pitch_range_st`` (5th to 95th percentile),
        ``pitch_end_st`` (last 0.3 s of voice against the median), ``rate_hz`` (syllables per second between
        first and last sound, pauses left out), ``pauses`` (of at least 0.2 s), ``pause_s`` (together),
        ``voiced`` (share), ``voiced_s`` (heard), ``level_dbfs`` (before the room).
    """
    voiced = curve > 0
    heard = voiced if kept is None else voiced & kept
    count, silent_s, spoken_s = pauses(samples)
    return {
        **_pitch_facts(curve[heard]),
        "rate_hz": round(syllables / max(spoken_s - silent_s, 0.1), 2),
        "pauses": count,
        "pause_s": round(silent_s, 2),
        "voiced": round(float(voiced.mean()), 3),
        "voiced_s": round(float(heard.sum()) * FRAME / RATE, 2),
        "level_dbfs": round(dbfs(active_rms(samples)), 1),
    }


def _pitch_facts(heard: Floats) -> dict[str, float]:
    if not len(heard):
        return {"pitch_hz": 0.0, "pitch_range_st": 0.0, "pitch_end_st": 0.0}
    median = float(np.median(heard))
    low, high = np.percentile(heard, [5, 95])
    return {
        "pitch_hz": round(median, 1),
        "pitch_range_st": round(float(12 * np.log2(high / low)), 2),
        "pitch_end_st": round(float(12 * np.log2(np.median(heard[-24:]) / median)), 2),
    }

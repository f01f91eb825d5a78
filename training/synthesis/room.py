"""Where the microphone hears the voice: reverberation, noise, gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthesis.assets import Floats
from training.synthesis.voice_facts import RATE


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

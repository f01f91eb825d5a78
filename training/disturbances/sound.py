"""What a robot's microphone makes of a voice: noise, other talkers, rooms, responses, levels, lost packets.

Every function takes samples (n,) at 16 kHz within -1 to 1, a strength from 0 (untouched) to 1, and a
generator that it draws everything else from, once for the whole clip. What a strength means stands with each,
in units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal
from scipy.interpolate import PchipInterpolator

from emollama_ros.errors import InputError
from training.disturbances.checks import Samples, Sound, draw, last_good, lost, of_sound
from training.mmeverse.decoding import RATE

#: Level that noise is set against where nothing is said: -60 dB of full scale.
FLOOR = 1e-3
#: Factors that `speed` takes.
SLOWEST, FASTEST = 0.85, 1.15
#: Samples of a packet of sound, 20 ms, as voice over IP sends it.
_PACKET = RATE // 50
#: Samples of a step of slowly changing curves, 1 ms.
_STEP = RATE // 1000


@of_sound
def noise(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Noise between white and brown, mains hum in a third of the draws.

    The signal-to-noise ratio is -40 log10(strength) dB: 40 at 0.1, 19 at a third, 7 at two thirds, 0 at 1.
    The signal is the level while somebody speaks, see `speech_level`.
    """
    made = coloured(len(samples), float(rng.uniform(0, 2)), rng)
    if rng.random() < 1 / 3:
        share = rng.uniform(0.2, 0.9)
        made = np.sqrt(1 - share) * made + np.sqrt(share) * _hum(len(samples), rng)
    return samples + speech_level(samples) * strength**2 * made


@of_sound
def babble(
    samples: Samples, strength: float, rng: np.random.Generator, others: Sequence[Samples] = ()
) -> Samples:
    """One to three other talkers at a signal-to-noise ratio of -40 log10(strength) dB, as with `noise`.

    Args:
        samples: The voice.
        strength: 0 to 1.
        rng: Draws talkers, their levels (6 dB apart at most) and where they begin.
        others: Other clips to take talkers from; left out, sounds with the pitch, formants, syllables and
            pauses of speech are made, in no language.
    """
    talkers = [_talker(len(samples), others, rng) for _ in range(rng.integers(1, 4))]
    mixed = np.sum([_unit(talker) * 10 ** (rng.uniform(-6, 0) / 20) for talker in talkers], axis=0)
    return samples + speech_level(samples) * strength**2 * _unit(mixed)


@of_sound
def reverberation(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """A room: direct sound, six early reflections, and a tail of which the treble decays faster.

    RT60 is 0.1 + 0.8 strength seconds, a fifth more or less, never beyond 0.1 to 0.9. The ratio of direct to
    reverberated energy is -6 - 40 log10(strength) dB, 2 dB more or less: 13 at a third, 1 at two thirds,
    -6 at 1. The clip's RMS is kept.
    """
    rt60 = float(np.clip((0.1 + 0.8 * strength) * rng.uniform(0.8, 1.2), 0.1, 0.9))
    amplitude = 2 * strength**2 * 10 ** (rng.uniform(-2, 2) / 20)
    wet = signal.fftconvolve(samples, room_tail(rt60, rng))[: len(samples)]
    return _as_loud_as(samples, samples + amplitude * wet)


@of_sound
def microphone(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Another microphone: a smooth random response, resonances, and limits of its band.

    The response stays within +-12 strength dB from 60 Hz to 8 kHz, with up to two resonances of a tenth to a
    third of an octave. Half of them cut the bass (below 400 strength² Hz, 12 dB an octave), half the treble
    (above 16 000 * 0.17 ** strength Hz: 8.9 kHz at a third, 4.9 at two thirds, 2.7 at 1; 24 dB an octave).
    The clip's RMS is kept.
    """

    def response(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return _equaliser(hertz, strength, rng) * _band(hertz, strength, rng)

    return _as_loud_as(samples, filtered(samples, response))


@of_sound
def level(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Farther or nearer, and moving: 24 strength dB quieter (of three, two) or 12 strength dB louder.

    The change is 70 to 100 % of that, and swings by up to 6 strength dB once in about a second. What is left
    has 16 bits, so a quiet recording loses some; what is beyond full scale is clipped.
    """
    most = -24 if rng.random() < 2 / 3 else 12
    gain_db = most * strength * rng.uniform(0.7, 1)
    swing_db = 6 * strength * _curve(len(samples), 1.0, rng)
    steps = 2.0**15 - 1
    changed = samples * 10 ** ((gain_db + swing_db) / 20)
    return (np.round(changed * steps) / steps).astype(np.float32)


@of_sound
def clipping(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """An overdriven input: everything beyond 20 strength dB below the peak is cut off.

    Both halves of the wave are cut on their own, at 80 to 100 % of these decibels. The clip's RMS is kept.
    """
    peak = np.abs(samples).max()
    low, high = peak * 10 ** (-20 * strength * rng.uniform(0.8, 1, 2) / 20)
    return _as_loud_as(samples, np.clip(samples, -low, high))


@of_sound
def dropouts(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Lost packets of 20 ms: 40 strength % of them, in bursts of 20 to 120 ms on average.

    In half of the draws nothing is heard instead, in the other half the last packet again, 3 dB quieter
    each time, as receivers do.
    """
    burst, repeats = rng.uniform(1, 6), rng.random() < 0.5
    count = -(-len(samples) // _PACKET)
    is_lost = lost(count, 0.4 * strength, burst, rng)
    packets = np.pad(samples, (0, count * _PACKET - len(samples))).reshape(count, _PACKET)
    source = last_good(is_lost)
    instead = packets[source] * (repeats * 0.71 ** (np.arange(count) - source))[:, None]
    # Without a fade of 2 ms each edge would be a click, another disturbance than the one meant.
    there = ndimage.uniform_filter1d(np.repeat(~is_lost, _PACKET).astype(np.float32), RATE // 500)
    return (there * packets.ravel() + (1 - there) * instead.ravel())[: len(samples)]


@of_sound
def codec(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """A coder with too few bits: of a telephone, or of a transform as in MP3 and its like.

    Telephone: treble cut as with `microphone`, then mu-law (ITU-T G.711's curve) of 16 - 12 strength bits.
    Transform: of the 257 bins of each 32 ms, the strongest 10 ** (-1.7 strength) are kept: 27 % at a third,
    7 % at two thirds, 2 % at 1.
    """
    if rng.random() < 0.5:
        narrow = filtered(samples, lambda hertz: _without_treble(hertz, strength))
        return _mu_law(narrow, 16 - 12 * strength)
    return _starved(samples, 10 ** (-1.7 * strength))


#: In the order of the way from mouth to file, which is also the order in which several are applied.
SOUNDS: Mapping[str, Sound] = MappingProxyType(
    {
        "reverberation": reverberation,
        "babble": babble,
        "noise": noise,
        "microphone": microphone,
        "level": level,
        "clipping": clipping,
        "codec": codec,
        "dropouts": dropouts,
    }
)


def random_sound(samples: Samples, rng: np.random.Generator, others: Sequence[Samples] = ()) -> Samples:
    """Augment a clip for training: up to three disturbances of random strength, none with a chance of 0.3.

    Args:
        samples: (n,) at 16 kHz, within -1 to 1.
        rng: Draws everything; the same state gives the same result.
        others: Clips that `babble` may take talkers from.

    Returns:
        As many samples as were given.
    """
    for name, strength in draw(tuple(SOUNDS), rng):
        more = {"others": others} if name == "babble" else {}
        samples = SOUNDS[name](samples, strength, rng, **more)
    return samples


def speed(samples: Samples, factor: float) -> Samples:
    """Play samples faster (> 1) or slower, pitch and formants going along, as if another person spoke.

    For training only: the number of samples changes, to n / factor. From Ko et al., *Audio augmentation for
    speech recognition* (2015).

    Raises:
        InputError: ``factor`` is beyond 0.85 to 1.15.
    """
    if not SLOWEST <= factor <= FASTEST:
        raise InputError(f"speed: expected a factor of {SLOWEST} to {FASTEST}, found {factor}")
    ratio = Fraction(factor).limit_denominator(50)
    if not len(samples):
        return samples.copy()
    made = signal.resample_poly(samples, ratio.denominator, ratio.numerator)
    return np.clip(made, -1, 1).astype(np.float32)


def speech_level(samples: Samples) -> float:
    """RMS while somebody speaks: of those 20 ms that are within 25 dB of the loudest; at least `FLOOR`."""
    count = -(-len(samples) // _PACKET)
    packets = np.pad(samples, (0, count * _PACKET - len(samples))).reshape(count, _PACKET)
    power = (packets**2).mean(1)
    return max(FLOOR, float(np.sqrt(power[power >= power.max(initial=0) * 10**-2.5].mean())))


def coloured(count: int, slope: float, rng: np.random.Generator) -> Samples:
    """Noise (count,) of RMS 1; power falls with frequency ** slope (0 white, 1 pink, 2 brown) above 40 Hz."""
    size = fft.next_fast_len(count, real=True)
    hertz = fft.rfftfreq(size, 1 / RATE)
    parts = rng.standard_normal((2, len(hertz)), np.float32)
    spectrum = (parts[0] + 1j * parts[1]) * np.maximum(hertz, 40).astype(np.float32) ** (-slope / 2)
    return _unit(fft.irfft(spectrum.astype(np.complex64), size)[:count])


def room_tail(rt60: float, rng: np.random.Generator) -> Samples:
    """Response of a room without the direct sound, of energy 1: early reflections and a decaying tail.

    Args:
        rt60: Seconds in which the bass decays by 60 dB, at least 0.1; the treble takes 60 % of them.
        rng: Draws reflections, tail, and the 2 to 20 ms before anything comes back.
    """
    seconds = np.arange(int(rt60 * RATE), dtype=np.float32) / RATE
    spread = rng.standard_normal(len(seconds), np.float32)
    bass = signal.lfilter([0.2], [1, -0.8], spread)
    tail = bass * 10 ** (-3 * seconds / rt60) + (spread - bass) * 10 ** (-5 * seconds / rt60)
    first = int(rng.uniform(0.002, 0.02) * RATE)
    tail[:first] = 0
    places = rng.integers(first, first + int(0.04 * RATE), 6)
    tail[places] += rng.choice([-1, 1], 6) * rng.uniform(1, 4, 6) * 10 ** (-3 * seconds[places] / rt60)
    return (tail / np.linalg.norm(tail)).astype(np.float32)


def filtered(samples: Samples, response: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Samples:
    """Samples through a filter of no delay; ``response`` maps frequencies in Hz to gains."""
    size = fft.next_fast_len(len(samples) + RATE // 10, real=True)
    gains = response(fft.rfftfreq(size, 1 / RATE)).astype(np.float32)
    return fft.irfft(fft.rfft(samples, size) * gains, size)[: len(samples)]


def _hum(count: int, rng: np.random.Generator) -> Samples:
    """Mains of 50 or 60 Hz with eight harmonics, RMS 1."""
    mains = rng.choice([50, 60])
    seconds = np.arange(RATE // 10) / RATE  # whole periods of both
    harmonics = np.arange(1, 9)[:, None]
    weights = rng.uniform(0.2, 1, (8, 1)) / harmonics
    phases = rng.uniform(0, 2 * np.pi, (8, 1))
    period = (weights * np.sin(2 * np.pi * mains * harmonics * seconds + phases)).sum(0)
    return np.resize(_unit(period.astype(np.float32)), count)


def _talker(count: int, others: Sequence[Samples], rng: np.random.Generator) -> Samples:
    """Another voice (count,): a stretch of a clip, from its beginning again at its end, or a made one."""
    if not others:
        return _made_talker(count, rng)
    voice = others[int(rng.integers(len(others)))]
    if not len(voice):
        return np.zeros(count, np.float32)
    start = int(rng.integers(len(voice)))
    return np.take(voice, np.arange(start, start + count), mode="wrap")


def _made_talker(count: int, rng: np.random.Generator) -> Samples:
    """Pulses of a moving pitch and some breath through moving formants, in syllables and pauses."""
    syllables = rng.uniform(3, 6)
    pitch = rng.uniform(90, 250) * 2 ** (0.25 * _curve(count, syllables / 2, rng))
    source = 2 * (np.cumsum(pitch / RATE) % 1) - 1 + 0.1 * rng.standard_normal(count)
    size = fft.next_fast_len(count, real=True)
    spectrum = fft.rfft(source.astype(np.float32), size)
    hertz = fft.rfftfreq(size, 1 / RATE)
    one, other = (fft.irfft(spectrum * _formants(hertz, rng), size)[:count] for _ in range(2))
    mouth = 0.5 + 0.5 * _curve(count, syllables, rng)
    return (mouth * one + (1 - mouth) * other) * _syllables(count, syllables, rng)


def _formants(hertz: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gains of a random vowel with three formants."""
    formants = zip((250, 850, 2300), (850, 2300, 3200), (80, 120, 180), (1, 0.5, 0.25), strict=True)
    gains = sum(
        gain / np.sqrt(1 + ((hertz - rng.uniform(low, high)) / width) ** 2)
        for low, high, width, gain in formants
    )
    return np.asarray(gains, np.float32)


def _syllables(count: int, a_second: float, rng: np.random.Generator) -> Samples:
    """Loudness of syllables, 0 to 1; of seven, one is a pause."""
    number = int(count / RATE * a_second) + 2
    peaks = rng.uniform(0.4, 1, number) * (rng.random(number) > 1 / 7)
    knots = np.stack([rng.uniform(0, 0.15, number), peaks], 1).ravel()
    return _slowly(count, 2 * a_second, knots)


def _curve(count: int, a_second: float, rng: np.random.Generator) -> Samples:
    """A random curve (count,) within -1 to 1, with ``a_second`` corners a second."""
    return _slowly(count, a_second, rng.uniform(-1, 1, int(count / RATE * a_second) + 2))


def _slowly(count: int, a_second: float, knots: NDArray[np.float64]) -> Samples:
    """Knots joined by lines, in steps of 1 ms."""
    places = np.arange(-(-count // _STEP)) * (_STEP / RATE * a_second)
    return np.repeat(np.interp(places, np.arange(len(knots)), knots).astype(np.float32), _STEP)[:count]


def _equaliser(hertz: NDArray[np.float64], strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gains of a smooth response with resonances, within +-12 strength dB."""
    octaves = np.log2(np.maximum(hertz, 1) / 60)
    coarse = np.linspace(0, np.log2(RATE / 2 / 60), 200)
    decibels = PchipInterpolator(np.linspace(coarse[0], coarse[-1], 9), rng.uniform(-12, 12, 9))(coarse)
    for _ in range(rng.integers(3)):
        centre, width = rng.uniform(1, coarse[-1] - 0.5), rng.uniform(0.1, 0.33)
        decibels += rng.uniform(6, 12) * np.exp(-0.5 * ((coarse - centre) / width) ** 2)
    return 10 ** (strength * np.interp(octaves, coarse, decibels.clip(-12, 12)) / 20)


def _band(hertz: NDArray[np.float64], strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gains of the limits of a microphone's band."""
    cuts_bass, cuts_treble = rng.random(2) < 0.5
    gains = np.ones(len(hertz))
    if cuts_bass:
        gains /= np.sqrt(1 + (400 * strength**2 / np.maximum(hertz, 1)) ** 4)
    return gains * _without_treble(hertz, strength) if cuts_treble else gains


def _without_treble(hertz: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    return 1 / np.sqrt(1 + (hertz / (16_000 * 0.17**strength)) ** 8)


def _mu_law(samples: Samples, bits: float) -> Samples:
    """Samples in so many levels, fine ones near 0."""
    peak, mu = max(np.abs(samples).max(), 1e-9), 255.0
    squeezed = np.sign(samples) * np.log1p(mu * np.abs(samples) / peak) / np.log1p(mu)
    steps = 2 ** (bits - 1)
    squeezed = np.round(squeezed * steps) / steps
    return np.sign(squeezed) * peak * np.expm1(np.abs(squeezed) * np.log1p(mu)) / mu


def _starved(samples: Samples, share: float) -> Samples:
    """The strongest bins of each 32 ms alone."""
    size = 512
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    spectrum = signal.stft(padded, RATE, nperseg=size)[2]
    keep = max(1, round(share * len(spectrum)))
    power = np.abs(spectrum)
    least = np.partition(power, -keep, axis=0)[-keep]
    made = signal.istft(np.where(power >= least, spectrum, 0), RATE, nperseg=size)[1]
    return made[: len(samples)]


def _unit(samples: Samples) -> Samples:
    """Scaled to an RMS of 1; silence stays silence."""
    return samples / max(float(np.sqrt(np.mean(samples**2))), 1e-9)


def _as_loud_as(samples: Samples, made: Samples) -> Samples:
    """``made`` with the RMS of ``samples``."""
    return _unit(made) * float(np.sqrt(np.mean(samples**2)))

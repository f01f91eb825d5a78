"""What a microphone hears where nobody speaks: silence, rooms, machines, streets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.mmeverse.decoding import RATE
from training.synthesis.room import Room, coloured_noise, place_in_room

#: Samples of a clip: 4 s.
COUNT = 4 * RATE
#: Partials above this are left out, Hz: they would fold back.
_HIGHEST_HZ = 7600.0

Samples = NDArray[np.float32]
Floats = NDArray[np.floating]


def silence(rng: np.random.Generator) -> Samples:
    """A microphone in a quiet room: the noise of its converter, some mains hum, sometimes a click."""
    sound = coloured_noise(COUNT, float(rng.uniform(0, 1.5)), rng)
    if rng.random() < 0.4:
        sound = sound + rng.uniform(0.2, 1.5) * _mains(rng)
    if rng.random() < 0.2:
        sound[rng.integers(0, COUNT, 3)] += rng.normal(0, 12, 3)
    # Above the level at which the robot says that the microphone is silent, and below it.
    return _quantised(to_level(sound, rng.uniform(-68, -50)) + rng.normal(0, 2e-4) * (rng.random() < 0.3))


def room_noise(rng: np.random.Generator) -> Samples:
    """Air and walls, and now and then something that falls, ticks, rattles, beeps or is typed."""
    sound = coloured_noise(COUNT, float(rng.uniform(0.5, 2.2)), rng) * swell(rng, 0.3)
    for _ in range(rng.integers(0, 4)):
        event = rng.choice(np.array([_thud, _clicks, _rattle, _beeps, _creak], object))
        sound = sound + rng.uniform(1, 12) * event(rng)
    return recorded(sound, rng, (-58, -24))


def hum(rng: np.random.Generator) -> Samples:
    """A machine: mains, a fan, a motor that starts and stops, over some noise."""
    machine = rng.choice(np.array([_mains, _fan, _servo, _engine], object))
    noise = coloured_noise(COUNT, float(rng.uniform(0.3, 2)), rng)
    return recorded(machine(rng) + rng.uniform(0.05, 1) * noise, rng, (-50, -16))


def street(rng: np.random.Generator) -> Samples:
    """Traffic without voices: rumble, cars that pass, wind, rain, horns, birds, steps."""
    sound = coloured_noise(COUNT, float(rng.uniform(1.2, 2.4)), rng) * swell(rng, 0.6)
    makers = np.array([_passing_car, _passing_car, _wind, _rain, _horn, _birds, _steps, _siren], object)
    for maker in rng.choice(makers, int(rng.integers(1, 4)), replace=False):
        sound = sound + rng.uniform(0.3, 1.6) * maker(rng)
    return recorded(sound, rng, (-42, -14))


def recorded(sound: Floats, rng: np.random.Generator, dbfs: tuple[float, float]) -> Samples:
    """Put a sound into a room and through a microphone, at a level drawn from a range."""
    room = Room(
        reverb_s=float(rng.uniform(0.1, 0.8)), wet=float(rng.beta(1, 2)), noise_slope=float(rng.uniform(0, 2))
    )
    heard = place_in_room(to_level(coloured(sound, rng), rng.uniform(*dbfs)), room, rng)
    return _quantised(heard)


def to_level(sound: Floats, dbfs: float) -> Floats:
    """Scale to a root mean square of ``dbfs`` decibels of full scale."""
    return sound * (10 ** (dbfs / 20) / (np.sqrt(np.mean(np.square(sound))) + 1e-12))


def coloured(sound: Floats, rng: np.random.Generator, depth_db: float = 8.0) -> Floats:
    """Pass through a smooth random frequency response, as of another microphone."""
    spectrum = np.fft.rfft(sound)
    knots = rng.uniform(-depth_db, depth_db, 8)
    gain_db = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), knots)
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(sound))


def swell(rng: np.random.Generator, depth: float, knots: int = 6) -> Floats:
    """A slow, positive change of loudness (COUNT,), about 1."""
    steps = np.exp(rng.normal(0, depth, knots))
    return np.interp(np.linspace(0, knots - 1, COUNT), np.arange(knots), steps)


def band(low_hz: float, high_hz: float, rng: np.random.Generator, count: int = COUNT) -> Floats:
    """Noise of one band (count,), unit deviation."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RATE)
    spectrum *= np.exp(-np.square(np.log(np.maximum(hz, 1) / np.sqrt(low_hz * high_hz)))
                       / (2 * (np.log(high_hz / low_hz) / 2) ** 2))  # fmt: skip
    noise = np.fft.irfft(spectrum, count)
    return noise / (noise.std() + 1e-9)


def tone(hz: Floats | float, amplitudes: Floats, rng: np.random.Generator, count: int = COUNT) -> Floats:
    """Harmonics of a frequency that may change from sample to sample, in random phases."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(np.asarray(hz, np.float64), (count,))) / RATE
    sound = np.zeros(count)
    for k, amplitude in enumerate(amplitudes, start=1):
        if k * float(np.max(hz)) > _HIGHEST_HZ:
            break
        sound += amplitude * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    return sound


def pulse(length: int, attack: int = 40) -> Floats:
    """A sound that begins at once and dies away (length,)."""
    return np.minimum(1, np.arange(length) / attack) * np.exp(-6 * np.arange(length) / length)


def place(sound: Floats, at: int, count: int = COUNT) -> Floats:
    """Lay a sound into silence (count,); what lies outside is cut off."""
    placed = np.zeros(count)
    part = sound[: max(0, count - at)]
    placed[at : at + len(part)] = part
    return placed


def _quantised(sound: Floats) -> Samples:
    """As 16-bit samples hold it."""
    return (np.round(np.clip(sound, -1, 1) * 32767) / 32767).astype(np.float32)


def _drift(rng: np.random.Generator, depth: float, knots: int = 8) -> Floats:
    """A slow random walk around 1, for frequencies."""
    steps = 1 + np.cumsum(rng.normal(0, depth, knots)) - 0.0
    return np.interp(np.linspace(0, knots - 1, COUNT), np.arange(knots), steps)


def _mains(rng: np.random.Generator) -> Floats:
    amplitudes = rng.exponential(1, 24) * np.arange(1, 25) ** -rng.uniform(0.3, 1.5)
    return tone(float(rng.choice([50.0, 60.0, 100.0, 120.0])), amplitudes, rng)


def _fan(rng: np.random.Generator) -> Floats:
    blades = tone(rng.uniform(40, 320) * _drift(rng, 0.004), rng.exponential(1, 8) / np.arange(1, 9), rng)
    low = rng.uniform(100, 800)
    return blades * rng.uniform(0.2, 1.5) + band(low, low * rng.uniform(3, 10), rng)


def _servo(rng: np.random.Generator) -> Floats:
    """A joint that speeds up, moves and stops: the robot's own noise."""
    starts = np.sort(rng.uniform(0, 1, int(rng.integers(1, 4)) * 2))
    seconds = np.linspace(0, 1, COUNT)
    speed = sum(
        np.clip(np.minimum(seconds - begin, end - seconds) / 0.05, 0, 1)
        for begin, end in zip(starts[::2], starts[1::2], strict=True)
    )
    amplitudes = rng.exponential(1, 10) * np.arange(1, 11) ** -rng.uniform(0, 1)
    return speed * tone(rng.uniform(80, 900) * (0.3 + 0.7 * speed), amplitudes, rng)


def _engine(rng: np.random.Generator) -> Floats:
    amplitudes = rng.exponential(1, 30) * np.arange(1, 31) ** -rng.uniform(0.5, 1.3)
    shake = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(3, 12) * np.arange(COUNT) / RATE)
    return shake * tone(rng.uniform(22, 110) * _drift(rng, 0.03), amplitudes, rng)


def _thud(rng: np.random.Generator) -> Floats:
    length = int(rng.uniform(0.05, 0.4) * RATE)
    return place(band(60, rng.uniform(200, 900), rng, length) * pulse(length), int(rng.integers(0, COUNT)))


def _clicks(rng: np.random.Generator) -> Floats:
    """A clock that ticks, or keys that are typed."""
    step_s, jitter = rng.uniform(0.12, 1.0), rng.choice([0.0, 0.4])
    times = np.cumsum(step_s * (1 + jitter * rng.uniform(-1, 1, int(4 / step_s))))
    low = rng.uniform(600, 3000)
    one = band(low, 2 * low, rng, 400) * pulse(400, 5)
    return sum((rng.uniform(0.6, 1) * place(one, int(t * RATE)) for t in times if t < 4), np.zeros(COUNT))


def _rattle(rng: np.random.Generator) -> Floats:
    """Dishes, keys, paper: many small impacts close together."""
    hits = np.zeros(COUNT)
    at = rng.normal(rng.uniform(0, 1), 0.08, int(rng.integers(10, 80)))
    hits[(np.clip(at, 0, 0.999) * COUNT).astype(int)] = rng.exponential(1, len(at))
    low = rng.uniform(800, 3500)
    ring = band(low, low * 1.6, rng, 1600) * pulse(1600, 4)
    return np.convolve(hits, ring)[:COUNT]


def _beeps(rng: np.random.Generator) -> Floats:
    length, hz = int(rng.uniform(0.06, 0.4) * RATE), float(rng.uniform(400, 3200))
    one = tone(hz, np.array([1.0, 0, rng.uniform(0, 0.4)]), rng, length) * np.hanning(length)
    step = int(length * rng.uniform(1.2, 4))
    begin = int(rng.integers(0, COUNT // 2))
    return sum((place(one, begin + i * step) for i in range(int(rng.integers(1, 6)))), np.zeros(COUNT))


def _creak(rng: np.random.Generator) -> Floats:
    """A door: a rough tone that glides."""
    length = int(rng.uniform(0.3, 1.2) * RATE)
    begin, end = rng.uniform(60, 420, 2).tolist()
    hz = np.linspace(begin, end, length) * np.exp(np.cumsum(rng.normal(0, 0.002, length)))
    amplitudes = rng.exponential(1, 20) * np.arange(1, 21) ** -0.4
    return place(tone(np.clip(hz, 40, 700), amplitudes, rng, length) * np.hanning(length),
                 int(rng.integers(0, COUNT)))  # fmt: skip


def _passing_car(rng: np.random.Generator) -> Floats:
    time = np.linspace(0, 4, COUNT)
    nearness = 1 / (1 + np.square((time - rng.uniform(-0.5, 4.5)) / rng.uniform(0.3, 1.2)))
    low = rng.uniform(60, 400)
    return nearness * (band(low, low * rng.uniform(4, 12), rng) + 0.5 * _engine(rng))


def _wind(rng: np.random.Generator) -> Floats:
    return coloured_noise(COUNT, float(rng.uniform(1.8, 3)), rng) * swell(rng, 1.0, knots=14)


def _rain(rng: np.random.Generator) -> Floats:
    drops = band(1500, 7000, rng)
    return drops * np.abs(band(200, 2000, rng)) ** rng.uniform(0.2, 1.5)


def _horn(rng: np.random.Generator) -> Floats:
    length, hz = int(rng.uniform(0.2, 1.5) * RATE), rng.uniform(280, 520)
    amplitudes = np.arange(1, 15) ** -rng.uniform(0.3, 1.0)
    both = tone(hz, amplitudes, rng, length) + tone(hz * rng.uniform(1.15, 1.3), amplitudes, rng, length)
    edge = np.clip(np.minimum(np.arange(length), np.arange(length)[::-1]) / 300, 0, 1)
    return place(both * edge, int(rng.integers(0, COUNT)))


def _birds(rng: np.random.Generator) -> Floats:
    base, sound = rng.uniform(1800, 5000), np.zeros(COUNT)
    for _ in range(int(rng.integers(2, 14))):
        length = int(rng.uniform(0.03, 0.25) * RATE)
        sweep = base * (1 + rng.uniform(-0.3, 0.3) * np.linspace(-1, 1, length) ** int(rng.integers(1, 3)))
        chirp = tone(sweep, np.array([1.0, 0.1]), rng, length) * np.hanning(length)
        sound += place(chirp, int(rng.integers(0, COUNT)))
    return sound


def _steps(rng: np.random.Generator) -> Floats:
    step_s = rng.uniform(0.35, 0.7)
    length = int(rng.uniform(0.04, 0.12) * RATE)
    one = band(rng.uniform(80, 300), rng.uniform(900, 4000), rng, length) * pulse(length, 20)
    times = np.arange(rng.uniform(0, 0.5), 4, step_s)
    return sum((3 * rng.uniform(0.5, 1) * place(one, int(t * RATE)) for t in times), np.zeros(COUNT))


def _siren(rng: np.random.Generator) -> Floats:
    time = np.arange(COUNT) / RATE
    shape: Callable[[Floats], Floats] = np.sin if rng.random() < 0.5 else (lambda x: np.sign(np.sin(x)))
    hz = rng.uniform(500, 900) * (1 + 0.22 * shape(2 * np.pi * rng.uniform(0.3, 3) * time))
    return tone(hz, np.array([1.0, 0.4, 0.2, 0.1]), rng) * swell(rng, 0.4)

"""Clips in which nobody is, made by other formulas than those that training takes its own from.

A model that was trained to be unsure about one generator's noise and rooms may only know that generator. So
nothing here shares a line with ``training.nothing``: noises by recursion instead of by spectrum,
music by frequency modulation and plucked strings, pictures by rules and fractals, and two photographs that
come with scikit-learn (a temple and a flower).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter, zoom
from scipy.signal import chirp, lfilter

from training.mmeverse.decoding import FRAME_HZ, RATE

_SAMPLES, _FRAMES, _SIDE = 4 * RATE, int(4 * FRAME_HZ), 224

Samples = NDArray[np.float32]
Frames = NDArray[np.uint8]


def others(repeats: int, seed: int) -> Iterator[tuple[str, Samples, Frames]]:
    """Make clips of every kind; of each kind, every third has something of the other sense beside it.

    Args:
        repeats: Clips of each kind.
        seed: Of everything random.

    Yields:
        Kind, samples (64000,) at 16 kHz or none, frames (16, 224, 224, 3) or none.
    """
    for number, kind in enumerate([*SOUNDS, *PICTURES]):
        for i in range(repeats):
            rng = np.random.default_rng([seed, number, i])
            heard = kind if kind in SOUNDS else str(rng.choice(list(SOUNDS))) if i % 3 == 2 else ""
            seen = kind if kind in PICTURES else str(rng.choice(list(PICTURES))) if i % 3 == 2 else ""
            samples = SOUNDS[heard](rng) if heard else np.zeros(0, np.float32)
            frames = PICTURES[seen](rng) if seen else np.zeros((0, _SIDE, _SIDE, 3), np.uint8)
            yield kind, samples, frames


# --- sound ------------------------------------------------------------------------------------------------


def _digital_silence(rng: np.random.Generator) -> Samples:
    """Zeros with a dither of one step."""
    return (rng.integers(-1, 2, _SAMPLES) / 32768).astype(np.float32)


def _white_noise(rng: np.random.Generator) -> Samples:
    return _loud(rng.uniform(-1, 1, _SAMPLES), rng)


def _brown_noise(rng: np.random.Generator) -> Samples:
    """A leaky random walk."""
    return _loud(lfilter([1.0], [1.0, -rng.uniform(0.95, 0.999)], rng.standard_normal(_SAMPLES)), rng)


def _ventilation(rng: np.random.Generator) -> Samples:
    """Noise through two resonances, with the beat of a slow fan."""
    sound = rng.standard_normal(_SAMPLES)
    for _ in range(2):
        radius, turn = rng.uniform(0.9, 0.99), rng.uniform(0.02, 0.8)
        sound = lfilter([1.0], [1.0, -2 * radius * np.cos(turn), radius**2], sound)
    time = np.arange(_SAMPLES) / RATE
    return _loud(sound * (1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.5, 6) * time)), rng)


def _drizzle(rng: np.random.Generator) -> Samples:
    """Drops at times of a Poisson process, each a damped ring."""
    drops = (rng.random(_SAMPLES) < rng.uniform(20, 400) / RATE) * rng.standard_normal(_SAMPLES)
    radius, turn = rng.uniform(0.9, 0.985), rng.uniform(0.5, 2.2)
    return _loud(lfilter([1.0], [1.0, -2 * radius * np.cos(turn), radius**2], drops) + 1e-3, rng)


def _sweep(rng: np.random.Generator) -> Samples:
    low, high = np.sort(rng.uniform(60, 6000, 2))
    method = str(rng.choice(["linear", "logarithmic", "quadratic"]))
    return _loud(chirp(np.arange(_SAMPLES) / RATE, low, 4.0, high, method), rng)


def _alarm(rng: np.random.Generator) -> Samples:
    """A square wave that is switched on and off."""
    time = np.arange(_SAMPLES) / RATE
    on = np.sin(2 * np.pi * rng.uniform(1, 6) * time) > rng.uniform(-0.5, 0.5)
    return _loud(on.astype(np.float64) * np.sign(np.sin(2 * np.pi * rng.uniform(300, 2500) * time)), rng)


def _bells(rng: np.random.Generator) -> Samples:
    """Notes by frequency modulation (Chowning 1973)."""
    sound, time = np.zeros(_SAMPLES), np.arange(_SAMPLES) / RATE
    for start in np.sort(rng.uniform(0, 3.8, int(rng.integers(3, 16)))):
        t = np.clip(time - start, 0, None)
        hz, ratio = 110 * 2 ** (rng.integers(0, 37) / 12), float(rng.choice([1, 1.4, 2, 3.5]))
        bend = rng.uniform(0.5, 6) * np.exp(-3 * t) * np.sin(2 * np.pi * hz * ratio * t)
        sound += (t > 0) * np.exp(-rng.uniform(1, 6) * t) * np.sin(2 * np.pi * hz * t + bend)
    return _loud(sound, rng)


def _guitar(rng: np.random.Generator) -> Samples:
    """Plucked strings (Karplus & Strong 1983)."""
    sound = np.zeros(_SAMPLES)
    for start in rng.integers(0, _SAMPLES - RATE // 2, int(rng.integers(3, 12))):
        period = int(RATE / (82 * 2 ** (rng.integers(0, 25) / 12)))
        pluck = np.zeros(min(RATE, _SAMPLES - start))
        pluck[:period] = rng.uniform(-1, 1, min(period, len(pluck)))
        feedback = np.zeros(period + 2)
        feedback[0], feedback[period], feedback[period + 1] = 1.0, -0.498, -0.498
        sound[start : start + len(pluck)] += lfilter([1.0], feedback, pluck)
    return _loud(sound, rng)


def _sewing_machine(rng: np.random.Generator) -> Samples:
    """A sewing machine: regular clicks whose rate changes."""
    turns = rng.uniform(0.1, 1) * np.arange(_SAMPLES) / RATE
    rate = rng.uniform(4, 30) * (1 + 0.5 * np.sin(2 * np.pi * turns))
    clicks = np.diff(np.floor(np.cumsum(rate) / RATE), prepend=0) * rng.uniform(0.5, 1, _SAMPLES)
    return _loud(lfilter([1, -1], [1, -1.2, 0.7], clicks) + 1e-3 * rng.standard_normal(_SAMPLES), rng)


def _loud(sound: NDArray[np.floating], rng: np.random.Generator) -> Samples:
    """At a peak between -40 and -3 dB of full scale, as 16-bit samples."""
    scaled = sound / (np.abs(sound).max() + 1e-9) * 10 ** (rng.uniform(-40, -3) / 20)
    return (np.round(scaled * 32767) / 32767).astype(np.float32)


# --- pictures ---------------------------------------------------------------------------------------------


def _photograph(rng: np.random.Generator) -> Frames:
    """A real place or thing, through a camera that is carried past it."""
    from sklearn.datasets import load_sample_image

    picture = Image.fromarray(load_sample_image(str(rng.choice(["china.jpg", "flower.jpg"]))))
    side = int(rng.integers(150, 420))
    begin, end = rng.uniform(0, 1, (2, 2)) if rng.random() < 0.5 else rng.uniform(0, 1, (1, 2)).repeat(2, 0)
    found = []
    for x, y in np.linspace(begin, end, _FRAMES):
        left, top = int(x * (picture.width - side)), int(y * (picture.height - side))
        cut = picture.crop((left, top, left + side, top + side)).resize((_SIDE, _SIDE))
        found.append(np.asarray(cut, np.float32))
    return _sensed(np.stack(found), rng)


def _office(rng: np.random.Generator) -> Frames:
    """A webcam's view of a desk: wall, table, screen, chair, drawn once and never moving."""
    canvas = Image.new("RGB", (_SIDE, _SIDE), _grey(rng, 120, 235))
    draw = ImageDraw.Draw(canvas)
    edge = int(rng.integers(110, 190))
    draw.rectangle((0, edge, _SIDE, _SIDE), fill=_grey(rng, 60, 180))
    for _ in range(int(rng.integers(2, 9))):
        x, y, w, h = (int(v) for v in rng.uniform((0, 10, 15, 10), (200, 180, 90, 80)))
        draw.rounded_rectangle((x, y, x + w, y + h), 4, fill=_grey(rng, 10, 250), outline=_grey(rng, 0, 90))
    soft = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 2))))
    return _sensed(np.asarray(soft, np.float32)[None].repeat(_FRAMES, 0), rng)


def _plain_wall(rng: np.random.Generator) -> Frames:
    """Light that falls off along a wall."""
    ramp = np.linspace(0, 1, _SIDE) ** rng.uniform(0.5, 2)
    wall = rng.uniform(60, 200) + rng.uniform(20, 70) * np.add.outer(ramp, ramp * rng.uniform(-1, 1))
    colour = rng.uniform(0.85, 1.15, 3)
    return _sensed((wall[..., None] * colour)[None].repeat(_FRAMES, 0), rng)


def _game_of_life(rng: np.random.Generator) -> Frames:
    """Conway's game of life."""
    size = int(rng.choice([28, 56, 112]))
    cells, found = rng.random((size, size)) < 0.35, []
    inks = rng.uniform(0, 255, (2, 3))
    for _ in range(_FRAMES):
        around = sum(np.roll(cells, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) - cells
        cells = (around == 3) | (cells & (around == 2))
        found.append(inks[np.kron(cells, np.ones((_SIDE // size, _SIDE // size), int)).astype(int)])
    return _sensed(np.stack(found), rng)


def _julia(rng: np.random.Generator) -> Frames:
    """A Julia set whose parameter wanders."""
    y, x = np.mgrid[-1.4:1.4:112j, -1.4:1.4:112j]
    angle, found = rng.uniform(0, 2 * np.pi), []
    inks = rng.uniform(0, 255, (25, 3))
    for step in range(_FRAMES):
        z, count = x + 1j * y, np.zeros((112, 112), int)
        for _ in range(24):
            inside = np.abs(z) < 2
            z = np.where(inside, z * z + 0.7885 * np.exp(1j * (angle + 0.05 * step)), z)
            count += inside
        found.append(zoom(inks[count], (2, 2, 1), order=0))
    return _sensed(np.stack(found), rng)


def _mosaic(rng: np.random.Generator) -> Frames:
    """Regions around points that drift (Voronoi)."""
    points, steps = rng.uniform(0, _SIDE, (20, 2)), rng.normal(0, 3, (20, 2))
    inks = rng.uniform(0, 255, (20, 3))
    rows, columns = np.mgrid[:_SIDE:2, :_SIDE:2]
    found = []
    for i in range(_FRAMES):
        here = points + i * steps
        away = (rows[..., None] - here[:, 0]) ** 2 + (columns[..., None] - here[:, 1]) ** 2
        found.append(inks[away.argmin(-1)].repeat(2, 0).repeat(2, 1))
    return _sensed(np.stack(found), rng)


def _snow(rng: np.random.Generator) -> Frames:
    """A television without a programme: coarse grain that lives on from frame to frame."""
    grain = rng.standard_normal((_FRAMES, _SIDE, _SIDE, 1))
    for i in range(1, _FRAMES):
        grain[i] = 0.5 * grain[i - 1] + grain[i]
    grain = gaussian_filter(grain, (0, *rng.uniform(0, 1.5, 2), 0))
    return np.clip(128 + rng.uniform(30, 70) * grain / grain.std(), 0, 255).astype(np.uint8).repeat(3, -1)


def _night(rng: np.random.Generator) -> Frames:
    """Stars or distant lamps in the dark, with the noise of a sensor at its limit."""
    sky = np.zeros((_SIDE, _SIDE, 3))
    for y, x in rng.integers(0, _SIDE, (int(rng.integers(5, 60)), 2)):
        sky[y, x] = rng.uniform(200, 4000) * rng.uniform(0.6, 1, 3)
    sky = gaussian_filter(sky, (1.2, 1.2, 0))
    noise = rng.normal(rng.uniform(4, 12), rng.uniform(4, 10), (_FRAMES, _SIDE, _SIDE, 3))
    return np.clip(sky + noise, 0, 255).astype(np.uint8)


def _sensed(scenes: NDArray[np.floating], rng: np.random.Generator) -> Frames:
    """With noise that grows with the light, as photons do."""
    noise = rng.uniform(0.05, 0.5) * np.sqrt(np.clip(scenes, 1, 255)) * rng.standard_normal(scenes.shape)
    return np.clip(scenes + noise, 0, 255).astype(np.uint8)


def _grey(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    """A nearly grey colour."""
    red, green, blue = np.clip(rng.uniform(low, high) + rng.normal(0, 14, 3), 0, 255).astype(int).tolist()
    return red, green, blue


#: What can be heard, by kind.
SOUNDS: Mapping[str, Callable[[np.random.Generator], Samples]] = {
    "digital silence": _digital_silence,
    "white noise": _white_noise,
    "brown noise": _brown_noise,
    "ventilation": _ventilation,
    "drizzle": _drizzle,
    "sweep": _sweep,
    "alarm": _alarm,
    "bells": _bells,
    "guitar": _guitar,
    "clicks": _sewing_machine,
}
#: What can be seen, by kind.
PICTURES: Mapping[str, Callable[[np.random.Generator], Frames]] = {
    "photograph": _photograph,
    "office": _office,
    "plain wall": _plain_wall,
    "game of life": _game_of_life,
    "fractal": _julia,
    "mosaic": _mosaic,
    "television snow": _snow,
    "night": _night,
}

"""Pictures of nothing: noise, test patterns, surfaces that scroll by, darkness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.nothing.camera import COUNT, SIDE, filmed, look
from training.synthesis._opencv import cv2

#: Side of a still picture that is larger than the camera's view, pixels.
_STILL = 320

Frames = NDArray[np.uint8]
Floats = NDArray[np.floating]


def static(rng: np.random.Generator) -> Frames:
    """Noise that is another in every frame: of a dead channel, of a broken sensor, in grains of any size."""
    cells = int(SIDE / rng.choice([1, 1, 2, 4, 8, 16, 32]))
    channels = int(rng.choice([1, 3]))
    shape = (COUNT, cells, cells if rng.random() < 0.8 else max(1, cells // 8), channels)
    grains = _draw_grains(shape, rng)
    how = int(rng.choice([cv2.INTER_NEAREST, cv2.INTER_LINEAR]))
    large = np.stack([cv2.resize(g, (SIDE, SIDE), interpolation=how).reshape(SIDE, SIDE, -1) for g in grains])
    middle, spread = rng.uniform(60, 190), rng.uniform(12, 90)
    if rng.random() < 0.3:
        large = large + _rolling_bar(rng)
    return np.clip(middle + spread * np.broadcast_to(large, (COUNT, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def patterns(rng: np.random.Generator) -> Frames:
    """Stripes, boards, rings, bars, spots or waves that stand, move, turn or pulse."""
    maker = rng.choice(np.array([_stripes, _board, _rings, _bars, _spots, _waves], object))
    if rng.random() < 0.3:
        return filmed(look(maker(rng, _STILL, np.zeros(1))[0], rng), rng)
    phases = np.cumsum(np.full(COUNT, rng.normal(0, 0.5))) + rng.normal(0, 0.05, COUNT)
    return filmed(maker(rng, SIDE, phases), rng)


def texture(rng: np.random.Generator) -> Frames:
    """A surface that scrolls by: cloth, bricks, leaves, stone, a page of text."""
    maker = rng.choice(np.array([_stone, _cloth, _bricks, _leaves, _page], object))
    surface = maker(rng)
    step = rng.normal(0, 18, 2)
    shifts = (np.arange(COUNT)[:, None] * step).round().astype(int)
    return filmed(np.stack([np.roll(surface, tuple(s), (0, 1))[:SIDE, :SIDE] for s in shifts]), rng)


def darkness(rng: np.random.Generator) -> Frames:
    """A dark room, a covered lens, or the blinding light of one: hardly more than the sensor's noise."""
    kind = rng.choice(["dark", "covered", "blinded"], p=[0.6, 0.25, 0.15])
    scene = np.zeros((COUNT, SIDE, SIDE, 3), np.float32)
    if kind == "dark":
        scene += rng.uniform(1, 14) * fractal(SIDE, rng, 0.6)[..., None]
        for _ in range(int(rng.integers(0, 4))):
            scene += _glimmer(rng)
    elif kind == "covered":
        scene += np.array([90, 30, 25]) * rng.uniform(0.05, 1.2) * fractal(SIDE, rng, 0.1)[..., None]
    else:
        scene += rng.uniform(215, 250) * fractal(SIDE, rng, 0.05)[..., None]
    return filmed(scene, rng, noise=float(rng.uniform(1.5, 9)))


def fractal(side: int, rng: np.random.Generator, depth: float, slope: float | None = None) -> Floats:
    """A cloudy surface around 1, float32 (side, side): noise whose amplitude falls with spatial frequency.

    Args:
        side: In pixels.
        rng: Source of chance.
        depth: Deviation.
        slope: Exponent of the fall; drawn between 0.8 and 2 where None.
    """
    slope = rng.uniform(0.8, 2.0) if slope is None else slope
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)))
    distance = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    distance[0, 0] = 1
    spectrum *= distance**-slope
    spectrum[0, 0] = 0
    surface = np.fft.irfft2(spectrum, (side, side))
    return np.maximum(0, 1 + depth * surface / (surface.std() + 1e-9)).astype(np.float32)


def _draw_grains(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    kind = rng.choice(["normal", "uniform", "salt"])
    if kind == "normal":
        return rng.standard_normal(shape, dtype=np.float32)
    if kind == "uniform":
        return rng.random(shape, dtype=np.float32) * 3.4 - 1.7
    return np.sign(rng.random(shape, dtype=np.float32) - rng.uniform(0.05, 0.95)).astype(np.float32) * 2


def _rolling_bar(rng: np.random.Generator) -> Floats:
    """A bright or dark bar that wanders down the picture: (COUNT, SIDE, 1, 1)."""
    place = (rng.random() + np.arange(COUNT) * rng.uniform(0.02, 0.2)) % 1
    distance = np.abs(np.linspace(0, 1, SIDE)[None] - place[:, None])
    return (rng.choice([-1.5, 1.5]) * np.exp(-((distance / 0.1) ** 2)))[:, :, None, None]


def _inks(rng: np.random.Generator, count: int = 2) -> Floats:
    """Colours (count, 3); sometimes black and white."""
    if rng.random() < 0.25:
        return np.resize(np.array([[15.0], [240.0]]), (count, 1)).repeat(3, 1)
    return rng.uniform(5, 250, (count, 3))


def _mixed(share: Floats, inks: Floats) -> Floats:
    """Two inks mixed in shares (..., 0..1)."""
    return (share[..., None] * inks[0] + (1 - share[..., None]) * inks[1]).astype(np.float32)


def _grid(rng: np.random.Generator, side: int) -> tuple[Floats, Floats]:
    """Coordinates in a turned square, -1..1."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    turn = rng.uniform(0, np.pi)
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)


def _stripes(rng: np.random.Generator, side: int, phases: Floats) -> Floats:
    x, _ = _grid(rng, side)
    wave = np.sin(np.pi * rng.uniform(1, 30) * x[None] + 2 * phases[:, None, None])
    share = 0.5 + 0.5 * (np.sign(wave) if rng.random() < 0.5 else wave)
    return _mixed(share, _inks(rng))


def _board(rng: np.random.Generator, side: int, phases: Floats) -> Floats:
    x, y = _grid(rng, side)
    rate = np.pi * rng.uniform(1, 14)
    wave = np.sin(rate * x[None] + 2 * phases[:, None, None]) * np.sin(rate * y)[None]
    return _mixed(0.5 + 0.5 * np.sign(wave), _inks(rng))


def _rings(rng: np.random.Generator, side: int, phases: Floats) -> Floats:
    x, y = _grid(rng, side)
    (left, top), arms = rng.uniform(-1, 1, 2), int(rng.choice([0, 0, 1, 3, 6]))
    distance, angle = np.hypot(x - left, y - top), np.arctan2(y - top, x - left)
    wave = np.sin(np.pi * rng.uniform(1, 20) * distance + arms * angle + 2 * phases[:, None, None])
    return _mixed(0.5 + 0.5 * np.tanh(rng.uniform(1, 8) * wave), _inks(rng))


def _bars(rng: np.random.Generator, side: int, phases: Floats) -> Floats:
    """Colour bars of a test picture, or a grey wedge."""
    count = int(rng.integers(4, 12))
    inks = _inks(rng, count) if rng.random() < 0.7 else np.linspace(0, 255, count)[:, None].repeat(3, 1)
    which = (np.arange(side)[None] * count / side + phases[:, None]).astype(int) % count
    bars = np.broadcast_to(inks[which][:, None], (len(phases), side, side, 3)).astype(np.float32)
    return bars.swapaxes(1, 2) if rng.random() < 0.4 else bars


def _spots(rng: np.random.Generator, side: int, phases: Floats) -> Floats:
    """Discs and blobs of any colour, that of skin too, which drift; none has a feature inside."""
    ground, pictures = _inks(rng, 1)[0], []
    count = int(rng.integers(1, 14))
    places, steps = rng.uniform(0, side, (count, 2)), rng.normal(0, 12, (count, 2))
    axes = rng.uniform(0.02, 0.35, (count, 2)) * side
    skin = np.array([215, 170, 140]) * rng.uniform(0.25, 1.1)
    inks = np.where(rng.random((count, 1)) < 0.35, skin, _inks(rng, count))
    for phase in phases:
        canvas = np.full((side, side, 3), ground, np.float32)
        for place, axis, ink in zip(places + phase * steps, axes, inks, strict=True):
            centre, size = tuple(place.astype(int).tolist()), tuple(axis.astype(int).tolist())
            cv2.ellipse(canvas, centre, size, 0, 0, 360, tuple(ink.tolist()), -1, cv2.LINE_AA)
        pictures.append(canvas)
    softness = float(rng.choice([0, 0, 4, 12]))
    return np.stack([cv2.GaussianBlur(p, (0, 0), softness) if softness else p for p in pictures])


def _waves(rng: np.random.Generator, side: int, phases: Floats) -> Floats:
    """Plasma: sums of waves in every colour."""
    x, y = _grid(rng, side)
    total = np.zeros((len(phases), side, side, 3), np.float32)
    for across, down, first, speed in rng.normal(0, (4, 4, 3, 1.5), (int(rng.integers(2, 5)), 4)):
        wave = np.sin(across * x + down * y + first + speed * phases[:, None, None])
        total += wave[..., None] * rng.uniform(-1, 1, 3)
    return 128 + 70 * total


def _stone(rng: np.random.Generator) -> Floats:
    surface = fractal(_STILL, rng, rng.uniform(0.1, 0.6), rng.uniform(0.3, 2))
    return _inks(rng, 1)[0].astype(np.float32) * surface[..., None]


def _cloth(rng: np.random.Generator) -> Floats:
    """Two threads over and under each other."""
    thread = int(rng.integers(2, 14))
    over = (np.add.outer(np.arange(_STILL) // thread, np.arange(_STILL) // thread) % 2).astype(np.float32)
    return _mixed(over, _inks(rng)) * fractal(_STILL, rng, 0.08, 0.5)[..., None]


def _bricks(rng: np.random.Generator) -> Floats:
    mortar, brick = _inks(rng)
    canvas = np.full((_STILL, _STILL, 3), mortar, np.float32)
    tall = int(rng.choice([16, 20, 32, 40, 64]))
    wide = tall * int(rng.choice([1, 2, 3]))
    for row, y in enumerate(range(0, _STILL, tall)):
        for x in range(-(wide // 2) * (row % 2), _STILL, wide):
            ink = tuple((brick * rng.uniform(0.8, 1.2)).tolist())
            cv2.rectangle(canvas, (x + 1, y + 1), (x + wide - 2, y + tall - 2), ink, -1)
    return canvas * fractal(_STILL, rng, 0.1, 0.8)[..., None]


def _leaves(rng: np.random.Generator) -> Floats:
    ground, leaf = _inks(rng)
    canvas = np.full((_STILL, _STILL, 3), ground, np.float32)
    size = rng.uniform(3, 26)
    for x, y, turn in rng.uniform(0, (_STILL, _STILL, 360), (int(rng.integers(60, 400)), 3)):
        ink, axes = leaf * rng.uniform(0.5, 1.4), (int(size), max(1, int(size * rng.uniform(0.2, 0.7))))
        cv2.ellipse(canvas, (int(x), int(y)), axes, float(turn), 0, 360, tuple(ink.tolist()), -1)
    return canvas


def _page(rng: np.random.Generator) -> Floats:
    """Lines of made-up words, as on paper or on a screen."""
    paper, ink = _inks(rng)
    # OpenCV 5 writes on bytes only.
    canvas = np.full((_STILL, _STILL, 3), paper, np.uint8)
    size = float(rng.uniform(0.3, 1.0))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    "))
    for y in range(int(24 * size), _STILL, int(30 * size) + 2):
        line = "".join(rng.choice(letters, int(rng.integers(5, 60))))
        cv2.putText(canvas, line, (6, y), cv2.FONT_HERSHEY_SIMPLEX, size, tuple(ink.tolist()), 1, cv2.LINE_AA)
    return canvas.astype(np.float32)


def _glimmer(rng: np.random.Generator) -> Floats:
    """A faint light, such as that of a standby lamp: (SIDE, SIDE, 3)."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    y, x = rng.uniform(0, SIDE, 2)
    spot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / rng.uniform(4, 900))
    return (rng.uniform(20, 120) * spot[..., None] * rng.uniform(0.2, 1, 3)).astype(np.float32)

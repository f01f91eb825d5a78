"""Rooms, corridors, tables and gardens with nobody in them, in light that moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.nothing.camera import COUNT, SIDE, filmed, look
from training.nothing.pictures import fractal
from training.synthesis._opencv import cv2
from training.synthesis.scene import draw_background

#: Side of the still picture that the camera looks around in, pixels.
_STILL = 288

Frames = NDArray[np.uint8]
Floats = NDArray[np.floating]
Colour = tuple[float, float, float]


def empty_room(rng: np.random.Generator) -> Frames:
    """A place without people, filmed by a camera that stands or moves, in steady or moving light."""
    # The rooms that generated people stand in are among them: there, only the person makes the difference.
    painters = np.array([_painted_room, _corridor, _table, _garden], object)
    still = rng.choice(painters, p=[0.4, 0.3, 0.15, 0.15])(rng)
    return filmed(look(still, rng) * _light(rng), rng)


def _painted_room(rng: np.random.Generator) -> Floats:
    return draw_background(rng, _STILL, _STILL).astype(np.float32)


def _corridor(rng: np.random.Generator) -> Floats:
    """A room in perspective: back wall, side walls, floor and ceiling, with doors, boxes and lamps."""
    canvas = np.zeros((_STILL, _STILL, 3), np.float32)
    back = _back_wall(rng)
    outer = np.array([[0, 0], [_STILL, 0], [_STILL, _STILL], [0, _STILL]])
    wall = _colour(rng)
    for side, shade in zip(range(4), rng.uniform(0.6, 1.15, 4), strict=True):
        corners = [outer[side], outer[(side + 1) % 4], back[(side + 1) % 4], back[side]]
        colour = wall if side % 2 else _colour(rng)
        _polygon(canvas, corners, tuple(c * shade for c in colour))
    _polygon(canvas, back, wall)
    canvas *= fractal(_STILL, rng, 0.06)[..., None]
    for _ in range(int(rng.integers(1, 8))):
        rng.choice(np.array([_panel, _box, _ceiling_lamp, _tiles], object))(canvas, back, rng)
    return canvas


def _back_wall(rng: np.random.Generator) -> NDArray[np.int64]:
    """Corners of the far wall, (4, 2), clockwise from the upper left."""
    x, y = rng.uniform(0.25, 0.6, 2) * _STILL
    w, h = rng.uniform(0.15, 0.5, 2) * _STILL
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]).astype(int)


def _panel(canvas: Floats, back: NDArray[np.int64], rng: np.random.Generator) -> None:
    """A door, a window or a picture on a side wall, in the wall's perspective, or on the far wall."""
    near, far = sorted(rng.uniform(0.05, 0.95, 2))
    top, bottom = sorted(rng.uniform(0.1, 1.0, 2))
    side = int(rng.integers(0, 3))
    if side == 2:
        box = back[0] + (back[2] - back[0]) * np.array(
            [[near, top], [far, top], [far, bottom], [near, bottom]]
        )
    else:
        x, wall = (0, back[[0, 3], :]) if side == 0 else (_STILL, back[[1, 2], :])
        edges = np.array([[[x, 0], wall[0]], [[x, _STILL], wall[1]]], float)
        at = [(near, top), (far, top), (far, bottom), (near, bottom)]
        box = np.array([_on_wall(edges, depth, height) for depth, height in at])
    colour = _colour(rng)
    _polygon(canvas, box, colour)
    cv2.polylines(canvas, [box.astype(np.int32)], True, tuple(c * 0.6 for c in colour), 2)


def _on_wall(edges: Floats, depth: float, height: float) -> Floats:
    upper, lower = edges[:, 0] + depth * (edges[:, 1] - edges[:, 0])
    return upper + height * (lower - upper)


def _box(canvas: Floats, back: NDArray[np.int64], rng: np.random.Generator) -> None:
    """A cupboard or a crate on the floor: a front, a top and a side."""
    depth = rng.uniform(0.2, 1.0)
    floor = back[3, 1] + (1 - depth) * (_STILL - back[3, 1])
    size = (0.25 + 0.75 * (1 - depth)) * _STILL * rng.uniform(0.15, 0.5, 2)
    x, colour = rng.uniform(0, _STILL), np.array(_colour(rng))
    front = np.array([[x, floor - size[1]], [x + size[0], floor - size[1]], [x + size[0], floor], [x, floor]])
    shift = (back.mean(0) - front.mean(0)) * 0.12
    _polygon(canvas, [front[0], front[1], front[1] + shift, front[0] + shift], colour * 1.15)
    side = (1, 2) if shift[0] > 0 else (0, 3)
    _polygon(canvas, [front[side[0]], front[side[1]], front[side[1]] + shift, front[side[0]] + shift],
             colour * 0.7)  # fmt: skip
    _polygon(canvas, front, colour)
    for row in range(int(rng.integers(0, 4))):
        y = int(floor - size[1] * (row + 1) / 4)
        cv2.line(canvas, (int(x), y), (int(x + size[0]), y), tuple((colour * 0.6).tolist()), 1)


def _ceiling_lamp(canvas: Floats, back: NDArray[np.int64], rng: np.random.Generator) -> None:
    x, y = rng.uniform(0.1, 0.9) * _STILL, rng.uniform(0, max(1, back[0, 1]))
    rows, columns = np.ogrid[:_STILL, :_STILL]
    distance = ((rows - y) ** 2 + (columns - x) ** 2) / rng.uniform(400, 8000)
    canvas += 160 * np.exp(-distance)[..., None] * np.array([1.0, 0.95, rng.uniform(0.7, 1)], np.float32)


def _tiles(canvas: Floats, back: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Lines on the floor that run to the far wall."""
    colour = tuple(np.array(_colour(rng)) * 0.7)
    for x in np.linspace(-_STILL, 2 * _STILL, int(rng.integers(6, 24))):
        end = back[3, 0] + (x / _STILL) * (back[2, 0] - back[3, 0])
        clipped = (int(np.clip(end, back[3, 0], back[2, 0])), int(back[3, 1]))
        cv2.line(canvas, (int(x), _STILL), clipped, colour, 1)


def _table(rng: np.random.Generator) -> Floats:
    """A desk from above, with things on it."""
    grain = cv2.resize(fractal(_STILL, rng, 0.15)[:: int(rng.integers(1, 12))], (_STILL, _STILL))
    canvas = np.array(_colour(rng), np.float32) * grain[..., None]
    for _ in range(int(rng.integers(0, 10))):
        _thing(canvas, rng)
    return canvas


def _thing(canvas: Floats, rng: np.random.Generator) -> None:
    """A sheet, a plate, a cable or a pen, with a shadow."""
    colour, centre = tuple(_colour(rng)), rng.uniform(0, _STILL, 2)
    size, turn = rng.uniform(0.03, 0.25, 2) * _STILL, float(rng.uniform(0, 180))
    shape = rng.choice(["sheet", "plate", "cable"])
    if shape == "sheet":
        for shift, ink in ((3, (30.0, 30.0, 30.0)), (0, colour)):
            corners = cv2.boxPoints(((centre + shift).tolist(), size.tolist(), turn))
            _polygon(canvas, corners, ink)
    elif shape == "plate":
        place, axes = tuple(centre.astype(int).tolist()), tuple(size.astype(int).tolist())
        cv2.ellipse(canvas, place, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(canvas, place, axes, turn, 0, 360, tuple(0.7 * c for c in colour), 2, cv2.LINE_AA)
    else:
        line = np.cumsum(rng.normal(0, 12, (20, 2)), axis=0) + centre
        cv2.polylines(canvas, [line.astype(np.int32)], False, colour, int(rng.integers(1, 5)), cv2.LINE_AA)


def _garden(rng: np.random.Generator) -> Floats:
    """Sky over ground, with houses, trunks and leaves."""
    horizon = int(_STILL * rng.uniform(0.25, 0.75))
    sky, ground = np.array([150.0, 185, 225]) * rng.uniform(0.4, 1.1), rng.uniform(30, 140, 3)
    clouds = fractal(_STILL, rng, 0.2)[..., None]
    canvas = np.where(np.arange(_STILL)[:, None, None] < horizon, sky * clouds, ground * clouds)
    canvas = np.ascontiguousarray(canvas, np.float32)
    for _ in range(int(rng.integers(0, 5))):
        x, w, h = rng.uniform(-0.1, 1) * _STILL, *rng.uniform(0.05, 0.35, 2) * _STILL
        _polygon(
            canvas, [[x, horizon - h], [x + w, horizon - h], [x + w, horizon], [x, horizon]], _colour(rng)
        )
    for _ in range(int(rng.integers(0, 6))):
        _tree(canvas, horizon, rng)
    return canvas


def _tree(canvas: Floats, horizon: int, rng: np.random.Generator) -> None:
    x, foot = int(rng.uniform(0, _STILL)), int(horizon + rng.uniform(0, 0.4) * (_STILL - horizon))
    tall = rng.uniform(0.15, 0.7) * _STILL
    cv2.line(canvas, (x, foot), (x, int(foot - tall)), (70.0, 55.0, 45.0), max(1, int(tall / 18)))
    green = np.array([70.0, 110, 50]) * rng.uniform(0.5, 1.5, 3)
    for across, down in rng.normal(0, tall / 5, (int(rng.integers(20, 90)), 2)):
        place = (int(x + across), int(foot - tall + down))
        cv2.circle(canvas, place, int(rng.integers(2, 9)), tuple(green * rng.uniform(0.6, 1.3)), -1)


def _light(rng: np.random.Generator) -> Floats:
    """Factor on every frame: steady, flickering, switched, a screen's glow, or a beam that wanders."""
    kind = rng.choice(["steady", "flicker", "switch", "screen", "beam"], p=[0.45, 0.15, 0.1, 0.15, 0.15])
    light: Floats = np.ones((COUNT, 1, 1, 3), np.float32)
    if kind == "flicker":
        light *= (1 + rng.normal(0, rng.uniform(0.02, 0.25), (COUNT, 1, 1, 1))).clip(0.2, 1.6)
    elif kind == "switch":
        light[int(rng.integers(1, COUNT)) :] *= rng.choice([0.35, 0.6, 1.5])
    elif kind == "screen":
        light = light * (1 + 0.1 * np.cumsum(rng.normal(0, 0.4, (COUNT, 1, 1, 3)), 0)).clip(0.5, 1.5)
    elif kind == "beam":
        light = light + _beam(rng)
    return light.astype(np.float32)


def _beam(rng: np.random.Generator) -> Floats:
    """A patch of sun, or of headlights, that moves through the picture: (COUNT, SIDE, SIDE, 1)."""
    begin, end = rng.uniform(-0.2, 1.2, (2, 2)) * SIDE
    rows, columns = np.ogrid[:SIDE, :SIDE]
    width = rng.uniform(15, 60)
    places = np.linspace(begin, end, COUNT)
    beams = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)) for y, x in places]
    return rng.uniform(0.2, 1.2) * np.stack(beams)[..., None]


def _colour(rng: np.random.Generator) -> Colour:
    """Mostly of low saturation, as rooms have."""
    drawn = rng.uniform(20, 235, 3)
    red, green, blue = drawn.mean() + rng.beta(1.2, 3.5) * (drawn - drawn.mean())
    return float(red), float(green), float(blue)


def _polygon(canvas: Floats, corners: object, colour: object) -> None:
    inside = np.asarray(corners, np.float64).round().astype(np.int32)
    cv2.fillPoly(canvas, [inside], tuple(float(c) for c in np.asarray(colour)), cv2.LINE_AA)

"""Where a generated person stands: background, light, framing, and what the camera does to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthesis._opencv import cv2
from training.synthesis.renderer import Camera, Light


@dataclass(frozen=True)
class Scene:
    """Everything about a clip's picture that is not the person.

    Attributes:
        camera: Framing and size.
        light: Light on the person.
        background: uint8 [height, width, 3].
        turn: Mean yaw, pitch, roll of the head, radians.
        noise: Deviation of the sensor noise, grey levels.
        blur: Deviation of the lens blur, pixels; 0 is none.
        exposure: Factor on the picture.
        tint: Factor on red, green and blue (white balance).
    """

    camera: Camera
    light: Light
    background: np.ndarray
    turn: tuple[float, float, float]
    noise: float = 1.5
    blur: float = 0.0
    exposure: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def facts(self) -> dict[str, object]:
        """Return what a label record says about the scene."""
        return {
            "face_height": round(self.camera.face, 3),
            "centre": [round(c, 3) for c in self.camera.centre],
            "yaw": round(self.turn[0], 3),
            "pitch": round(self.turn[1], 3),
            "roll": round(self.turn[2], 3),
            "exposure": round(self.exposure, 2),
            "noise": round(self.noise, 1),
            "blur": round(self.blur, 2),
        }


def draw_scene(
    rng: np.random.Generator, width: int, height: int, face: tuple[float, float] = (0.3, 0.85)
) -> Scene:
    """Draw a scene.

    Args:
        rng: Source of chance.
        width: Picture width in pixels.
        height: Picture height in pixels.
        face: Range of the head height as a share of the picture height.
    """
    # Every doubling of the distance is as likely: a uniform height would make far people rare.
    size = float(np.exp(rng.uniform(*np.log(face))))
    # Close faces must stay nearly whole in the picture; distant ones may be anywhere.
    room_x, room_y = max(0.02, 0.42 - 0.36 * size * height / width), max(0.02, 0.40 - 0.45 * size)
    centre = (0.5 + float(rng.uniform(-room_x, room_x)), 0.47 + float(rng.uniform(-room_y, room_y * 0.5)))
    # Some rooms are dim, and a sensor is noisier there.
    dim = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.15 else 1.0
    return Scene(
        camera=Camera(width, height, size, centre),
        light=draw_light(rng),
        background=draw_background(rng, width, height),
        turn=(
            float(np.clip(rng.normal(0, 0.22), -0.6, 0.6)),
            float(rng.normal(0.02, 0.08)),
            float(rng.normal(0, 0.06)),
        ),
        noise=float(rng.gamma(2.0, 1.2)) / dim**1.5,
        blur=float(max(0.0, rng.normal(0.1, 0.4))),
        exposure=dim * float(np.clip(rng.lognormal(0, 0.18), 0.6, 1.45)),
        tint=tuple(float(v) for v in rng.normal(1, 0.05, 3).clip(0.85, 1.15)),
    )


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a key light, mostly from in front, sometimes from the side or behind, and a fitting sky."""
    kind = rng.choice(["front", "side", "behind"], p=[0.7, 0.2, 0.1])
    azimuth = {
        "front": rng.normal(0, 0.7),
        "side": rng.choice([-1.4, 1.4]),
        "behind": rng.choice([-2.4, 2.4]),
    }[kind]
    elevation = rng.uniform(0.0, 1.0)
    # From bulbs (about 2,800 K) to an overcast sky.
    warmth = rng.uniform(-0.12, 0.22)
    key = np.array([1 + warmth, 1.0, 1 - warmth]) * rng.uniform(0.65, 1.1)
    ambient = np.array([1 - warmth / 2, 1.0, 1 + warmth / 2]) * rng.uniform(0.22, 0.45)
    direction = np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    if kind == "front":
        direction[2] = max(0.15, direction[2])
    return Light(
        direction=tuple(float(v) for v in direction),
        key=tuple(float(v) for v in key),
        ambient=tuple(float(v) for v in ambient),
        rim=float(rng.uniform(0.3, 0.7) if kind == "behind" else rng.uniform(0, 0.4)),
    )


def draw_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Paint a room: lit wall and floor, furniture, pictures, a window or a lamp, clutter; uint8 [h, w, 3]."""
    canvas = _draw_walls(rng, width, height)
    for draw in rng.choice([_draw_window, _draw_shelf, _draw_frame, _draw_lamp], rng.integers(0, 5)):
        draw(canvas, rng)
    for _ in range(rng.integers(0, 8)):
        _draw_thing(canvas, rng)
    softness = float(rng.choice([0.0, 1.5, 4.0, 8.0], p=[0.25, 0.3, 0.3, 0.15])) * width / 320
    if softness:
        canvas = cv2.GaussianBlur(canvas, (0, 0), softness)
    coarse = rng.normal(0, rng.uniform(0, 9), (rng.integers(2, 40), rng.integers(2, 40))).astype(np.float32)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    return np.clip(canvas + texture, 0, 255).astype(np.uint8)


def _draw_walls(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Paint one or two walls that the light falls off on, and sometimes a floor; uint8 [h, w, 3]."""
    wall = _draw_colour(rng)
    across, down = np.linspace(0, 1, width)[None, :, None], np.linspace(0, 1, height)[:, None, None]
    fall = 1 - rng.uniform(0, 0.5) * np.abs(across - rng.random()) - rng.uniform(-0.1, 0.35) * down
    canvas = np.clip(wall * fall, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        corner = int(width * rng.uniform(0.1, 0.9))
        canvas[:, corner:] = (canvas[:, corner:] * rng.uniform(0.7, 0.95)).astype(np.uint8)
    if rng.random() < 0.6:
        canvas[int(height * rng.uniform(0.65, 0.95)) :] = _draw_colour(rng)
    return canvas


def _corner(canvas: np.ndarray, rng: np.random.Generator, w: float, h: float) -> tuple[int, int, int, int]:
    """Draw left, top, width and height of something of about these shares of the picture."""
    height, width = canvas.shape[:2]
    across, tall = int(width * w * rng.uniform(0.7, 1.4)), int(height * h * rng.uniform(0.7, 1.4))
    return int(rng.uniform(-0.1, 0.95) * width), int(rng.uniform(-0.1, 0.6) * height), across + 2, tall + 2


def _draw_window(canvas: np.ndarray, rng: np.random.Generator) -> None:
    x, y, w, h = _corner(canvas, rng, 0.3, 0.5)
    sky = tuple(float(v) for v in rng.uniform([170, 190, 205], [235, 245, 255]))
    cv2.rectangle(canvas, (x, y), (x + w, y + h), sky, -1)
    bar, thick = tuple(float(v) for v in _draw_colour(rng)), max(1, w // 20)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), bar, thick)
    cv2.line(canvas, (x + w // 2, y), (x + w // 2, y + h), bar, thick)


def _draw_shelf(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Rows of books."""
    x, y, w, h = _corner(canvas, rng, 0.35, 0.6)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), tuple(float(v) for v in _draw_colour(rng) * 0.6), -1)
    rows, books = int(rng.integers(2, 5)), int(rng.integers(5, 12))
    for row in range(rows):
        bottom = y + (row + 1) * h // rows
        for book in range(books):
            left, tall = x + book * w // books, int(h / rows * rng.uniform(0.5, 0.9))
            colour = tuple(float(v) for v in _draw_colour(rng))
            cv2.rectangle(canvas, (left, bottom - tall), (left + w // books - 1, bottom - 2), colour, -1)


def _draw_frame(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """A picture or a screen on the wall."""
    x, y, w, h = _corner(canvas, rng, 0.2, 0.25)
    inner, outer = (tuple(float(v) for v in _draw_colour(rng)) for _ in range(2))
    cv2.rectangle(canvas, (x, y), (x + w, y + h), inner, -1)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), outer, max(1, w // 14))


def _draw_lamp(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """A bright spot with its glow."""
    x, y, w, _ = _corner(canvas, rng, 0.08, 0.1)
    rows, columns = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
    distance = ((rows - y) ** 2 + (columns - x) ** 2) / (2.0 * (2 * w) ** 2)
    glow = 120 * np.exp(-distance)[..., None] * np.array([1.0, 0.9, 0.7])
    canvas[:] = np.clip(canvas + glow, 0, 255).astype(np.uint8)
    cv2.circle(canvas, (x, y), max(1, w // 3), (255.0, 248.0, 225.0), -1)


def _draw_colour(rng: np.random.Generator) -> np.ndarray:
    """Draw a colour, mostly of low saturation as rooms have, [3] in [0, 255]."""
    colour = rng.uniform(15, 240, 3)
    return colour.mean() + rng.beta(1.2, 4.0) * (colour - colour.mean())


def _draw_thing(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Draw one shape: a board, a ball, a line or a skin-coloured blob that is not a face."""
    height, width = canvas.shape[:2]
    colour = tuple(
        float(v) for v in (_draw_colour(rng) if rng.random() < 0.85 else np.array([200, 150, 120.0]))
    )
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    w, h = int(rng.integers(width // 30 + 1, width // 3)), int(rng.integers(height // 30 + 1, height // 2))
    kind = rng.integers(4)
    if kind == 0:
        cv2.rectangle(canvas, (x, y), (x + w, y + h), colour, -1)
    elif kind == 1:
        cv2.ellipse(canvas, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1)
    elif kind == 2:
        cv2.line(
            canvas,
            (x, y),
            (int(rng.integers(0, width)), int(rng.integers(0, height))),
            colour,
            max(1, w // 12),
        )
    else:
        corners = np.array([[x, y]]) + rng.integers(-w, w + 1, (4, 2))
        cv2.fillConvexPoly(canvas, cv2.convexHull(corners.astype(np.int32)), colour)


def through_the_lens(picture: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Apply exposure, white balance, blur and sensor noise; uint8 [h, w, 3]."""
    if scene.blur > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), scene.blur * picture.shape[1] / 320)
    result = picture.astype(np.float32) * (scene.exposure * np.array(scene.tint, np.float32))
    if scene.noise > 0.1:
        # One field of noise, rolled about: as good as fresh noise to a network and far cheaper.
        field = _noise_field(picture.shape)
        result += scene.noise * np.roll(field, tuple(rng.integers(0, 64, 2)), (0, 1))
    return np.clip(result, 0, 255).astype(np.uint8)


_FIELDS: dict[tuple[int, ...], np.ndarray] = {}


def _noise_field(shape: tuple[int, ...]) -> np.ndarray:
    if shape not in _FIELDS:
        _FIELDS[shape] = np.random.default_rng(0).standard_normal(shape, np.float32)
    return _FIELDS[shape]

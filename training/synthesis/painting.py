"""The painted head: skin, hairline, brows, beard, freckles, and the places where skin folds.

The texture lies on a cylinder around the head (see ``texture_grid``).
"""

from __future__ import annotations

import numpy as np

from training.synthesis._opencv import cv2
from training.synthesis.assets import Floats
from training.synthesis.look import Look

#: Height and width of the painted head texture (a cylinder around the head, see ``texture_grid``).
TEXTURE_SHAPE = (640, 1024)
#: Height range of the texture in base-mesh decimetres, top row first.
TEXTURE_TOP, TEXTURE_BOTTOM = 8.75, 5.55
#: Top, left, bottom and right of the part of the texture that creases: the face.
_CREASED = (150, 330, 500, 694)
#: Depth of the cylinder's axis.
AXIS_Z = 0.35
#: Places that crease with expression, each driven by face units (see ``renderer``).
WRINKLES = ("forehead", "frown", "nose", "smile", "crow", "chin")


def cylinder(rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return angle around the head (0 = front, radians) and height of base-mesh positions [..., 3]."""
    return np.arctan2(rest[..., 0], rest[..., 2] - AXIS_Z), rest[..., 1]


def texture_grid() -> tuple[Floats, Floats]:
    """Return angle [1, w] and height [h, 1] of the texture's pixels."""
    rows, columns = TEXTURE_SHAPE
    theta = ((np.arange(columns) + 0.5) / columns * 2 - 1) * np.pi
    height = TEXTURE_TOP - (np.arange(rows) + 0.5) / rows * (TEXTURE_TOP - TEXTURE_BOTTOM)
    return theta[None, :].astype(np.float32), height[:, None].astype(np.float32)


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _hairline(theta: np.ndarray, style: str) -> np.ndarray:
    """Height of the lower edge of the hair at each angle."""
    angle = np.abs(theta)
    front = {"short": 8.03, "cap": 7.98, "bob": 7.92, "long": 7.98, "bald": 9.0}[style]
    side = {"short": 7.35, "cap": 7.2, "bob": 6.75, "long": 6.75, "bald": 9.0}[style]
    nape = {"short": 6.7, "cap": 6.5, "bob": 6.2, "long": 6.2, "bald": 9.0}[style]
    return np.interp(
        angle,
        [0, 0.45, 0.72, 0.95, 1.35, 1.9, np.pi],
        [front, front - 0.03, 7.78 + front - 8, side + 0.12, side, nape, nape],
    )


def scalp(theta: np.ndarray, height: np.ndarray, style: str) -> np.ndarray:
    """How much each place of the head is covered with hair, 0 to 1."""
    return smoothstep(_above_hairline(theta, height, style), -0.02, 0.22)


def _above_hairline(theta: np.ndarray, height: np.ndarray, style: str) -> np.ndarray:
    """Distance from the edge of the hair, positive inside; steep parts of the edge do not shorten it."""
    slope = (_hairline(theta + 0.02, style) - _hairline(theta - 0.02, style)) / 0.04
    return (height - _hairline(theta, style)) / np.sqrt(1 + slope**2)


def beard(theta: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Where a full beard grows: jaw, chin and upper lip."""
    angle = np.abs(theta)
    top = np.interp(angle, [0, 0.2, 0.32, 0.6, 1.0, 1.3], [6.80, 6.80, 6.62, 6.72, 6.9, 7.3])
    return smoothstep(top - height, 0.0, 0.06) * smoothstep(height, 6.0, 6.25) * (angle < 1.35)


def paint(look: Look, rng: np.random.Generator) -> tuple[Floats, tuple[int, int, Floats]]:
    """Paint the head texture of a person.

    Returns:
        Albedo in linear light [h, w, 3] and crease maps with their place (see ``Person.wrinkles``).
    """
    theta, height = texture_grid()
    x, y = 1.02 * np.sin(theta), height
    albedo = np.broadcast_to(np.array(look.skin, np.float32), (*TEXTURE_SHAPE, 3)).copy()
    blotches = smooth_noise(rng, TEXTURE_SHAPE, 24) * 0.035 + smooth_noise(rng, TEXTURE_SHAPE, 4) * 0.02
    albedo *= 1 + blotches[..., None]
    blush = np.exp(-(((np.abs(theta) - 0.52) / 0.25) ** 2) - ((height - 6.98) / 0.22) ** 2)
    blush = blush + 0.8 * np.exp(-((theta / 0.12) ** 2) - ((height - 6.98) / 0.12) ** 2)
    albedo *= 1 - (blush * 0.9)[..., None] * np.array([0.0, 0.10, 0.09], np.float32)
    if look.freckles > 0.1:
        spots = smooth_noise(rng, TEXTURE_SHAPE, 2) > 1.6
        albedo *= (
            1
            - (spots * look.freckles * np.exp(-((theta / 0.7) ** 2) - ((height - 7.1) / 0.35) ** 2))[
                ..., None
            ]
            * 0.35
        )
    shadow = beard(theta, height)
    if look.stubble > 0 and not look.beard:
        _mix(albedo, shadow * look.stubble * 0.45, np.array(look.hair) * 0.6 + np.array(look.skin) * 0.2)
    strands = (
        0.85
        + 0.11 * smooth_noise(rng, TEXTURE_SHAPE, (14, 1.3))
        + 0.08 * smooth_noise(rng, TEXTURE_SHAPE, (40, 6))
    )
    hair = np.array(look.hair)[None, None] * np.clip(strands, 0.35, 1.5)[..., None]
    if look.beard:
        _mix(albedo, np.clip(shadow * (0.9 + 0.2 * strands), 0, 0.95), hair * 0.9)
    _mix(albedo, 0.9 * _brows(x, y, look.brow, rng), np.array(look.brow_colour))
    ragged = _above_hairline(theta, height, look.hair_style) - 0.016 * smooth_noise(
        rng, TEXTURE_SHAPE, (16, 3)
    )
    _mix(albedo, smoothstep(ragged, -0.05, 0.05), hair)
    top, left, bottom, right = _CREASED
    creases = _crease_maps(theta[:, left:right], height[top:bottom], rng)
    return (albedo.clip(0, 1) ** 2.2).astype(np.float32), (top, left, creases)


def _mix(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    canvas += alpha[..., None] * (colour - canvas)


def _brows(x: np.ndarray, y: np.ndarray, thickness: float, rng: np.random.Generator) -> np.ndarray:
    side = np.abs(x)
    arch = rng.uniform(0.02, 0.07)
    along = (side - 0.12) / 0.46
    centre = (
        7.545
        + rng.uniform(-0.015, 0.02)
        + arch * np.sin(np.clip(along, 0, 1) * np.pi * 0.85)
        - 0.04 * along**2
    )
    half = 0.042 * thickness * np.interp(along, [0, 0.15, 0.6, 1], [0.75, 1.0, 0.85, 0.3])
    hairs = 1 + 0.25 * smooth_noise(rng, np.broadcast_shapes(x.shape, y.shape), (4, 1.5))
    edge = smoothstep(half - np.abs(y - centre), -0.008, 0.012)
    ends = smoothstep(along, -0.04, 0.05) * smoothstep(1 - along, -0.02, 0.06)
    return np.clip(edge * ends * hairs, 0, 1)


def _crease_maps(theta: np.ndarray, height: np.ndarray, rng: np.random.Generator) -> Floats:
    """Paint where skin folds when the muscles below it act."""
    x, y, side = 1.02 * np.sin(theta), height, np.abs(1.02 * np.sin(theta))
    shape = np.broadcast_shapes(theta.shape, height.shape)
    wobble = 0.012 * smooth_noise(rng, shape, 40)

    def line(distance: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-((distance / width) ** 2))

    forehead = sum(line(y + wobble - level, 0.014) for level in (7.72, 7.81, 7.90)) * np.exp(
        -((side / 0.42) ** 4)
    )
    frown = (line(side - 0.075 + wobble, 0.014) + 0.6 * line(x + wobble, 0.012)) * np.exp(
        -(((y - 7.55) / 0.11) ** 4)
    )
    nose = sum(line(y - level - 0.25 * side, 0.010) for level in (7.27, 7.32, 7.37)) * np.exp(
        -((side / 0.12) ** 4)
    )
    fold = 0.21 + (6.98 - y) * 0.42
    smile = line(side - fold + wobble, 0.017) * smoothstep(7.02 - y, 0, 0.1) * smoothstep(y, 6.5, 6.62)
    spread = (y - 7.27) / np.maximum(side - 0.45, 0.02)
    crow = sum(line(spread - slope, 0.10) for slope in (-0.5, 0.0, 0.5)) * np.exp(
        -(((side - 0.6) / 0.07) ** 4)
    )
    chin = line(y - 6.43 - 0.12 * side**2 + wobble, 0.018) * np.exp(-((side / 0.2) ** 4))
    maps = [np.broadcast_to(m, shape) for m in (forehead, frown, nose, smile, crow, chin)]
    return np.stack([np.clip(m, 0, 1) for m in maps]).astype(np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], grain: float | tuple[float, float]
) -> Floats:
    """Return noise of zero mean and unit deviation; ``grain`` is its size in pixels (rows, columns)."""
    rows, columns = shape
    grain_rows, grain_columns = grain if isinstance(grain, tuple) else (grain, grain)
    coarse = rng.standard_normal(
        (max(2, round(rows / grain_rows)), max(2, round(columns / grain_columns))), np.float32
    )
    noise = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / (noise.std() + 1e-6)

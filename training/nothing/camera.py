"""What every camera does to what is before it: where it looks, light, lens, sensor, compression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.mmeverse.decoding import FRAME_HZ
from training.synthesis._opencv import cv2

#: Frames of a clip (4 s), and their side in pixels.
COUNT, SIDE = int(4 * FRAME_HZ), 224

Frames = NDArray[np.uint8]
Floats = NDArray[np.floating]


def look(still: Floats, rng: np.random.Generator) -> Floats:
    """Film a larger still picture: from a stand, by hand, while it turns, or while it drives.

    Args:
        still: (h, w, 3), at least ``SIDE`` each way.
        rng: Source of chance.

    Returns:
        (COUNT, SIDE, SIDE, 3) float32.
    """
    height, width = still.shape[:2]
    places = _path(rng)
    found = []
    for across, down, turn, share in places:
        side = share * min(height, width)
        scale = SIDE / side
        centre = (side / 2 + across * (width - side), side / 2 + down * (height - side))
        view: Floats = np.asarray(cv2.getRotationMatrix2D(centre, turn, scale), np.float64)
        view[:, 2] += SIDE / 2 - np.array(centre)
        found.append(cv2.warpAffine(still.astype(np.float32), view, (SIDE, SIDE), flags=cv2.INTER_AREA,
                                    borderMode=cv2.BORDER_REFLECT_101))  # fmt: skip
    return np.stack(found)


def _path(rng: np.random.Generator) -> Floats:
    """Place across and down (0..1), turn (degrees) and share of the picture, of every frame: (COUNT, 4)."""
    begin = np.array([rng.random(), rng.random(), rng.normal(0, 3), rng.uniform(0.72, 1.0)])
    path = np.tile(begin, (COUNT, 1))
    moves = rng.choice(["stands", "hand", "turns", "drives"], p=[0.45, 0.25, 0.15, 0.15])
    if moves == "hand":
        path += np.cumsum(rng.normal(0, (0.03, 0.03, 0.4, 0.002), (COUNT, 4)), axis=0)
    elif moves == "turns":
        path[:, 0] = np.linspace(rng.random(), rng.random(), COUNT)
    elif moves == "drives":
        path[:, 3] = np.linspace(begin[3], rng.uniform(0.6, 1.0), COUNT)
    path[:, :2] = path[:, :2].clip(0, 1)
    path[:, 3] = path[:, 3].clip(0.5, 1.0)
    return path


def filmed(scenes: Floats, rng: np.random.Generator, noise: float | None = None) -> Frames:
    """Expose, blur, add the sensor's noise and compress.

    Args:
        scenes: (COUNT, SIDE, SIDE, 3), 0..255 and beyond.
        rng: Source of chance.
        noise: Deviation of the sensor's noise, grey levels; drawn where None.
    """
    exposure = rng.lognormal(0, 0.2) * (1 + rng.choice([0, 0.01, 0.04]) * rng.standard_normal(COUNT))
    tint = rng.normal(1, 0.05, 3)
    softness = float(max(0.0, rng.normal(0.2, 0.7)))
    noise = float(rng.gamma(2.0, 1.2)) if noise is None else noise
    shade, quality = _vignette(rng), int(rng.integers(35, 96)) if rng.random() < 0.6 else 0
    found = np.empty((COUNT, SIDE, SIDE, 3), np.uint8)
    for i, scene in enumerate(scenes):
        picture = scene * (exposure[i] * tint).astype(np.float32) * shade
        if softness > 0.3:
            picture = cv2.GaussianBlur(picture, (0, 0), softness)
        picture = picture + noise * rng.standard_normal(picture.shape, dtype=np.float32)
        found[i] = _compressed(np.clip(picture, 0, 255).astype(np.uint8), quality)
    return found


def _vignette(rng: np.random.Generator) -> Floats:
    rows, columns = np.ogrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    depth = rng.choice([0.0, rng.uniform(0, 0.4)])
    return (1 - depth * (rows**2 + columns**2) / 2)[..., None].astype(np.float32)


def _compressed(picture: Frames, quality: int) -> Frames:
    if not quality:
        return picture
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)

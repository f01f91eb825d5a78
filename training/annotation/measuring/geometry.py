"""From the points of a face to a few lengths that its muscles change, freed of head pose and face size.

A clip's faces are laid over their mean by the points that no expression moves (generalised Procrustes,
Gower 1975). Lengths are in units of the distance between the outer corners of the eyes, about 90 mm in an
adult. The nature of each change is that of FACS (Ekman, Friesen & Hager 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Forehead, bridge of the nose, temples and eye corners: moved by the skull alone.
_RIGID = (10, 109, 338, 151, 168, 6, 197, 127, 356, 234, 454, 33, 133, 263, 362)
_ROUNDS = 3
#: Most that the brows of the two sides may differ in height.
_BROWS_AGREE = 0.03

#: Points of the mesh; the person's right, which is left in the picture, comes first.
_OUTER_EYE, _INNER_EYE = (33, 263), (133, 362)
_UPPER_LID, _LOWER_LID = (159, 158, 160, 386, 385, 387), (145, 153, 144, 374, 380, 373)
_CHEEKS = (117, 50, 346, 280)
_WINGS, _UNDER_NOSE = (129, 358), (2,)
_CORNERS = (61, 291)
_UPPER_LIP, _LOWER_LIP = (0, 37, 267), (17, 84, 314)
_INNER_UPPER, _INNER_LOWER = (13, 82, 312), (14, 87, 317)
_CHIN, _CHIN_BOSS = (152,), (200, 199)

#: Names of the lengths, in the order of `lengths`.
LENGTHS = (
    "inner_brow", "outer_brow", "eye_opening", "lower_lid", "cheek", "nose_wing", "upper_lip",
    "corner_height", "corner_drop", "mouth_width", "lip_gap", "upper_red", "lower_red", "chin_drop",
    "chin_boss", "lower_lip",
)  # fmt: skip


@dataclass(frozen=True)
class Faces:
    """Faces of a clip in their own axes.

    Attributes:
        points: x to the person's left, y up, z to the front, origin between the eyes, unit the distance of
            the outer eye corners; float32 [n, 468, 3], NaN where no face is seen.
        angles: Yaw (positive to the person's left), pitch (positive up) and roll (positive to the person's
            left shoulder) against the mean head of the clip, radians, float32 [n, 3].
    """

    points: Floats
    angles: Floats


def normalise(points: Floats) -> Faces:
    """Free the points of a clip from position, size and pose.

    Args:
        points: Pixels, x right, y down, z away, float32 [n, 468, 3]; NaN where no face is seen.
    """
    seen = np.isfinite(points[:, 0, 0])
    result = np.full_like(points, np.nan)
    angles = np.full((len(points), 3), np.nan, np.float32)
    if seen.any():
        upright = points[seen] * np.array([1, -1, -1], np.float32)
        aligned, turns = _align(upright)
        axes, origin, unit = _own_axes(aligned.mean(axis=0))
        result[seen] = (aligned - origin) @ axes.T / unit
        angles[seen] = _angles(axes @ turns @ axes.T)
    return Faces(result, angles)


def _align(points: Floats) -> tuple[Floats, Floats]:
    """Lay every face over their mean; also the rotation [n, 3, 3] from the mean to each face."""
    mean = points[0]
    for _ in range(_ROUNDS):
        pairs = [_fit(face, mean) for face in points]
        aligned = np.stack([face for face, _ in pairs])
        mean = aligned.mean(axis=0)
    return aligned.astype(np.float32), np.stack([turn for _, turn in pairs])


def _fit(face: Floats, model: Floats) -> tuple[Floats, Floats]:
    """Turn, scale and shift a face so that its rigid points fall on those of the model (Kabsch, Umeyama)."""
    here, there = face[_RIGID, :], model[_RIGID, :]
    a, b = here - here.mean(axis=0), there - there.mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    turn = u @ flip @ vt
    scale = (s * np.diag(flip)).sum() / np.square(a).sum()
    return scale * (face - here.mean(axis=0)) @ turn + there.mean(axis=0), turn


def _own_axes(mean: Floats) -> tuple[Floats, Floats, float]:
    """Axes as rows [3, 3], origin [3] and unit of a mean face."""
    right, left = mean[_OUTER_EYE[0]], mean[_OUTER_EYE[1]]
    x = (left - right) / np.linalg.norm(left - right)
    up = mean[10] - mean[_UNDER_NOSE[0]]
    y = up - x * (up @ x)
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    return axes, (left + right) / 2, float(np.linalg.norm(left - right))


def _angles(turns: Floats) -> Floats:
    """Yaw, pitch, roll of rotations [n, 3, 3] of row vectors against the mean."""
    forward, sideways = turns[:, :, 2], turns[:, :, 0]
    yaw = np.arctan2(forward[:, 0], forward[:, 2])
    pitch = np.arcsin(np.clip(forward[:, 1], -1, 1))
    roll = np.arctan2(sideways[:, 1], sideways[:, 0])
    return np.stack([yaw, pitch, roll], axis=1)


def lengths(points: Floats, brows: Floats) -> Floats:
    """The lengths of faces in their own axes, float32 [n, len(LENGTHS)]; NaN where one is not seen.

    Args:
        points: As `Faces.points`.
        brows: As `Track.brows`.
    """

    def height(*index: int) -> Floats:
        return points[:, index, 1].mean(axis=1)

    def apart(pair: tuple[int, int]) -> Floats:
        return points[:, pair[1], 0] - points[:, pair[0], 0]

    nose, corners = height(*_UNDER_NOSE), height(*_CORNERS)
    upper, lower = height(*_INNER_UPPER), height(*_INNER_LOWER)
    columns = (
        _agreed(brows[:, 1:3]),
        _agreed(brows[:, [0, 3]]),
        height(*_UPPER_LID) - height(*_LOWER_LID),
        height(*_LOWER_LID) - height(*_OUTER_EYE, *_INNER_EYE),
        height(*_CHEEKS) - height(*_OUTER_EYE, *_INNER_EYE),
        height(*_WINGS) - height(*_INNER_EYE),
        height(*_UPPER_LIP) - nose,
        corners - nose,
        corners - (upper + lower) / 2,
        apart(_CORNERS),
        upper - lower,
        height(*_UPPER_LIP) - upper,
        lower - height(*_LOWER_LIP),
        nose - height(*_CHIN),
        height(*_CHIN_BOSS) - height(*_CHIN),
        height(*_LOWER_LIP) - nose,
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _agreed(pair: Floats) -> Floats:
    """Mean of both sides; NaN where they differ: then one of them is hair, a shadow or a pair of glasses."""
    mean = pair.mean(axis=1)
    return np.where(np.abs(pair[:, 0] - pair[:, 1]) <= _BROWS_AGREE, mean, np.nan).astype(np.float32)

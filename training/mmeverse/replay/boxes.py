"""Bounding boxes in words, as MiniGPT-v2 writes them (arXiv 2310.09478): ``{<x1><y1><x2><y2>}``, 0 to 100."""

from __future__ import annotations

import re

from training.mmeverse.sources.base import UnusableError

#: Right and bottom edge of the picture.
SCALE = 100
#: Annotators' boxes reach over the edge by a rounding error now and then; pixels.
_SLACK = 1.0
_BOX = re.compile(r"\{\s*<(\d{1,3})>\s*<(\d{1,3})>\s*<(\d{1,3})>\s*<(\d{1,3})>\s*\}")


def box_target(box: tuple[float, ...], width: int, height: int) -> str:
    """Write a box.

    Args:
        box: Left, top, width, height in pixels, as COCO has it.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Raises:
        UnusableError: It is no box of this picture.
    """
    left, top, across, down = box
    right, bottom = left + across, top + down
    is_inside = min(left, top) >= -_SLACK and right <= width + _SLACK and bottom <= height + _SLACK
    if not (across > 0 and down > 0 and is_inside):
        raise UnusableError(f"box {list(box)} is none of a picture of {width} x {height}")
    corners = (left / width, top / height, right / width, bottom / height)
    return "{" + "".join(f"<{min(SCALE, max(0, int(corner * SCALE)))}>" for corner in corners) + "}"


def read_box(text: str) -> tuple[int, int, int, int] | None:
    """The box in a model's words: left, top, right, bottom, 0 to 100; None where there is not exactly one."""
    found = _BOX.findall(text)
    if len(found) != 1:
        return None
    left, top, right, bottom = map(int, found[0])
    is_box = left <= right <= SCALE and top <= bottom <= SCALE
    return (left, top, right, bottom) if is_box else None

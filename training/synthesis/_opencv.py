"""OpenCV, or a clear word about how to get it."""

from __future__ import annotations

from emollama_ros.errors import InputError

try:
    import cv2
except ImportError as error:
    raise InputError(
        f"the generator of people draws with OpenCV, which cannot be imported ({error}): "
        "run `pip install opencv-python-headless`"
    ) from error

__all__ = ["cv2"]

"""The one resize of pictures that the model knows."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emollama_ros.errors import InputError

_U8: TypeAlias = NDArray[np.uint8]


def to_model_frame(rgb: _U8, size: int = 224) -> _U8:
    """Resize a picture to the square the model sees: the ONE resize of robot, training and export.

    Bilinear with antialiasing (Pillow), aspect ratio not kept, as in Emotion-LLaMAv2, which resizes to
    448 x 448 without keeping it: a face that fills a portrait picture is not cropped away.

    Args:
        rgb: uint8 ``[height, width, 3]``, at least 1 x 1.
        size: Width and height of the result, pixels.

    Returns:
        uint8 ``[size, size, 3]``; the argument itself when it has that size already.

    Raises:
        InputError: Not a picture of that type and shape.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise InputError(f"picture is {rgb.dtype}{list(rgb.shape)}, not uint8[height, width, 3]; use to_rgb")
    return resize(rgb, size)


def resize(pixels: _U8, size: int) -> _U8:
    """Do what ``to_model_frame`` does to any number of channels, each by itself.

    Args:
        pixels: uint8 ``[height, width]``, or ``[height, width, channels]`` with 3 or 4 channels.
        size: Width and height of the result, pixels.

    Returns:
        uint8 ``[size, size]`` or ``[size, size, channels]``; the argument itself when it has that size.
    """
    return pixels if pixels.shape[:2] == (size, size) else np.asarray(resize_image(_image(pixels), size))


def resize_image(image: Image.Image, size: int) -> Image.Image:
    """Do the same to a picture that Pillow holds already."""
    # reducing_gap halves large pictures by whole factors first: five times faster at 1080p.
    return image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _image(pixels: _U8) -> Image.Image:
    if pixels.shape[2:] != (4,):
        return Image.fromarray(pixels)
    # As X, not as alpha: Pillow would weigh the colours by it.
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels)
    return Image.frombuffer("RGBX", (width, height), data, "raw", "RGBX", 0, 1)

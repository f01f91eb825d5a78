"""Compressed pictures to RGB: what ``sensor_msgs/CompressedImage`` carries."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from emollama_ros.errors import InputError
from emollama_ros.preprocess.encodings import Bytes, is_known, quoted, to_rgb
from emollama_ros.preprocess.image import resize, resize_image

#: Largest picture accepted, pixels: 8K UHD, 0.3 GB to decode. A small file can unpack to gigabytes.
MAX_PIXELS = 7680 * 4320

#: The files that are read, whatever the message calls them.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

_STREAMS = ("h264", "x264", "avc", "h265", "x265", "hevc", "av1", "vp8", "vp9", "mpeg4", "ffmpeg", "theora")
_START_CODES = (b"\0\0\0\1", b"\0\0\1")
_PNG = b"\x89PNG\r\n\x1a\n"

#: Bytes that compressed_depth_image_transport puts before its PNG.
_DEPTH_HEADER = 12


def decode_compressed(data: Bytes, fmt: str = "", size: int | None = None) -> NDArray[np.uint8]:
    """Decode the data of a ``sensor_msgs/CompressedImage``.

    The data say what they are; ``format``, which drivers fill in freely (``jpeg``, ``rgb8; jpeg compressed
    bgr8``, nothing, ``png`` over a JPEG), decides only what data cannot: a grey picture that is a Bayer
    mosaic, as compressed_image_transport sends it (``bayer_rggb8; jpeg compressed``).

    Args:
        data: A JPEG, PNG, WebP, BMP or TIFF file.
        fmt: The message's ``format``.
        size: If given, return the model's square of so many pixels a side. A large JPEG is then decoded
            in half, a quarter or an eighth of its size, never below twice ``size``.

    Returns:
        uint8 ``[height, width, 3]`` (or ``[size, size, 3]``), RGB, upright as EXIF says. Alpha is dropped;
        16-bit grey is scaled by its full range (65535 becomes 255).

    Raises:
        InputError: Empty, truncated, too large, depth, a video stream, or no picture at all; names format,
            size and fix.
    """
    what = f"compressed image (format {quoted(fmt)}, {len(data)} bytes)"
    packed = bytes(data)
    if not packed:
        raise InputError(f"{what}: is empty; check that the camera delivers frames")
    if "compresseddepth" in fmt.lower() or packed[_DEPTH_HEADER:].startswith(_PNG):
        raise InputError(f"{what}: holds depth, not colour; subscribe to the colour camera's topic")
    try:
        return _unpack(what, packed, fmt, size)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{what}: {_why_unknown(packed, fmt)}") from None
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        said = str(error) or type(error).__name__
        raise InputError(f"{what}: cannot be decoded ({said}); it is cut off or damaged") from error


def _why_unknown(data: bytes, fmt: str) -> str:
    if data.startswith(_START_CODES) or any(word in fmt.lower() for word in _STREAMS):
        return (
            "holds a piece of a video stream, not a picture; decode it on the way "
            "(ros2 run image_transport republish, to raw), or let the camera send jpeg"
        )
    return f"is none of {', '.join(FORMATS)}; check the image transport"


def _unpack(what: str, data: bytes, fmt: str, size: int | None) -> NDArray[np.uint8]:
    with _open(what, data) as image:
        mosaic = _mosaic(fmt) if image.mode == "L" else ""
        if size is not None and not mosaic:
            image.draft(None, (2 * size, 2 * size))
        pixels = _pixels(image, None if mosaic else size)
    if mosaic:
        height, width = pixels.shape
        return to_rgb(pixels, height, width, mosaic, step=width, size=size)
    return pixels if pixels.ndim == 3 else np.broadcast_to(pixels[..., None], (*pixels.shape, 3))


def _open(what: str, data: bytes) -> Image.Image:
    """Read the head of the file, and no more if it announces too much."""
    limit = f"at most {MAX_PIXELS:,} pixels are accepted: let the camera send smaller pictures"
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"{what}: unpacks to far more than it may; {limit}") from None
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{what}: unpacks to {image.width}x{image.height}; {limit}")
    return image


def _pixels(image: Image.Image, size: int | None) -> NDArray[np.uint8]:
    """Return grey ``[h, w]`` or RGB ``[h, w, 3]``, resized if that is asked for."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        grey = (np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)
        return grey if size is None else resize(grey, size)
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image if size is None else resize_image(image, size))


def _mosaic(fmt: str) -> str:
    """Return the Bayer encoding that a grey picture of this format is in, or nothing."""
    source = fmt.partition(";")[0].strip().lower()
    return source if source.startswith("bayer_") and source.endswith("8") and is_known(source) else ""

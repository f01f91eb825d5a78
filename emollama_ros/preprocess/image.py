"""Pictures to numbers: any camera encoding to RGB, and the one resize the model knows."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from emollama_ros.errors import InputError

Bytes: TypeAlias = "bytes | bytearray | memoryview | NDArray[np.uint8]"
_U8: TypeAlias = NDArray[np.uint8]

#: Largest picture accepted from a compressed message, pixels; a small file can unpack to gigabytes.
MAX_PIXELS = 64_000_000

_COMPRESSED = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


@dataclass(frozen=True)
class _Layout:
    """How one encoding lies in memory.

    Attributes:
        pixel_bytes: Bytes of one pixel within a row.
        decode: Rows ``[rows, width * pixel_bytes]``, big endian? -> RGB ``[height, width, 3]``.
        planes: Rows of data for two rows of picture: 2, or 3 when half-height colour follows.
        even: (height, width) that must be even.
    """

    pixel_bytes: int
    decode: Callable[[_U8, bool], _U8]
    planes: int = 2
    even: tuple[bool, bool] = (False, False)


def to_rgb(data: Bytes, height: int, width: int, encoding: str, step: int, is_bigendian: bool = False) -> _U8:
    """Decode the data of a ``sensor_msgs/Image``.

    Alpha is dropped. 16-bit grey is scaled by its full range (65535 becomes 255), so a sensor that uses
    only its lower bits looks dark: scale it in the driver. YUV is taken as BT.601 limited range, as
    cameras send it. Bayer mosaics get one colour for every 2 x 2 cell: the model sees 224 pixels, and
    cameras that send mosaics have many more.

    Args:
        data: The message's buffer; anything with the buffer protocol.
        height: Rows, pixels.
        width: Columns, pixels.
        encoding: As in ``sensor_msgs/image_encodings.hpp``; ``ENCODINGS`` lists what is known.
        step: Bytes from one row to the next.
        is_bigendian: Byte order of 16-bit samples.

    Returns:
        uint8 ``[height, width, 3]``. For rgb8 a view of ``data`` (read-only if that is), else new.

    Raises:
        InputError: Unknown encoding, or sizes that do not fit each other; names both and the fix.
    """
    layout = _LAYOUTS.get(encoding.strip().lower())
    if layout is None:
        raise InputError(f"image encoding {encoding!r} is not known; publish one of {', '.join(ENCODINGS)}")
    what = f"{encoding} image of {width}x{height}, step {step}"
    _check_size(what, height, width, layout)
    rows = _rows(what, data, height * layout.planes // 2, width * layout.pixel_bytes, step)
    return layout.decode(rows, is_bigendian)


def _check_size(what: str, height: int, width: int, layout: _Layout) -> None:
    if height < 1 or width < 1:
        raise InputError(f"{what}: the picture is empty; check that the camera delivers frames")
    for name, value, even in zip(("height", "width"), (height, width), layout.even, strict=True):
        if even and value % 2:
            raise InputError(f"{what}: {name} {value} must be even in this encoding; crop by one pixel")


def _rows(what: str, data: Bytes, count: int, row_bytes: int, step: int) -> _U8:
    """Return the payload of each row, ``[count, row_bytes]``, as a view of the data."""
    if step < row_bytes:
        raise InputError(f"{what}: one row needs {row_bytes} bytes; correct step in the driver")
    flat = np.frombuffer(data, np.uint8)
    needed = step * count
    # Drivers pad the end of a buffer; a whole row too much means that the step is wrong.
    if not needed <= flat.size < needed + step:
        short = "short" if flat.size < needed else "long"
        raise InputError(
            f"{what}: data has {flat.size} bytes, too {short}, {needed} are expected; "
            "correct height, width, step and encoding in the driver so that data is step times rows"
        )
    return flat[:needed].reshape(count, step)[:, :row_bytes]


def _pick(pixel_bytes: int, *order: int) -> _Layout:
    """Encodings of whole bytes: ``order`` says where red, green and blue are."""

    def decode(rows: _U8, big: bool) -> _U8:
        pixels = rows.reshape(len(rows), -1, pixel_bytes)
        if order == (0, 1, 2) and pixel_bytes == 3:
            return pixels
        rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
        for channel, at in enumerate(order):  # seven times faster than pixels[..., order]
            rgb[..., channel] = pixels[..., at]
        return rgb

    return _Layout(pixel_bytes, decode)


def _decode_mono16(rows: _U8, big: bool) -> _U8:
    """Keep the high byte: division of the full range by 256 without any arithmetic."""
    high = rows.reshape(len(rows), -1, 2)[..., 0 if big else 1]
    return _grey(high)


def _grey(values: _U8) -> _U8:
    return np.repeat(values[..., None], 3, axis=-1)


def _yuv422(y_at: int, u_at: int, v_at: int) -> _Layout:
    """Two pixels in four bytes: Y at ``y_at`` and two further on, U and V shared."""

    def decode(rows: _U8, big: bool) -> _U8:
        return _yuv_to_rgb(rows[:, y_at::2], rows[:, u_at::4], rows[:, v_at::4])

    return _Layout(2, decode, even=(False, True))


def _yuv420(u_at: int, v_at: int) -> _Layout:
    """A plane of Y, then half as many rows of interleaved U and V."""

    def decode(rows: _U8, big: bool) -> _U8:
        height = len(rows) * 2 // 3
        colour = rows[height:].repeat(2, axis=0)
        return _yuv_to_rgb(rows[:height], colour[:, u_at::2], colour[:, v_at::2])

    return _Layout(1, decode, planes=3, even=(True, True))


def _yuv_to_rgb(y: _U8, u: _U8, v: _U8) -> _U8:
    """Convert BT.601 limited-range planes, Y ``[h, w]``, U and V ``[h, w / 2]``.

    The tables are in steps of 1/32, the finest that fit int16; the result is within 1 of the formula's.
    """
    luma = _TABLE_Y.take(y)
    rgb = np.empty((*y.shape, 3), np.uint8)
    for channel, colour in enumerate(
        (_TABLE_RV.take(v), _TABLE_GU.take(u) + _TABLE_GV.take(v), _TABLE_BU.take(u))
    ):
        value = luma + colour.repeat(2, axis=1)
        value >>= 5
        rgb[..., channel] = value.clip(0, 255, out=value)
    return rgb


def _table(factor: float, offset: int, rounding: int = 0) -> NDArray[np.int16]:
    return np.round(32 * factor * (np.arange(256.0) - offset) + rounding).astype(np.int16)


# ITU-R BT.601: R = 1.164 (Y-16) + 1.596 (V-128), and so on. The 16 rounds the shift by 5.
_TABLE_Y = _table(255 / 219, 16, 16)
_TABLE_RV = _table(1.596, 128)
_TABLE_GU = _table(-0.392, 128)
_TABLE_GV = _table(-0.813, 128)
_TABLE_BU = _table(2.017, 128)


def _bayer(pattern: str) -> _Layout:
    """Mosaic whose 2 x 2 cell reads ``pattern`` (``rggb``: red top left, blue bottom right)."""
    corners = ((0, 0), (0, 1), (1, 0), (1, 1))
    red, blue = corners[pattern.index("r")], corners[pattern.index("b")]
    greens = [corners[i] for i, colour in enumerate(pattern) if colour == "g"]

    def decode(rows: _U8, big: bool) -> _U8:
        cell = {at: rows[at[0] :: 2, at[1] :: 2] for at in corners}
        green = (cell[greens[0]].astype(np.uint16) + cell[greens[1]] + 1) // 2
        small = np.stack([cell[red], green.astype(np.uint8), cell[blue]], axis=-1)
        return small.repeat(2, axis=0).repeat(2, axis=1)

    return _Layout(1, decode, even=(True, True))


_MONO8 = _Layout(1, lambda rows, big: _grey(rows))
_MONO16 = _Layout(2, _decode_mono16)
_UYVY = _yuv422(1, 0, 2)
_YUYV = _yuv422(0, 1, 3)

_LAYOUTS: dict[str, _Layout] = {
    "rgb8": _pick(3, 0, 1, 2),
    "bgr8": _pick(3, 2, 1, 0),
    "rgba8": _pick(4, 0, 1, 2),
    "bgra8": _pick(4, 2, 1, 0),
    "mono8": _MONO8,
    "mono16": _MONO16,
    "8uc1": _MONO8,
    "8uc3": _pick(3, 2, 1, 0),  # OpenCV's order: what cv_bridge takes an untyped image for
    "8uc4": _pick(4, 2, 1, 0),
    "16uc1": _MONO16,
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _yuv420(0, 1),
    "nv21": _yuv420(1, 0),
    **{f"bayer_{pattern}8": _bayer(pattern) for pattern in ("rggb", "bggr", "gbrg", "grbg")},
}

#: Every encoding ``to_rgb`` decodes, in lower case (upper case is accepted).
ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)


def decode_compressed(data: Bytes, fmt: str = "") -> _U8:
    """Decode the data of a ``sensor_msgs/CompressedImage``.

    Args:
        data: A JPEG, PNG, WebP, BMP or TIFF file; which one is read from the data itself.
        fmt: The message's ``format``, such as ``rgb8; jpeg compressed bgr8``; for the messages, and to
            recognise depth images.

    Returns:
        uint8 ``[height, width, 3]``, RGB. Alpha is dropped; 16-bit grey is scaled by its full range.

    Raises:
        InputError: Empty, truncated, a depth image, or no picture at all; names the format and size.
    """
    what = f"compressed image ({fmt or 'no format given'}, {len(data)} bytes)"
    if "compresseddepth" in fmt.lower():
        raise InputError(f"{what}: holds depth, not colour; subscribe to the colour camera's topic")
    if not len(data):
        raise InputError(f"{what}: is empty; check that the camera delivers frames")
    try:
        return _unpack(what, data)
    except UnidentifiedImageError:
        raise InputError(f"{what}: is none of {', '.join(_COMPRESSED)}; check the image transport") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{what}: cannot be decoded ({error}); it is cut off or damaged") from error


def _unpack(what: str, data: Bytes) -> _U8:
    with Image.open(io.BytesIO(bytes(data)), formats=_COMPRESSED) as image:
        if image.width * image.height > MAX_PIXELS:
            raise InputError(
                f"{what}: unpacks to {image.width}x{image.height}; at most {MAX_PIXELS:,} pixels"
            )
        if image.mode.startswith("I"):
            values = np.asarray(image)
            return _grey((values.clip(0, 65535) >> 8).astype(np.uint8))
        return np.asarray(image.convert("RGB"))


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
    if rgb.shape == (size, size, 3):
        return rgb
    # reducing_gap halves large pictures by whole factors first: five times faster at 1080p.
    image = Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image)

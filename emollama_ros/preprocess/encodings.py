"""Raw pictures to RGB: every encoding of ``sensor_msgs/Image`` that a camera may send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.preprocess.image import resize

Bytes: TypeAlias = "bytes | bytearray | memoryview | NDArray[np.uint8]"
_U8: TypeAlias = NDArray[np.uint8]
_Planes: TypeAlias = "tuple[_U8, ...]"

#: Longest part of a text out of a message that an error quotes: a damaged one may be megabytes long.
QUOTED = 60


@dataclass(frozen=True)
class _Layout:
    """How one encoding lies in memory.

    Decoding has two steps, so that a picture can be made smaller between them, when it has less data.

    Attributes:
        pixel_bytes: Bytes of one pixel within a row of the first plane.
        split: Rows ``[rows, step]``, width, big endian? -> planes ``[h, w]`` or ``[h, w, channels]``, views
            where that is possible. Planes of colour may be smaller than that of brightness.
        join: Planes, (height, width) of the picture -> RGB ``[height, width, 3]``.
        half_rows: Rows of data for two rows of picture: 2, more when planes of colour follow.
        even: Which of height, width and step must be even.
    """

    pixel_bytes: int
    split: Callable[[_U8, int, bool], _Planes]
    join: Callable[[_Planes, tuple[int, int]], _U8]
    half_rows: int = 2
    even: tuple[str, ...] = ()


def to_rgb(
    data: Bytes,
    height: int,
    width: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    size: int | None = None,
) -> _U8:
    """Decode the data of a ``sensor_msgs/Image``.

    Alpha is dropped. 16-bit samples are scaled by their full range (65535 becomes 255), so a sensor that
    uses only its lower bits looks dark: scale it in the driver. YUV is taken as BT.601 limited range, as
    cameras send it. Bayer mosaics get one colour for every 2 x 2 cell: the model sees 224 pixels, and
    cameras that send mosaics have many more.

    Args:
        data: The message's buffer; anything with the buffer protocol.
        height: Rows, pixels.
        width: Columns, pixels.
        encoding: As in ``sensor_msgs/image_encodings.hpp``; ``ENCODINGS`` lists what is known.
        step: Bytes from one row to the next. Where planes of colour follow, of the first plane.
        is_bigendian: Byte order of 16-bit samples.
        size: If given, return the model's square of so many pixels a side. It is made before the
            colours are converted, which costs a fraction of resizing afterwards, and agrees with
            ``to_model_frame(to_rgb(...))`` within rounding; where colours are as saturated as YUV and
            mosaics can make them, and change from pixel to pixel, less closely.

    Returns:
        uint8 ``[height, width, 3]`` (or ``[size, size, 3]``). For rgb8, rgb16 and grey a view of ``data``
        (read-only if that is, and always for grey), else new.

    Raises:
        InputError: Unknown encoding, or sizes that do not fit each other; names both and the fix.
    """
    layout = _LAYOUTS.get(_canonical(encoding))
    if layout is None:
        raise InputError(unknown(encoding))
    what = f"{encoding.strip()} image of {width}x{height}, step {step}"
    _check_size(what, {"height": height, "width": width, "step": step}, layout)
    rows = _rows(what, data, height * layout.half_rows // 2, width * layout.pixel_bytes, step)
    planes = layout.split(rows, width, is_bigendian)
    if size is None:
        return layout.join(planes, (height, width))
    return layout.join(tuple(resize(plane, size) for plane in planes), (size, size))


def is_known(encoding: str) -> bool:
    """Whether ``to_rgb`` decodes an encoding."""
    return _canonical(encoding) in _LAYOUTS


def unknown(encoding: str) -> str:
    """Return the text of an error: which encoding is not known, and what to send instead."""
    return (
        f"image encoding {quoted(encoding)} is not known; publish {', '.join(_COMMON)} "
        f'or another of the {len(ENCODINGS)} under "What a camera may send" in docs/nodes.md'
    )


def quoted(text: str) -> str:
    """Return a text out of a message as an error may show it: in quotes, on one line, short."""
    return repr(text if len(text) <= QUOTED else text[:QUOTED] + "...")


def _canonical(encoding: str) -> str:
    name = encoding.strip().lower()
    return _OTHER_NAMES.get(name, name)


def _check_size(what: str, sizes: dict[str, int], layout: _Layout) -> None:
    if sizes["height"] < 1 or sizes["width"] < 1:
        raise InputError(f"{what}: the picture is empty; check that the camera delivers frames")
    for name in layout.even:
        if sizes[name] % 2:
            raise InputError(
                f"{what}: {name} {sizes[name]} must be even in this encoding; the driver must crop by one"
            )


def _rows(what: str, data: Bytes, count: int, row_bytes: int, step: int) -> _U8:
    """Return the rows with their padding, ``[count, step]``, as a view of the data."""
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
    return flat[:needed].reshape(count, step)


def _packed(channels: int, *order: int) -> _Layout:
    """Whole pixels one after another: ``order`` says where red, green and blue are."""

    def split(rows: _U8, width: int, big: bool) -> _Planes:
        return (rows[:, : width * channels].reshape(len(rows), width, channels),)

    def join(planes: _Planes, shape: tuple[int, int]) -> _U8:
        if (channels, *order) == (3, 0, 1, 2):
            return planes[0]
        rgb = np.empty((*shape, 3), np.uint8)
        for channel, at in enumerate(order):  # seven times faster than pixels[..., order]
            rgb[..., channel] = planes[0][..., at]
        return rgb

    return _Layout(channels, split, join)


def _wide(layout: _Layout) -> _Layout:
    """The same in 16-bit samples: keep the high bytes, which divides the full range without arithmetic."""

    def split(rows: _U8, width: int, big: bool) -> _Planes:
        return layout.split(rows[:, 0 if big else 1 :: 2], width, big)

    return replace(layout, pixel_bytes=2 * layout.pixel_bytes, split=split)


def _join_grey(planes: _Planes, shape: tuple[int, int]) -> _U8:
    return np.broadcast_to(planes[0][..., None], (*shape, 3))


def _grown(values: NDArray, shape: tuple[int, int]) -> NDArray:
    """Repeat the pixels of a smaller plane until it is as large as the picture."""
    for axis in (1, 0):
        factor = shape[axis] // values.shape[axis]
        values = values.repeat(factor, axis) if factor > 1 else values
    return values


def _yuv422(y_at: int, u_at: int, v_at: int) -> _Layout:
    """Two pixels in four bytes: Y at ``y_at`` and two further on, U and V shared."""

    def split(rows: _U8, width: int, big: bool) -> _Planes:
        rows = rows[:, : 2 * width]
        return rows[:, y_at::2], rows[:, u_at::4], rows[:, v_at::4]

    return _Layout(2, split, _join_yuv, even=("width",))


def _two_planes(u_at: int, v_at: int, cell: int) -> _Layout:
    """A plane of Y, then one of U and V in turns, a pair for every ``cell`` x ``cell`` pixels.

    With a pair for every pixel (nv24) the rows of colour are twice as long as those of Y, padding included.
    """

    def split(rows: _U8, width: int, big: bool) -> _Planes:
        height = len(rows) * cell // (cell + 2 // cell)
        colour = rows[height:].reshape(height // cell, -1)[:, : 2 * width // cell]
        return rows[:height, :width], colour[:, u_at::2], colour[:, v_at::2]

    even = ("height", "width") if cell == 2 else ()
    return _Layout(1, split, _join_yuv, half_rows=3 if cell == 2 else 6, even=even)


def _three_planes(u_plane: int, v_plane: int) -> _Layout:
    """Planes of Y, U and V; those of colour have half the height, width and step."""

    def split(rows: _U8, width: int, big: bool) -> _Planes:
        height = len(rows) * 2 // 3
        colour = rows[height:].reshape(2, height // 2, -1)[..., : width // 2]
        return rows[:height, :width], colour[u_plane], colour[v_plane]

    return _Layout(1, split, _join_yuv, half_rows=3, even=("height", "width", "step"))


def _join_yuv(planes: _Planes, shape: tuple[int, int]) -> _U8:
    """Convert BT.601 limited-range planes.

    The tables are in steps of 1/32, the finest that fit int16; the result is within 1 of the formula's.
    """
    y, u, v = planes
    luma = _TABLE_Y.take(y)
    rgb = np.empty((*shape, 3), np.uint8)
    colours = (_TABLE_RV.take(v), _TABLE_GU.take(u) + _TABLE_GV.take(v), _TABLE_BU.take(u))
    for channel, colour in enumerate(colours):
        value = luma + _grown(colour, shape)
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

    def split(rows: _U8, width: int, big: bool) -> _Planes:
        cell = [rows[at // 2 :: 2, at % 2 : width : 2] for at in range(4)]
        first, second = (cell[at] for at in range(4) if pattern[at] == "g")
        green = (first | second) - ((first ^ second) >> 1)  # the mean, rounded up, without wider numbers
        return cell[pattern.index("r")], green, cell[pattern.index("b")]

    return _Layout(1, split, _join_cells, even=("height", "width"))


def _join_cells(planes: _Planes, shape: tuple[int, int]) -> _U8:
    return _grown(np.stack(planes, axis=-1), shape)


_MONO = _Layout(1, lambda rows, width, big: (rows[:, :width],), _join_grey)
_RGB, _BGR, _RGBA, _BGRA = _packed(3, 0, 1, 2), _packed(3, 2, 1, 0), _packed(4, 0, 1, 2), _packed(4, 2, 1, 0)
_BAYER = {pattern: _bayer(pattern) for pattern in ("rggb", "bggr", "gbrg", "grbg")}

# Untyped images (8UC3 and so on) have OpenCV's order: what cv_bridge takes them for.
_EIGHT = {"rgb{}": _RGB, "bgr{}": _BGR, "rgba{}": _RGBA, "bgra{}": _BGRA, "mono{}": _MONO}
_UNTYPED = {"{}uc1": _MONO, "{}uc3": _BGR, "{}uc4": _BGRA}
_MOSAICS = {f"bayer_{pattern}{{}}": layout for pattern, layout in _BAYER.items()}

_LAYOUTS: dict[str, _Layout] = {
    name.format(bits): layout if bits == 8 else _wide(layout)
    for group in (_EIGHT, _UNTYPED, _MOSAICS)
    for bits in (8, 16)
    for name, layout in group.items()
} | {
    "uyvy": _yuv422(1, 0, 2),
    "yuyv": _yuv422(0, 1, 3),
    "nv12": _two_planes(0, 1, 2),
    "nv21": _two_planes(1, 0, 2),
    "nv24": _two_planes(0, 1, 1),
    "i420": _three_planes(0, 1),
    "yv12": _three_planes(1, 0),
}

# ROS's own older names, and what drivers call the same layouts in the words of V4L2, FFmpeg and libcamera.
_OTHER_NAMES = {
    "yuv422": "uyvy",
    "yuv422_yuy2": "yuyv",
    "yuy2": "yuyv",
    "yuyv422": "yuyv",
    "uyvy422": "uyvy",
    "yuv420": "i420",
    "yuv420p": "i420",
}

#: Every encoding ``to_rgb`` decodes, in lower case (upper case is accepted).
ENCODINGS: tuple[str, ...] = (*_LAYOUTS, *_OTHER_NAMES)

_COMMON = ("rgb8", "bgr8", "mono8", "yuyv", "nv12", "bayer_rggb8")

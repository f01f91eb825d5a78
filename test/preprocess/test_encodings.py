"""Image encodings: known values for each, and a clear error for each kind of wrong message."""

from __future__ import annotations

import array
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from emollama_ros.preprocess.encodings import ENCODINGS, QUOTED, is_known, to_rgb
from emollama_ros.preprocess.image import to_model_frame

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def picture(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def padded(rows: np.ndarray, extra: int) -> bytes:
    """Rows of bytes with ``extra`` bytes of padding after each."""
    return np.pad(rows.reshape(len(rows), -1), ((0, 0), (0, extra)), constant_values=7).tobytes()


@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "channels"),
    [
        ("rgb8", "rgb"),
        ("bgr8", "bgr"),
        ("rgba8", "rgba"),
        ("bgra8", "bgra"),
        ("8UC3", "bgr"),
        ("8UC4", "bgra"),
    ],
)
def test_colour_round_trip(encoding: str, channels: str, extra: int) -> None:
    rgb = picture()
    planes = dict(zip("rgb", np.moveaxis(rgb, -1, 0), strict=True), a=np.full((4, 6), 3, np.uint8))
    packed = np.stack([planes[c] for c in channels], axis=-1)
    out = to_rgb(padded(packed, extra), 4, 6, encoding, 6 * len(channels) + extra)
    np.testing.assert_array_equal(out, rgb)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_equal_in_all_channels(encoding: str) -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    out = to_rgb(padded(grey, 2), 4, 6, encoding, 8)
    np.testing.assert_array_equal(out, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_is_scaled_by_its_full_range(encoding: str, order: str) -> None:
    grey = np.array([[0, 255, 256, 32768, 65535]], dtype=f"{order}u2")
    out = to_rgb(grey.tobytes(), 1, 5, encoding, 10, is_bigendian=order == ">")
    assert out[0, :, 1].tolist() == [0, 0, 1, 128, 255]


# BT.601 limited range, as in the tables of the standard: (Y, U, V) of the saturated colours.
YUV = {
    RED: (82, 90, 240),
    GREEN: (145, 54, 34),
    BLUE: (41, 240, 110),
    WHITE: (235, 128, 128),
    BLACK: (16, 128, 128),
}


@pytest.mark.parametrize("colour", YUV)
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("yuv422", "uyvy"),
        ("uyvy", "uyvy"),
        ("uyvy422", "uyvy"),
        ("yuv422_yuy2", "yuyv"),
        ("yuyv", "yuyv"),
        ("yuy2", "yuyv"),
        ("yuyv422", "yuyv"),
    ],
)
def test_yuv422_known_colours(encoding: str, order: str, colour: tuple[int, int, int]) -> None:
    value = dict(zip("yuv", YUV[colour], strict=True))
    data = bytes(value[c] for c in order) * 4
    out = to_rgb(data, 2, 4, encoding, 8)
    np.testing.assert_allclose(out, np.broadcast_to(colour, (2, 4, 3)), atol=2)


@pytest.mark.parametrize("colour", YUV)
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_nv12_known_colours(encoding: str, colour: tuple[int, int, int]) -> None:
    y, u, v = YUV[colour]
    pair = (u, v) if encoding == "nv12" else (v, u)
    data = bytes([y] * 16) + bytes(pair * 4)
    np.testing.assert_allclose(to_rgb(data, 4, 4, encoding, 4), np.broadcast_to(colour, (4, 4, 3)), atol=2)


def test_yuv_places_every_pixel() -> None:
    """Luma differs from pixel to pixel, colour from pair to pair."""
    out = to_rgb(bytes([16, 128, 235, 128, 82, 90, 82, 240]), 1, 4, "yuyv", 8)
    np.testing.assert_allclose(out[0], [BLACK, WHITE, RED, RED], atol=2)


def test_nv12_shares_colour_between_two_rows() -> None:
    luma, colour = [82, 82, 41, 41] * 2, [90, 240, 240, 110]
    out = to_rgb(bytes(luma + colour), 2, 4, "nv12", 4)
    np.testing.assert_allclose(out, [[RED, RED, BLUE, BLUE]] * 2, atol=2)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_yuv_agrees_with_the_formula(y: int, u: int, v: int) -> None:
    luma, cu, cv = 255 / 219 * (y - 16), u - 128, v - 128
    exact = (luma + 1.596 * cv, luma - 0.392 * cu - 0.813 * cv, luma + 2.017 * cu)
    out = to_rgb(bytes([y, u, y, v]), 1, 2, "yuyv", 4)
    np.testing.assert_allclose(out[0, 0], np.clip(exact, 0, 255), atol=1.05)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_cells(pattern: str) -> None:
    value = {"r": 200, "g": 100, "b": 30}
    cell = np.array([value[c] for c in pattern], np.uint8).reshape(2, 2)
    out = to_rgb(np.tile(cell, (2, 3)).tobytes(), 4, 6, f"bayer_{pattern}8", 6)
    np.testing.assert_array_equal(out, np.broadcast_to((200, 100, 30), (4, 6, 3)))


def test_bayer_greens_are_averaged_and_cells_keep_their_place() -> None:
    data = np.array([[10, 20, 50, 60], [41, 30, 81, 70]], np.uint8)
    out = to_rgb(data.tobytes(), 2, 4, "bayer_rggb8", 4)
    assert out[0, 0].tolist() == out[1, 1].tolist() == [10, 31, 30]
    assert out[0, 2].tolist() == out[1, 3].tolist() == [50, 71, 70]


@pytest.mark.parametrize(
    "kind",
    [bytes, bytearray, memoryview, lambda b: array.array("B", b), lambda b: np.frombuffer(b, np.uint8)],
)
def test_any_buffer_will_do(kind: object) -> None:
    np.testing.assert_array_equal(to_rgb(kind(picture().tobytes()), 4, 6, "rgb8", 18), picture())


def test_padding_at_the_end_of_the_buffer_is_ignored() -> None:
    np.testing.assert_array_equal(to_rgb(picture().tobytes() + bytes(17), 4, 6, "rgb8", 18), picture())


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "mono16", "bgra8"])
def test_a_single_pixel(encoding: str) -> None:
    assert to_rgb(bytes(4), 1, 1, encoding, 4).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ((bytes(72), 4, 6, "rgb8", 17), ["rgb8 image of 6x4, step 17", "18 bytes", "correct step"]),
        ((bytes(72), 4, 6, "rgb8", 0), ["step 0", "18 bytes"]),
        ((bytes(71), 4, 6, "rgb8", 18), ["71 bytes", "too short", "72"]),
        ((bytes(90), 4, 6, "rgb8", 18), ["90 bytes", "too long", "72"]),
        ((b"", 4, 6, "rgb8", 18), ["0 bytes", "too short"]),
        ((b"", 0, 0, "rgb8", 0), ["0x0", "empty", "camera"]),
        ((bytes(6), 2, 0, "mono8", 3), ["0x2", "empty"]),
        ((bytes(72), 4, 6, "32FC1", 18), ["'32FC1'", "not known", "rgb8", "bayer_rggb8", "docs/nodes.md"]),
        ((bytes(72), 4, 6, "", 18), ["''", "not known"]),
        ((bytes(12), 2, 3, "yuyv", 6), ["width 3", "even"]),
        ((bytes(18), 3, 4, "nv12", 4), ["height 3", "even"]),
        ((bytes(16), 4, 4, "nv12", 4), ["16 bytes", "too short", "24"]),
        ((bytes(9), 3, 3, "bayer_grbg8", 3), ["height 3", "even"]),
        ((bytes(18), 3, 3, "bayer_grbg16", 6), ["height 3", "even"]),
        ((bytes(30), 4, 4, "i420", 5), ["step 5", "even"]),
        ((bytes(32), 4, 4, "nv24", 4), ["32 bytes", "too short", "48"]),
        ((bytes(48), 4, 4, "rgb16", 12), ["24 bytes", "correct step"]),
        ((bytes(4), 2, 2, "8UC2", 2), ["'8UC2'", "not known"]),
        ((bytes(4), 2, 2, "x" * 5000 + "\n", 2), ["x" * QUOTED + "..."]),
    ],
)
def test_wrong_messages_say_what_is_wrong(message: tuple, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        to_rgb(*message)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@given(
    data=st.binary(max_size=200),
    height=st.integers(-1, 9) | st.integers(0, 2**32 - 1),
    width=st.integers(-1, 9) | st.integers(0, 2**32 - 1),
    encoding=st.sampled_from([*ENCODINGS, "jpeg"]) | st.text(),
    step=st.integers(-5, 40) | st.integers(0, 2**32 - 1),
    big=st.booleans(),
)
def test_no_message_crashes(
    data: bytes, height: int, width: int, encoding: str, step: int, big: bool
) -> None:
    try:
        out = to_rgb(data, height, width, encoding, step, big)
    except InputError as error:
        assert str(height) in str(error) or not is_known(encoding)
        return
    assert out.shape == (height, width, 3) and out.dtype == np.uint8


#: FFmpeg's names of the layouts, and bytes of a pixel in the rows of the first plane.
FFMPEG = {
    name: (layout, pixel_bytes)
    for layout, pixel_bytes, names in (
        ("rgb24", 3, "rgb8"),
        ("bgr24", 3, "bgr8 8uc3"),
        ("rgba", 4, "rgba8"),
        ("bgra", 4, "bgra8 8uc4"),
        ("gray", 1, "mono8 8uc1"),
        ("rgb48le", 6, "rgb16"),
        ("bgr48le", 6, "bgr16 16uc3"),
        ("rgba64le", 8, "rgba16"),
        ("bgra64le", 8, "bgra16 16uc4"),
        ("gray16le", 2, "mono16 16uc1"),
        ("nv12", 1, "nv12"),
        ("nv21", 1, "nv21"),
        ("nv24", 1, "nv24"),
        ("yuv420p", 1, "i420 yuv420 yuv420p"),
        ("yuyv422", 2, "yuyv yuv422_yuy2 yuy2 yuyv422"),
        ("uyvy422", 2, "uyvy yuv422 uyvy422"),
    )
    for name in names.split()
}
YUVS = [name for name, (layout, _) in FFMPEG.items() if layout.startswith(("nv", "yuv", "yuy", "uyv"))]
WIDE = [name for name, (layout, _) in FFMPEG.items() if layout.endswith("le") and "gray" not in layout]
PATTERNS = ["rggb", "bggr", "gbrg", "grbg"]


def scene(height: int, width: int) -> np.ndarray:
    """Slow ramps of every colour: what neighbours share is nearly equal there."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = (40 + 170 * across, 210 - 170 * down, 60 + 70 * (across + down))
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def by_ffmpeg(rgb: np.ndarray, layout: str, step: int) -> bytes:
    """The picture in another layout; the rows of every plane are in proportion to ``step``."""
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
    frame = frame.reformat(format=layout, dst_colorspace="ITU601", dst_color_range="MPEG")
    planes = [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size) for p in frame.planes]
    shares = {1: (1,), 2: (1, 2 if layout == "nv24" else 1), 3: (1, 0.5, 0.5)}[len(planes)]
    return b"".join(fitted(p, int(step * part)).tobytes() for p, part in zip(planes, shares, strict=True))


def fitted(rows: np.ndarray, step: int) -> np.ndarray:
    rows = rows[:, :step]
    return np.pad(rows, ((0, 0), (0, step - rows.shape[1])), constant_values=99)


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    out = np.empty(rgb.shape[:2], np.uint8)
    for at, colour in enumerate(pattern):
        cell = np.s_[at // 2 :: 2, at % 2 :: 2]
        out[cell] = rgb[cell][..., "rgb".index(colour)]
    return out


def sent(rgb: np.ndarray, encoding: str, extra: int = 0) -> tuple[bytes, int]:
    """Data and step of a message that holds the picture, made without the code under test."""
    width = rgb.shape[1]
    if encoding == "yv12":
        data, step = sent(rgb, "i420", extra)
        fourth = len(data) // 6
        return data[: 4 * fourth] + data[5 * fourth :] + data[4 * fourth : 5 * fourth], step
    if encoding.startswith("bayer"):
        cells = mosaic(rgb, encoding[6:10])
        wide = cells.astype("<u2") << 8 if encoding.endswith("16") else cells
        rows = wide.view(np.uint8)
        return padded(rows, extra), rows.shape[1] + extra
    layout, pixel_bytes = FFMPEG[encoding]
    step = width * pixel_bytes + extra
    return by_ffmpeg(rgb, layout, step), step


@pytest.mark.parametrize("encoding", [*YUVS, "yv12"])
@pytest.mark.parametrize("extra", [0, 16])
def test_yuv_of_ffmpeg_comes_back(encoding: str, extra: int) -> None:
    rgb = scene(48, 70)
    data, step = sent(rgb, encoding, extra)
    away = np.abs(to_rgb(data, 48, 70, encoding, step) - rgb.astype(int))
    assert away.max() <= 6 and away.mean() < 2


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("big", [False, True])
def test_16_bits_of_ffmpeg_come_back(encoding: str, big: bool) -> None:
    rgb = scene(48, 70)
    data, step = sent(rgb, encoding, 8)
    if big:
        data = np.frombuffer(data, np.uint16).byteswap().tobytes()
    np.testing.assert_allclose(to_rgb(data, 48, 70, encoding, step, big), rgb.astype(int), atol=2)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("bits", [8, 16])
def test_mosaics_agree_with_opencv(pattern: str, bits: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV to compare with")
    rgb, encoding = scene(48, 80), f"bayer_{pattern}{bits}"
    theirs = cv2.cvtColor(mosaic(rgb, pattern), getattr(cv2, f"COLOR_Bayer{pattern.upper()}2RGB"))
    data, step = sent(rgb, encoding, 6)
    out = to_rgb(data, 48, 80, encoding, step)
    np.testing.assert_allclose(out[2:-2, 2:-2], theirs[2:-2, 2:-2].astype(int), atol=8)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_model_sees_the_same_made_before_or_after_the_colours(encoding: str) -> None:
    rgb = scene(150, 202)
    data, step = sent(rgb, encoding, 2)
    after = to_model_frame(to_rgb(data, 150, 202, encoding, step), 64)
    before = to_rgb(data, 150, 202, encoding, step, size=64)
    assert before.shape == (64, 64, 3) and before.dtype == np.uint8
    np.testing.assert_allclose(before, after.astype(int), atol=4)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "rgb16", "8uc4"])
def test_without_shared_colours_the_model_frame_is_exactly_the_same(encoding: str) -> None:
    """Also over noise, and whatever the alpha says."""
    data = np.random.default_rng(7).integers(0, 256, 150 * 1620, dtype=np.uint8)
    after = to_model_frame(to_rgb(data, 150, 202, encoding, 1620), 64)
    np.testing.assert_array_equal(to_rgb(data, 150, 202, encoding, 1620, size=64), after)


@pytest.mark.parametrize(("encoding", "pixel_bytes"), [("rgb8", 3), ("mono8", 1), ("16UC1", 2), ("rgb16", 6)])
def test_what_need_not_be_computed_is_not_copied(encoding: str, pixel_bytes: int) -> None:
    data = array.array("B", bytes(4 * 8 * pixel_bytes))
    out = to_rgb(data, 4, 6, encoding, 8 * pixel_bytes)
    assert np.shares_memory(out, np.frombuffer(data, np.uint8))


def test_the_document_lists_every_encoding() -> None:
    text = (Path(__file__).parents[2] / "docs" / "nodes.md").read_text()
    section = text.partition("## What a camera may send")[2].partition("\n## ")[0]
    rows = [row.split("`")[1::2] for row in section.splitlines() if row.startswith("| `")]
    listed = {name.lower() for row in rows for name in row}
    assert set(ENCODINGS) <= listed

"""Image encodings: known values for each, and a clear error for each kind of wrong message."""

from __future__ import annotations

import array
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emollama_ros.errors import InputError
from emollama_ros.preprocess import compressed
from emollama_ros.preprocess.compressed import decode_compressed
from emollama_ros.preprocess.encodings import ENCODINGS, to_rgb
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
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
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


def test_rgb8_is_not_copied() -> None:
    data = array.array("B", picture().tobytes())
    out = to_rgb(data, 4, 6, "rgb8", 18)
    assert np.shares_memory(out, np.frombuffer(data, np.uint8))


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
        ((bytes(72), 4, 6, "32FC1", 18), ["'32FC1'", "rgb8", "bayer_rggb8"]),
        ((bytes(72), 4, 6, "", 18), ["''", "not known"]),
        ((bytes(12), 2, 3, "yuyv", 6), ["width 3", "even"]),
        ((bytes(18), 3, 4, "nv12", 4), ["height 3", "even"]),
        ((bytes(16), 4, 4, "nv12", 4), ["16 bytes", "too short", "24"]),
        ((bytes(9), 3, 3, "bayer_grbg8", 3), ["height 3", "even"]),
    ],
)
def test_wrong_messages_say_what_is_wrong(message: tuple, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        to_rgb(*message)
    for word in words:
        assert word in str(caught.value)


@given(
    data=st.binary(max_size=200),
    height=st.integers(-1, 9),
    width=st.integers(-1, 9),
    encoding=st.sampled_from([*ENCODINGS, "jpeg"]),
    step=st.integers(-5, 40),
    big=st.booleans(),
)
def test_no_message_crashes(
    data: bytes, height: int, width: int, encoding: str, step: int, big: bool
) -> None:
    try:
        out = to_rgb(data, height, width, encoding, step, big)
    except InputError:
        return
    assert out.shape == (height, width, 3) and out.dtype == np.uint8


def packed(form: str, pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def test_png_is_exact_and_alpha_dropped() -> None:
    rgb = picture()
    np.testing.assert_array_equal(decode_compressed(packed("PNG", rgb), "rgb8; png compressed bgr8"), rgb)
    rgba = np.dstack([rgb, np.zeros((4, 6), np.uint8)])
    np.testing.assert_array_equal(decode_compressed(packed("PNG", rgba), "png"), rgb)


def test_jpeg_colours() -> None:
    out = decode_compressed(packed("JPEG", np.full((16, 16, 3), RED, np.uint8)), "jpeg")
    np.testing.assert_allclose(out, np.broadcast_to(RED, (16, 16, 3)), atol=3)


def test_16_bit_png_is_scaled_by_its_full_range() -> None:
    grey = np.array([[0, 256, 32768, 65535]], np.uint16)
    assert decode_compressed(packed("PNG", grey), "16UC1; png compressed")[0, :, 2].tolist() == [
        0,
        1,
        128,
        255,
    ]


@pytest.mark.parametrize(
    ("data", "fmt", "words"),
    [
        (b"", "jpeg", ["jpeg", "0 bytes", "empty"]),
        (b"no picture at all", "jpeg", ["17 bytes", "none of JPEG"]),
        (packed("JPEG", picture(64, 64), quality=95)[:900], "jpeg", ["cannot be decoded", "cut off"]),
        (packed("PNG", picture(64, 64))[:900], "png", ["cannot be decoded", "cut off"]),
        (b"x" * 40, "16UC1; compressedDepth", ["depth", "colour"]),
    ],
)
def test_wrong_compressed_messages_say_what_is_wrong(data: bytes, fmt: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        decode_compressed(data, fmt)
    for word in words:
        assert word in str(caught.value)


def test_a_small_file_cannot_unpack_to_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "MAX_PIXELS", 10)
    with pytest.raises(InputError, match="unpacks to 6x4"):
        decode_compressed(packed("PNG", picture()), "png")


@given(st.binary(max_size=100))
def test_no_compressed_message_crashes(data: bytes) -> None:
    with pytest.raises(InputError):
        decode_compressed(data, "jpeg")


@pytest.mark.parametrize(
    "shape", [(1, 1), (480, 640), (1280, 720), (1080, 1920), (1, 5000), (224, 224), (30, 30)]
)
def test_the_model_frame_is_always_square_and_keeps_colour(shape: tuple[int, int]) -> None:
    rgb = np.broadcast_to(np.array((10, 200, 90), np.uint8), (*shape, 3)).copy()
    out = to_model_frame(rgb)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, np.broadcast_to((10, 200, 90), (224, 224, 3)))


def test_resizing_averages_instead_of_skipping_pixels() -> None:
    """Stripes of one pixel become grey: without antialiasing they would become noise or vanish."""
    stripes = np.zeros((448, 896, 3), np.uint8)
    stripes[:, ::2] = 255
    out = to_model_frame(stripes)
    assert abs(int(out[100, 20:200].min()) - 127) <= 3 and abs(int(out[100, 20:200].max()) - 127) <= 3


def test_a_ramp_stays_a_ramp_without_shift() -> None:
    ramp = np.repeat(np.linspace(0, 255, 640).round().astype(np.uint8)[None, :, None], 480, axis=0).repeat(
        3, axis=2
    )
    expected = np.interp((np.arange(224) + 0.5) * 640 / 224 - 0.5, np.arange(640), np.linspace(0, 255, 640))
    np.testing.assert_allclose(to_model_frame(ramp)[100, 2:-2, 0], expected[2:-2], atol=1.01)


def test_a_frame_of_the_right_size_is_untouched() -> None:
    rgb = picture(224, 224)
    assert to_model_frame(rgb) is rgb


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
    ],
)
def test_only_pictures_are_resized(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="to_rgb"):
        to_model_frame(wrong)

"""Compressed pictures: what they hold decides, whatever they are called; nothing damaged gets through."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from emollama_ros.errors import InputError
from emollama_ros.preprocess.compressed import FORMATS, MAX_PIXELS, decode_compressed
from emollama_ros.preprocess.image import to_model_frame

RED = (255, 0, 0)


def picture(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ramps(height: int, width: int) -> np.ndarray:
    down, across = np.mgrid[0 : 255 : height * 1j, 0 : 255 : width * 1j]
    return np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8)


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
        (b"no picture at all", "jpeg", ["17 bytes", "none of JPEG", "check the image transport"]),
        (packed("JPEG", picture(64, 64), quality=95)[:900], "jpeg", ["cannot be decoded", "cut off"]),
        (packed("PNG", picture(64, 64))[:900], "png", ["cannot be decoded", "cut off"]),
        (b"x" * 40, "16UC1; compressedDepth", ["16UC1; compressedDepth", "depth", "colour camera's topic"]),
        (bytes(12) + packed("PNG", picture()), "", ["depth"]),
        (b"\0\0\0\1\x67\x42\0\x1e", "jpeg", ["video stream", "republish"]),
        (b"\0\0\1\x41\x9a", "", ["video stream", "republish"]),
        (b"\x80\x33\x12", "h264", ["'h264'", "video stream", "republish"]),
        (b"\x80\x33\x12", "rgb8;hevc_nvenc;bgr0", ["video stream"]),
        (b"GIF89a" + bytes(40), "gif", ["'gif'", "none of JPEG"]),
        (b"x", "y" * 9000 + "\n", ["y" * 60 + "..."]),
    ],
)
def test_wrong_compressed_messages_say_what_is_wrong(data: bytes, fmt: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        decode_compressed(data, fmt)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fmt",
    [
        "",
        "jpeg",
        "png",
        "JPG",
        "rgb8; jpeg compressed bgr8",
        "bgr8; jpeg compressed",
        "bgr8; png compressed bgr8",
        "bayer_rggb8; jpeg compressed bgr8",
        "h264",
        "\0\n",
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_the_data_decide_and_not_the_format(form: str, fmt: str) -> None:
    rgb = ramps(40, 60)
    out = decode_compressed(packed(form, rgb, quality=95), fmt)
    np.testing.assert_allclose(out, rgb.astype(int), atol=30 if form in ("JPEG", "WEBP") else 0)
    assert np.abs(out - rgb.astype(int)).mean() < 3


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", [(480, 640), (1000, 1920), (30, 40)])
def test_the_model_sees_the_same_if_decoded_small(form: str, shape: tuple[int, int]) -> None:
    data = packed(form, ramps(*shape), quality=95)
    out = decode_compressed(data, "", 64)
    assert out.shape == (64, 64, 3) and out.dtype == np.uint8
    np.testing.assert_allclose(out, to_model_frame(decode_compressed(data), 64).astype(int), atol=4)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
def test_grey_stays_grey(form: str) -> None:
    grey = ramps(32, 48)[..., 0]
    for out in (decode_compressed(packed(form, grey)), decode_compressed(packed(form, grey), "", 16)):
        assert (out == out[..., :1]).all() and out.shape[2] == 3
    np.testing.assert_allclose(decode_compressed(packed(form, grey))[..., 0], grey.astype(int), atol=4)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 255, np.uint8)).convert(mode).save(stream, form)
    np.testing.assert_allclose(decode_compressed(stream.getvalue()), 255, atol=2)


@pytest.mark.parametrize("size", [None, 4])
def test_a_mosaic_sent_as_a_grey_picture_gets_its_colours(size: int | None) -> None:
    """compressed_image_transport compresses bayer_* as it is, and says so only in the format."""
    cells = np.tile(np.array([[200, 100], [100, 30]], np.uint8), (4, 4))
    out = decode_compressed(packed("PNG", cells), "bayer_rggb8; png compressed ", size)
    np.testing.assert_array_equal(out, np.broadcast_to((200, 100, 30), out.shape))
    out = decode_compressed(packed("PNG", cells), "bayer_bggr8; png compressed ", size)
    np.testing.assert_array_equal(out, np.broadcast_to((30, 100, 200), out.shape))


def test_pictures_are_turned_upright_as_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: 90 degrees clockwise to upright
    rgb = ramps(16, 32)
    out = decode_compressed(packed("PNG", rgb, exif=exif))
    np.testing.assert_array_equal(out, np.rot90(rgb, -1))


def without_huffman_tables(jpeg: bytes) -> bytes:
    """What many webcams send as MJPEG: the standard tables are left out."""
    kept, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        kept += jpeg[at:end] if jpeg[at + 1] != 0xC4 else b""
        at = end
    return kept + jpeg[at:]


def test_jpegs_as_webcams_send_them() -> None:
    jpeg = packed("JPEG", ramps(48, 64))
    bare = without_huffman_tables(jpeg)
    assert len(bare) < len(jpeg)
    expected = decode_compressed(jpeg)
    np.testing.assert_array_equal(decode_compressed(bare, "mjpeg"), expected)
    np.testing.assert_array_equal(decode_compressed(jpeg + bytes(200), "jpeg"), expected)


def png_header(width: int, height: int) -> bytes:
    """The head of a PNG that announces so many pixels and holds none."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
    ]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 10_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_file_cannot_unpack_to_gigabytes(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("the pixels were decoded"))
    with pytest.raises(InputError, match="unpacks to.*at most 33,177,600 pixels.*smaller"):
        decode_compressed(png_header(side, side), "png")


@given(st.binary(max_size=100), st.text(max_size=20))
def test_no_compressed_message_crashes(data: bytes, fmt: str) -> None:
    with pytest.raises(InputError):
        decode_compressed(data, fmt)


WHOLE = {form: packed(form, ramps(24, 32)) for form in FORMATS} | {
    "exif": packed("JPEG", ramps(24, 32), exif=Image.Exif()),
    "progressive": packed("JPEG", ramps(24, 32), progressive=True),
    "lossless": packed("WEBP", ramps(24, 32), lossless=True),
    "deflate": packed("TIFF", ramps(24, 32), compression="tiff_deflate"),
    "grey16": packed("PNG", ramps(24, 32)[..., 0].astype(np.uint16) * 257),
}


@given(
    kind=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    end=st.floats(0, 1) | st.just(1.0),
    fmt=st.sampled_from(["", "jpeg", "bayer_rggb8; jpeg compressed "]),
    size=st.none() | st.just(8),
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_are_refused_or_are_pictures(
    kind: str, changes: list[tuple[float, int]], end: float, fmt: str, size: int | None
) -> None:
    data = bytearray(WHOLE[kind])
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    try:
        out = decode_compressed(bytes(data[: int(end * len(data))]), fmt, size)
    except InputError as error:
        assert "compressed image" in str(error) or "bayer" in str(error)
        return
    assert out.dtype == np.uint8 and out.ndim == 3 and out.shape[2] == 3 and out.size

"""Camera messages to pictures: real messages, cv_bridge or its absence, a camera that changes on the way."""

from __future__ import annotations

import array
import builtins
import io
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

pytest.importorskip("sensor_msgs.msg", reason="needs ROS 2")

from sensor_msgs.msg import CompressedImage, Image

from emollama_ros.errors import InputError
from emollama_ros.nodes import image_input
from emollama_ros.nodes.image_input import image_pixels
from emollama_ros.pipeline import PipelineConfig
from emollama_ros.pipeline.feed import Feed
from emollama_ros.preprocess.encodings import ENCODINGS
from emollama_ros.preprocess.image import to_model_frame

pytestmark = pytest.mark.ros
S = 1_000_000_000
U32 = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def forget_cv_bridge():
    image_input._cv_bridge.cache_clear()
    yield
    image_input._cv_bridge.cache_clear()


def raw(encoding: str, pixels: np.ndarray, width: int) -> Image:
    message = Image(encoding=encoding, height=len(pixels), width=width, step=pixels[0].nbytes)
    message.data = array.array("B", pixels.tobytes())
    return message


def compressed(form: str, pixels: np.ndarray, fmt: str) -> CompressedImage:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, form, quality=95)
    return CompressedImage(format=fmt, data=array.array("B", stream.getvalue()))


def plain(value: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.full((height, width, channels), value, np.uint8)


def test_a_message_is_looked_at_in_place() -> None:
    message = raw("rgb8", plain(9, 4, 6), 6)
    assert np.shares_memory(image_pixels(message), np.frombuffer(message.data, np.uint8))


def test_every_field_of_the_message_counts() -> None:
    wide = np.arange(0, 65536, 1024, dtype=">u2").reshape(4, 16)
    message = raw("mono16", wide, 14)
    message.is_bigendian = 1
    np.testing.assert_array_equal(image_pixels(message)[..., 0], wide[:, :14] >> 8)


@pytest.mark.parametrize("size", [None, 32])
def test_both_kinds_of_message_give_one_picture(size: int | None) -> None:
    rgb = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[:, None, None], 80, axis=1).repeat(3, axis=2)
    expected = rgb if size is None else to_model_frame(rgb, size)
    np.testing.assert_array_equal(image_pixels(raw("rgb8", rgb, 80), size), expected)
    out = image_pixels(compressed("JPEG", rgb, "rgb8; jpeg compressed bgr8"), size)
    np.testing.assert_allclose(out, expected.astype(int), atol=4)


def test_without_cv_bridge_the_encoding_and_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(InputError, match=r"'32FC1'.*publish rgb8.*install cv_bridge.*ros-\$ROS_DISTRO-cv"):
        image_pixels(raw("32FC1", np.zeros((4, 6), np.float32), 6))


def bridge(convert) -> ModuleType:
    """A module with the one class and method of cv_bridge that is used."""
    module = ModuleType("cv_bridge")
    module.CvBridge = lambda: SimpleNamespace(imgmsg_to_cv2=convert)
    return module


def test_what_is_not_known_here_goes_through_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def convert(message: Image, encoding: str) -> np.ndarray:
        asked.append((message.encoding, encoding))
        return plain(77, message.height, message.width)

    monkeypatch.setitem(sys.modules, "cv_bridge", bridge(convert))
    message = raw("8UC2", plain(1, 4, 6, 2), 6)
    np.testing.assert_array_equal(image_pixels(message), plain(77, 4, 6))
    np.testing.assert_array_equal(image_pixels(message, 8), plain(77, 8, 8))
    image_pixels(raw("bgr8", plain(1, 4, 6), 6))
    assert asked == [("8UC2", "rgb8")] * 2, "known encodings never need it"


def cannot_convert(message: Image, encoding: str) -> np.ndarray:
    raise RuntimeError("[8UC2] is not a color format. but [rgb8] is.")


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        (cannot_convert, "cv_bridge cannot convert it.*not a color format"),
        (lambda message, encoding: np.zeros((4, 6), np.float32), r"cv_bridge made float32\[4, 6\]"),
        (lambda message, encoding: plain(0, 4, 5), r"cv_bridge made uint8\[4, 5, 3\]"),
        (lambda message, encoding: None, "cv_bridge made object"),
    ],
)
def test_a_failure_of_cv_bridge_is_a_refused_picture(convert, words, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", bridge(convert))
    with pytest.raises(InputError, match=f"'8UC2' is not known; publish rgb8.*{words}"):
        image_pixels(raw("8UC2", plain(1, 4, 6, 2), 6))


@pytest.mark.parametrize(
    ("error", "version", "words"),
    [
        (
            AttributeError("_ARRAY_API not found"),
            "2.4.6",
            "_ARRAY_API.*this is NumPy 2.4.6.*numpy<2",
        ),
        (SystemError("initialisation failed"), "1.26.4", "cannot be imported .SystemError: initialisation"),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "2.4.6", "needs cv2, which is not"),
    ],
)
def test_a_cv_bridge_that_cannot_be_imported_is_tried_once(
    error: Exception, version: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, real = [], builtins.__import__

    def import_module(name: str, *rest: object) -> ModuleType:
        if name == "cv_bridge":
            tried.append(name)
            raise error
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    monkeypatch.setattr(builtins, "__import__", import_module)
    monkeypatch.setattr(image_input.np, "__version__", version)
    for _ in range(3):
        with pytest.raises(InputError, match=f"'64FC1' is not known.*{words}"):
            image_pixels(raw("64FC1", np.zeros((4, 6)), 6))
    assert tried == ["cv_bridge"]


@st.composite
def nearly_right(draw: st.DrawFn) -> Image:
    """Sizes that fit each other, as far as that goes, and then one field that may not."""
    height, width, pixel_bytes = draw(st.integers(0, 8)), draw(st.integers(0, 8)), draw(st.integers(1, 8))
    step = width * pixel_bytes + draw(st.integers(0, 3))
    fields = {
        "encoding": draw(st.sampled_from(ENCODINGS) | st.text(max_size=12)),
        "height": height,
        "width": width,
        "step": step,
        "is_bigendian": draw(st.integers(0, 255)),
        "data": array.array("B", bytes(max(0, step * height * draw(st.sampled_from([2, 3, 6])) // 2))),
    }
    wrong = draw(st.sampled_from([None, None, "height", "width", "step"]))
    return Image(**fields | ({wrong: draw(U32)} if wrong else {}))


ANYTHING = st.builds(
    Image,
    encoding=st.text(max_size=200),
    height=U32,
    width=U32,
    step=U32,
    is_bigendian=st.integers(0, 255),
    data=st.binary(max_size=300).map(lambda data: array.array("B", data)),
)


@settings(max_examples=300, deadline=None)
@given(message=nearly_right() | ANYTHING, size=st.none() | st.integers(1, 16))
def test_any_image_is_a_picture_or_a_reason(message: Image, size: int | None) -> None:
    try:
        out = image_pixels(message, size)
    except InputError as error:
        said = str(error)
        assert any(word in said for word in ("correct ", "check ", "crop ", "publish ")), "no fix"
        assert repr(message.encoding)[:20] in said or f"{message.width}x{message.height}" in said, "no value"
        assert len(said) < 500 and "\n" not in said
        return
    assert out.dtype == np.uint8
    assert out.shape == ((message.height, message.width, 3) if size is None else (size, size, 3))


@pytest.mark.parametrize("small", [False, True])
def test_a_camera_may_change_size_and_encoding_on_the_way(small: bool) -> None:
    """Each picture is taken as it comes; one that is refused in between leaves no trace."""
    feed = Feed(0, PipelineConfig(frame_size=16, frame_hz=4.0), notify=lambda: None)
    stream = [
        raw("rgb8", plain(10, 48, 64), 64),
        raw("mono8", plain(60, 30, 40, 1), 40),
        raw("yuyv", np.tile(np.array([[110, 128]], np.uint8), (20, 32)), 32),
        raw("bgra8", plain(160, 108, 192, 4), 192),
        raw("bgr8", plain(1, 4, 6)[:, :5], 6),
        compressed("PNG", plain(210, 480, 640), "bgr8; png compressed bgr8"),
        raw("bayer_gbrg8", plain(250, 10, 12, 1), 12),
    ]
    refused = []
    for number, message in enumerate(stream):
        try:
            feed.push_frame(S + number * S // 4, image_pixels(message, feed.frame_size if small else None))
        except InputError as error:
            refused.append((number, str(error)))
    assert [number for number, _ in refused] == [4] and "step 15" in refused[0][1]
    seen = feed.intake.window(3 * S).frames.images.reshape(6, -1)
    expected = np.array([[10], [60], [110], [160], [210], [250]])
    np.testing.assert_allclose(seen, np.broadcast_to(expected, seen.shape), atol=2)

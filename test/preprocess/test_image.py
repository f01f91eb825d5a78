"""The one resize: always square, no skipped pixels, no shift."""

from __future__ import annotations

import numpy as np
import pytest

from emollama_ros.errors import InputError
from emollama_ros.preprocess.image import resize, to_model_frame


def picture(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


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


@pytest.mark.parametrize("shape", [(480, 640), (50, 70)])
def test_each_channel_is_resized_by_itself(shape: tuple[int, int]) -> None:
    """Above all the fourth: a transparent pixel counts like any other."""
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 4), dtype=np.uint8)
    together = resize(pixels, 32)
    for channel in range(4):
        np.testing.assert_array_equal(together[..., channel], resize(pixels[..., channel], 32))
    np.testing.assert_array_equal(together[..., :3], to_model_frame(pixels[..., :3], 32))

"""Disturbances of pictures: they keep their form, begin at nothing, grow with strength, last a whole clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="disturbances need SciPy (make test installs it)")

from emollama_ros.errors import InputError  # noqa: E402
from training.disturbances import PICTURES, STRENGTHS, random_pictures  # noqa: E402
from training.disturbances.pictures import clutter  # noqa: E402

each_picture = pytest.mark.parametrize("name", PICTURES)
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(0, 3), st.integers(2, 40), st.integers(2, 40), st.just(3))


def clip(count: int = 4, size: int = 112) -> np.ndarray:
    """A round head with eyes and a mouth on a gradient, moving to the right."""
    y, x = np.mgrid[0:size, 0:size] / size
    frames = []
    for i in range(count):
        middle = 0.4 + 0.05 * i
        image = np.stack([60 + 80 * x, 90 + 60 * y, 120 - 50 * x], -1)
        image[(x - middle) ** 2 + (y - 0.5) ** 2 < 0.09] = (205, 160, 130)
        for place in (middle - 0.1, middle + 0.1):
            image[(x - place) ** 2 + (y - 0.42) ** 2 < 0.001] = (30, 25, 25)
        image[(abs(x - middle) < 0.12) & (abs(y - 0.65) < 0.02)] = (150, 50, 50)
        frames.append(image)
    return np.array(frames, np.uint8)


def flat(value: int = 128, count: int = 4, size: int = 224) -> np.ndarray:
    return np.full((count, size, size, 3), value, np.uint8)


def disturbed(name: str, frames: np.ndarray, strength: float, seed: int = 0) -> np.ndarray:
    return PICTURES[name](frames, strength, np.random.default_rng(seed))


def distortion(name: str, strength: float, count: int = 12) -> float:
    clean = clip()
    return float(
        np.mean(
            [np.abs(disturbed(name, clean, strength, i).astype(int) - clean).mean() for i in range(count)]
        )
    )


# --- form ---


@each_picture
@settings(max_examples=15)
@given(shape=sizes, strength=st.floats(0, 1), seed=seeds)
def test_pictures_keep_their_form_whatever_they_are(name, shape, strength, seed):
    frames = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    before = frames.copy()
    found = disturbed(name, frames, strength, seed)
    assert found.shape == shape and found.dtype == np.uint8
    assert np.array_equal(frames, before)


@each_picture
def test_the_same_generator_gives_the_same_pictures_and_another_does_not(name):
    frames = clip(8)
    one, two, other = (disturbed(name, frames, 0.9, seed) for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@each_picture
def test_strength_0_changes_nothing_and_a_little_changes_little(name):
    frames = clip()
    found = disturbed(name, frames, 0)
    assert np.array_equal(found, frames) and found is not frames
    assert distortion(name, 0.001) < 2.5


@each_picture
def test_more_strength_disturbs_more(name):
    found = [distortion(name, strength) for strength in STRENGTHS]
    assert 0.3 < found[0] < found[1] < found[2]


@each_picture
@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_a_strength_out_of_range_is_refused(name, strength):
    with pytest.raises(InputError, match="strength"):
        disturbed(name, clip(1), strength)


@pytest.mark.parametrize("frames", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.float32)])
def test_what_is_no_clip_is_refused(frames):
    with pytest.raises(InputError, match="uint8"):
        disturbed("blur", frames, 1)


# --- what each is ---


@pytest.mark.parametrize("strength", STRENGTHS)
def test_distance_leaves_the_documented_share_in_one_place_of_a_room_that_stays(strength):
    black, white = (disturbed("distance", flat(value), strength, 5) for value in (0, 255))
    is_face = (white.astype(int) - black).min(-1) > 128
    # The place is that of the frame without the half of its feathered edge.
    assert is_face[0].mean() == pytest.approx((1 - 0.75 * strength) ** 2 * (7 / 8) ** 2, rel=0.2)
    is_room = (black == white).all((0, 3))
    assert np.ptp(black[:, is_room].astype(int), 0).max() == 0
    moved = [np.argwhere(here).mean(0) for here in is_face]
    assert np.ptp(moved, 0).max() <= 12


def test_distance_puts_the_frame_anywhere():
    middles = [
        np.argwhere(disturbed("distance", flat(255, 1), 1, i)[0].min(-1) == 255).mean(0) for i in range(12)
    ]
    assert (np.std(middles, 0) > 25).all()


def test_blur_is_a_line_as_long_as_documented_around_the_place():
    frames = flat(0, 6)
    frames[:, 110:114, 110:114] = 255
    for seed in range(5):
        for frame in disturbed("blur", frames, 1, seed):
            there = np.argwhere(frame[..., 0] > 0)
            assert 12 < np.linalg.norm(np.ptp(there, 0)) < 28 + 8
            assert np.abs(there.mean(0) - 111.5).max() < 2.5
            assert frame.sum() == pytest.approx(frames[0].sum(), rel=0.15)


def test_blur_leaves_what_has_no_edges():
    assert np.abs(disturbed("blur", flat(77), 1).astype(int) - 77).max() <= 1


def test_low_light_is_darker_noisier_and_new_in_each_frame():
    found = disturbed("low_light", flat(128), 1, 2)
    assert 20 < found.mean() < 90
    assert found[0].std() > disturbed("low_light", flat(128), 0.33, 2)[0].std() > 0.1
    assert not np.array_equal(found[0], found[1])


def test_dropped_frames_are_repetitions_of_what_came_before():
    frames = np.arange(200, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    shares = []
    for seed in range(20):
        shown = disturbed("frame_drops", frames, 1, seed)[:, 0, 0, 0].astype(int)
        assert shown[0] == 0 and (np.diff(shown) >= 0).all() and (shown <= np.arange(200)).all()
        shares.append(np.mean(shown != np.arange(200)))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.04)
    assert np.array_equal(disturbed("frame_drops", frames[:1], 1), frames[:1])


def test_occlusion_hides_about_the_documented_share_near_the_middle():
    shares = []
    for seed in range(30):
        frames = clip(2, 224)
        hidden = (disturbed("occlusion", frames, 1, seed) != frames).any(-1)
        shares.append(hidden.mean())
        assert np.abs(np.argwhere(hidden[0]).mean(0) - 112).max() < 60
    assert np.mean(shares) == pytest.approx(0.35, abs=0.08)
    assert min(shares) > 0.15 and max(shares) < 0.5


def test_colour_is_one_map_for_the_whole_clip():
    found = disturbed("colour", np.repeat(clip(1), 3, 0), 1)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[1], found[2])


def test_noise_has_the_documented_deviation_and_hot_pixels_that_stay():
    found = disturbed("noise", flat(128), 1, 1).astype(int)
    assert np.median([np.std(found[i]) for i in range(4)]) == pytest.approx(40, rel=0.05)
    stays = (np.ptp(found, 0) == 0).all(-1)
    assert stays.mean() == pytest.approx(0.005, rel=0.3)


def test_compression_makes_blocks():
    found = disturbed("compression", clip(1, 224), 1).astype(int)[0, ..., 1]
    steps = np.abs(np.diff(found, axis=1)).mean(0)
    at_edges = np.arange(1, 224) % 8 == 0
    assert steps[at_edges].mean() > 1.5 * steps[~at_edges].mean()


def test_clutter_is_full_of_different_things():
    rooms = [clutter(64, 48, np.random.default_rng(seed)) for seed in range(8)]
    assert all(room.shape == (64, 48, 3) and room.std() > 10 for room in rooms)
    assert len({room.tobytes() for room in rooms}) == 8


# --- together ---


@settings(max_examples=25)
@given(shape=sizes, seed=seeds)
def test_random_pictures_keep_the_form_and_depend_on_the_generator_alone(shape, seed):
    frames = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    one, two = (random_pictures(frames, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.shape == shape and one.dtype == np.uint8


def test_random_pictures_leave_three_of_ten_clean():
    frames = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    # Dropped frames leave a single frame alone too: one of eight disturbances, mostly with others.
    untouched = [
        np.array_equal(random_pictures(frames, np.random.default_rng(i)), frames) for i in range(400)
    ]
    assert 0.22 < np.mean(untouched) < 0.44

"""Pooling and choosing tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.preprocess.tokens import adaptive_pool, choose_frames, spread


@given(st.integers(1, 300), st.integers(1, 80))
def test_pooling_keeps_a_constant_and_the_range(time, count):
    ramp = np.linspace(-1, 1, time, dtype=np.float32)[:, None]
    pooled = adaptive_pool(np.concatenate([np.full_like(ramp, 3), ramp], 1), count)
    assert pooled.shape == (count, 2)
    assert np.allclose(pooled[:, 0], 3)
    assert np.all(np.diff(pooled[:, 1]) >= -1e-6)
    assert np.abs(pooled[:, 1]).max() <= 1 + 1e-6


def test_pooling_is_torchs():
    torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
    tokens = np.random.default_rng(0).normal(size=(3, 50, 7)).astype(np.float32)
    for count in (1, 7, 16, 50, 64):
        expected = torch.nn.functional.adaptive_avg_pool1d(torch.from_numpy(tokens).transpose(1, 2), count)
        assert np.allclose(adaptive_pool(tokens, count), expected.transpose(1, 2).numpy(), atol=1e-5)


@given(st.integers(1, 60), st.integers(1, 40))
def test_spread_is_uniform_ordered_and_keeps_the_ends(total, count):
    chosen = spread(np.arange(total), count)
    assert len(chosen) == count
    assert np.all(np.diff(chosen) >= 0)
    if count > 1:
        assert (chosen[0], chosen[-1]) == (0, total - 1)
        assert np.ptp(np.diff(chosen)) <= 1


def test_the_image_is_the_middle_frame():
    features = np.arange(5, dtype=np.float32)[:, None]
    image, video = choose_frames(features, 3)
    assert image.tolist() == [2]
    assert video.ravel().tolist() == [0, 2, 4]

"""Shaping encoder outputs into the fixed number of tokens that the fusion reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def adaptive_pool(tokens: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Average ``T`` tokens into ``count``, with the cells of ``torch.adaptive_avg_pool1d``.

    Emotion-LLaMAv2 pools its audio tokens this way to 64. Works for ``T`` smaller than ``count`` too,
    where neighbouring cells share tokens.

    Args:
        tokens: (..., T, D), T >= 1.
        count: Tokens wanted, >= 1.

    Returns:
        (..., count, D).
    """
    time = tokens.shape[-2]
    index = np.arange(count)
    first = index * time // count
    last = -(-(index + 1) * time // count)
    sums = np.zeros((*tokens.shape[:-2], time + 1, tokens.shape[-1]), np.float64)
    np.cumsum(tokens, axis=-2, out=sums[..., 1:, :])
    means = (sums[..., last, :] - sums[..., first, :]) / (last - first)[:, None]
    return means.astype(np.float32)


def spread(tokens: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Choose ``count`` of ``N`` entries along axis 0, uniformly, first and last included.

    Deterministic, unlike the released sampler, which takes a random run of neighbours. With fewer than
    ``count`` entries, entries repeat in order.

    Args:
        tokens: (N, ...), N >= 1.
        count: Entries wanted, >= 1.

    Returns:
        (count, ...).
    """
    positions = np.linspace(0, len(tokens) - 1, count)
    return tokens[np.rint(positions).astype(np.int64)]


def choose_frames(
    features: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make the image and the video stream of a window from the features of its frames.

    Args:
        features: (N, D), one row a frame, in order, N >= 1.
        count: Tokens of the video stream.

    Returns:
        The middle frame's feature (D,), and the features (count, D) of uniformly chosen frames.
    """
    return features[len(features) // 2], spread(features, count)

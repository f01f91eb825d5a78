"""What every disturbance has in common: what it may be given, and what it must give back."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError

Samples = NDArray[np.float32]
Frames = NDArray[np.uint8]
Sound = Callable[..., Samples]
Pictures = Callable[..., Frames]

#: How often ``random_sound`` and ``random_pictures`` leave a clip as it is.
CLEAN_CHANCE = 0.3
#: Chances of one, two and three disturbances together, and how strong each may be then at most: three of
#: full strength leave nothing that anybody could learn from.
TOGETHER = (0.35, 0.4, 0.25)
STRONGEST = (1.0, 0.8, 0.65)


def of_sound(disturb: Sound) -> Sound:
    """Check samples and strength, leave strength 0 and no samples alone, and clip at full scale."""

    @wraps(disturb)
    def checked(samples: Samples, strength: float, rng: np.random.Generator, **others: Any) -> Samples:
        _check_strength(strength)
        if np.ndim(samples) != 1:
            raise InputError(f"samples: expected shape (n,), found {np.shape(samples)}")
        samples = np.asarray(samples, np.float32)
        if not strength or not len(samples):
            return samples.copy()
        return np.clip(disturb(samples, float(strength), rng, **others), -1, 1).astype(np.float32)

    return checked


def of_pictures(disturb: Pictures) -> Pictures:
    """Check frames and strength, and leave strength 0 and no frames alone."""

    @wraps(disturb)
    def checked(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
        _check_strength(strength)
        shape, kind = np.shape(frames), np.asarray(frames).dtype
        if len(shape) != 4 or shape[3] != 3 or kind != np.uint8:
            raise InputError(f"frames: expected uint8 (m, height, width, 3), found {kind} {shape}")
        return disturb(frames, float(strength), rng) if strength and frames.size else frames.copy()

    return checked


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise InputError(f"strength: expected 0 to 1, found {strength}")


def draw(names: tuple[str, ...], rng: np.random.Generator) -> list[tuple[str, float]]:
    """Draw up to three names with their strengths, in the order of ``names``; none with `CLEAN_CHANCE`."""
    if rng.random() < CLEAN_CHANCE:
        return []
    count = int(rng.choice(3, p=TOGETHER)) + 1
    chosen = sorted(rng.choice(len(names), min(count, len(names)), replace=False))
    return [(names[i], float(rng.uniform(0.1, STRONGEST[count - 1]))) for i in chosen]


def lost(count: int, share: float, burst: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of ``count`` packets are lost, in bursts (Gilbert 1960); the first one never is.

    Args:
        count: Packets.
        share: Of packets lost in the long run, 0 <= share < 1.
        burst: Mean length of a burst, packets, >= 1; more where the share cannot be reached otherwise.
        rng: Makes the draws; the same number of them whatever the share.
    """
    recover = min(1 / burst, (1 - share) / max(share, 1e-9))
    fail = share * recover / (1 - share)
    found, is_lost = np.zeros(count, bool), False
    for i, chance in enumerate(rng.random(count)):
        is_lost = i > 0 and (chance >= recover if is_lost else chance < fail)
        found[i] = is_lost
    return found


def last_good(is_lost: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the last packet that arrived, at each packet; packet 0 must have arrived."""
    return np.maximum.accumulate(np.where(is_lost, 0, np.arange(len(is_lost))))

"""Windows in which nobody is there: what a robot sees and hears most of the time.

A classifier that was shown people only is sure of itself about an empty room too. These clips have no person
in them, so that the recipe can train them towards uniform scores (outlier exposure, Hendrycks et al. 2019)
and a report can ask how sure a bundle is of nothing:

    silence, room_noise, hum, music, street       what a microphone hears
    empty_room, static, patterns, texture, darkness   what a camera sees

Everything is drawn from numbers; no recording and no picture goes into it. Streets are without voices, rooms
without people, and no pattern is meant to look like a face.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from training.mmeverse.clip_packs import RawClip
from training.nothing import music as _music
from training.nothing import pictures, rooms, sounds

#: Share of clips with one sense only.
_ALONE = 0.5

Samples = NDArray[np.float32]
Frames = NDArray[np.uint8]

#: What can be heard, by kind: 4 s at 16 kHz, float32 (64000,).
SOUNDS: Mapping[str, Callable[[np.random.Generator], Samples]] = {
    "silence": sounds.silence,
    "room_noise": sounds.room_noise,
    "hum": sounds.hum,
    "music": _music.music,
    "street": sounds.street,
}
#: What can be seen, by kind: 4 s at ``FRAME_HZ``, uint8 (16, 224, 224, 3), RGB.
PICTURES: Mapping[str, Callable[[np.random.Generator], Frames]] = {
    "empty_room": rooms.empty_room,
    "static": pictures.static,
    "patterns": pictures.patterns,
    "texture": pictures.texture,
    "darkness": pictures.darkness,
}
#: Every kind, in the order in which clips take them.
KINDS: tuple[str, ...] = (*SOUNDS, *PICTURES)


def generate(count: int, seed: int) -> Iterator[RawClip]:
    """Make clips of all kinds in turn; half of them with something of the other sense beside it.

    Clip ``i`` of a seed is always the same, however many are asked for.

    Args:
        count: How many.
        seed: Of everything random.

    Yields:
        Clips of 4 s without a label (``""``), of person ``nothing:<kind>``; samples or frames are empty where
        there is only the other.

    Raises:
        InputError: ``count`` or ``seed`` is negative.
    """
    if count < 0 or seed < 0:
        raise InputError(f"count is {count} and seed {seed}; both must be 0 or more")
    for i in range(count):
        yield make(KINDS[i % len(KINDS)], np.random.default_rng([seed, i]), f"{seed}-{i}")


def make(kind: str, rng: np.random.Generator, name: str = "0") -> RawClip:
    """Make one clip.

    Args:
        kind: One of ``KINDS``.
        rng: Source of chance.
        name: Goes into the clip's name.

    Raises:
        InputError: There is no such kind.
    """
    if kind not in KINDS:
        raise InputError(f"there is no kind {kind!r} of nothing; use one of {', '.join(KINDS)}")
    heard, seen = (kind if kind in known else "" for known in (SOUNDS, PICTURES))
    if rng.random() >= _ALONE:
        heard, seen = heard or str(rng.choice(list(SOUNDS))), seen or str(rng.choice(list(PICTURES)))
    samples = SOUNDS[heard](rng) if heard else np.zeros(0, np.float32)
    frames = PICTURES[seen](rng) if seen else np.zeros((0, 224, 224, 3), np.uint8)
    return RawClip(f"nothing/{kind}/{name}", f"nothing:{kind}", "", samples, frames)

"""Generated faces with known face units, to find out what the measurements of a face are worth.

Every clip shows a few units at once, drawn independently of each other: in real expressions and in the
generator's own recipes the units of an emotion come together, and one that is measured well would make its
neighbours look measured well too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.annotation.measuring.landmarks import Track, track
from training.synthesis.action_units import SHOWN_BY, shares
from training.synthesis.expressions import animate, expand
from training.synthesis.generate import draw_frame, shared_renderer
from training.synthesis.people import make_person
from training.synthesis.scene import draw_scene

#: Action units that are drawn and measured.
TRUE_UNITS = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10",
    "AU12", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26", "AU45",
)  # fmt: skip
_SHOWN = tuple(sorted({unit for name in TRUE_UNITS for unit in SHOWN_BY[name]}))
#: Frames per second, seconds, and size of the picture.
_FPS, _SECONDS, _WIDTH, _HEIGHT = 10.0, 3.0, 320, 240
#: Heads fill this share of the picture's height, as in clips cut for annotation.
_FACE = (0.55, 0.85)
#: Identities that trained no shipped weights.
FIRST_PERSON = 400


@dataclass(frozen=True)
class SyntheticClip:
    """What was measured of a generated face, and what it shows.

    Attributes:
        person: Its number.
        track: The measured points.
        truth: Weight of each action unit in each frame, float32 [n, len(TRUE_UNITS)] in [0, 1].
    """

    person: int
    track: Track
    truth: NDArray[np.float32]


def synthetic_clips(people: int, clips_each: int, seed: int) -> Iterator[SyntheticClip]:
    """Generate and measure clips; the same arguments give the same clips."""
    for person in range(FIRST_PERSON, FIRST_PERSON + people):
        for number in range(clips_each):
            yield _clip(person, np.random.default_rng([seed, person, number]))


def _clip(number: int, rng: np.random.Generator) -> SyntheticClip:
    renderer = shared_renderer()
    names = renderer.mesh.unit_names
    scene = draw_scene(rng, _WIDTH, _HEIGHT, _FACE)
    seconds = np.arange(round(_SECONDS * _FPS)) / _FPS
    idle = animate(seconds, [], np.zeros_like(seconds), names, rng, scene.turn)
    units = np.clip(idle.units + _acting(seconds, names, rng), 0, 1)
    person = make_person(number)
    pictures = (
        (i, round(at * 1e9), draw_frame(renderer, person, units[i], idle.pose[i], scene, rng))
        for i, at in enumerate(seconds)
    )
    return SyntheticClip(number, track(pictures), shares(units, names, TRUE_UNITS))


def _acting(seconds: np.ndarray, names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights of three to five units that come and go, or are there all the time, [n, units]."""
    units = np.zeros((len(seconds), len(names)), np.float32)
    for name in rng.choice(_SHOWN, rng.integers(3, 6), replace=False):
        middle, width = rng.uniform(0, _SECONDS), rng.uniform(0.4, 1.2)
        shape = np.exp(-(((seconds - middle) / width) ** 2)) if rng.random() < 0.75 else 1.0
        for full in expand(str(name)):
            units[:, names.index(full)] += rng.uniform(0.3, 1.0) * shape
    return units

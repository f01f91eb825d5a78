"""From what the renderer is given to what FACS calls it: action units and their intensity from 0 to 5.

ARKit's units were made to be close to single action units; the pairs below are those that the annotation
pipeline's measurements are checked against, and more that only the generator knows. FACS writes intensity as
letters A to E; as in most tools it is taken here as linear in how far the skin moves, 5 being the full unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.synthesis.assets import Floats
from training.synthesis.expressions import expand

#: Action unit -> ARKit units that show it; the strongest counts.
SHOWN_BY: Mapping[str, tuple[str, ...]] = {
    "AU01": ("browInnerUp",),
    "AU02": ("browOuterUp",),
    "AU04": ("browDown",),
    "AU05": ("eyeWide",),
    "AU06": ("cheekSquint",),
    "AU07": ("eyeSquint",),
    "AU09": ("noseSneer",),
    "AU10": ("mouthUpperUp",),
    "AU12": ("mouthSmile",),
    "AU14": ("mouthDimple",),
    "AU15": ("mouthFrown",),
    "AU16": ("mouthLowerDown",),
    "AU17": ("mouthShrugLower",),
    "AU18": ("mouthPucker",),
    "AU20": ("mouthStretch",),
    "AU22": ("mouthFunnel",),
    "AU23": ("mouthPress",),
    "AU25": ("jawOpen", "mouthLowerDown"),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
    "AU29": ("jawForward",),
    "AU45": ("eyeBlink",),
}
NAMES: tuple[str, ...] = tuple(SHOWN_BY)
#: Units that speaking and blinking move too, and that therefore do not mark the peak of an expression.
OF_SPEECH = frozenset({"AU16", "AU18", "AU22", "AU25", "AU26", "AU45"})


def shares(weights: Floats, unit_names: Sequence[str], units: Sequence[str] = NAMES) -> Floats:
    """Return how far action units are shown.

    Args:
        weights: What moves the mesh, [n, 52] (see ``Renderer.weights``); above 1 counts as 1.
        unit_names: ARKit names of the columns.
        units: Action units wanted.

    Returns:
        float32 [n, len(units)] in 0..1; of a pair, the mean of both halves.
    """
    column = {name: i for i, name in enumerate(unit_names)}
    clipped = np.clip(weights, 0, 1)

    def mean_of_halves(stem: str) -> np.ndarray:
        return clipped[:, [column[full] for full in expand(stem)]].mean(1)

    shown = [np.max([mean_of_halves(stem) for stem in SHOWN_BY[unit]], axis=0) for unit in units]
    return np.stack(shown, 1).astype(np.float32)


def intensities(weights: Floats, unit_names: Sequence[str]) -> Floats:
    """Return the action units that unit weights show, float32 [n, len(NAMES)] in 0..5; see `shares`."""
    return 5 * shares(weights, unit_names)


def peak(intensity: Floats, visible: np.ndarray) -> int:
    """Return the frame in which the expression is strongest.

    Args:
        intensity: [n, len(NAMES)].
        visible: Which frames can be seen, bool [n]; at least one.
    """
    columns = [i for i, name in enumerate(NAMES) if name not in OF_SPEECH]
    return int(np.argmax(np.where(visible, intensity[:, columns].sum(1), -1)))

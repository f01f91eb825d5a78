"""Action units of FACS (Ekman, Friesen & Hager 2002) from the lengths of a face.

Each unit is a change of lengths against the face at rest, divided by the change at full strength; 5 is full
strength. What a face at rest looks like is taken from the person's other clips where there are some, else
from the clip itself, but never further from the usual face than faces at rest are from each other: somebody
who smiles throughout a clip does not thereby become somebody whose face at rest smiles.

Which units are worth reporting, and the changes at full strength, come from generated faces with known truth
(`python -m training validate-action-units`); docs/measuring.md says how well each does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.annotation.measuring.geometry import LENGTHS, lengths, normalise
from training.annotation.measuring.landmarks import Track

Floats = NDArray[np.float32]

#: Change at full strength, in units of the distance between the outer eye corners (about 90 mm).
FULL: Mapping[str, float] = {
    "AU01": 0.09,
    "AU02": 0.05,
    "AU04": 0.045,
    "AU05": 0.030,
    "AU07": 0.030,
    "AU10": 0.025,
    "AU12": 0.150,
    "AU15": 0.040,
    "AU17": 0.025,
    "AU20": 0.060,
    "AU25": 0.120,
    "AU26": 0.170,
    "AU45": 0.085,
}
#: All that is computed.
COMPUTED = tuple(FULL)
#: What is reported: the units that pass the validation, with and without knowing the person's rest (see
#: training/reports/action_units_synthetic.json).
REPORTED = ("AU12", "AU25", "AU26", "AU45")
#: Closing the eyes by more than this is no tightening of the lids.
_CLOSING = 0.045
#: Running medians, s: a vowel opens or spreads the mouth for a tenth of a second, an expression lasts longer;
#: a blink is as short as a vowel.
_EXPRESSION_S, _BLINK_S = 0.5, 0.1


def change(against_rest: Floats) -> Floats:
    """Action units of faces.

    Args:
        against_rest: Lengths less those of the face at rest, float32 [n, len(LENGTHS)].

    Returns:
        Intensities 0 to 5, float32 [n, len(COMPUTED)]; NaN where a length is.
    """
    d = dict(zip(LENGTHS, against_rest.T, strict=True))
    parted, eyes, outer = d["lip_gap"], d["eye_opening"], d["outer_brow"]
    # An opening jaw takes the corners along: half its way on generated faces, hardly on real ones.
    corners = d["corner_height"] + 0.5 * parted
    smile = d["corner_height"] + 0.1 * parted + 0.4 * d["mouth_width"]
    values = {
        "AU01": d["inner_brow"] - np.minimum(outer, 0),
        "AU02": outer,
        "AU04": -outer,
        "AU05": eyes,
        "AU07": np.where(eyes > -_CLOSING, d["lower_lid"] - 0.5 * eyes, 0),
        "AU10": d["nose_wing"] - 0.17 * smile,
        "AU12": smile,
        "AU15": -corners,
        "AU17": d["lower_lip"] + parted,
        "AU20": d["mouth_width"] - np.maximum(corners, 0),
        "AU25": parted,
        "AU26": d["chin_drop"] + 0.5 * parted,
        "AU45": -eyes,
    }
    columns = [np.clip(5 * values[unit] / full, 0, 5) for unit, full in FULL.items()]
    return np.stack(columns, axis=1).astype(np.float32)


#: Length -> range of faces at rest, and the share of a clip's frames in which it is below its rest.
#: Ranges: 15th to 85th percentile of 484 photographs of neutral faces (muxspace), widened to the mean and
#: deviation of eight people speaking without emotion (Javanese AV). Shares: lids and jaws leave their rest in
#: one direction.
_REST: Mapping[str, tuple[float, float, float]] = {
    "inner_brow": (0.18, 0.40, 0.4),
    "outer_brow": (0.18, 0.38, 0.5),
    "eye_opening": (0.07, 0.13, 0.6),
    "lower_lid": (-0.053, -0.024, 0.4),
    "cheek": (-0.36, -0.245, 0.4),
    "nose_wing": (-0.56, -0.378, 0.4),
    "upper_lip": (-0.213, -0.134, 0.4),
    "corner_height": (-0.34, -0.195, 0.3),
    "corner_drop": (-0.004, 0.046, 0.5),
    "mouth_width": (0.52, 0.69, 0.3),
    "lip_gap": (-0.01, 0.055, 0.1),
    "upper_red": (0.065, 0.10, 0.5),
    "lower_red": (0.089, 0.15, 0.5),
    "chin_drop": (0.55, 0.95, 0.2),
    "chin_boss": (0.117, 0.185, 0.5),
    "lower_lip": (-0.59, -0.29, 0.7),
}


#: How open the eyes are at rest differs from clip to clip with gaze and light.
_OF_THE_DAY = np.array([name in ("eye_opening", "lower_lid") for name in LENGTHS])


def rest_of_clip(measured: Floats) -> Floats:
    """The face at rest as far as one clip can tell, float32 [len(LENGTHS)]; NaN for a length never seen."""
    rest = []
    for name, column in zip(LENGTHS, measured.T, strict=True):
        low, high, share = _REST[name]
        seen = column[np.isfinite(column)]
        rest.append(np.clip(np.quantile(seen, share), low, high) if len(seen) else np.nan)
    return np.array(rest, np.float32)


@dataclass(frozen=True)
class Activity:
    """What a face does through a clip.

    Attributes:
        index: Index of each frame in its file, int64 [n].
        seconds: Time of each frame in its file, float64 [n].
        intensities: Of the units in `COMPUTED`, 0 to 5, float32 [n, len(COMPUTED)]; NaN where not seen.
        angles: As `geometry.Faces.angles`.
        tilt: Roll of the mean head against the picture, radians, positive to the person's left shoulder.
    """

    index: NDArray[np.int64]
    seconds: NDArray[np.float64]
    intensities: Floats
    angles: Floats
    tilt: float

    def of(self, unit: str) -> Floats:
        """Intensity of one unit in each frame."""
        return self.intensities[:, COMPUTED.index(unit)]


def measure_activity(track: Track, rest: Floats | None = None) -> Activity:
    """Measure the action units and the head's motion of a tracked face.

    Args:
        track: The face.
        rest: Lengths of this person's face at rest; from the clip itself if left out.
    """
    faces = normalise(track.points)
    measured = lengths(faces.points, track.brows)
    own = rest_of_clip(measured)
    known = np.zeros(len(LENGTHS), bool) if rest is None else np.isfinite(rest) & ~_OF_THE_DAY
    rest = np.where(known, own if rest is None else rest, own)
    lasting, brief = (
        change(_smooth(measured - rest, _frames_in(width, track.seconds)))
        for width in (_EXPRESSION_S, _BLINK_S)
    )
    intensities = np.where(np.array(COMPUTED) == "AU45", brief, lasting)
    return Activity(track.index, track.seconds, intensities, faces.angles, _tilt(track.points))


def _frames_in(width_s: float, seconds: NDArray[np.float64]) -> int:
    """The odd number of frames nearest to a time; 1 where the frame rate cannot be told."""
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return 2 * round(width_s / step / 2 - 0.5) + 1 if step > 0 else 1


def lengths_of(track: Track) -> Floats:
    """The lengths of a tracked face, float32 [n, len(LENGTHS)]."""
    return lengths(normalise(track.points).points, track.brows)


def median_of_seen(measured: Floats) -> Floats:
    """Median of each length over the frames it is seen in, [len(LENGTHS)]; NaN for one never seen."""
    columns = [column[np.isfinite(column)] for column in measured.T]
    return np.array([np.median(c) if len(c) else np.nan for c in columns], np.float32)


def _smooth(values: Floats, width: int) -> Floats:
    """Running median over an odd number of frames, NaN left out where others are seen."""
    half = max(0, width) // 2
    if not half or not len(values):
        return values
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    ordered = np.sort(windows, axis=-1)  # NaN last
    count = np.isfinite(windows).sum(axis=-1)
    middle = np.maximum(count - 1, 0) // 2
    result = np.take_along_axis(ordered, middle[..., None], axis=-1)[..., 0]
    return np.where(np.isfinite(values), result, np.nan).astype(np.float32)


def _tilt(points: Floats) -> float:
    """Turn of the line between the eyes in the picture, radians; positive where their left is lower."""
    seen = points[np.isfinite(points[:, 0, 0])]
    if not len(seen):
        return 0.0
    across = (seen[:, 263] - seen[:, 33]).mean(axis=0)
    return float(np.arctan2(across[1], across[0]))

"""What of a clip's truth a camera and a microphone can notice: the cues that reasoning may name.

A cue is a name such as ``smile`` or ``voice_low``. It holds where the true value passes a threshold (action
units: B of FACS or stronger for most of the stretch; voice: clearly away from the speaker's usual way) *and*
the medium carries it: the face is large and sharp enough and that part of it is in the picture, the voice is
loud enough above the noise and long enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.synthesis.action_units import NAMES
from training.synthesis.assets import Floats


@dataclass(frozen=True)
class VisualCue:
    """A cue of the face.

    Attributes:
        units: Action units that all have to be there.
        least: Intensity that each must pass, 0 to 5.
        pixels: Least height of a sharp head in the picture in which it can be seen.
        place: Height in the face, shares of the head below its middle; negative is above.
    """

    units: tuple[str, ...]
    least: float
    pixels: float
    place: float


_BROWS, _EYES, _NOSE, _MOUTH, _CHIN = -0.15, -0.06, 0.08, 0.22, 0.36
VISUAL: Mapping[str, VisualCue] = {
    "inner_brows_up": VisualCue(("AU01",), 2.0, 60, _BROWS),
    "brows_up": VisualCue(("AU01", "AU02"), 2.0, 45, _BROWS),
    "brows_down": VisualCue(("AU04",), 1.8, 45, _BROWS),
    "eyes_wide": VisualCue(("AU05",), 2.0, 60, _EYES),
    "cheeks_up": VisualCue(("AU06",), 2.2, 70, _NOSE),
    "lids_tight": VisualCue(("AU07",), 1.8, 90, _EYES),
    "nose_wrinkled": VisualCue(("AU09",), 2.2, 70, _NOSE),
    "upper_lip_up": VisualCue(("AU10",), 2.0, 70, _MOUTH),
    "smile": VisualCue(("AU12",), 1.8, 36, _MOUTH),
    "lip_corners_down": VisualCue(("AU15",), 1.8, 55, _MOUTH),
    "chin_up": VisualCue(("AU17",), 1.8, 90, _CHIN),
    "lips_stretched": VisualCue(("AU20",), 1.8, 60, _MOUTH),
    "lips_pressed": VisualCue(("AU23",), 1.5, 90, _MOUTH),
    "mouth_open": VisualCue(("AU26",), 1.6, 36, _MOUTH),
}
#: Nothing but speech and blinking moves; needs a face on which any other cue would be seen.
RELAXED = "face_relaxed"
_RELAXED_PIXELS, _RELAXED_MOST = 70.0, 1.0
#: Below this height of a sharp head nothing is named at all.
TOO_SMALL = min(cue.pixels for cue in VISUAL.values())


@dataclass(frozen=True)
class VoiceCue:
    """A cue of the voice: a fact that passes a bound, over noise that does not hide it.

    Attributes:
        fact: Which, see ``voice_values``.
        bound: What it must pass; upwards where ``sign`` is 1, downwards where it is -1.
        sign: Direction.
        snr_db: Least level of the voice above the noise.
    """

    fact: str
    bound: float
    sign: int
    snr_db: float


#: Bounds are where about one neutral sentence in ten lies beyond, of 60 speakers.
VOICE: Mapping[str, VoiceCue] = {
    "voice_high": VoiceCue("pitch_st", 1.8, 1, 6),
    "voice_low": VoiceCue("pitch_st", -1.8, -1, 6),
    "melody_wide": VoiceCue("range_st", 12.5, 1, 10),
    "melody_flat": VoiceCue("range_st", 6.5, -1, 10),
    "end_rises": VoiceCue("end_st", 1.0, 1, 10),
    "fast": VoiceCue("rate_hz", 6.4, 1, 6),
    "slow": VoiceCue("rate_hz", 4.6, -1, 6),
    "pauses": VoiceCue("pause_s", 0.25, 1, 12),
    "loud": VoiceCue("loudness_db", 3.5, 1, 6),
    "quiet": VoiceCue("loudness_db", -3.5, -1, 6),
    "sharp": VoiceCue("tilt", 1.6, 1, 12),
    "muffled": VoiceCue("tilt", -1.6, -1, 12),
    "breathy": VoiceCue("breath", 0.42, 1, 18),
    "trembling": VoiceCue("tremor_st", 0.35, 1, 12),
    "creaky": VoiceCue("creak", 0.3, 1, 15),
}
#: Nothing is unusual about the voice; needs one in which most other cues would be heard.
EVEN = "voice_even"
_EVEN_SNR_DB = 12.0
#: Voice heard for less than this, seconds, says nothing.
_LEAST_VOICE_S = 0.5
#: Level of a usual voice at the usual distance, dBFS.
_USUAL_DBFS = -26.0

#: Cues that speak for a label; every other cue is beside the point or against it.
SPEAKS_FOR: Mapping[str, frozenset[str]] = {
    "neutral": frozenset({RELAXED, EVEN}),
    "happy": frozenset(["smile", "cheeks_up", "voice_high", "melody_wide", "loud", "fast"]),
    "sad": frozenset(
        [
            "inner_brows_up",
            "lip_corners_down",
            "chin_up",
            "voice_low",
            "melody_flat",
            "slow",
            "pauses",
            "quiet",
            "muffled",
            "breathy",
        ]
    ),
    "angry": frozenset(
        ["brows_down", "lids_tight", "lips_pressed", "mouth_open", "loud", "sharp", "fast", "voice_high"]
    ),
    "surprised": frozenset(
        ["brows_up", "eyes_wide", "mouth_open", "loud", "voice_high", "melody_wide", "end_rises"]
    ),
    "scared": frozenset(
        [
            "inner_brows_up",
            "eyes_wide",
            "lips_stretched",
            "voice_high",
            "melody_flat",
            "fast",
            "trembling",
            "breathy",
            "pauses",
        ]
    ),
    "disgusted": frozenset(
        [
            "nose_wrinkled",
            "upper_lip_up",
            "brows_down",
            "chin_up",
            "lip_corners_down",
            "voice_low",
            "slow",
            "creaky",
        ]
    ),
}


@dataclass(frozen=True)
class Framing:
    """How well the face can be seen.

    Attributes:
        pixels: Height of the head in the picture.
        blur: Deviation of the lens blur in pixels of the picture.
        centre: Middle of the face as shares of width and height.
        face: Height of the head as a share of the picture height.
        aspect: Width of the picture by its height.
        yaw: Turn of the head, radians.
        exposure: Factor on the picture.
    """

    pixels: float
    blur: float
    centre: tuple[float, float]
    face: float
    aspect: float
    yaw: float
    exposure: float

    @property
    def sharp_pixels(self) -> float:
        """Height of a sharp, frontal, well-lit head that shows as much."""
        light = min(1.0, self.exposure / 0.6)
        return self.pixels * float(np.cos(self.yaw)) * light / (1 + self.blur)

    def shows(self, place: float) -> bool:
        """Whether this height of the face (see ``VisualCue.place``) is in the picture, side to side."""
        half = 0.3 * self.face / self.aspect
        level = self.centre[1] + place * self.face
        return 0.02 < level < 0.98 and half < self.centre[0] < 1 - half


def visual_cues(intensity: Floats, framing: Framing) -> tuple[str, ...]:
    """Return the cues that can be seen.

    Args:
        intensity: Action units in the frames that show the stretch, [n, len(NAMES)]; n may be 0.
        framing: How well.
    """
    if not len(intensity):
        return ()
    # Held for most of the stretch: onset and offset, blinks and single syllables are not what is named.
    held = dict(zip(NAMES, np.percentile(intensity, 40, axis=0), strict=True))
    found = [
        name
        for name, cue in VISUAL.items()
        if framing.sharp_pixels >= cue.pixels
        and framing.shows(cue.place)
        and min(held[unit] for unit in cue.units) >= cue.least
    ]
    if "brows_up" in found:
        found.remove("inner_brows_up") if "inner_brows_up" in found else None
    return tuple(found) or _relaxed(intensity, framing)


def _relaxed(intensity: Floats, framing: Framing) -> tuple[str, ...]:
    at_rest = all(np.percentile(intensity[:, i], 75) <= _RELAXED_MOST for i in _EXPRESSIVE)
    whole = framing.shows(_BROWS) and framing.shows(_CHIN)
    return (RELAXED,) if at_rest and whole and framing.sharp_pixels >= _RELAXED_PIXELS else ()


_SPEAKING = frozenset({"AU16", "AU18", "AU22", "AU25", "AU26", "AU45", "AU10"})
_EXPRESSIVE = tuple(i for i, name in enumerate(NAMES) if name not in _SPEAKING)


def voice_values(facts: Mapping[str, float], usual_hz: float) -> dict[str, float]:
    """Return what ``VoiceCue.fact`` names.

    Args:
        facts: Of the words as they are in the clip (``segments[].speech``).
        usual_hz: The speaker's usual pitch.
    """
    return {
        "pitch_st": float(12 * np.log2(max(facts["pitch_hz"], 1.0) / usual_hz)),
        "range_st": facts["pitch_range_st"],
        "end_st": facts["pitch_end_st"],
        "rate_hz": facts["rate_hz"],
        "pause_s": facts["pause_s"],
        "loudness_db": facts["heard_dbfs"] - _USUAL_DBFS,
        **{name: facts[name] for name in ("tilt", "breath", "tremor_st", "creak")},
    }


def voice_cues(facts: Mapping[str, float], usual_hz: float) -> tuple[str, ...]:
    """Return the cues that can be heard; those of the whole sentence only where all of it is there."""
    if facts["voiced_s"] < _LEAST_VOICE_S:
        return ()
    values = voice_values(facts, usual_hz)
    partial = () if facts["whole"] else ("rate_hz", "pause_s", "end_st")
    found = tuple(
        name
        for name, cue in VOICE.items()
        if facts["snr_db"] >= cue.snr_db
        and cue.fact not in partial
        and cue.sign * (values[cue.fact] - cue.bound) >= 0
    )
    return found or ((EVEN,) if facts["whole"] and facts["snr_db"] >= _EVEN_SNR_DB else ())

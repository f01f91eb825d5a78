"""Cues: measured facts about a person in one window, in words a reasoning may use.

Every cue comes from ``SPECS``: a name, a unit, the levels it can have and the values between them. The
boundaries were set near the quartiles, the extremes near the 3rd and 97th percentile, of acted speech in
three corpora (Emo-DB, RAVDESS, Javanese AV; 450 clips); loudness also depends on microphone and distance,
so the ``change.*`` cues, which compare a person with the last minute of the same source, say more.

Where a bundle has detectors of cues (``emollama_ros.cue_head``), which were trained on people whose action
units and voices are known, they decide the levels of what they were trained on; without them nothing is said
about a face.

Nothing here looks ahead: the history holds windows that ended before the present one began.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emollama_ros.estimate import Cue, Modality
from emollama_ros.prosody import SILENCE_DBFS, Prosody, analyse
from emollama_ros.streams import FrameBatch, Window


@dataclass(frozen=True)
class CueSpec:
    """What a cue can say.

    Attributes:
        name: Identifier, ``part.measure``.
        unit: Unit of the value.
        modality: The single modality it is measured in.
        levels: Names of the levels, by rising value.
        bounds: Values between neighbouring levels, rising; a value on a boundary has the upper level.
        typical: The level that says nothing worth mentioning.
        extremes: Values at which the strength reaches 1, below and above.
        about: What is measured.
    """

    name: str
    unit: str
    modality: Modality
    levels: tuple[str, ...]
    bounds: tuple[float, ...]
    typical: str
    extremes: tuple[float, float]
    about: str

    def cue(self, value: float) -> Cue:
        """Turn a measurement into a cue."""
        index = bisect_right(self.bounds, value)
        strength = self._strength(index, value)
        return Cue(self.name, self.levels[index], float(value), self.unit, self.modality, strength)

    def judged(self, value: float, probabilities: Mapping[str, float]) -> Cue | None:
        """Turn a measurement into a cue whose level detectors decide; None where they are not sure.

        Args:
            value: What was measured.
            probabilities: Of levels other than the typical one, at least one.
        """
        level, probability = max(probabilities.items(), key=lambda item: item[1])
        if probability < SURE:
            typical = Cue(self.name, self.typical, float(value), self.unit, self.modality, 0.0)
            return typical if probability <= 1 - SURE else None
        strength = round(0.2 + 0.8 * (probability - SURE) / (1 - SURE), 4)
        return Cue(self.name, level, float(value), self.unit, self.modality, min(strength, 1.0))

    def _strength(self, index: int, value: float) -> float:
        """How far beyond the typical range: 0 inside it, 0.2 at its boundary, 1 at the extreme."""
        typical = self.levels.index(self.typical)
        if index == typical:
            return 0.0
        side = int(index > typical)
        bound, extreme = self.bounds[typical - 1 + side], self.extremes[side]
        share = (value - bound) / (extreme - bound)
        return round(0.2 + 0.8 * min(max(share, 0.0), 1.0), 4)


#: Probability from which a detected cue is spoken of.
SURE = 0.6

_LMH = ("low", "medium", "high")
_SHOWN = ("unseen", "shown")
_CHANGE = ("lower", "same", "higher")
_A, _V = Modality.AUDIO, Modality.VIDEO


def _face(name: str, about: str) -> CueSpec:
    return CueSpec(
        f"face.{name}", "probability", Modality.VIDEO, _SHOWN, (SURE,), "unseen", (0.0, 1.0), about
    )


#: Every cue there is; those with the unit ``probability`` need a bundle with detectors. Reasoning, prompts
#: and documentation read this table.
# fmt: off
SPECS: tuple[CueSpec, ...] = (
    CueSpec("voice.activity", "share", _A, ("none", "little", "much"), (0.05, 0.1), "much", (0.0, 1.0),
            "share of the window in which somebody speaks with voice"),
    CueSpec("voice.pitch", "Hz", _A, _LMH, (120.0, 290.0), "medium", (85.0, 400.0),
            "median fundamental frequency"),
    CueSpec("voice.pitch_range", "semitones", _A, _LMH, (4.5, 8.0), "medium", (2.4, 14.0),
            "fundamental frequency, 10th to 90th percentile"),
    CueSpec("voice.pitch_slope", "semitones/s", _A, ("falling", "level", "rising"), (-4.0, 2.0), "level",
            (-8.0, 5.0), "slope of the fundamental frequency over the window"),
    CueSpec("voice.unsteadiness", "semitones", _A, _LMH, (0.28, 0.75), "medium", (0.1, 1.2),
            "median change of the fundamental frequency in 20 ms"),
    CueSpec("voice.loudness", "dBFS", _A, _LMH, (-38.0, -15.0), "medium", (-55.0, -8.0),
            "mean level of voiced speech"),
    CueSpec("voice.loudness_spread", "dB", _A, _LMH, (4.6, 6.3), "medium", (2.8, 8.0),
            "standard deviation of the level of voiced speech"),
    CueSpec("voice.rate", "syllables/s", _A, _LMH, (3.5, 4.9), "medium", (2.3, 6.3),
            "syllable nuclei per second of speech, pauses left out"),
    CueSpec("voice.pauses", "share", _A, ("few", "many"), (0.22,), "few", (0.0, 0.5),
            "silent share of the time between first and last sound"),
    CueSpec("voice.sharpness", "dB", _A, _LMH, (-14.5, -5.5), "medium", (-21.5, 2.0),
            "energy of 1..4 kHz against 0.1..1 kHz in voiced speech"),
    CueSpec("voice.register", "probability", _A, ("lowered", "usual", "raised"), (1 - SURE, SURE), "usual",
            (0.0, 1.0), "pitch against what is usual for this voice, as far as its sound tells"),
    CueSpec("voice.ending", "probability", _A, ("usual", "rising"), (SURE,), "usual", (0.0, 1.0),
            "pitch of the last 0.3 s against the median"),
    CueSpec("voice.breath", "probability", _A, ("usual", "breathy"), (SURE,), "usual", (0.0, 1.0),
            "noise of breath in the voice"),
    CueSpec("voice.creak", "probability", _A, ("usual", "creaky"), (SURE,), "usual", (0.0, 1.0),
            "every other glottal pulse weakened"),
    CueSpec("voice.manner", "probability", _A, ("marked", "even"), (SURE,), "marked", (0.0, 1.0),
            "nothing unusual in pitch, melody, pace, loudness and tone"),
    _face("inner_brows", "inner ends of the brows raised (AU1)"),
    _face("brows_up", "brows raised (AU1, AU2)"),
    _face("brows_down", "brows lowered (AU4)"),
    _face("eyes_wide", "upper lids raised (AU5)"),
    _face("cheeks_up", "cheeks raised (AU6)"),
    _face("lids_tight", "lids tightened (AU7)"),
    _face("nose_wrinkled", "nose wrinkled (AU9)"),
    _face("upper_lip_up", "upper lip raised (AU10)"),
    _face("smile", "corners of the lips pulled up (AU12)"),
    _face("lip_corners_down", "corners of the lips pulled down (AU15)"),
    _face("chin_up", "chin pushed up (AU17)"),
    _face("lips_stretched", "lips stretched sideways (AU20)"),
    _face("lips_pressed", "lips tightened (AU23)"),
    _face("mouth_open", "jaw dropped (AU26)"),
    _face("rest", "nothing but speech and blinking moves the face"),
    CueSpec("picture.motion", "%", _V, _LMH, (0.6, 1.5), "medium", (0.1, 4.0),
            "median change from one sampled frame to the next, of full scale, overall brightness removed"),
    CueSpec("picture.suddenness", "ratio", _V, ("even", "sudden"), (6.0,), "even", (0.0, 15.0),
            "largest change between frames against the median change"),
    CueSpec("picture.brightness", "%", _V, ("dark", "normal", "bright"), (12.0, 88.0), "normal", (2.0, 98.0),
            "mean brightness"),
    CueSpec("change.loudness", "dB", _A, _CHANGE, (-4.0, 4.0), "same", (-12.0, 12.0),
            "loudness against its median over the last minute"),
    CueSpec("change.pitch", "semitones", _A, _CHANGE, (-2.0, 2.0), "same", (-7.0, 7.0),
            "median pitch against its median over the last minute"),
    CueSpec("change.rate", "syllables/s", _A, _CHANGE, (-1.2, 1.2), "same", (-3.0, 3.0),
            "speech rate against its median over the last minute"),
    CueSpec("change.motion", "octaves", _V, _CHANGE, (-1.0, 1.0), "same", (-3.0, 3.0),
            "picture motion against its median over the last minute, base-2 logarithm of the ratio"),
)
# fmt: on

SPEC_BY_NAME: Mapping[str, CueSpec] = {spec.name: spec for spec in SPECS}

#: Prosody field -> cue.
_VOICE = {
    "pitch_hz": "voice.pitch",
    "pitch_range": "voice.pitch_range",
    "pitch_slope": "voice.pitch_slope",
    "unsteadiness": "voice.unsteadiness",
    "loudness_dbfs": "voice.loudness",
    "loudness_spread": "voice.loudness_spread",
    "rate": "voice.rate",
    "pauses": "voice.pauses",
    "sharpness": "voice.sharpness",
}

#: Below this change between frames, %, only the noise of the camera moves.
_STILL = 0.3
#: Frames further apart than this say nothing about movement between them, ns.
_FRAME_GAP_NS = 1_000_000_000
_THIN = 4


class CueHistory:
    """Earlier measurements of the same source, bounded in time and number. Used by one thread."""

    def __init__(self, seconds: float = 60.0, limit: int = 240, needed: int = 4) -> None:
        """Make an empty history.

        Args:
            seconds: How long a measurement is remembered.
            limit: Most windows remembered.
            needed: Windows needed before anything is compared with them.
        """
        self._keep_ns = round(seconds * 1e9)
        self._needed = needed
        self._windows: deque[tuple[int, dict[str, float]]] = deque(maxlen=limit)
        self._thinned: dict[int, NDArray[np.float32]] = {}

    def thinned(self, frames: FrameBatch) -> NDArray[np.float32]:
        """Grey, reduced pictures (n, h', w') of a window's frames; those of the window before are known."""
        stamps = frames.stamps_ns.tolist()
        fresh = [i for i, stamp in enumerate(stamps) if stamp not in self._thinned]
        made = dict(zip(fresh, _thin(frames.images[fresh]), strict=True)) if fresh else {}
        # Of the same size, unless a camera changed it under way: then all are made anew.
        rows = [made[i] if i in made else self._thinned[stamp] for i, stamp in enumerate(stamps)]
        if len({row.shape for row in rows}) > 1:
            rows = list(_thin(frames.images))
        self._thinned = dict(zip(stamps, rows, strict=True))
        return np.stack(rows)

    def usual(self, name: str, before_ns: int) -> float | None:
        """Return the median of a measure over windows that had ended by ``before_ns``, if enough had."""
        values = [
            values[name]
            for end, values in self._windows
            if before_ns - self._keep_ns <= end <= before_ns and name in values
        ]
        return float(np.median(values)) if len(values) >= self._needed else None

    def add(self, end_ns: int, values: Mapping[str, float]) -> None:
        """Remember a window's measures; a clock that went back starts a new history."""
        if self._windows and end_ns < self._windows[-1][0]:
            self.reset()
        self._windows.append((end_ns, dict(values)))
        while self._windows[0][0] < end_ns - self._keep_ns:
            self._windows.popleft()

    def reset(self) -> None:
        """Forget everything, as when another person is perceived."""
        self._windows.clear()
        self._thinned.clear()

    def __len__(self) -> int:
        return len(self._windows)


def measure(
    window: Window,
    history: CueHistory,
    prosody: Prosody | None = None,
    detected: Mapping[tuple[str, str], float] | None = None,
) -> tuple[Cue, ...]:
    """Measure the cues of a window and remember them.

    Args:
        window: What was seen, heard and said. A modality it lacks gives no cue.
        history: Of this source; the window is added to it.
        prosody: What ``prosody.analyse`` says of its sound, where that is known already.
        detected: Probability of a level of a cue, by (name, level), where a bundle has detectors; they count
            more than the boundaries of ``SPECS``.

    Returns:
        Cues in the order of ``SPECS``, typical ones (strength 0) included.
    """
    values: dict[str, float] = {}
    if window.audio is not None and len(window.audio.samples):
        values |= voice_values(prosody or analyse(window.audio.samples))
    if window.frames is not None and len(window.frames):
        values |= picture_values(window.frames.stamps_ns, history.thinned(window.frames))
    changes = _changes(values, window.start_ns, history)
    history.add(window.end_ns, values)
    values |= changes
    found: dict[str, dict[str, float]] = {}
    for (name, level), probability in (detected or {}).items():
        found.setdefault(name, {})[level] = probability
    cues = (_cue(spec, values.get(spec.name), found.get(spec.name)) for spec in SPECS)
    return tuple(cue for cue in cues if cue is not None)


def _cue(spec: CueSpec, value: float | None, probabilities: Mapping[str, float] | None) -> Cue | None:
    """The cue of a value, of what detectors say, or of both; None of neither."""
    if probabilities:
        return spec.judged(max(probabilities.values()) if value is None else value, probabilities)
    return None if value is None else spec.cue(value)


def voice_values(prosody: Prosody) -> dict[str, float]:
    """Return the values of the ``voice.*`` cues; only activity where there is too little voice."""
    heard = prosody.voiced if prosody.level_dbfs > SILENCE_DBFS else 0.0
    values = {"voice.activity": heard}
    for field, name in _VOICE.items():
        value = getattr(prosody, field)
        if value is not None:
            values[name] = value
    return values


def picture_values(stamps_ns: NDArray[np.int64], small: NDArray[np.float32]) -> dict[str, float]:
    """Return the values of the ``picture.*`` cues; motion needs two frames within a second.

    Args:
        stamps_ns: (n,) of the frames.
        small: (n, h, w) grey, reduced pictures.
    """
    values = {"picture.brightness": float(small.mean()) / 2.55}
    near = np.diff(stamps_ns) <= _FRAME_GAP_NS
    if near.any():
        steps = np.diff(small, axis=0)
        # A lamp or the camera's exposure changes all pixels alike; a movement does not.
        steps -= steps.mean(axis=(1, 2), keepdims=True)
        moved = np.abs(steps).mean(axis=(1, 2))[near] / 2.55
        median = float(np.median(moved))
        values["picture.motion"] = median
        values["picture.suddenness"] = float(moved.max()) / max(median, _STILL)
    return values


def _thin(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey pictures (n, h', w') of every fourth pixel, averaged two by two where there are enough."""
    sparse = images[:, ::_THIN, ::_THIN].sum(axis=-1, dtype=np.uint16).astype(np.float32) / 3
    n, height, width = sparse.shape
    if min(height, width) < 4:
        return sparse
    even = sparse[:, : height // 2 * 2, : width // 2 * 2]
    pooled: NDArray[np.float32] = even.reshape(n, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return pooled


def _changes(values: Mapping[str, float], start_ns: int, history: CueHistory) -> dict[str, float]:
    """Compare with what is usual for this source."""

    def both(name: str) -> tuple[float, float] | None:
        usual = history.usual(name, start_ns)
        return None if usual is None or name not in values else (values[name], usual)

    changes = {}
    for name in ("loudness", "rate"):
        if pair := both(f"voice.{name}"):
            changes[f"change.{name}"] = pair[0] - pair[1]
    if pair := both("voice.pitch"):
        changes["change.pitch"] = 12 * float(np.log2(pair[0] / pair[1]))
    if pair := both("picture.motion"):
        now, usual = (max(value, _STILL) for value in pair)
        changes["change.motion"] = float(np.log2(now / usual))
    return changes

"""What a face does: peak frame and action units, and both in words with the head's motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.language.phrases import Claim
from training.annotation.agents import Finding, Request, Role
from training.annotation.measuring.action_units import (
    COMPUTED,
    REPORTED,
    Activity,
    measure_activity,
)
from training.annotation.measuring.clip_media import open_whole, picture_file
from training.annotation.measuring.fusion import rng_of
from training.annotation.measuring.labels import emotions_of
from training.annotation.measuring.landmarks import FACE_MESH, Track, track
from training.annotation.measuring.unit_names import EMOTION_UNITS
from training.annotation.measuring.words import (
    MARKED,
    MARKED_FROM,
    SLIGHT,
    SLIGHT_FROM,
    join,
    say,
    sentence,
    stance,
)
from training.mmeverse.decoding import frames_of
from training.mmeverse.schema import Media

#: No peak is a blink, and no blink is worth a word.
_BLINK = "AU45"
#: Speech opens the mouth as well: only a marked opening is spoken of.
_OF_SPEECH = frozenset({"AU25", "AU26"})
#: Share of the frames that must show a face for anything to be said about it.
_LEAST_SEEN = 0.3
#: Frames averaged in the search for the peak: a single frame may be a slip of the tracking.
_PEAK_WIDTH = 3
#: Least swing of a nod or shake, degrees, and swings that make one; tilt, lively and still head, degrees.
_SWING_DEG, _SWINGS, _TILT_DEG, _LIVELY_DEG, _STILL_DEG = 4.0, 3, 8.0, 15.0, 2.5
#: Clauses in one description.
_NAMED = 4


@lru_cache(maxsize=4)
def _tracked(path: Path, changed_ns: int, media: Media) -> Track:
    return track(frames_of(path, media))


def measure_face(request: Request, rest: NDArray[np.float32] | None) -> Activity | None:
    """Measure the face of a clip; None where there is no picture, or a face in too few frames.

    Raises:
        AgentError: The file cannot be read.
    """
    path = picture_file(request)
    if path is None or not open_whole(path).has_video:
        return None
    # The face and the visual agent come one after the other and see the same clip.
    found = _tracked(path, path.stat().st_mtime_ns, request.record.media)
    if not len(found.index) or found.is_seen.mean() < _LEAST_SEEN:
        return None
    return measure_activity(found, rest)


def peak_of(activity: Activity, emotions: Sequence[str]) -> int:
    """Position of the frame where the expression is strongest.

    Args:
        activity: What the face does.
        emotions: Whose units are summed, as in the paper's first step; all units where none of them is
            measured.

    Returns:
        Position in ``activity.index``; the middle one of the frames with a face where nothing moves.
    """
    of_label = {unit for emotion in emotions for unit in EMOTION_UNITS[emotion]}
    wanted = [u for u in REPORTED if u in of_label and u != _BLINK]
    chosen = wanted or [u for u in REPORTED if u != _BLINK]
    seen = np.flatnonzero(np.isfinite(activity.angles[:, 0]))
    total = sum(np.nan_to_num(activity.of(unit)) for unit in chosen)
    shut = np.nan_to_num(activity.of(_BLINK)) >= MARKED_FROM
    strength = np.convolve(np.where(shut, 0, total), np.ones(_PEAK_WIDTH) / _PEAK_WIDTH, "same")[seen]
    return int(seen[strength.argmax()] if strength.max() > 0 else seen[len(seen) // 2])


def swings(angle: NDArray[np.float32], least: float) -> int:
    """Number of movements to and fro of at least ``least``, in the unit of ``angle`` (NaN are left out)."""
    count, direction, low, high = 0, 0, np.inf, -np.inf
    for value in angle[np.isfinite(angle)]:
        low, high = min(low, value), max(high, value)
        if direction <= 0 and value - low >= least:
            count, direction, high = count + 1, 1, value
        elif direction >= 0 and high - value >= least:
            count, direction, low = count + 1, -1, value
    return count


def head_claims(activity: Activity) -> list[Claim]:
    """What the head does."""
    degrees = np.degrees(activity.angles)
    yaw, pitch = degrees[:, 0], degrees[:, 1]
    nods, shakes = swings(pitch, _SWING_DEG), swings(yaw, _SWING_DEG)
    found: list[Claim] = []
    if max(nods, shakes) >= _SWINGS:
        found.append(("head.nod" if nods >= shakes else "head.shake", "seen"))
    spread = max(np.ptp(np.nanpercentile(angle, [5, 95])) for angle in (yaw, pitch))
    if spread >= _LIVELY_DEG or spread <= _STILL_DEG:
        found.append(("head.motion", "lively" if spread >= _LIVELY_DEG else "still"))
    if abs(np.degrees(activity.tilt)) >= _TILT_DEG:
        found.append(("head.tilt", "left" if activity.tilt > 0 else "right"))
    return found


def face_claims(activity: Activity, peak: int) -> list[Claim]:
    """What the face shows at its peak, strongest first."""
    strength = {unit: float(np.nan_to_num(activity.of(unit)[peak])) for unit in REPORTED if unit != _BLINK}
    ordered = sorted(strength, key=lambda unit: strength[unit], reverse=True)
    levels = {u: MARKED if strength[u] >= MARKED_FROM else SLIGHT for u in ordered}
    named = [
        (unit, levels[unit])
        for unit in ordered
        if strength[unit] >= (MARKED_FROM if unit in _OF_SPEECH else SLIGHT_FROM)
    ]
    has_jaw = ("AU26", MARKED) in named
    return [claim for claim in named if not (has_jaw and claim[0] == "AU25")] or [("face", "calm")]


@dataclass(frozen=True)
class _FaceMeasuring:
    """What both agents of the face share.

    Attributes:
        is_guided: Whether the peak is sought among the units of the labelled emotion.
        rest: By person (`Record.person`), the lengths of the face at rest (`people.measure_people`).
    """

    is_guided: bool = True
    rest: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    model: str = "mediapipe-face-mesh+emollama-action-units-1"
    prompt: str = ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything else the measurements depend on."""
        rest = {p: [v if np.isfinite(v) else None for v in lengths] for p, lengths in self.rest.items()}
        return {"guided": self.is_guided, "weights": FACE_MESH.sha256[:12], "rest": rest}

    def _look(self, request: Request) -> tuple[Activity, int] | None:
        """What the face does and the position of its peak; None without a face."""
        person = request.record.person or ""
        known = self.rest.get(person)
        activity = measure_face(request, None if known is None else np.array(known, np.float32))
        if activity is None:
            return None
        return activity, peak_of(activity, self._emotions(request))

    def _emotions(self, request: Request) -> tuple[str, ...]:
        return emotions_of(request.record) if self.is_guided and request.is_guided else ()


@dataclass(frozen=True)
class FaceAgent(_FaceMeasuring):
    """Writes ``clues.peak_frame`` and ``clues.action_units``: the units that are at least slight there."""

    role: Role = "face"

    def annotate(self, request: Request) -> Finding:
        """Look at the face; a clip without a face adds nothing.

        Raises:
            AgentError: The file cannot be read.
        """
        found = self._look(request)
        if found is None:
            return Finding({})
        activity, peak = found
        strength = {unit: float(np.nan_to_num(activity.of(unit)[peak])) for unit in REPORTED}
        shown = [
            {"unit": unit, "intensity": round(strength[unit], 2)}
            for unit in COMPUTED
            if strength.get(unit, 0) >= SLIGHT_FROM
        ]
        return Finding({"clues.peak_frame": int(activity.index[peak]), "clues.action_units": shown})


@dataclass(frozen=True)
class VisualAgent(_FaceMeasuring):
    """Writes ``clues.visual``: what the face shows at its peak and what the head does, in words."""

    role: Role = "visual"

    def annotate(self, request: Request) -> Finding:
        """Look at the face; a clip without a face adds nothing.

        Raises:
            AgentError: The file cannot be read.
        """
        found = self._look(request)
        if found is None:
            return Finding({})
        emotions = self._emotions(request)
        face, head = face_claims(*found), head_claims(found[0])
        if emotions:
            face.sort(key=lambda claim: max(stance(e, claim) for e in emotions), reverse=True)
        rng = rng_of(request.record, self.role)
        parts = [face[:_NAMED], head]
        return Finding({"clues.visual": " ".join(sentence(join(say(part, rng))) for part in parts if part)})

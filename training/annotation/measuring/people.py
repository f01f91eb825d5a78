"""What is usual for each person: the face at rest and the voice, medians over the clips there are of them.

Labels are not looked at, so it may be used in label-free annotation too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from emollama_ros.errors import InputError
from training.annotation.agents import AgentError, Request
from training.annotation.measuring.action_units import lengths_of, median_of_seen
from training.annotation.measuring.clip_media import open_whole, picture_file, sound_file
from training.annotation.measuring.geometry import LENGTHS
from training.annotation.measuring.landmarks import track
from training.annotation.measuring.voice import measure_voice
from training.mmeverse.decoding import frames_of, sound_of
from training.mmeverse.schema import Record, explain

#: Clips of a person needed before something is called usual, and looked at at most.
NEEDED, ENOUGH = 4, 24
#: Every so many frames are looked at.
_STEP = 5
_VOICE = ("voice.pitch", "voice.loudness", "voice.rate")


class People(BaseModel):
    """What is usual, by person.

    Attributes:
        lengths: Names of the lengths in ``rest``.
        rest: The face at rest; None for a length that was never seen.
        voice: Medians of the voice, by cue name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lengths: tuple[str, ...] = LENGTHS
    rest: dict[str, tuple[float | None, ...]] = {}
    voice: dict[str, dict[str, float]] = {}


@dataclass
class _Seen:
    faces: list[np.ndarray] = field(default_factory=list)
    voices: list[Mapping[str, float]] = field(default_factory=list)


def measure_people(records: Iterable[Record], root: Path) -> People:
    """Measure people over their clips; those with fewer than four, or without a name, are left out.

    Clips that cannot be read are passed over: annotating them will say why.
    """
    clips: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.person is not None:
            clips[record.person].append(record)
    seen = {p: _look_and_listen(_spread(c), root) for p, c in sorted(clips.items()) if len(c) >= NEEDED}
    return People(
        rest={p: _rest(s.faces) for p, s in seen.items() if len(s.faces) >= NEEDED},
        voice={p: _voice(s.voices) for p, s in seen.items() if len(s.voices) >= NEEDED},
    )


def _spread(clips: list[Record]) -> list[Record]:
    """At most `ENOUGH` clips, evenly through those there are."""
    return [clips[i] for i in np.unique(np.linspace(0, len(clips) - 1, ENOUGH).round().astype(int))]


def _look_and_listen(clips: Iterable[Record], root: Path) -> _Seen:
    seen = _Seen()
    for record in clips:
        request = Request(record, root, is_guided=False)
        try:
            if (face := _face(request)) is not None:
                seen.faces.append(face)
            if path := sound_file(request):
                seen.voices.append(measure_voice(sound_of(path, record.media)))
        except (AgentError, InputError):
            continue
    return seen


def _face(request: Request) -> np.ndarray | None:
    path = picture_file(request)
    if path is None or not open_whole(path).has_video:
        return None
    found = track(f for f in frames_of(path, request.record.media) if f[0] % _STEP == 0)
    return median_of_seen(lengths_of(found)) if found.is_seen.any() else None


def _rest(faces: list[np.ndarray]) -> tuple[float | None, ...]:
    middle = median_of_seen(np.stack(faces))
    return tuple(round(float(v), 5) if np.isfinite(v) else None for v in middle)


def _voice(voices: list[Mapping[str, float]]) -> dict[str, float]:
    known = {name: [v[name] for v in voices if name in v] for name in _VOICE}
    return {name: round(float(np.median(v)), 4) for name, v in known.items() if len(v) >= NEEDED}


def read_people(path: Path) -> People:
    """Read what ``python -m training measure-people`` wrote.

    Raises:
        InputError: No such file, not of this form, or of other lengths.
    """
    try:
        people = People.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else error
        raise InputError(f"{path}: {reason}; write it with `python -m training measure-people`") from None
    if people.lengths != LENGTHS or any(len(rest) != len(LENGTHS) for rest in people.rest.values()):
        raise InputError(
            f"{path}: measured by another version; run `python -m training measure-people` again"
        )
    return people

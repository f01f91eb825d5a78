"""What a reasoning claims, and whether it is true of a generated person.

The parser knows every phrase that the robot's grammar can write (``emollama_ros.language.phrases``) and every
one that free texts are learnt from (``training.synthesis.phrasings``). What is left of a text beside those
phrases is something that nobody can check: it counts as untrue.

A claim is held against the *facts*: action units as they were played, the voice as it was made. A fact counts
from the same bound on as in the synthesis (``training.synthesis.cues``), less a tolerance, since nobody can
tell 1.79 from 1.8. That a cue is small, or hidden by noise, does not make it untrue; only what can be noticed
has to be named, though, and there no tolerance helps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emollama_ros.estimate import Modality
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.language import phrases
from emollama_ros.language.feelings import other_feelings
from emollama_ros.language.phrases import Claim
from training.synthesis import cues as synthesis
from training.synthesis import phrasings

#: Kind of a claim made in the words of the synthesis; its level is the name of the cue.
IN_SYNTHESIS = "synthesis"

#: Claim of the robot -> the cue of the synthesis that it names.
CUE_OF: Mapping[Claim, str] = {
    ("voice.register", "raised"): "voice_high",
    ("voice.register", "lowered"): "voice_low",
    ("voice.pitch_range", "high"): "melody_wide",
    ("voice.pitch_range", "low"): "melody_flat",
    ("voice.ending", "rising"): "end_rises",
    ("voice.rate", "high"): "fast",
    ("voice.rate", "low"): "slow",
    ("voice.pauses", "many"): "pauses",
    ("voice.loudness", "high"): "loud",
    ("voice.loudness", "low"): "quiet",
    ("voice.sharpness", "high"): "sharp",
    ("voice.sharpness", "low"): "muffled",
    ("voice.breath", "breathy"): "breathy",
    ("voice.unsteadiness", "high"): "trembling",
    ("voice.creak", "creaky"): "creaky",
    ("voice.manner", "even"): "voice_even",
    ("face.inner_brows", "shown"): "inner_brows_up",
    ("face.brows_up", "shown"): "brows_up",
    ("face.brows_down", "shown"): "brows_down",
    ("face.eyes_wide", "shown"): "eyes_wide",
    ("face.cheeks_up", "shown"): "cheeks_up",
    ("face.lids_tight", "shown"): "lids_tight",
    ("face.nose_wrinkled", "shown"): "nose_wrinkled",
    ("face.upper_lip_up", "shown"): "upper_lip_up",
    ("face.smile", "shown"): "smile",
    ("face.lip_corners_down", "shown"): "lip_corners_down",
    ("face.chin_up", "shown"): "chin_up",
    ("face.lips_stretched", "shown"): "lips_stretched",
    ("face.lips_pressed", "shown"): "lips_pressed",
    ("face.mouth_open", "shown"): "mouth_open",
    ("face.rest", "shown"): "face_relaxed",
}

#: Fact -> how far on the wrong side of a bound it may lie; about a tenth of the distance between neutral and
#: full strength. Action units (0 to 5) have ``_UNIT_TOLERANCE``.
TOLERANCE: Mapping[str, float] = {
    "pitch_st": 0.5,
    "pitch_all_st": 1.0,
    "range_st": 1.0,
    "end_st": 0.3,
    "rate_hz": 0.3,
    "pause_s": 0.1,
    "loudness_db": 1.0,
    "tilt": 0.3,
    "breath": 0.06,
    "tremor_st": 0.07,
    "creak": 0.06,
    "voiced_share": 0.05,
    "rest": 0.3,
}
_UNIT_TOLERANCE = 0.3
_MIDDLE_HZ = 187.0


@dataclass(frozen=True)
class Condition:
    """A fact on one side of a bound.

    Attributes:
        fact: Its name, see `facts_of`.
        bound: What it has to reach.
        sign: 1 from the bound upwards, -1 downwards.
    """

    fact: str
    bound: float
    sign: int

    def holds(self, facts: Mapping[str, float], tolerant: bool = True) -> bool:
        """Whether it holds; what is not known of a clip does not."""
        tolerance = TOLERANCE.get(self.fact, _UNIT_TOLERANCE) if tolerant else 0.0
        return self.fact in facts and self.sign * (facts[self.fact] - self.bound) >= -tolerance


def _conditions_of(cue: str) -> tuple[Condition, ...]:
    """When a cue of the synthesis is true, whether or not it can be noticed."""
    if cue in synthesis.VISUAL:
        visual = synthesis.VISUAL[cue]
        return tuple(Condition(unit, visual.least, 1) for unit in visual.units)
    if cue in synthesis.VOICE:
        voice = synthesis.VOICE[cue]
        return (Condition(voice.fact, voice.bound, voice.sign),)
    return (Condition("rest", 1.0, -1),) if cue == synthesis.RELAXED else (Condition("unusual", 0.5, -1),)


def _between(fact: str, low: float, high: float) -> tuple[Condition, ...]:
    return Condition(fact, low, 1), Condition(fact, high, -1)


def _semitones(hertz: float) -> float:
    return 12 * float(np.log2(hertz / _MIDDLE_HZ))


#: Claims of the robot that no cue of the synthesis stands for, with what has to be the case. Bounds of the
#: pitch in hertz are those of ``emollama_ros.cues``. Of pictures as such and of changes there are no facts.
_ALSO: Mapping[Claim, tuple[Condition, ...]] = {
    ("voice.activity", "none"): (Condition("voiced_share", 0.05, -1),),
    ("voice.activity", "little"): (Condition("voiced_share", 0.2, -1),),
    ("voice.pitch", "low"): (Condition("pitch_all_st", _semitones(120.0), -1),),
    ("voice.pitch", "medium"): _between("pitch_all_st", _semitones(120.0), _semitones(290.0)),
    ("voice.pitch", "high"): (Condition("pitch_all_st", _semitones(290.0), 1),),
    ("voice.pitch_range", "medium"): _between("range_st", 6.5, 12.5),
    ("voice.pitch_slope", "falling"): (Condition("end_st", -1.0, -1),),
    ("voice.pitch_slope", "rising"): (Condition("end_st", 1.0, 1),),
    ("voice.unsteadiness", "low"): (Condition("tremor_st", 0.1, -1),),
    ("voice.loudness", "medium"): _between("loudness_db", -3.5, 3.5),
    ("voice.rate", "medium"): _between("rate_hz", 4.6, 6.4),
}


def conditions() -> dict[Claim, tuple[Condition, ...]]:
    """When each claim is true; claims that are not here cannot be held against the synthesis."""
    known = {claim: _conditions_of(cue) for claim, cue in CUE_OF.items()}
    spelt = {(IN_SYNTHESIS, cue): _conditions_of(cue) for cue in phrasings.PHRASES}
    return {**_ALSO, **known, **spelt}


@dataclass(frozen=True)
class Said:
    """What a text says.

    Attributes:
        cues: Cues that it names: of the robot, or of kind ``IN_SYNTHESIS``.
        labels: Labels that it gives the person.
        unsure: Whether it says that it is not sure, or that there is little to go by.
        missing: Modalities that it says are missing.
        unparsed: Pieces of text that no phrase explains.
        sentences: How many it has.
    """

    cues: frozenset[Claim] = field(default_factory=frozenset)
    labels: frozenset[str] = field(default_factory=frozenset)
    unsure: bool = False
    missing: frozenset[str] = field(default_factory=frozenset)
    unparsed: tuple[str, ...] = ()
    sentences: int = 0


def parse(text: str) -> Said:
    """Read a reasoning, of the grammar or free."""
    claimed = phrases.claims(text)
    rest = phrases.between(text)
    free = phrasings.claims(" | ".join(rest))
    left = [p for whole in rest for part in phrasings.pieces_left(whole) for p in phrases.pieces_left(part)]
    spelt = {(IN_SYNTHESIS, cue) for cue in free.cues}
    told = {level for kind, level in claimed if kind == phrases.LABEL}
    return Said(
        cues=frozenset({c for c in claimed if c in phrases.CLAUSES} | spelt),
        labels=frozenset(told | free.labels | _feelings(left)),
        unsure=(phrases.CERTAINTY, "unsure") in claimed or free.unsure,
        missing=frozenset({level for kind, level in claimed if kind == phrases.MISSING} | free.missing),
        unparsed=tuple(left),
        sentences=len(re.findall(r"[.!?…]+(?=\s|$)", text)) or int(bool(text.strip())),
    )


def _feelings(pieces: Sequence[str]) -> set[str]:
    """Labels that words beside all phrases name."""
    rest = " | ".join(pieces)
    named = set()
    for label in DEFAULT_LABELS:
        pattern = other_feelings("", [label])
        if pattern is not None and pattern.search(rest):
            named.add(label)
    return named


def modality_of(claim: Claim) -> Modality:
    """In which modality a cue would have to be noticed."""
    name = claim[1] if claim[0] == IN_SYNTHESIS else CUE_OF.get(claim, claim[0])
    is_face = name in synthesis.VISUAL or name == synthesis.RELAXED
    about_pictures = name.startswith("picture.") or name == "change.motion"
    return Modality.VIDEO if is_face or about_pictures else Modality.AUDIO


def cue_named(claim: Claim) -> str | None:
    """The cue of the synthesis that a claim names, if it names one."""
    return claim[1] if claim[0] == IN_SYNTHESIS else CUE_OF.get(claim)


def facts_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Facts of the stretch that gives a generated clip its label.

    Args:
        record: A line of ``labels.jsonl``.

    Returns:
        Those of ``training.synthesis.cues.voice_values``; ``pitch_all_st`` (semitones against 187 Hz),
        ``voiced_share`` of the clip, ``unusual`` (cues of the voice that are true); each action unit as it is
        held for most of the stretch, and ``rest``, the strongest that is no speech. A missing modality has no
        facts.
    """
    segment = _main(record)
    return {**_voice_facts(record, segment), **_face_facts(record, segment)}


def _main(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The longest segment that shows the label."""
    shown = [s for s in record["segments"] if s["label"] == record["label"]]
    return max(shown, key=lambda s: s["end_s"] - s["start_s"])


def _voice_facts(record: Mapping[str, Any], segment: Mapping[str, Any]) -> dict[str, float]:
    speech = segment.get("speech")
    if speech is None:
        return {}
    values = synthesis.voice_values(speech, speech["usual_pitch_hz"])
    marked = [c for c in synthesis.VOICE if all(k.holds(values, False) for k in _conditions_of(c))]
    clear = [c for c in marked if not _is_borderline(c, values)]
    return {
        **values,
        "pitch_all_st": _semitones(max(speech["pitch_hz"], 1.0)),
        "voiced_share": speech["voiced_s"] / record["segments"][-1]["end_s"],
        "unusual": float(len(clear)),
    }


def _is_borderline(cue: str, values: Mapping[str, float]) -> bool:
    return all(abs(values[c.fact] - c.bound) <= TOLERANCE[c.fact] for c in _conditions_of(cue))


def _face_facts(record: Mapping[str, Any], segment: Mapping[str, Any]) -> dict[str, float]:
    units = record["action_units"]
    if units is None:
        return {}
    at = np.arange(len(units["intensity"])) / units["hz"]
    inside = (at >= segment["start_s"]) & (at < segment["end_s"])
    rows = [row for row, here in zip(units["intensity"], inside, strict=True) if here and row is not None]
    if not rows:
        return {}
    names, values = units["names"], np.array(rows, np.float64).reshape(len(rows), -1)
    silent = [i for i, name in enumerate(names) if name not in _SPEAKING]
    # Units that never act are not in the record.
    held = {name: 0.0 for cue in synthesis.VISUAL.values() for name in cue.units}
    held |= {name: float(np.percentile(values[:, i], 40)) for i, name in enumerate(names)}
    return {**held, "rest": max((float(np.percentile(values[:, i], 75)) for i in silent), default=0.0)}


#: Units that speech and blinking move; the same as in ``training.synthesis.cues``.
_SPEAKING = frozenset({"AU16", "AU18", "AU22", "AU25", "AU26", "AU45", "AU10"})

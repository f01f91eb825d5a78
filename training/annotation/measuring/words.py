"""The words for what was measured, what each of them claims, and what claims speak for an emotion.

Every clause claims one thing: a measure and its level. `claims` reads them back out of a text, which is how
the fusion knows what was measured and how tests prove that nothing else is named. Words about the voice are
those of the robot's own reasoning (`emollama_ros.language.phrases`) with a few for what only Praat measures.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from emollama_ros.cues import CueSpec
from emollama_ros.estimate import Modality
from emollama_ros.language import phrases
from emollama_ros.language.phrases import Claim
from training.annotation.measuring.unit_names import EMOTION_UNITS

SLIGHT, MARKED = "slight", "marked"
#: Intensity from which a unit is spoken of (B, slight, in FACS), and from which it is marked (C).
SLIGHT_FROM, MARKED_FROM = 1.0, 2.5

#: Of the units that are reported (`action_units.REPORTED`): slight, and marked.
_UNIT_WORDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "AU12": (
        ("the lip corners are slightly raised", "there is a hint of a smile"),
        ("the lip corners are pulled up", "there is a clear smile"),
    ),
    "AU25": (
        ("the lips are slightly parted", "the lips part a little"),
        ("the lips are parted", "the lips are well apart"),
    ),
    "AU26": (
        ("the jaw is slightly lowered", "the jaw drops a little"),
        ("the jaw drops", "the jaw is clearly lowered"),
    ),
}
HEAD_WORDS: Mapping[Claim, tuple[str, ...]] = {
    ("head.nod", "seen"): ("the head nods", "the head moves up and down"),
    ("head.shake", "seen"): ("the head shakes", "the head moves from side to side"),
    ("head.tilt", "left"): ("the head is tilted to the person's left",),
    ("head.tilt", "right"): ("the head is tilted to the person's right",),
    ("head.motion", "still"): ("the head is held still", "the head hardly moves"),
    ("head.motion", "lively"): ("the head moves a lot", "the head is hardly ever still"),
}
FACE_WORDS: Mapping[Claim, tuple[str, ...]] = {
    **{(unit, SLIGHT): words[0] for unit, words in _UNIT_WORDS.items()},
    **{(unit, MARKED): words[1] for unit, words in _UNIT_WORDS.items()},
    **HEAD_WORDS,
    ("face", "calm"): ("the face shows no marked movement", "the face stays close to its rest"),
}

_A = Modality.AUDIO
_LMH = ("low", "medium", "high")
_USUAL = ("lower", "same", "higher")
#: Cues that only annotation has. Boundaries of voice quality: quartiles, 3rd and 97th percentile of 230 clips
#: (Emo-DB, Javanese AV); those of ``usual.*``: of ``change.*`` in `emollama_ros.cues`.
# fmt: off
SPECS: tuple[CueSpec, ...] = (
    CueSpec("voice.jitter", "%", _A, _LMH, (1.6, 2.8), "medium", (0.9, 4.5),
            "mean difference of neighbouring glottal periods, of the mean period (Praat, local)"),
    CueSpec("voice.shimmer", "%", _A, _LMH, (7.5, 11.0), "medium", (5.0, 15.0),
            "mean difference of the amplitudes of neighbouring periods, of the mean (Praat, local)"),
    CueSpec("voice.harmonicity", "dB", _A, _LMH, (10.8, 15.5), "medium", (6.0, 20.0),
            "harmonics-to-noise ratio of voiced speech (Praat, cross-correlation)"),
    CueSpec("usual.loudness", "dB", _A, _USUAL, (-4.0, 4.0), "same", (-12.0, 12.0),
            "loudness against the median of this person's clips"),
    CueSpec("usual.pitch", "semitones", _A, _USUAL, (-2.0, 2.0), "same", (-7.0, 7.0),
            "median pitch against the median of this person's clips"),
    CueSpec("usual.rate", "syllables/s", _A, _USUAL, (-1.2, 1.2), "same", (-3.0, 3.0),
            "speech rate against the median of this person's clips"),
)
# fmt: on
_ADDED_VOICE_WORDS: Mapping[Claim, tuple[str, ...]] = {
    ("voice.jitter", "low"): ("the voice is smooth",),
    ("voice.jitter", "high"): ("the voice is rough",),
    ("voice.harmonicity", "low"): ("the voice is breathy or hoarse",),
    ("voice.harmonicity", "high"): ("the voice is clear",),
    ("usual.loudness", "lower"): ("the voice is quieter than this person's usual",),
    ("usual.loudness", "higher"): ("the voice is louder than this person's usual",),
    ("usual.pitch", "lower"): ("the pitch is below this person's usual",),
    ("usual.pitch", "higher"): ("the pitch is above this person's usual",),
    ("usual.rate", "lower"): ("the speech is slower than this person's usual",),
    ("usual.rate", "higher"): ("the speech is faster than this person's usual",),
}
VOICE_WORDS: Mapping[Claim, tuple[str, ...]] = {
    **{claim: words for claim, words in phrases.CLAUSES.items() if claim[0].startswith("voice.")},
    **_ADDED_VOICE_WORDS,
}
WORDS: Mapping[Claim, tuple[str, ...]] = {**VOICE_WORDS, **FACE_WORDS}

#: Units that are no part of an emotion and speak against it where they are marked.
_FACE_AGAINST: Mapping[str, frozenset[str]] = {
    "sad": frozenset({"AU12"}),
    "angry": frozenset({"AU12"}),
    "scared": frozenset({"AU12"}),
    "disgusted": frozenset({"AU12"}),
    "neutral": frozenset({"AU12"}),
}
#: Measured against the person's usual, a level speaks as the same level over time does.
_USUAL_AS = {"usual.": "change."}


def stance(label: str, claim: Claim) -> int:
    """Say whether a claim speaks for an emotion (1), against it (-1), or neither (0).

    Faces after EMFACS (`unit_names.EMOTION_UNITS`), voices after the reviews that `phrases.SUPPORTS` names.

    Args:
        label: One of the default labels.
        claim: A measure and its level.
    """
    name, level = claim
    if name.startswith("AU"):
        return _face_stance(label, name, level)
    if name == "face":
        return int(label == "neutral")
    for ours, theirs in _USUAL_AS.items():
        name = theirs + name.removeprefix(ours) if name.startswith(ours) else name
    return phrases.stance(label, (name, level))


def _face_stance(label: str, unit: str, level: str) -> int:
    if unit in EMOTION_UNITS.get(label, ()):
        return 1
    return -int(level == MARKED and unit in _FACE_AGAINST.get(label, ()))


def claims(text: str) -> set[Claim]:
    """Read back what a text claims about voice and face."""
    pattern, table = _pattern()
    return {table[match.group().lower()] for match in pattern.finditer(text)}


@lru_cache(maxsize=1)
def _pattern() -> tuple[re.Pattern[str], dict[str, Claim]]:
    """Every clause, longest first, and what it claims."""
    table = {clause: claim for claim, clauses in WORDS.items() for clause in clauses}
    ordered = sorted(table, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, ordered))})\b", re.IGNORECASE), table


def say(found: Iterable[Claim], rng: random.Random) -> list[str]:
    """A clause for each claim."""
    return [rng.choice(WORDS[claim]) for claim in found]


def join(clauses: Sequence[str]) -> str:
    """Clauses as one list: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = clauses
    return f"{', '.join(first)} and {last}" if first else last


def sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    return f"{text[0].upper()}{text[1:]}."

"""Truthful text about a clip in several phrasings, and the parser that finds what a text claims.

``write`` may only name what is in the evidence; ``claims`` reads any text made of the same phrases, whoever
wrote it, so that a model trained on this text can be held against the truth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from training.synthesis.cues import SPEAKS_FOR, VISUAL

#: Cue -> noun phrases; no phrase is part of another cue's.
PHRASES: Mapping[str, tuple[str, ...]] = {
    "inner_brows_up": ("raised inner brows", "brows drawn up in the middle"),
    "brows_up": ("raised eyebrows", "eyebrows lifted high"),
    "brows_down": ("lowered brows", "a frowning brow"),
    "eyes_wide": ("wide eyes", "eyes held wide open"),
    "cheeks_up": ("raised cheeks", "lifted cheeks"),
    "lids_tight": ("narrowed eyes", "tightened lids"),
    "nose_wrinkled": ("a wrinkled nose", "a screwed-up nose"),
    "upper_lip_up": ("a raised upper lip", "a curled upper lip"),
    "smile": ("a smile", "smiling lips"),
    "lip_corners_down": ("lip corners pulled down", "a downturned mouth"),
    "chin_up": ("a pushed-up chin", "a raised chin boss"),
    "lips_stretched": ("stretched lips", "lips pulled sideways"),
    "lips_pressed": ("pressed lips", "a tight mouth"),
    "mouth_open": ("an open mouth", "a dropped jaw"),
    "face_relaxed": ("a relaxed face", "a face at rest"),
    "voice_even": ("an even voice", "calm, ordinary speech"),
    "voice_high": ("a high voice", "a raised pitch"),
    "voice_low": ("a low voice", "a lowered pitch"),
    "melody_wide": ("a lively melody", "a wide pitch range"),
    "melody_flat": ("a flat melody", "a narrow pitch range"),
    "end_rises": ("a rising end", "a pitch that climbs at the end"),
    "fast": ("fast speech", "hurried words"),
    "slow": ("slow speech", "slow words"),
    "pauses": ("a pause within the words", "halting speech"),
    "loud": ("a loud voice", "great loudness"),
    "quiet": ("a quiet voice", "little loudness"),
    "sharp": ("a sharp voice", "a hard, bright sound"),
    "muffled": ("a soft, dull sound", "a muffled voice"),
    "breathy": ("a breathy voice", "much breath in the voice"),
    "trembling": ("a trembling voice", "an unsteady pitch"),
    "creaky": ("a creaky voice", "a rough creak in the voice"),
}
#: Nouns of the labels; the labels themselves are the adjectives.
NOUNS: Mapping[str, str] = {
    "neutral": "no particular emotion", "happy": "happiness", "sad": "sadness", "angry": "anger",
    "surprised": "surprise", "scared": "fear", "disgusted": "disgust",
}  # fmt: skip

_WITH_CUES = (
    "The person seems {label}: {cues}.",
    "{noun}, to judge by {cues}.",
    "This looks like {noun}, with {cues}.",
    "I take the person to be {label}, given {cues}.",
    "Most likely {label}, judging by {cues}.",
)
_WITHOUT_CUES = (
    "The person may be {label}, but little of it can be noticed.",
    "Possibly {noun}, though hardly anything speaks for it.",
    "There is little to go by; perhaps {noun}.",
)
_WORDS = ("The words say so too.", "What is said fits.", "The words agree.")
_MISSING = {
    "video": ("There is no picture.", "Nothing can be seen.", "The picture is missing."),
    "audio": ("There is no sound.", "Nothing can be heard.", "The sound is missing."),
}
_CUT = {
    "video": ("The picture fails for a while.", "Part of the picture is lost."),
    "audio": ("The sound fails for a while.", "Part of the sound is lost."),
}
_CONFLICT = (
    "Face and voice disagree.",
    "Face and voice do not say the same.",
    "Voice and face are at odds.",
)
_AGAINST = ("Against it: {cues}.", "That does not go with {cues}.")
_SEEN = ("The face shows {cues}.", "One sees {cues}.", "Visible: {cues}.")
_HEARD = ("One hears {cues}.", "The sound carries {cues}.", "Audible: {cues}.")
_NOTHING_SEEN = ("No clear expression can be made out.", "The face shows nothing that stands out.")
_NOTHING_HEARD = ("The voice shows nothing unusual.", "Nothing stands out in the voice.")
#: Most cues named for a label and against it: more does not fit in about 40 tokens.
_MOST, _MOST_AGAINST = 5, 2


@dataclass(frozen=True)
class Evidence:
    """What can be noticed of a clip.

    Attributes:
        label: The true label.
        visual: Cues of the face.
        voice: Cues of the voice.
        words: Whether the words alone carry the label.
        missing: Modalities that are not there.
        cut: Modalities that are cut out for a while.
        conflict: Whether face and voice show different labels.
    """

    label: str
    visual: tuple[str, ...] = ()
    voice: tuple[str, ...] = ()
    words: bool = False
    missing: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    conflict: bool = False


@dataclass(frozen=True)
class Claims:
    """What a text says.

    Attributes:
        labels: Labels named.
        cues: Cues named.
        missing: Modalities said to be missing.
        cut: Modalities said to be cut out for a while.
        conflict: Whether it says that face and voice disagree.
        words: Whether it says that the words fit.
        unsure: Whether it says that there is little to go by.
    """

    labels: frozenset[str] = field(default_factory=frozenset)
    cues: frozenset[str] = field(default_factory=frozenset)
    missing: frozenset[str] = field(default_factory=frozenset)
    cut: frozenset[str] = field(default_factory=frozenset)
    conflict: bool = False
    words: bool = False
    unsure: bool = False


def write(evidence: Evidence, rng: np.random.Generator) -> dict[str, str]:
    """Write about a clip.

    Returns:
        ``reasoning``: why the label, one to four short sentences; ``clue_visual`` and ``clue_voice``: what is
        seen and heard, empty where the modality is missing.
    """
    return {
        "reasoning": _reasoning(evidence, rng),
        "clue_visual": _clue(evidence, "video", evidence.visual, _SEEN, _NOTHING_SEEN, rng),
        "clue_voice": _clue(evidence, "audio", evidence.voice, _HEARD, _NOTHING_HEARD, rng),
    }


def _clue(
    evidence: Evidence,
    modality: str,
    cues: Sequence[str],
    forms: Sequence[str],
    nothing: Sequence[str],
    rng: np.random.Generator,
) -> str:
    if modality in evidence.missing:
        return ""
    said = [_fill(_one(forms, rng), _named(cues, rng)) if cues else _one(nothing, rng)]
    said += [_one(_CUT[m], rng) for m in evidence.cut if m == modality]
    return " ".join(said)


def _reasoning(evidence: Evidence, rng: np.random.Generator) -> str:
    noticed = (*evidence.visual, *evidence.voice)
    fitting = [cue for cue in noticed if cue in SPEAKS_FOR[evidence.label]]
    against = [cue for cue in noticed if cue not in SPEAKS_FOR[evidence.label]]
    named = _named(_balanced(fitting, _MOST, rng), rng)
    form = _one(_WITH_CUES if fitting else _WITHOUT_CUES, rng)
    said = [_fill(form, named, evidence.label)]
    if evidence.words:
        said.append(_one(_WORDS, rng))
    if evidence.conflict:
        said.append(_one(_CONFLICT, rng))
    if against and (evidence.conflict or len(fitting) <= 2):
        said.append(_fill(_one(_AGAINST, rng), _named(_balanced(against, _MOST_AGAINST, rng), rng)))
    said += [_one(_MISSING[modality], rng) for modality in evidence.missing]
    said += [_one(_CUT[modality], rng) for modality in evidence.cut]
    return " ".join(said)


def _balanced(cues: Sequence[str], most: int, rng: np.random.Generator) -> list[str]:
    """Choose some, from face and voice in turn, and keep their order: face first."""
    face, voice = ([c for c in cues if (c in VISUAL) == wanted] for wanted in (True, False))
    for group in (face, voice):
        rng.shuffle(group)
    turns = [cue for pair in zip(face, voice, strict=False) for cue in pair]
    chosen = [*turns, *(c for c in (*face, *voice) if c not in turns)][:most]
    return [cue for cue in cues if cue in chosen]


def _named(cues: Sequence[str], rng: np.random.Generator) -> str:
    phrases = [_one(PHRASES[cue], rng) for cue in cues]
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]]) if len(phrases) > 1 else "".join(phrases)


def _one(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[rng.integers(len(options))]


def _fill(form: str, cues: str, label: str = "neutral") -> str:
    text = form.format(cues=cues, label=label, noun=NOUNS[label])
    return text[:1].upper() + text[1:]


def claims(text: str) -> Claims:
    """Find what a text of these phrases claims; other words are passed over."""
    said = " ".join(text.lower().split())
    return Claims(
        labels=frozenset(label for label, noun in NOUNS.items() if _has(said, (label, noun))),
        cues=frozenset(cue for cue, phrases in PHRASES.items() if _has(said, phrases)),
        missing=frozenset(m for m, forms in _MISSING.items() if _has(said, forms)),
        cut=frozenset(m for m, forms in _CUT.items() if _has(said, forms)),
        conflict=_has(said, _CONFLICT),
        words=_has(said, _WORDS),
        unsure=_has(said, ("little of it can be noticed", "hardly anything speaks", "little to go by")),
    )


def _has(said: str, phrases: Sequence[str]) -> bool:
    return any(
        re.search(rf"(?<!\w){re.escape(phrase.lower().rstrip('.'))}(?!\w)", said) for phrase in phrases
    )


def pieces_left(text: str) -> tuple[str, ...]:
    """Return the pieces of a text that no phrase of here explains, without joining words."""
    pieces = re.split(rf"{_pattern().pattern}|\b(?:and|but)\b|[.,:;]", text, flags=re.IGNORECASE)
    return tuple(" ".join(piece.split()) for piece in pieces if piece.strip())


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """Every phrase and every part of a form, longest first."""
    cues = [phrase for phrases in PHRASES.values() for phrase in phrases]
    forms = [*_WITH_CUES, *_WITHOUT_CUES, *_WORDS, *_CONFLICT, *_AGAINST, *_SEEN, *_HEARD]
    forms += [*_NOTHING_SEEN, *_NOTHING_HEARD]
    forms += [form for table in (_MISSING, _CUT) for group in table.values() for form in group]
    parts = [part for form in forms for part in re.split(r"\{\w+\}|[.,:;]|\bbut\b", form)]
    known = {part.strip().lower() for part in (*cues, *parts, *NOUNS, *NOUNS.values())} - {""}
    listed = "|".join(re.escape(part) for part in sorted(known, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{listed})(?!\w)")

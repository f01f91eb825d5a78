"""The words a reasoning may use, and what each of them claims.

Every phrase claims exactly one thing; ``claims`` reads them back out of a text, which is how tests prove
that a text says only what was measured. People are spoken of without gender, age or identity.

Which cues speak for which emotion follows the reviews of vocal expression by Juslin and Laukka (2003,
tables 6 and 11) and Scherer (2003); it only orders and contrasts what is said, it never changes a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

from emollama_ros.labels import CIRCUMPLEX, UNCERTAIN, UNKNOWN

#: What a text claims: a cue's name and level, or one of the kinds below with its value.
Claim = tuple[str, str]

LABEL, CERTAINTY, MISSING, AGREE, VIEW = "label", "certainty", "missing", "agree", "view"

#: Label -> how a person is who shows it, and what it is called.
ADJECTIVES: Mapping[str, str] = {"contempt": "contemptuous"}
NOUNS: Mapping[str, str] = {
    "neutral": "no strong feeling",
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "surprised": "surprise",
    "scared": "fear",
    "disgusted": "disgust",
    "bored": "boredom",
    "contempt": "contempt",
}

#: Modality -> what people call it.
SOURCES: Mapping[str, str] = {"audio": "voice", "video": "picture", "text": "words"}

#: Degree of certainty -> least confidence, rising.
CERTAINTIES: tuple[tuple[str, float], ...] = (
    ("unsure", 0.0),
    ("weak", 0.35),
    ("likely", 0.5),
    ("sure", 0.75),
)

OPENINGS: Mapping[str, tuple[str, ...]] = {
    "sure": (
        "The person clearly seems {}",
        "The person is most likely {}",
        "I am quite sure the person is {}",
    ),
    "likely": ("The person seems {}", "The person appears {}", "The person is probably {}"),
    "weak": ("The person may be {}", "Perhaps the person is {}", "The person might be {}"),
    "unsure": (
        "It is hard to tell, but the person may be {}",
        "I am not sure, but the person may be {}",
        "It is unclear, but the person may be {}",
    ),
}

UNKNOWN_OPENINGS = ("It is unclear how the person feels", "I am not sure how the person feels")

#: Of a window in which a label was found and is not told; nobody may be there at all.
UNCERTAIN_OPENINGS = ("I am not sure which feeling is shown", "I cannot tell which feeling is shown")

#: What a robot should have; an absent transcript is the usual case and goes without saying.
SENSES = ("audio", "video")

MISSING_PHRASES: Mapping[str, tuple[str, ...]] = {
    "video": ("There is no picture to go by", "No picture was available"),
    "audio": ("There is no sound to go by", "No sound was available"),
    "audio+video": ("There is neither sound nor picture to go by", "Neither sound nor picture was available"),
}

#: Words of a question -> the sense that it is about.
_ASKED: Mapping[str, re.Pattern[str]] = {
    "audio": re.compile(
        r"\b(?:voices?|hear[ds]?|sounds?|tones?|pitch|spe(?:aks?|ech|aking)|loud(?:ness)?)\b", re.I
    ),
    "video": re.compile(
        r"\b(?:faces?|facial|see[ns]?|looks?|pictures?|eyes|mouth|brows?|smil(?:e|es|ing))\b", re.I
    ),
}

#: What a view says when it does not say the published label; {} is what it says instead.
CONFLICTS: Mapping[str, tuple[str, ...]] = {
    "audio": ("The voice alone suggests {}", "Taken alone, the voice points to {}"),
    "video": ("The picture alone suggests {}", "Taken alone, the picture points to {}"),
    "text": ("The words alone suggest {}", "Taken alone, the words point to {}"),
}

_AGREEMENTS: tuple[str, ...] = ("{} agree", "{} point the same way")

#: Phrases of each cue and level; levels without a phrase are never spoken of.
CLAUSES: Mapping[Claim, tuple[str, ...]] = {
    ("voice.activity", "none"): ("nobody is speaking", "there is no speech"),
    ("voice.activity", "little"): ("there is little speech", "only a little is said"),
    ("voice.pitch", "low"): ("the voice is deep", "the pitch is low"),
    ("voice.pitch", "medium"): ("the pitch is ordinary",),
    ("voice.pitch", "high"): ("the voice is high", "the pitch is high"),
    ("voice.pitch_range", "low"): ("the voice is flat", "the tone hardly varies", "the pitch hardly moves"),
    ("voice.pitch_range", "medium"): ("the pitch varies as usual",),
    ("voice.pitch_range", "high"): (
        "the voice is lively",
        "the pitch swings widely",
        "the tone varies a lot",
    ),
    ("voice.pitch_slope", "falling"): ("the pitch falls", "the voice drops in pitch"),
    ("voice.pitch_slope", "rising"): ("the pitch rises", "the voice climbs in pitch"),
    ("voice.unsteadiness", "low"): ("the voice is steady", "the pitch holds steady"),
    ("voice.unsteadiness", "high"): ("the voice wavers", "the pitch is unsteady"),
    ("voice.loudness", "low"): ("the voice is quiet", "the speech is quiet"),
    ("voice.loudness", "medium"): ("the loudness is ordinary",),
    ("voice.loudness", "high"): ("the voice is loud", "the speech is loud"),
    ("voice.loudness_spread", "low"): ("the loudness is even", "the loudness hardly changes"),
    ("voice.loudness_spread", "high"): ("the loudness swings", "the loudness goes up and down"),
    ("voice.rate", "low"): ("the speech is slow", "the words come slowly"),
    ("voice.rate", "medium"): ("the pace is ordinary",),
    ("voice.rate", "high"): ("the speech is fast", "the words come quickly"),
    ("voice.pauses", "many"): ("there are pauses", "the speech is halting"),
    ("voice.sharpness", "low"): ("the tone is soft", "the tone is mellow"),
    ("voice.sharpness", "high"): ("the tone is sharp", "the voice has an edge"),
    ("voice.register", "lowered"): ("the pitch is lowered", "the voice is lower than usual"),
    ("voice.register", "raised"): ("the pitch is raised", "the voice is higher than usual"),
    ("voice.ending", "rising"): ("the end rises", "the pitch climbs at the end"),
    ("voice.breath", "breathy"): ("the voice is breathy", "there is breath in the voice"),
    ("voice.creak", "creaky"): ("the voice is creaky", "there is a creak in the voice"),
    ("voice.manner", "even"): ("the speech is calm and ordinary", "the voice is even"),
    ("face.inner_brows", "shown"): ("the inner brows are raised", "the brows are drawn up in the middle"),
    ("face.brows_up", "shown"): ("the eyebrows are raised", "the eyebrows are lifted high"),
    ("face.brows_down", "shown"): ("the brows are lowered", "the brow is frowning"),
    ("face.eyes_wide", "shown"): ("the eyes are wide", "the eyes are held wide open"),
    ("face.cheeks_up", "shown"): ("the cheeks are raised", "the cheeks are lifted"),
    ("face.lids_tight", "shown"): ("the eyes are narrowed", "the lids are tightened"),
    ("face.nose_wrinkled", "shown"): ("the nose is wrinkled", "the nose is screwed up"),
    ("face.upper_lip_up", "shown"): ("the upper lip is raised", "the upper lip is curled"),
    ("face.smile", "shown"): ("there is a smile", "the lips are smiling"),
    ("face.lip_corners_down", "shown"): ("the lip corners are pulled down", "the mouth turns down"),
    ("face.chin_up", "shown"): ("the chin is pushed up", "the chin is raised"),
    ("face.lips_stretched", "shown"): ("the lips are stretched", "the lips are pulled sideways"),
    ("face.lips_pressed", "shown"): ("the lips are pressed", "the mouth is tight"),
    ("face.mouth_open", "shown"): ("the mouth is open", "the jaw is dropped"),
    ("face.rest", "shown"): ("the face is relaxed", "the face is at rest"),
    ("picture.motion", "low"): ("there is little movement", "the picture is almost still"),
    ("picture.motion", "medium"): ("there is some movement",),
    ("picture.motion", "high"): ("there is a lot of movement", "the picture is full of movement"),
    ("picture.suddenness", "sudden"): ("there is a sudden movement", "something moves suddenly"),
    ("picture.brightness", "dark"): ("the picture is dark",),
    ("picture.brightness", "bright"): ("the picture is very bright",),
    ("change.loudness", "lower"): ("the voice has become quieter", "the speech is less loud than before"),
    ("change.loudness", "higher"): ("the voice has become louder", "the speech is louder than before"),
    ("change.pitch", "lower"): ("the pitch has dropped", "the voice is lower than before"),
    ("change.pitch", "higher"): ("the pitch has gone up", "the voice is higher than before"),
    ("change.rate", "lower"): ("the speech has slowed down", "the words come slower than before"),
    ("change.rate", "higher"): ("the speech has sped up", "the words come faster than before"),
    ("change.motion", "lower"): ("there is less movement than before", "the movement has calmed down"),
    ("change.motion", "higher"): ("there is more movement than before", "the movement has grown"),
}


def _faces(*names: str) -> tuple[Claim, ...]:
    return tuple((f"face.{name}", "shown") for name in names)


# fmt: off
_RAISED = (
    ("voice.pitch", "high"), ("voice.register", "raised"), ("voice.pitch_range", "high"),
    ("voice.loudness", "high"), ("voice.loudness_spread", "high"), ("voice.rate", "high"),
    ("picture.motion", "high"),
    ("change.loudness", "higher"), ("change.pitch", "higher"), ("change.rate", "higher"),
    ("change.motion", "higher"),
)
_LOWERED = (
    ("voice.pitch", "low"), ("voice.register", "lowered"), ("voice.breath", "breathy"),
    ("voice.pitch_range", "low"), ("voice.pitch_slope", "falling"),
    ("voice.loudness", "low"), ("voice.loudness_spread", "low"), ("voice.rate", "low"),
    ("voice.pauses", "many"), ("voice.sharpness", "low"), ("picture.motion", "low"),
    ("change.loudness", "lower"), ("change.pitch", "lower"), ("change.rate", "lower"),
    ("change.motion", "lower"),
)

#: Label -> cues that usually go with it.
SUPPORTS: Mapping[str, frozenset[Claim]] = {
    "happy": frozenset({
        *_RAISED, ("voice.sharpness", "high"), ("voice.pitch_slope", "rising"), *_faces("smile", "cheeks_up"),
    }),
    "angry": frozenset({
        *_RAISED, ("voice.sharpness", "high"), ("picture.suddenness", "sudden"),
        *_faces("brows_down", "lids_tight", "lips_pressed", "mouth_open"),
    }),
    "surprised": frozenset({
        *_RAISED, ("voice.pitch_slope", "rising"), ("voice.ending", "rising"),
        ("picture.suddenness", "sudden"), *_faces("brows_up", "eyes_wide", "mouth_open"),
    }),
    "scared": frozenset({
        *_faces("inner_brows", "eyes_wide", "lips_stretched"),
        ("voice.register", "raised"), ("voice.breath", "breathy"),
        ("voice.pitch", "high"), ("voice.unsteadiness", "high"), ("voice.rate", "high"),
        ("voice.pauses", "many"), ("picture.suddenness", "sudden"), ("change.pitch", "higher"),
        ("change.rate", "higher"), ("change.motion", "higher"),
    }),
    "sad": frozenset({*_LOWERED, *_faces("inner_brows", "lip_corners_down", "chin_up")}),
    "bored": frozenset(_LOWERED),
    "disgusted": frozenset({
        *_faces("nose_wrinkled", "upper_lip_up", "brows_down", "chin_up", "lip_corners_down"),
        ("voice.register", "lowered"), ("voice.creak", "creaky"),
        ("voice.pitch", "low"), ("voice.pitch_slope", "falling"), ("voice.rate", "low"),
        ("voice.loudness", "low"), ("change.rate", "lower"), ("change.pitch", "lower"),
    }),
    "neutral": frozenset({
        *_faces("rest"), ("voice.manner", "even"),
        ("voice.pitch_range", "low"), ("voice.pitch_range", "medium"), ("voice.loudness", "medium"),
        ("voice.loudness_spread", "low"), ("voice.rate", "medium"), ("voice.unsteadiness", "low"),
        ("picture.motion", "low"), ("picture.motion", "medium"),
    }),
}
# fmt: on


def adjective(label: str) -> str:
    """Return how a person is who shows ``label``."""
    return ADJECTIVES.get(label, label)


def noun(label: str) -> str:
    """Return what an emotion is called."""
    return NOUNS.get(label, f"the label {label}")


def certainty(confidence: float) -> str:
    """Return the degree of certainty of a confidence, 0..1; below 0.35 it is ``unsure``."""
    return next(name for name, least in reversed(CERTAINTIES) if confidence >= least or least == 0.0)


def unsure(modalities: Sequence[str]) -> str:
    """Return a text about a window whose label is not told: no reasons, and what is missing.

    Args:
        modalities: Names of the inputs that were used.
    """
    missing = "+".join(m for m in SENSES if m not in modalities)
    absent = f" {MISSING_PHRASES[missing][0]}." if missing else ""
    return f"{UNCERTAIN_OPENINGS[0]}.{absent}"


def asked_about(question: str) -> tuple[str, ...]:
    """Return the senses that a question is about; all of them where it names none, or both."""
    named = tuple(sense for sense, words in _ASKED.items() if words.search(question))
    return named or tuple(SOURCES)


def agreements(modalities: Sequence[str]) -> tuple[str, ...]:
    """Return ways to say that several modalities agree with the label."""
    names = [SOURCES[m] for m in modalities]
    listed = f"{', '.join(names[:-1])} and {names[-1]}".capitalize()
    return tuple(phrase.format(listed) for phrase in _AGREEMENTS)


def stance(label: str, cue: Claim) -> int:
    """Say whether a cue speaks for a label (1), against it (-1), or neither (0).

    What is seen in a face belongs to some labels and so speaks against the others; a trait of the voice may
    go with many, and speaks against a label only where another level of it speaks for it.
    """
    usual = SUPPORTS.get(label, frozenset())
    if cue in usual:
        return 1
    is_face = bool(usual) and cue[0].startswith("face.")
    return -1 if is_face or any(name == cue[0] for name, _ in usual) else 0


def claims(text: str, labels: Iterable[str] = ()) -> set[Claim]:
    """Read back what a text claims.

    Args:
        text: A reasoning.
        labels: Labels beyond the known ones that it may speak of.

    Returns:
        (cue name, level) for every cue named, and claims of the kinds ``label``, ``certainty``, ``missing``
        (modality), ``agree`` (modalities joined by ``+``) and ``view.MODALITY`` (label).
    """
    return _read(text, tuple(sorted({*CIRCUMPLEX, *labels})))[0]


def unexplained(text: str, labels: Iterable[str] = ()) -> str:
    """Return what remains of a text without phrases that claim something, joining words and punctuation."""
    return " ".join(pieces_left(text, labels))


def pieces_left(text: str, labels: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the pieces of a text between phrases that claim something, without joining words."""
    rest = _CUT.join(between(text, labels))
    pieces = re.split(r"\b(?:and|although|even though|but)\b|[.,:;]|" + _CUT, rest)
    return tuple(" ".join(piece.split()) for piece in pieces if piece.strip())


def between(text: str, labels: Iterable[str] = ()) -> tuple[str, ...]:
    """Return what stands before, between and behind phrases that claim something, as it is."""
    return tuple(_read(text, tuple(sorted({*CIRCUMPLEX, *labels})))[1].split(_CUT))


#: Stands where a phrase was.
_CUT = "\0"


def _read(text: str, labels: tuple[str, ...]) -> tuple[set[Claim], str]:
    found: set[Claim] = set()
    pattern, table = _pattern(labels)

    def note(match: re.Match[str]) -> str:
        found.update(table[match.group().lower()])
        return _CUT

    return found, pattern.sub(note, text)


@lru_cache(maxsize=8)
def _pattern(labels: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, tuple[Claim, ...]]]:
    """Every phrase, longest first, and what it claims."""
    table = {phrase.lower(): claimed for phrase, claimed in _phrases(labels)}
    ordered = sorted(table, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, ordered))})\b", re.IGNORECASE), table


def _phrases(labels: Sequence[str]) -> Iterable[tuple[str, tuple[Claim, ...]]]:
    for cue, clauses in CLAUSES.items():
        yield from ((clause, (cue,)) for clause in clauses)
    for label in labels:
        for degree, openings in OPENINGS.items():
            yield from ((o.format(adjective(label)), ((LABEL, label), (CERTAINTY, degree))) for o in openings)
        for modality, conflicts in CONFLICTS.items():
            yield from ((c.format(noun(label)), ((f"{VIEW}.{modality}", label),)) for c in conflicts)
    yield from ((o, ((LABEL, UNKNOWN), (CERTAINTY, "unsure"))) for o in UNKNOWN_OPENINGS)
    yield from ((o, ((LABEL, UNCERTAIN), (CERTAINTY, "unsure"))) for o in UNCERTAIN_OPENINGS)
    for modalities, absences in MISSING_PHRASES.items():
        yield from ((phrase, tuple((MISSING, m) for m in modalities.split("+"))) for phrase in absences)
    for size in (2, 3):
        for group in combinations(SOURCES, size):
            yield from ((phrase, ((AGREE, "+".join(group)),)) for phrase in agreements(group))

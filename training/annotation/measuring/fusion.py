"""Reasoning from the clues by a grammar: every sentence is about something that was measured.

Guided by the label it says what speaks for it and what does not; without the label it says what the clues
suggest, if they suggest one thing. It reads the clues out of the record's own text, so that it can only say
what is there, and says nothing about what was said: the words are for a reader, not for this grammar.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emollama_ros.language.phrases import Claim, noun
from training.annotation.agents import AgentError, Finding, Request, Role
from training.annotation.measuring.labels import emotions_of, said_label
from training.annotation.measuring.unit_names import EMOTION_UNITS
from training.annotation.measuring.words import claims, join, say, sentence, stance
from training.mmeverse.schema import Record

#: Clues named for a label, and against it.
_NAMED, _AGAINST = 4, 2
#: By how many clues the suggestion of the clues has to lead.
_LEAD = 2

_FITS = ("which fits {}", "which goes with {}", "as is usual for {}")
_DOES_NOT_FIT = ("which is unusual for {}", "which does not fit {}")
_SUGGESTS = ("which suggests {}", "which points to {}")
_OPEN = ("which does not point to one emotion", "which would fit several emotions")
_FACE = ("AU", "head.", "face")


def rng_of(record: Record, role: str) -> random.Random:
    """Chance that is the same for the same clip and role, on every machine."""
    seed = hashlib.sha256("\0".join((*record.key, role)).encode()).digest()
    return random.Random(int.from_bytes(seed[:8], "big"))


@dataclass(frozen=True)
class FusionAgent:
    """Writes ``reasoning``.

    Attributes:
        is_guided: Whether the label may be explained; if not, it is never looked at.
    """

    is_guided: bool = True
    role: Role = "fusion"
    model: str = "emollama-grammar-1"
    prompt: str = ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything else the reasoning depends on."""
        return {"guided": self.is_guided, "named": _NAMED, "against": _AGAINST, "lead": _LEAD}

    def annotate(self, request: Request) -> Finding:
        """Explain the label, or say what the clues suggest.

        Raises:
            AgentError: There is no clue to reason from.
        """
        record = request.record
        found = clues_of(record)
        if not found:
            raise AgentError("nothing was measured in sound or picture, so there is nothing to reason from")
        rng = rng_of(record, self.role)
        if self.is_guided and request.is_guided:
            return explain(record, found, rng)
        return Finding({"reasoning": " ".join([suggest(found, rng), *_missing(record)])})


def clues_of(record: Record) -> tuple[Claim, ...]:
    """What the record's clues claim, in a fixed order."""
    return tuple(sorted(claims(f"{record.clues.visual} {record.clues.audio}")))


def explain(record: Record, found: Sequence[Claim], rng: random.Random) -> Finding:
    """Say what speaks for the label and what against it; flag a label that the clues do not carry."""
    emotions, label = emotions_of(record), said_label(record)
    if not emotions:
        clauses = join(say(_mixed(found, rng)[:_NAMED], rng))
        text = f"The clip is labelled {label}. {sentence(clauses)}"
        return Finding({"reasoning": " ".join([text, *_missing(record)])})
    speaking = {claim: max(stance(e, claim) for e in emotions) for claim in found}
    for_it = _mixed([c for c in found if speaking[c] > 0], rng)[:_NAMED]
    against = _mixed([c for c in found if speaking[c] < 0], rng)
    rest = _mixed([c for c in found if not speaking[c]], rng)
    name = _name(emotions[0]) if len(emotions) == 1 else f"the label {label}"
    text = _for(for_it, rest, name, label, rng) + _but(against[:_AGAINST], name, rng)
    return Finding({"reasoning": " ".join([*text, *_missing(record)])}, _flags(for_it, against, label))


def _name(emotion: str) -> str:
    return "a neutral mood" if emotion == "neutral" else noun(emotion)


def _for(
    for_it: Sequence[Claim], rest: Sequence[Claim], name: str, label: str, rng: random.Random
) -> list[str]:
    if for_it:
        return [sentence(f"{join(say(for_it, rng))}, {rng.choice(_FITS).format(name)}")]
    start = f"The clip is labelled {label}, but nothing measured speaks for it"
    return [f"{start}: {join(say(rest[:2], rng))}." if rest else f"{start}."]


def _but(against: Sequence[Claim], name: str, rng: random.Random) -> list[str]:
    if not against:
        return []
    return [f"However, {join(say(against, rng))}, {rng.choice(_DOES_NOT_FIT).format(name)}."]


def _flags(for_it: Sequence[Claim], against: Sequence[Claim], label: str) -> tuple[str, ...]:
    if len(against) > len(for_it):
        named = ", ".join(f"{name} {level}" for name, level in against)
        return (f"measured clues contradict the label {label!r}: {named}",)
    return () if for_it else (f"no measured clue supports the label {label!r}",)


def suggest(found: Sequence[Claim], rng: random.Random) -> str:
    """Say what the clues suggest, without a label."""
    points = {e: sum(stance(e, claim) for claim in found) for e in EMOTION_UNITS}
    best, second = sorted(points, key=lambda e: points[e], reverse=True)[:2]
    if points[best] - points[second] < _LEAD:
        return sentence(f"{join(say(_mixed(found, rng)[:_NAMED], rng))}, {rng.choice(_OPEN)}")
    telling = [claim for claim in found if stance(best, claim) > 0]
    named = say(_mixed(telling, rng)[:_NAMED], rng)
    return sentence(f"{join(named)}, {rng.choice(_SUGGESTS).format(_name(best))}")


def _mixed(found: Iterable[Claim], rng: random.Random) -> list[Claim]:
    """Clues of face and voice in turn, so that neither crowds out the other."""
    face = [c for c in found if c[0].startswith(_FACE)]
    voice = [c for c in found if not c[0].startswith(_FACE)]
    for pile in (face, voice):
        rng.shuffle(pile)
    longest = max(len(face), len(voice))
    return [pile[i] for i in range(longest) for pile in (face, voice) if i < len(pile)]


def _missing(record: Record) -> list[str]:
    """What there was nothing to go by."""
    senses = (("face", record.clues.visual), ("voice", record.clues.audio))
    absent = [name for name, text in senses if not text]
    return [f"No {absent[0]} could be measured."] if absent else []

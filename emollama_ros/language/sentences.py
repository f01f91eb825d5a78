"""What may be said about one estimate, as a grammar.

    OPENING [: clause [[, clause] and clause]] [, although clause [and clause]]. [agreement or conflict.]
    [missing.]

or, for the task ``think``, reasons first and then what follows from them:

    Clause [[, clause] and clause] [, although clause [and clause]]. OPENING. [agreement, conflict or what
    is missing.]

The opening names the published label with its degree of certainty; clauses name cues that were measured, as
many of them as there is room for; what is missing is said, and nothing is said about it. Nothing else can be
written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from emollama_ros.estimate import Cue, EmotionEstimate, Modality
from emollama_ros.labels import UNCERTAIN, UNKNOWN, WITHOUT_FEELING
from emollama_ros.language import phrases
from emollama_ros.language.grammar import Option
from emollama_ros.language.phrases import CLAUSES, Claim
from emollama_ros.manifest import Task

#: Cues offered to the model to choose from, cues it may name, and cues it may name against the label.
OFFERED, NAMED, AGAINST = 5, 5, 2
#: Probability from which a view that says something else is reported.
_CONFLICT_FROM = 0.4
#: Say little about a person, or nothing, like the lighting: offered only where there is nothing else.
_LAST = frozenset({
    "picture.brightness", "picture.motion", "picture.suddenness", "voice.loudness_spread",
    "voice.pitch_slope",
})  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What an estimate permits to be said.

    Attributes:
        label: The published label.
        certainty: Degree of certainty, a key of ``phrases.OPENINGS``.
        supporting: Cues that may be named, strongest first, none against the label.
        against: Cues that speak against the label, strongest first.
        agreeing: Names of the modalities that say the label on their own, if all do and there are several.
        conflict: The modality that says something else on its own most strongly, and what; or ``None``.
        missing: Names of the senses that were not used.
    """

    label: str
    certainty: str
    supporting: tuple[Cue, ...] = ()
    against: tuple[Cue, ...] = ()
    agreeing: tuple[str, ...] = ()
    conflict: tuple[str, str] | None = None
    missing: tuple[str, ...] = ()

    @staticmethod
    def of(estimate: EmotionEstimate, question: str = "") -> Evidence:
        """Collect the evidence of an estimate.

        Args:
            estimate: What is published.
            question: Somebody's, if there is one: who asks about the face is told nothing of the voice.
        """
        missing = tuple(m for m in phrases.SENSES if m not in estimate.modalities.names())
        if estimate.label in WITHOUT_FEELING:  # what is not told cannot be explained
            return Evidence(estimate.label, "unsure", missing=missing)
        asked = phrases.asked_about(question)
        about = replace(estimate, cues=tuple(c for c in estimate.cues if c.modality.names()[0] in asked))
        supporting, against = select_cues(about)
        agreeing, conflict = compare_views(estimate)
        degree = phrases.certainty(estimate.confidence)
        return Evidence(estimate.label, degree, supporting, against, agreeing, conflict, missing)

    def permitted(self) -> set[Claim]:
        """Everything that may be claimed."""
        claims = {(phrases.LABEL, self.label), (phrases.CERTAINTY, self.certainty)}
        claims |= {(cue.name, cue.level) for cue in (*self.supporting, *self.against)}
        claims |= {(phrases.MISSING, name) for name in self.missing}
        if self.agreeing:
            claims.add((phrases.AGREE, "+".join(self.agreeing)))
        if self.conflict:
            claims.add((f"{phrases.VIEW}.{self.conflict[0]}", self.conflict[1]))
        return claims


#: Tells men from women rather than moods: other cues come first.
_FOR_ALL_TO_HEAR = "voice.pitch"


def select_cues(estimate: EmotionEstimate) -> tuple[tuple[Cue, ...], tuple[Cue, ...]]:
    """Return cues that may be named for the label, and against it, each strongest first.

    Cues of an unused modality and levels without words are left out. Typical cues are offered only where
    nothing stands out, or where being typical is what the label means. Where faces can be read, movement and
    light of the picture go without saying.
    """
    reads_faces = any(c.name.startswith("face.") for c in estimate.cues)
    known = [
        c
        for c in estimate.cues
        if (c.name, c.level) in CLAUSES
        and c.modality in estimate.modalities
        and not (reads_faces and c.name.startswith("picture."))
    ]
    stances = {c.name: phrases.stance(estimate.label, (c.name, c.level)) for c in known}

    def weight(cue: Cue) -> tuple[bool, int, float]:
        stands_out = cue.strength > 0 and cue.name != _FOR_ALL_TO_HEAR
        return stands_out, stances[cue.name], cue.strength

    telling = [c for c in known if c.strength > 0 or stances[c.name] > 0]
    supporting = sorted((c for c in telling if stances[c.name] >= 0), key=weight, reverse=True)
    against = sorted((c for c in telling if stances[c.name] < 0), key=weight, reverse=True)
    first = [c for c in supporting if c.name not in _LAST]
    typical = [c for c in known if c.strength == 0 and c.name not in _LAST]
    supporting = first or typical or supporting or [c for c in known if c.strength == 0]
    return tuple(supporting[:OFFERED]), tuple([c for c in against if c.name not in _LAST][:AGAINST])


def compare_views(estimate: EmotionEstimate) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """Return the modalities that agree with the label, or else the one that least does, and its label."""
    views = {m: s for m, s in estimate.views.items() if m in estimate.modalities and any(s)}
    top = {m: max(range(len(s)), key=s.__getitem__) for m, s in views.items()}
    said = {m: (estimate.labels[i], views[m][i]) for m, i in top.items()}
    others = [(p, m, label) for m, (label, p) in said.items() if label != estimate.label]
    if others:
        probability, modality, label = max(others)
        return (), (_name(modality), label) if probability >= _CONFLICT_FROM else None
    names = tuple(_name(m) for m in said)
    return tuple(n for n in phrases.SOURCES if n in names) if len(names) > 1 else (), None


def _name(modality: Modality) -> str:
    return modality.names()[0]


@dataclass(frozen=True)
class Progress:
    """A state: what has been written so far, as far as it matters for what may follow.

    Attributes:
        stage: What comes next.
        named: Names of the cues named so far.
        listing: Whether the clauses so far are a list that ``and`` must close.
    """

    stage: str
    named: tuple[str, ...] = ()
    listing: bool = False


class Sentences:
    """The grammar of one estimate."""

    def __init__(self, evidence: Evidence, task: Task = "reason") -> None:
        """Make the grammar of what ``evidence`` permits; ``think`` puts the reasons first."""
        self._evidence = evidence
        self._thinks = task == "think" and bool(evidence.supporting)
        self._stages: Mapping[str, Callable[[Progress], Sequence[Option]]] = {
            "opening": self._opening,
            "thought": self._thought,
            "verdict": self._verdict,
            "evidence": self._first_evidence,
            "clause": lambda state: self._clauses(state, " ", "joint"),
            "joint": self._joint,
            "last": lambda state: self._clauses(state, " ", "closing"),
            "closing": self._closing,
            "against": lambda state: self._contrasts(state, "contrast"),
            "contrast": self._contrast,
            "more": lambda state: self._contrasts(state, "end"),
            "end": lambda state: [self._sentence_end("")],
            "views": self._views,
            "missing": self._missing,
        }

    @property
    def start(self) -> Progress:
        """See ``Grammar``."""
        return Progress("thought" if self._thinks else "opening")

    def options(self, state: Progress) -> Sequence[Option]:
        """See ``Grammar``."""
        return self._stages[state.stage](state)

    def _opening(self, state: Progress) -> Sequence[Option]:
        e = self._evidence
        if e.label in WITHOUT_FEELING:
            silent = {UNKNOWN: phrases.UNKNOWN_OPENINGS, UNCERTAIN: phrases.UNCERTAIN_OPENINGS}
            return [self._sentence_end(o) for o in silent[e.label]]
        return [Option(verdict, replace(state, stage="evidence")) for verdict in self._verdicts()]

    def _verdicts(self) -> list[str]:
        e = self._evidence
        return [o.format(phrases.adjective(e.label)) for o in phrases.OPENINGS[e.certainty]]

    def _thought(self, state: Progress) -> Sequence[Option]:
        """The first clause, where the text begins with the reasons."""
        clauses = self._clauses(state, "", "joint")
        return [replace(o, text=f"{o.text[:1].upper()}{o.text[1:]}") for o in clauses]

    def _verdict(self, state: Progress) -> Sequence[Option]:
        """The label, where the reasons stand before it."""
        return [replace(self._after_reasons("."), text=f" {verdict}.") for verdict in self._verdicts()]

    def _first_evidence(self, state: Progress) -> Sequence[Option]:
        if self._evidence.supporting:
            return [Option(":", replace(state, stage="clause"))]
        return self._closing(state)

    def _joint(self, state: Progress) -> Sequence[Option]:
        """After a clause, giving ``a``, ``a and b`` or a list ``a, b and c``."""
        left = min(NAMED, len(self._evidence.supporting)) - len(state.named)
        unsaid = sum(c.strength > 0 and c.name not in state.named for c in self._evidence.supporting)
        more = min(left, unsaid)
        joined = [Option(" and", replace(state, stage="last"), early=more > 1)] if left > 0 else []
        listed = self._clauses(replace(state, listing=True), ", ", "joint") if left > 1 else []
        if state.listing:  # which "and" must close
            return [*joined, *(listed if more > 1 else [])]
        ends = [replace(o, early=o.early or more > 0) for o in self._closing(state)]
        return [*ends, *joined, *listed]

    def _closing(self, state: Progress) -> Sequence[Option]:
        contrast = [Option(", although", replace(state, stage="against"))] if self._evidence.against else []
        return [replace(self._sentence_end(""), early=bool(contrast)), *contrast]

    def _clauses(self, state: Progress, before: str, stage: str) -> Sequence[Option]:
        return [
            Option(f"{before}{clause}", replace(state, stage=stage, named=(*state.named, cue.name)))
            for cue in self._evidence.supporting
            if cue.name not in state.named
            for clause in CLAUSES[cue.name, cue.level]
        ]

    def _contrasts(self, state: Progress, stage: str) -> Sequence[Option]:
        return [
            Option(f" {clause}", replace(state, stage=stage, named=(*state.named, cue.name)))
            for cue in self._evidence.against
            if cue.name not in state.named
            for clause in CLAUSES[cue.name, cue.level]
        ]

    def _contrast(self, state: Progress) -> Sequence[Option]:
        """After a clause against the label: the other one, where there are two."""
        more = any(cue.name not in state.named for cue in self._evidence.against)
        joined = [Option(" and", replace(state, stage="more"))] if more else []
        return [replace(self._sentence_end(""), early=more), *joined]

    def _views(self, state: Progress) -> Sequence[Option]:
        e = self._evidence
        if e.conflict:
            modality, label = e.conflict
            return [
                self._after_views(f" {c.format(phrases.noun(label))}.") for c in phrases.CONFLICTS[modality]
            ]
        return [self._after_views(f" {phrase}.") for phrase in phrases.agreements(e.agreeing)]

    def _missing(self, state: Progress) -> Sequence[Option]:
        absences = phrases.MISSING_PHRASES["+".join(self._evidence.missing)]
        return [Option(f" {phrase}.", None) for phrase in absences]

    def _sentence_end(self, before: str) -> Option:
        """End the first sentence and go on to whatever must still be said."""
        if self._thinks:
            return Option(f"{before}.", Progress("verdict"))
        return self._after_reasons(f"{before}.")

    def _after_reasons(self, text: str) -> Option:
        e = self._evidence
        compares = bool(e.conflict or e.agreeing)
        if self._thinks and e.missing:  # three sentences are enough
            compares = False
        return Option(text, Progress("views")) if compares else self._after_views(text)

    def _after_views(self, text: str) -> Option:
        return Option(text, Progress("missing") if self._evidence.missing else None)

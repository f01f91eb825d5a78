"""Adaptation to a person, measured as the robot works: clips come one after another.

Everything that is scored goes through ``emollama_ros.adaptation`` itself. Class means, strength and
temperatures are those of all other people in the file, so that nothing of the person who is scored is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.adaptation import Following, Person
from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.manifest import Adaptation
from training.evaluation.calibration import log_softmax, pooled, temperature
from training.evaluation.held_out import HeldOut
from training.evaluation.metrics import bootstrap, confusion_parts, confusion_scores
from training.evaluation.person_prior import fit_prior

Floats = NDArray[Any]
Indices = NDArray[np.int64]

#: Every clip counts as a window of this length that overlaps with no other.
WINDOW_NS = 4_000_000_000
#: Windows of a stream that lasts five minutes.
LONG = 75
#: Which raw views the robot has in each set of modalities.
RAW = {"audio": ("audio",), "video": ("video",), "video+audio": ("video+audio", "video", "audio")}
#: What happens: each is measured with and without adaptation on the same clips.
SCENARIOS = {
    "random order": "all clips of a person, in random order",
    "second half": "of these the second half of each person's: what it is worth once the person is known",
    "blocks by emotion": "all clips of a person, one emotion after another",
    "one emotion only": "clips of one emotion alone, as if the person never showed another",
    "one emotion for long": "the same for five minutes, clips drawn with replacement",
    "neutral first": "one neutral clip, not scored, is the neutral reference; then all others at random",
    "unannounced": "somebody else's clips, not scored, then the person's: nobody says that it is another",
}


def having(held_out: HeldOut, modalities: str) -> HeldOut:
    """Clips that have all views of a set of modalities."""
    there = [np.isfinite(held_out.raw[view]).all(1) for view in RAW[modalities]]
    return held_out.take(np.logical_and.reduce(there))


@dataclass(frozen=True)
class Settings:
    """How it is measured.

    Attributes:
        following: As on the robot.
        seeds: Random orders of each person's clips.
        strength: Replaces the strength that is fitted, in all views; None leaves it.
        scenarios: Names of those that are measured.
    """

    following: Following = field(default_factory=lambda: Following(is_on=True))
    seeds: int = 5
    strength: float | None = None
    scenarios: Sequence[str] = tuple(SCENARIOS)


@dataclass(frozen=True)
class Stream:
    """Clips in the order in which they come.

    Attributes:
        rows: Indices of the clips.
        reference: Clip that is set as neutral before them; None for none.
        scored: Which of ``rows`` count.
    """

    rows: Indices
    reference: int | None = None
    scored: NDArray[np.bool_] | None = None


def report(
    predictions: HeldOut, settings: Settings = Settings(), known: HeldOut | None = None
) -> dict[str, Any]:
    """Measure every scenario, of every source and set of modalities that the predictions have.

    Args:
        predictions: Of the people who are scored.
        settings: How to measure.
        known: Of the people by whom others are known; those who are scored, but for the one who is, where
            left out.

    Raises:
        InputError: Others are fewer than two people.
    """
    if (people := len(set((known or predictions).persons))) < 2:
        raise InputError(f"predictions of {people} person(s); it takes two to know people by others")
    found: dict[str, Any] = {}
    for modalities in RAW:
        given, others = (having(some, modalities) for some in (predictions, known or predictions))
        if not len(given.truth) or len(set(others.persons)) < 2:
            continue
        bench = Bench(given, modalities, settings, others)
        for source in sorted({person.split(":")[0] for person in given.persons}):
            found.setdefault(source, {})[modalities] = bench.of_source(source)
    return {"settings": asdict(settings), "scenarios": SCENARIOS, "results": found}


@dataclass(frozen=True)
class Visit:
    """One person of a source, and the others.

    Attributes:
        own: Indices of the person's clips.
        others: Indices of the clips of the others.
        given: All clips.
    """

    own: Indices
    others: Indices
    given: HeldOut

    def by_label(self) -> list[Indices]:
        """The person's clips, one array a label."""
        shown = self.given.truth[self.own]
        return [self.own[shown == label] for label in np.unique(shown)]


def at_random(visit: Visit, random: np.random.Generator) -> Iterator[Stream]:
    """All clips in random order."""
    yield Stream(random.permutation(visit.own))


def second_half(visit: Visit, random: np.random.Generator) -> Iterator[Stream]:
    """The same, of which the second half counts."""
    count = len(visit.own)
    yield Stream(random.permutation(visit.own), scored=np.arange(count) >= count // 2)


def in_blocks(visit: Visit, random: np.random.Generator) -> Iterator[Stream]:
    """One emotion after another, in random order."""
    blocks = visit.by_label()
    parts = [random.permutation(blocks[i]) for i in random.permutation(len(blocks))]
    yield Stream(np.concatenate(parts))


def one_only(visit: Visit, random: np.random.Generator) -> Iterator[Stream]:
    """One stream for each emotion."""
    for part in visit.by_label():
        yield Stream(random.permutation(part))


def one_for_long(visit: Visit, random: np.random.Generator) -> Iterator[Stream]:
    """The same, for much longer than there are clips."""
    for part in visit.by_label():
        yield Stream(random.choice(part, LONG))


def neutral_first(visit: Visit, random: np.random.Generator) -> Iterator[Stream]:
    """A neutral reference, then everything else; nothing of a person without a neutral clip."""
    neutral = visit.own[visit.given.truth[visit.own] == DEFAULT_LABELS.index("neutral")]
    if len(neutral):
        reference = int(random.choice(neutral))
        yield Stream(random.permutation(visit.own[visit.own != reference]), reference)


def after_another(visit: Visit, random: np.random.Generator) -> Iterator[Stream]:
    """Somebody else's clips, which do not count, then the person's, as if nothing had happened."""
    if not len(visit.others):
        return
    whose = visit.given.persons[visit.others]
    before = random.permutation(visit.others[whose == random.choice(np.unique(whose))])
    scored = np.arange(len(before) + len(visit.own)) >= len(before)
    yield Stream(np.concatenate([before, random.permutation(visit.own)]), scored=scored)


#: Streams of each of ``SCENARIOS``.
ORDERS: Mapping[str, Callable[[Visit, np.random.Generator], Iterator[Stream]]] = {
    "random order": at_random,
    "second half": second_half,
    "blocks by emotion": in_blocks,
    "one emotion only": one_only,
    "one emotion for long": one_for_long,
    "neutral first": neutral_first,
    "unannounced": after_another,
}


class Bench:
    """One set of modalities: what is known of other people, for each person, and streams through it."""

    def __init__(
        self, given: HeldOut, modalities: str, settings: Settings, known: HeldOut | None = None
    ) -> None:
        """Fit what is known of the others, for each person.

        Args:
            given: Clips that have these modalities.
            modalities: A key of ``RAW``.
            settings: How to measure.
            known: Clips of the people by whom others are known; ``given`` where left out.
        """
        self._given, self._modalities, self._settings = given, modalities, settings
        self._others = given if known is None else known
        self._known = {person: self._all_but(person) for person in np.unique(given.persons)}

    def _all_but(self, person: str) -> tuple[Adaptation, float]:
        """Prior and temperature of everybody else."""
        others = self._others.take(self._others.persons != person)
        prior = fit_prior(
            {view: others.raw[view] for view in RAW[self._modalities]}, others.truth, others.persons
        )
        if self._settings.strength is not None:
            prior = replace(prior, strength=dict.fromkeys(prior.strength, self._settings.strength))

        joint = self._joint({view: others.raw[view] for view in RAW[self._modalities]})
        return prior, temperature(joint, others.truth)

    def _joint(self, views: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Logits (n, labels) of the modalities together, before the temperature, as the robot makes them."""
        if self._modalities == "video+audio":
            return pooled(views["audio"], views["video+audio"])
        return views[self._modalities]

    def of_source(self, source: str) -> dict[str, Any]:
        """Every scenario, of the people of a source."""
        rows = np.flatnonzero(np.char.startswith(self._given.persons, f"{source}:"))
        labels = np.unique(self._given.truth[rows])
        found = {}
        for name in self._settings.scenarios:
            streams = [
                stream for seed in range(self._settings.seeds) for stream in self._streams(name, rows, seed)
            ]
            if streams:
                found[name] = self._scored(streams, labels)
        return found

    def _streams(self, scenario: str, rows: Indices, seed: int) -> Iterator[Stream]:
        """Streams of a scenario, of each person among some clips."""
        whose = self._given.persons[rows]
        for number, person in enumerate(np.unique(whose)):
            visit = Visit(rows[whose == person], rows[whose != person], self._given)
            yield from ORDERS[scenario](visit, np.random.default_rng([seed, number]))

    def _scored(self, streams: Sequence[Stream], labels: Indices) -> dict[str, Any]:
        rows, before, after = (np.concatenate(part) for part in zip(*map(self._run, streams), strict=True))
        chosen = [labels[logits[:, labels].argmax(1)] for logits in (before, after)]
        return compared(self._given.truth[rows], chosen[0], chosen[1], self._given.persons[rows])

    def _run(self, stream: Stream) -> tuple[Indices, Floats, Floats]:
        """Rows that count, and their joint logits without and with adaptation."""
        prior, heat = self._known[self._given.persons[stream.rows[-1]]]
        person = Person(prior, DEFAULT_LABELS, self._settings.following)
        now_ns = WINDOW_NS
        if stream.reference is not None:
            self._step(person, stream.reference, now_ns, heat)
            if self._settings.following.is_on:
                person.set_neutral()
        adapted = []
        for row in stream.rows:
            now_ns += WINDOW_NS
            adapted.append(self._step(person, row, now_ns, heat))
        counts = slice(None) if stream.scored is None else stream.scored
        plain = self._joint({view: self._given.raw[view][stream.rows] for view in RAW[self._modalities]})
        return stream.rows[counts], plain[counts], np.array(adapted)[counts]

    def _step(self, person: Person, row: int, now_ns: int, heat: float) -> Floats:
        raw = {view: self._given.raw[view][row] for view in RAW[self._modalities]}
        allowed = person.corrected(now_ns, raw)
        joint = self._joint({view: logits[None] for view, logits in allowed.items()})
        scores: Floats = joint / heat
        person.observe(now_ns - WINDOW_NS, now_ns, raw, np.exp(log_softmax(scores))[0])
        return joint[0]


def compared(truth: Indices, before: Indices, after: Indices, persons: Sequence[str]) -> dict[str, Any]:
    """UAR without and with, and the gain, each with its 95 % interval by bootstrap over people."""
    size = len(DEFAULT_LABELS)
    parts = np.hstack([confusion_parts(truth, chosen, size) for chosen in (before, after)])

    def uar(sums: Floats, of: int) -> Floats:
        own = sums[..., of * size * size : (of + 1) * size * size]
        return confusion_scores(own.reshape(*own.shape[:-1], size, size))["uar"]

    figures: dict[str, Callable[[Floats], Floats]] = {
        "without": lambda sums: uar(sums, 0),
        "with": lambda sums: uar(sums, 1),
        "gain": lambda sums: uar(sums, 1) - uar(sums, 0),
    }
    whole = parts.sum(0, dtype=np.float64)
    made: dict[str, Any] = {"windows": len(truth), "persons": len(set(persons))}
    for name, figure in figures.items():
        low, high = bootstrap(parts, persons, figure)
        made[name] = {
            "uar": round(float(figure(whole)), 3),
            "interval": [round(float(v), 3) for v in (low, high)],
        }
    return made


def summary(found: Mapping[str, Any]) -> str:
    """The report as lines to read."""
    lines = []
    for source, views in found["results"].items():
        for view, scenarios in views.items():
            lines.append(f"{source}, {view}")
            for name, row in scenarios.items():
                low, high = row["gain"]["interval"]
                lines.append(
                    f"  {name:24s} {row['without']['uar']:.3f} -> {row['with']['uar']:.3f}"
                    f"  gain {row['gain']['uar']:+.3f} ({low:+.3f} to {high:+.3f}), {row['persons']} people"
                )
    return "\n".join(lines)

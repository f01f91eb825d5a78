"""Scores with their spread, paired differences, and the rule that tells a difference from noise.

The rule. Two systems are compared on the same clips, seed by seed. A difference of their scores exceeds the
noise when (1) its interval excludes 0: percentile bootstrap that draws people, within each source, and seeds
with replacement, the same for both systems, at 95 % over all comparisons of the report together (Bonferroni);
and (2) its mean over the seeds is more than twice its standard error over the seeds; and (3) there are at
least `LEAST_PEOPLE` people: fewer say nothing about others, whatever the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.ablation.plan import System
from training.ablation.results import Costs, Told
from training.evaluation.metrics import confusion_parts, confusion_scores

Floats = NDArray[np.float64]
#: What a run did on clips, from which a score is made.
Outcome = Told | Costs
#: A system, the measure, and its outcome by seed.
Cell = tuple[System, str, Mapping[int, Outcome]]
#: Below this the people are too few to say anything about others.
LEAST_PEOPLE = 5
DRAWS = 10_000
LEVEL = 0.95
#: Said of a difference.
EXCEEDS, WITHIN, TOO_FEW = "exceeds the noise", "within the noise", "too few people"
#: Measures: the head's by name (`training.ablation.views.MEASURES`), labels that were answered, and what
#: known answers to the tasks of a stage cost.
ANSWERS = "answers"
LOSS = " loss"


@dataclass(frozen=True)
class Score:
    """A system by one measure.

    Attributes:
        system: What was trained.
        measure: `training.ablation.views.MEASURES`, or ``answers``.
        metric: ``uar`` of the head, ``waf`` of answers.
        mean: Over the seeds.
        deviation: Over the seeds (sample standard deviation).
        by_seed: The score of each.
        clips: Scored.
        persons: They are of.
        labels: That are true of some clip; a guess has a UAR of 1 / labels.
    """

    system: System
    measure: str
    metric: str
    mean: float
    deviation: float
    by_seed: tuple[float, ...]
    clips: int
    persons: int
    labels: int


@dataclass(frozen=True)
class Difference:
    """One system less another, paired over seeds and people.

    Attributes:
        question: Fusion, views, removed modality, or curriculum.
        what: The first system, by which measure.
        than: The second one, by which.
        mean: Difference of the scores, mean over the seeds.
        deviation: Of the differences, over the seeds.
        interval: Bootstrap over people and seeds, at the corrected level.
        persons: Drawn.
        verdict: By the rule.
    """

    question: str
    what: str
    than: str
    mean: float
    deviation: float
    interval: tuple[float, float]
    persons: int
    verdict: str


@dataclass(frozen=True)
class _Sums:
    """What a score needs to know of clips: ``parts`` (clips, K), of whose sums it is a function."""

    parts: Floats
    score: Callable[[Floats], Floats]


def metric_of(measure: str) -> str:
    """WAF for answers, as the benchmarks have it; nats a token for their loss; UAR for the head."""
    if measure.endswith(LOSS):
        return "nats"
    return "waf" if measure == ANSWERS else "uar"


def score_of(system: System, measure: str, told: Mapping[int, Told]) -> Score:
    """Score what one cell told."""
    values = [value_of(one, metric_of(measure)) for one in told.values()]
    first = next(iter(told.values()))
    return Score(
        system=system,
        measure=measure,
        metric=metric_of(measure),
        mean=float(np.mean(values)),
        deviation=deviation_of(values),
        by_seed=tuple(values),
        clips=len(first.clips),
        persons=len(set(first.persons)),
        labels=len(set(first.truth)),
    )


def value_of(outcome: Outcome, metric: str) -> float:
    """The score of all clips together."""
    sums = _sums_of(outcome, metric)
    return float(sums.score(sums.parts.sum(0)))


def deviation_of(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN of one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _sums_of(outcome: Outcome, metric: str) -> _Sums:
    if isinstance(outcome, Costs):
        parts = np.array([outcome.own, outcome.tokens], np.float64).T
        return _Sums(parts, lambda sums: sums[..., 0] / sums[..., 1])
    labels = sorted({*outcome.truth, *outcome.chosen})
    index = {label: i for i, label in enumerate(labels)}
    truth, chosen = (np.array([index[label] for label in side]) for side in (outcome.truth, outcome.chosen))
    shape = (len(labels), len(labels))
    return _Sums(
        confusion_parts(truth, chosen, len(labels)).astype(np.float64),
        lambda sums: confusion_scores(sums.reshape(*sums.shape[:-1], *shape))[metric],
    )


def compare(question: str, one: Cell, other: Cell, comparisons: int, draws: int = DRAWS) -> Difference:
    """Compare two cells by the rule of this module.

    Args:
        question: What is asked by it.
        one: A system, its measure, and its outcome by seed.
        other: What it is compared with, of the same clips.
        comparisons: How many the report has: the level is corrected for them.
        draws: Of the bootstrap.
    """
    seeds = [seed for seed in one[2] if seed in other[2]]
    pairs = [(one[2][seed], other[2][seed]) for seed in seeds]
    assert all(a.clips == b.clips for a, b in pairs), "compared systems must be measured on the same clips"
    metric = metric_of(one[1])
    gains = [value_of(a, metric) - value_of(b, metric) for a, b in pairs]
    low, high = _interval(_bootstrap(pairs, metric, draws), comparisons)
    persons = len(set(pairs[0][0].persons))
    return Difference(
        question=question,
        what=_name(*one[:2]),
        than=_name(*other[:2]),
        mean=float(np.mean(gains)),
        deviation=deviation_of(gains),
        interval=(low, high),
        persons=persons,
        verdict=_verdict(gains, (low, high), persons),
    )


def _interval(drawn: Floats, comparisons: int) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / comparisons / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def _verdict(gains: Sequence[float], interval: tuple[float, float], persons: int) -> str:
    if persons < LEAST_PEOPLE:
        return TOO_FEW
    is_steady = abs(np.mean(gains)) > 2 * deviation_of(gains) / np.sqrt(len(gains))
    return EXCEEDS if is_steady and (interval[0] > 0 or interval[1] < 0) else WITHIN


def _bootstrap(pairs: Sequence[tuple[Outcome, Outcome]], metric: str, draws: int) -> Floats:
    """Mean difference over the drawn seeds, of the drawn people; the same draws for both of a pair."""
    random = np.random.default_rng(0)
    persons, owner = np.unique(np.array(pairs[0][0].persons), return_inverse=True)
    weights = _drawn_people(persons, draws, random)
    gains = np.stack(
        [
            _drawn_scores(a, owner, weights, metric) - _drawn_scores(b, owner, weights, metric)
            for a, b in pairs
        ],
        axis=1,
    )
    seeds = random.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=draws)
    return (gains * seeds).sum(1) / len(pairs)


def _drawn_people(persons: NDArray[Any], draws: int, random: np.random.Generator) -> Floats:
    """(draws, persons): how often each is drawn; every source keeps its number of people."""
    sources = np.array([person.partition(":")[0].partition("/")[0] for person in persons])
    weights = np.zeros((draws, len(persons)))
    for source in np.unique(sources):
        mine = np.flatnonzero(sources == source)
        weights[:, mine] = random.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=draws)
    return weights


def _drawn_scores(outcome: Outcome, owner: NDArray[np.int64], weights: Floats, metric: str) -> Floats:
    sums = _sums_of(outcome, metric)
    by_person = np.zeros((weights.shape[1], sums.parts.shape[1]))
    np.add.at(by_person, owner, sums.parts)
    return sums.score(weights @ by_person)


def _name(system: System, measure: str) -> str:
    parts = (system.fusion, system.curriculum.replace("_", " then "), f"trained on {system.view}")
    return ", ".join(filter(None, (*parts, f"measured on {measure}")))

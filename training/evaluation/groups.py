"""How well people of each group are told: scores by group, and whether a gap is more than chance makes.

A gap between groups says little by itself: of a few groups of few people one is always best. So each gap
stands beside the largest one that lots make, where groups are drawn by them (permutation test, Fisher 1935).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import DRAWS, confusion_parts, confusion_scores

Floats = NDArray[np.float64]

#: Bins of the calibration error.
BINS = 10
#: Groups with fewer clips are shown, but are no side of a gap: nearly anything may come out.
LEAST_CLIPS = 15
#: Drawings of lots.
LOTS = 1000


@dataclass(frozen=True)
class Told:
    """What was told of a clip, in one view.

    Attributes:
        clip: Name of the clip.
        person: Whose it is.
        view: What was given: ``audio``, ``video`` or ``both``.
        truth: Index of the true label.
        scores: (K,) probabilities, K the same of all.
        groups: Group of the clip in each grouping that it has one in.
    """

    clip: str
    person: str
    view: str
    truth: int
    scores: NDArray[np.float32]
    groups: Mapping[str, str]


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval by bootstrap; NaN where there is none."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """As plain data; NaN becomes None."""
        return {"value": _plain(self.value), "interval": [_plain(self.low), _plain(self.high)]}


@dataclass(frozen=True)
class Group:
    """Scores of one group.

    Attributes:
        name: Of the group.
        clips: How many.
        people: Whose they are.
        uar: Mean recall of the labels that occur in the group.
        accuracy: Share of clips told right.
        confidence: Mean of the highest score.
        ece: Expected calibration error, ten bins.
    """

    name: str
    clips: int
    people: int
    uar: Figure
    accuracy: Figure
    confidence: Figure
    ece: Figure

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        figures = {key: getattr(self, key).to_json() for key in FIGURES}
        return {"name": self.name, "clips": self.clips, "people": self.people, **figures}


@dataclass(frozen=True)
class Gap:
    """The largest difference in UAR between two groups.

    Attributes:
        best: The group that is told best.
        worst: The one that is told worst.
        uar: UAR of the best less that of the worst, and the interval of the difference of these two. They
            were picked for being far apart, so it is too large rather than too small.
        chance: The largest gap of so many groups of that size stays below this in 95 % of drawings by lot.
        p: Share of the drawings that made a gap at least as large.
    """

    best: str
    worst: str
    uar: Figure
    chance: float
    p: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether lots make such a gap in fewer than one of twenty drawings."""
        return self.p < 0.05

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "best": self.best,
            "worst": self.worst,
            "uar": self.uar.to_json(),
            "chance": _plain(self.chance),
            "p": _plain(self.p),
            "is_beyond_chance": self.is_beyond_chance,
        }


#: Attributes of `Group` that are figures.
FIGURES = ("uar", "accuracy", "confidence", "ece")


def compare(
    told: Sequence[Told], grouping: str, order: Sequence[str] = (), draws: int = DRAWS, seed: int = 0
) -> tuple[list[Group], Gap | None]:
    """Score each group of a grouping, and find the largest gap.

    Intervals draw people with all their clips; where each group is one person, clips.

    Args:
        told: Of one view; clips that have no group in the grouping are left out.
        grouping: Key of `Told.groups`.
        order: Names of the groups in the order in which they are wanted; others follow by name.
        draws: Of the bootstrap.
        seed: Of the bootstrap and of the lots.

    Returns:
        The groups, and their largest gap; None where fewer than two groups have `LEAST_CLIPS` clips.
    """
    clips = [t for t in told if grouping in t.groups]
    names = _ordered({t.groups[grouping] for t in clips}, order)
    if not names:
        return [], None
    table = _Table.of(clips, grouping, names)
    values, drawn = _scores(table.sums()), _scores(table.drawn(draws, seed))
    groups = [_group(name, i, table, values, drawn) for i, name in enumerate(names)]
    return groups, _gap(groups, table, values["uar"], drawn["uar"], seed)


def measures(
    told: Sequence[Told], groupings: Mapping[str, Sequence[str]], draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Compare in every grouping and view, as plain data.

    Args:
        told: Of any views.
        groupings: Names of the groupings, and the order of their groups.
        draws: Of the bootstrap.
        seed: Of the bootstrap and of the lots.
    """
    views = [view for view in ("both", "audio", "video") if any(t.view == view for t in told)]
    found: dict[str, Any] = {}
    for name, order in groupings.items():
        for view in views:
            groups, gap = compare([t for t in told if t.view == view], name, order, draws, seed)
            if groups:
                cell = {"groups": [g.to_json() for g in groups], "gap": gap.to_json() if gap else None}
                found.setdefault(name, {})[view] = cell
    return found


def _ordered(names: set[str], order: Sequence[str]) -> list[str]:
    return [name for name in order if name in names] + sorted(names - set(order))


@dataclass(frozen=True)
class _Table:
    """What each clip adds to the sums that scores are made of, its group, and who owns it.

    Attributes:
        parts: (N, k).
        group: (N,) index of the group.
        owner: (N,) index of who is drawn: the person, or the clip where each group is one person.
        clip: (N,) index of the clip; twins of a clip share it.
        people: (groups,) people in each.
        is_of_people: Every person is in one group only.
    """

    parts: Floats
    group: NDArray[np.int64]
    owner: NDArray[np.int64]
    clip: NDArray[np.int64]
    people: list[int]
    is_of_people: bool

    @classmethod
    def of(cls, clips: Sequence[Told], grouping: str, names: Sequence[str]) -> _Table:
        group = np.array([names.index(t.groups[grouping]) for t in clips])
        persons = np.array([t.person for t in clips])
        people = [len(set(persons[group == i])) for i in range(len(names))]
        each_one = max(people) == 1
        _, owner = np.unique(persons, return_inverse=True)
        _, clip = np.unique(np.array([f"{t.person}/{t.clip}" for t in clips]), return_inverse=True)
        together = {(p, g) for p, g in zip(owner.tolist(), group.tolist(), strict=True)}
        return cls(
            parts=_parts(clips),
            group=group,
            owner=np.arange(len(clips)) if each_one else owner,
            clip=clip,
            people=people,
            is_of_people=len(together) == len(set(owner.tolist())) and not each_one,
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Clips a group."""
        return np.bincount(self.group, minlength=len(self.people))

    def sums(self, group: NDArray[np.int64] | None = None) -> Floats:
        """Sums (groups, k)."""
        of = self.group if group is None else group
        is_in = (of == np.arange(len(self.people))[:, None]).astype(np.float64)
        found: Floats = is_in @ self.parts
        return found

    def drawn(self, draws: int, seed: int) -> Floats:
        """Sums (draws, groups, k), with owners drawn with replacement."""
        owners, count = int(self.owner.max()) + 1, len(self.people)
        by_owner = np.zeros((owners, count, self.parts.shape[1]))
        np.add.at(by_owner, (self.owner, self.group), self.parts)
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(owners, np.full(owners, 1 / owners), size=draws).astype(np.float64)
        return (weights @ by_owner.reshape(owners, -1)).reshape(draws, count, -1)

    def by_lot(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Groups (N,) drawn by lot: among twins, of people where people have groups, of clips otherwise."""
        if len(set(self.clip.tolist())) < len(self.clip):
            order = np.lexsort((rng.random(len(self.clip)), self.clip))
            found = np.empty_like(self.group)
            found[np.argsort(self.clip, kind="stable")] = self.group[order]
            return found
        if not self.is_of_people:
            return rng.permutation(self.group)
        _, first = np.unique(self.owner, return_index=True)
        return rng.permutation(self.group[first])[self.owner]


def _parts(clips: Sequence[Told]) -> Floats:
    """Of each clip its confusion matrix, and by bin of confidence: 1, the confidence, and whether it hit."""
    scores, truth = np.array([t.scores for t in clips], np.float64), np.array([t.truth for t in clips])
    confidence, chosen = scores.max(1), scores.argmax(1)
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = np.zeros((len(clips), 3, BINS))
    bins[np.arange(len(clips)), :, which] = np.stack([np.ones(len(clips)), confidence, chosen == truth], 1)
    confusion = confusion_parts(truth, chosen, scores.shape[1])
    return np.concatenate([confusion, bins.reshape(len(clips), -1)], 1)


def _scores(sums: Floats) -> dict[str, Floats]:
    """Figures (...) of sums (..., k)."""
    size = round(np.sqrt(sums.shape[-1] - 3 * BINS))
    confusion = sums[..., : size * size].reshape(*sums.shape[:-1], size, size)
    count, confidence, right = np.moveaxis(sums[..., size * size :].reshape(*sums.shape[:-1], 3, BINS), -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = confusion_scores(confusion)
        n = count.sum(-1)
        return {
            "uar": found["uar"],
            "accuracy": found["war"],
            "confidence": confidence.sum(-1) / n,
            "ece": np.abs(confidence - right).sum(-1) / n,
        }


def _group(name: str, at: int, table: _Table, values: dict[str, Floats], drawn: dict[str, Floats]) -> Group:
    figures = {key: _figure(values[key][at], drawn[key][:, at]) for key in FIGURES}
    return Group(name, int(table.sizes[at]), table.people[at], **figures)


def _gap(groups: Sequence[Group], table: _Table, uar: Floats, drawn: Floats, seed: int) -> Gap | None:
    large = np.flatnonzero(table.sizes >= LEAST_CLIPS)
    if len(large) < 2:
        return None
    worst, *_, best = large[np.argsort(uar[large], kind="stable")]
    size = float(uar[best] - uar[worst])
    rng = np.random.default_rng(seed)
    lots = np.array([np.ptp(_scores(table.sums(table.by_lot(rng)))["uar"][large]) for _ in range(LOTS)])
    return Gap(
        best=groups[best].name,
        worst=groups[worst].name,
        uar=_figure(size, drawn[:, best] - drawn[:, worst]),
        chance=float(np.quantile(lots, 0.95)),
        # The one that was found is one of the drawings (Phipson and Smyth 2010).
        p=float((1 + (lots >= size - 1e-12).sum()) / (1 + LOTS)),
    )


def _figure(value: float, drawn: Floats) -> Figure:
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return Figure(float(value), float(low), float(high))


def _plain(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None

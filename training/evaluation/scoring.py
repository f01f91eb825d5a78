"""Records and predictions of one set to its scores, with intervals and with what was kept and dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.judge import Judge, mean_overlap
from training.evaluation.mer_unibench import ByClip, group, hits_by_clip, sets_by_clip
from training.evaluation.metrics import (
    Floats,
    bootstrap,
    calibration_error,
    confusion_parts,
    confusion_scores,
)
from training.evaluation.multilabel import score_multilabel
from training.evaluation.predictions import Key, Prediction, Told, interpret
from training.evaluation.sentiment import score_sentiment
from training.evaluation.suites import BenchmarkSet
from training.evaluation.wheels import Grouping
from training.mmeverse.schema import Record, Task

_SIGNS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Figure:
    """One metric of one set.

    Attributes:
        value: None where there is nothing to take it of.
        interval: 95 %, by bootstrap; None where it is not additive over clips (``mean_ap``, ``ece``).
        kept: Clips it is taken of.
        dropped: Clips with a usable prediction that the metric itself leaves out (truly neutral, unsayable).
    """

    value: float | None
    kept: int
    dropped: int = 0
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class SetScores:
    """Scores of one set.

    Attributes:
        kept: Clips with a usable prediction.
        dropped: Clips without one, by reason.
        persons: People they are of; None where the source does not tell.
        drawn: What the bootstrap draws: ``persons`` or ``clips``.
        figures: By name of metric, in the order of the set, further ones behind.
        by_wheel: Hit rate or open-vocabulary scores of each wheel, with clips kept and dropped.
        labels: Rows and columns of ``confusion``; rows are true labels.
        confusion: Counts; empty for sets of labels.
        absent: Metrics that could not be taken, and why.
    """

    kept: int
    dropped: Mapping[str, int]
    persons: int | None
    drawn: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    by_wheel: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoringOptions:
    """What scoring needs besides the clips.

    Attributes:
        grouping: The emotion wheels; None where the tables are not at hand.
        judge: Who compares explanations; None for nobody.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """

    grouping: Grouping | None = None
    judge: Judge | None = None
    draws: int = 2000
    seed: int = 0


def score_set(
    of: BenchmarkSet,
    records: Sequence[Record],
    predictions: Mapping[Key, Prediction],
    options: ScoringOptions | None = None,
    unsayable: Sequence[str] = (),
) -> SetScores:
    """Score one set.

    Args:
        of: The set.
        records: All of its clips.
        predictions: By key; what is missing is dropped and counted.
        options: Wheels, judge, bootstrap.
        unsayable: Labels that the model has no word for; adds ``uar_sayable``.
    """
    told = [interpret(record, predictions.get(record.key)) for record in records]
    pairs = [(r, t) for r, t in zip(records, told, strict=True) if not t.dropped]
    clips = _Clips([r for r, _ in pairs], [t for _, t in pairs], predictions, options or ScoringOptions())
    found = _Found()
    if clips.records:
        _SCORERS[of.task](clips, found)
        if of.task in (Task.EMOTION, Task.INTENT):
            found.figures["war_all"] = _over_all(clips, len(records))
            _sayable(clips, found, unsayable)
        _judged(clips, found)
    persons = {r.person for r in clips.records}
    figures = {name: found.figures[name] for name in of.metrics if name in found.figures}
    return SetScores(
        kept=len(clips.records),
        dropped=dict(Counter(t.dropped for t in told if t.dropped).most_common()),
        persons=None if None in persons else len(persons),
        drawn="clips" if None in persons else "persons",
        figures=figures | found.figures,
        by_wheel=found.by_wheel,
        labels=found.labels,
        confusion=found.confusion,
        absent={name: why for name, why in found.absent.items() if name in of.metrics},
    )


@dataclass
class _Found:
    """What has been worked out so far."""

    figures: dict[str, Figure] = field(default_factory=dict)
    by_wheel: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Clips:
    """Clips with a usable prediction."""

    records: Sequence[Record]
    told: Sequence[Told]
    predictions: Mapping[Key, Prediction]
    options: ScoringOptions

    def owners(self) -> list[str]:
        """Whom the bootstrap draws: people, or clips where the source does not tell all people."""
        if all(r.person for r in self.records):
            return [r.person or "" for r in self.records]
        return [r.id for r in self.records]

    def interval(
        self,
        parts: NDArray[Any],
        statistic: Callable[[Floats], Floats],
        rows: NDArray[np.bool_] | None = None,
    ) -> tuple[float, float] | None:
        """Interval of a statistic of sums over all clips, or over those that ``rows`` marks."""
        keep = np.ones(len(parts), bool) if rows is None else rows
        owners = [owner for owner, kept in zip(self.owners(), keep, strict=True) if kept]
        if len(set(owners)) < 2:
            return None
        low, high = bootstrap(parts[keep], owners, statistic, self.options.draws, self.options.seed)
        return None if np.isnan(low) else (float(low), float(high))

    def probabilities(self, labels: Sequence[str]) -> NDArray[np.float64] | None:
        """(N, labels); None where a clip has none."""
        given = [self.predictions[r.key].probabilities for r in self.records]
        if not all(given):
            return None
        return np.array([[p.get(label, 0.0) for label in labels] for p in given])


def _one_label(clips: _Clips, found: _Found) -> None:
    """Emotion and intent: one label a clip."""
    labels = _space(clips)
    index = {label: i for i, label in enumerate(labels)}
    truth = np.array([index[r.label or ""] for r in clips.records])
    chosen = np.array([index[t.labels[0]] for t in clips.told])
    _confuse(clips, found, truth, chosen, labels, {m: m for m in ("uar", "war", "waf", "macro_f1")})
    found.labels, found.confusion = labels, _confusion(truth, chosen, len(labels))
    probabilities = clips.probabilities(labels)
    if probabilities is not None:
        found.figures["ece"] = Figure(calibration_error(probabilities, truth), len(truth))
    _hits(clips, found)


def _confuse(
    clips: _Clips,
    found: _Found,
    truth: NDArray[np.int64],
    chosen: NDArray[np.int64],
    labels: Sequence[str],
    names: Mapping[str, str],
    rows: NDArray[np.bool_] | None = None,
) -> None:
    """Add scores of a confusion matrix; ``names`` says which ones, under which name."""
    keep = np.ones(len(truth), bool) if rows is None else rows
    size, parts = len(labels), confusion_parts(truth, chosen, len(labels))
    values = confusion_scores(parts[keep].sum(0).reshape(size, size))
    for metric, name in names.items():
        value = float(values[metric]) if keep.any() else None
        interval = clips.interval(parts, _of_confusion(metric, size), keep)
        found.figures[name] = Figure(value, int(keep.sum()), int((~keep).sum()), interval)


def _of_confusion(metric: str, size: int) -> Callable[[Floats], Floats]:
    return lambda sums: confusion_scores(sums.reshape(-1, size, size))[metric]


def _confusion(truth: NDArray[np.int64], chosen: NDArray[np.int64], size: int) -> tuple[tuple[int, ...], ...]:
    counts = confusion_parts(truth, chosen, size).sum(0).reshape(size, size)
    return tuple(tuple(map(int, row)) for row in counts)


def _over_all(clips: _Clips, total: int) -> Figure:
    right = sum(r.label == t.labels[0] for r, t in zip(clips.records, clips.told, strict=True))
    return Figure(right / total, total)


def _sayable(clips: _Clips, found: _Found, unsayable: Sequence[str]) -> None:
    rows = np.array([r.label not in unsayable for r in clips.records])
    if not unsayable or not rows.any():
        return
    labels = found.labels
    index = {label: i for i, label in enumerate(labels)}
    truth = np.array([index[r.label or ""] for r in clips.records])
    chosen = np.array([index[t.labels[0]] for t in clips.told])
    _confuse(clips, found, truth, chosen, labels, {"uar": "uar_sayable"}, rows)


def _hits(clips: _Clips, found: _Found) -> None:
    """Hit rate over the wheels; emotions only."""
    if clips.records[0].task is not Task.EMOTION:
        return
    if (grouping := clips.options.grouping) is None:
        found.absent |= dict.fromkeys(("hit_rate", "m_score"), _NO_TABLES)
        return
    truth = [(r.label or "").lower() for r in clips.records]
    by_clip = hits_by_clip(grouping, truth, group(grouping, [t.labels for t in clips.told]))
    _wheels(clips, found, grouping, by_clip, ("hit_rate", "m_score"))


_NO_TABLES = "the tables of the emotion wheels are not at hand (--tables)"


def _open_vocabulary(clips: _Clips, found: _Found) -> None:
    if (grouping := clips.options.grouping) is None:
        found.absent |= dict.fromkeys(("ov_f", "ov_precision", "ov_recall"), _NO_TABLES)
        return
    answered = group(grouping, [t.labels for t in clips.told])
    by_clip = sets_by_clip(grouping, [r.labels for r in clips.records], answered)
    _wheels(clips, found, grouping, by_clip, ("ov_precision", "ov_recall"))
    parts = _wheel_parts(by_clip)
    kept, dropped = _kept(by_clip)
    f = float(_f_of_wheels(parts.sum(0, keepdims=True))[0])
    figure = Figure(
        None if np.isnan(f) else f, kept, dropped, clips.interval(parts, _f_of_wheels) if kept else None
    )
    found.figures = {"ov_f": figure, **found.figures}


def _wheels(
    clips: _Clips, found: _Found, grouping: Grouping, by_clip: ByClip, names: tuple[str, str]
) -> None:
    """Add the means over clips, then wheels, of the two scores of each clip."""
    parts = _wheel_parts(by_clip)
    kept, dropped = _kept(by_clip)
    for place, name in enumerate(names, 1):
        value = float(_mean_of_wheels(place)(parts.sum(0, keepdims=True))[0])
        interval = clips.interval(parts, _mean_of_wheels(place)) if kept else None
        found.figures[name] = Figure(None if np.isnan(value) else value, kept, dropped, interval)
    sums = parts.sum(0).reshape(3, -1)
    for i, wheel in enumerate(grouping.wheels):
        n = int(sums[0, i])
        values = {name: float(sums[k, i] / n) if n else None for k, name in enumerate(names, 1)}
        found.by_wheel[wheel] = values | {"kept": n, "dropped": len(parts) - n}


def _wheel_parts(by_clip: ByClip) -> Floats:
    """(N, 3 * wheels): kept, first and second score of each clip on each wheel; 0 where not kept."""
    kept = by_clip.kept.astype(np.float64)
    return np.hstack([kept, by_clip.first * kept, by_clip.second * kept])


def _kept(by_clip: ByClip) -> tuple[int, int]:
    """Clips that some wheel keeps, and clips that none does."""
    some = by_clip.kept.any(axis=1)
    return int(some.sum()), int((~some).sum())


def _mean_of_wheels(place: int) -> Callable[[Floats], Floats]:
    def statistic(sums: Floats) -> Floats:
        n, *scores = np.split(sums, 3, axis=-1)
        with np.errstate(invalid="ignore"):
            return (scores[place - 1] / n).mean(-1)

    return statistic


def _f_of_wheels(sums: Floats) -> Floats:
    n, precision, recall = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore"):
        p, r = precision / n, recall / n
        return (2 * p * r / np.where(p + r > 0, p + r, 1)).mean(-1)


def _sentiment(clips: _Clips, found: _Found) -> None:
    truth = np.sign([_true_score(r) for r in clips.records])
    told = np.sign([t.score for t in clips.told])
    scores, polar = score_sentiment(truth, told), truth != 0
    two = _intervals(clips, (truth > 0).astype(int), (told > 0).astype(int), 2, polar)
    three = _intervals(clips, truth.astype(int) + 1, told.astype(int) + 1, 3, None)
    for prefix, protocol, spans in (
        ("sentiment", scores.neutral_dropped, two),
        ("sentiment3", scores.neutral_kept, three),
    ):
        for name, value, metric in (("waf", protocol.waf, "waf"), ("acc", protocol.acc, "war")):
            figure = Figure(value, protocol.kept, protocol.dropped, spans[metric])
            found.figures[f"{prefix}_{name}"] = figure
    found.labels = _SIGNS
    found.confusion = _confusion(truth.astype(int) + 1, told.astype(int) + 1, 3)


def _intervals(
    clips: _Clips,
    truth: NDArray[np.int64],
    chosen: NDArray[np.int64],
    size: int,
    rows: NDArray[np.bool_] | None,
) -> dict[str, tuple[float, float] | None]:
    parts = confusion_parts(truth, chosen, size)
    return {m: clips.interval(parts, _of_confusion(m, size), rows) for m in ("waf", "war")}


def _true_score(record: Record) -> float:
    if record.sentiment_score is not None:
        return record.sentiment_score
    return float(_SIGNS.index((record.label or "").lower()) - 1)


def _several_labels(clips: _Clips, found: _Found) -> None:
    labels = _space(clips)
    truth = np.array([[label in r.labels for label in labels] for r in clips.records], np.int64)
    told = np.array([[label in t.labels for label in labels] for t in clips.told], np.int64)
    scores = score_multilabel(truth, told, clips.probabilities(labels))
    parts = _set_parts(truth, told)
    for place, name in enumerate(("micro_f1", "sample_f1", "jaccard")):
        interval = clips.interval(parts, _set_scores(place))
        found.figures[name] = Figure(getattr(scores, name), scores.n, 0, interval)
    found.figures["mean_ap"] = Figure(scores.mean_ap, scores.n)


def _set_parts(truth: NDArray[np.int64], told: NDArray[np.int64]) -> Floats:
    """(N, 5): common labels, true and told labels, F1 and Jaccard of each clip, and one for the clip."""
    common, size = (truth & told).sum(1), truth.sum(1) + told.sum(1)
    f1 = np.where(size > 0, 2 * common / np.maximum(size, 1), 1.0)
    jaccard = np.where(size > 0, common / np.maximum(size - common, 1), 1.0)
    return np.column_stack([common, size, f1, jaccard, np.ones(len(truth))]).astype(np.float64)


def _set_scores(place: int) -> Callable[[Floats], Floats]:
    def statistic(sums: Floats) -> Floats:
        common, size, f1, jaccard, n = sums.T
        micro = np.where(size > 0, 2 * common / np.maximum(size, 1), 1.0)
        return (micro, f1 / n, jaccard / n)[place]

    return statistic


def _judged(clips: _Clips, found: _Found) -> None:
    """What the judge says, where there is one and there is something to compare."""
    if (judge := clips.options.judge) is None:
        return
    clues = [(_clues(r), clips.predictions[r.key].reasoning) for r in clips.records]
    told = zip(clips.records, clips.told, strict=True)
    labels = [(_joined(r.labels or (r.label or "",)), _said(t)) for r, t in told]
    for name, aspect, pairs in (
        ("clue_overlap", "clues", clues),
        ("label_overlap", "labels", labels),
    ):
        value, kept, dropped = mean_overlap(judge, aspect, pairs)  # type: ignore[arg-type]
        if kept:
            found.figures[name] = Figure(value, kept, dropped)


def _clues(record: Record) -> str:
    return " ".join(filter(None, (record.clues.audio, record.clues.visual))) or record.reasoning


def _said(told: Told) -> str:
    return _joined(told.labels) or (_SIGNS[int(np.sign(told.score)) + 1] if told.score is not None else "")


def _joined(labels: Sequence[str]) -> str:
    return ", ".join(labels)


def _space(clips: _Clips) -> tuple[str, ...]:
    """The label space of the clips, in its order."""
    return tuple(dict.fromkeys(label for r in clips.records for label in r.label_space))


_SCORERS: Mapping[Task, Callable[[_Clips, _Found], None]] = {
    Task.EMOTION: _one_label,
    Task.INTENT: _one_label,
    Task.SENTIMENT: _sentiment,
    Task.MULTI_LABEL: _several_labels,
    Task.OPEN_VOCABULARY: _open_vocabulary,
}

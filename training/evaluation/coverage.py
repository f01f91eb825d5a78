"""What it costs to be silent where one is not sure: accuracy of the labels that are told, and how many are.

A robot that withholds labels below a confidence (``emollama_ros.uncertainty``) trades coverage, the share of
windows that get a label, for accuracy of those labels. Here that trade is measured on people that nothing was
trained on:

* the risk-coverage curve and the area under it (AURC), as Geifman & El-Yaniv (2017, "Selective
  classification for deep neural networks"); the excess over a confidence that puts every error last (E-AURC)
  as Geifman, Uziel & El-Yaniv (2019);
* the expected calibration error (Naeini et al. 2015);
* coverage and accuracy at thresholds, and the threshold that a bundle gets as ``uncertain_below``.

Temperatures are fitted on other people than those they are used on: each person is scored with the
temperature of all others. Intervals are drawn over people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS
from training.evaluation.calibration import log_softmax, temperature
from training.evaluation.held_out import HeldOut
from training.evaluation.metrics import DRAWS, LabelScores, bootstrap, score_labels

#: Share of the windows of people that must keep their label, in every set of modalities.
LEAST_COVERAGE = 0.9
#: Thresholds of the table.
THRESHOLDS = (0.0, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9)
#: Coverages of the curve.
COVERAGES = tuple(round(share, 2) for share in np.linspace(1.0, 0.05, 20).tolist())
_BINS = 10
#: Draws of people that are worked on at once.
_BATCH = 100

Floats = NDArray[np.floating]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Scored:
    """Clips of one set of modalities with their calibrated probabilities.

    Attributes:
        probabilities: (N, labels).
        truth: (N,) label indices.
        persons: (N,) person of each clip.
        temperatures: That each person was scored with, fitted on all others.
    """

    probabilities: Floats
    truth: NDArray[np.int64]
    persons: NDArray[np.str_]
    temperatures: Mapping[str, float]

    @property
    def confidence(self) -> Floats:
        """Probability of the most probable label (N,)."""
        confidence: Floats = self.probabilities.max(1)
        return confidence

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether that label is the true one (N,)."""
        right: NDArray[np.bool_] = self.probabilities.argmax(1) == self.truth
        return right


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval over people.

    Attributes:
        value: NaN where there is none, such as the accuracy of no labels.
        interval: Low and high.
    """

    value: float
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        """As plain values; None for what is not a number."""
        return {"value": _plain(self.value), "interval": [_plain(end) for end in self.interval]}


@dataclass(frozen=True)
class Threshold:
    """What a threshold does.

    Attributes:
        threshold: Labels of less confidence are withheld.
        coverage: Share of clips whose label is told.
        accuracy: Share of the told labels that are right.
        accuracy_withheld: Share of the withheld labels that would have been right.
    """

    threshold: float
    coverage: Figure
    accuracy: Figure
    accuracy_withheld: Figure

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        figures = {k: v.to_json() for k, v in vars(self).items() if isinstance(v, Figure)}
        return {"threshold": round(self.threshold, 4), **figures}


def scored_views(held_out: HeldOut) -> dict[str, Scored]:
    """Calibrate every set of modalities as the robot combines them, each person by all others.

    Args:
        held_out: Predictions of at least two people.

    Returns:
        ``audio``, ``video`` and ``video+audio``, those that there are any clips of.

    Raises:
        InputError: There is no view with finite logits, or only one person.
    """
    views = held_out.views()
    if not views:
        raise InputError("held-out predictions without one clip of finite logits; make them anew")
    return {
        name: leave_person_out(logits, held_out.truth, held_out.persons.tolist())
        for name, logits in views.items()
    }


def label_scores(held_out: HeldOut) -> dict[str, LabelScores]:
    """Scores of each set of modalities; the temperature of each person is fitted on the others."""
    return {
        name: score_labels(found.probabilities, found.truth, found.persons.tolist(), DEFAULT_LABELS)
        for name, found in scored_views(held_out).items()
    }


def leave_person_out(logits: Floats, truth: NDArray[np.int64], persons: Sequence[str]) -> Scored:
    """Calibrate every person's clips with a temperature that was fitted on the other people.

    Args:
        logits: (N, labels), raw; rows that are not finite (a modality the clip lacks) are left out.
        truth: (N,) label indices.
        persons: (N,) whose clip each is.

    Raises:
        InputError: The clips are of fewer than two people.
    """
    there = np.isfinite(logits).all(1)
    logits, truth, owners = logits[there], np.asarray(truth)[there], np.array(persons, np.str_)[there]
    people = sorted(set(owners.tolist()))
    if len(people) < 2:
        raise InputError(
            f"clips of {len(people)} people: a temperature is fitted on other people than it is used on, "
            "so there must be two at least"
        )
    fitted = {p: temperature(logits[owners != p], truth[owners != p]) for p in people}
    divisors = np.array([fitted[p] for p in owners])[:, None]
    return Scored(np.exp(log_softmax(logits / divisors)), truth, owners, fitted)


def risks(
    confidence: Floats, right: NDArray[np.bool_], weights: Floats | None = None
) -> tuple[Floats, Floats]:
    """Coverage and selective risk when the surest clips are told, down to each one; both of shape (..., N).

    Clips of one confidence are told together.

    Args:
        confidence: (N,).
        right: (N,).
        weights: (..., N) how often each clip counts; once where left out. A row sums to more than 0.
    """
    order = np.argsort(-confidence, kind="stable")
    counts = np.ones(len(order)) if weights is None else np.asarray(weights, np.float64)
    counts = counts[..., order]
    told = np.cumsum(counts, -1)
    wrong = np.cumsum(counts * ~right[order], -1)
    last = np.searchsorted(-confidence[order], -confidence[order], side="right") - 1
    with np.errstate(invalid="ignore"):  # nobody is told before the first that counts
        return told[..., last] / told[..., -1:], np.nan_to_num(wrong[..., last] / told[..., last])


def aurc(confidence: Floats, right: NDArray[np.bool_], weights: Floats | None = None) -> Floats:
    """Area under the risk-coverage curve, shape (...,): the mean risk over all coverages; 0 is best."""
    _, risk = risks(confidence, right, weights)
    counts = np.ones(len(right)) if weights is None else np.asarray(weights, np.float64)
    counts = counts[..., np.argsort(-confidence, kind="stable")]
    area: Floats = (risk * counts).sum(-1) / counts.sum(-1)
    return area


def best_aurc(right: NDArray[np.bool_]) -> float:
    """Area under the curve of a confidence that puts every error after everything that is right."""
    return float(aurc(np.arange(len(right), 0, -1.0), np.sort(right)[::-1]))


def aurc_figure(scored: Scored, draws: int = DRAWS, seed: int = 0) -> Figure:
    """AURC with its interval over people."""
    confidence, right = scored.confidence, scored.right
    people, owner = np.unique(scored.persons, return_inverse=True)
    rng, found = np.random.default_rng(seed), []
    for start in range(0, draws, _BATCH):
        size = min(_BATCH, draws - start)
        drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size)
        found.append(aurc(confidence, right, drawn[:, owner].astype(np.float64)))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return Figure(float(aurc(confidence, right)), (float(low), float(high)))


def calibration_figure(scored: Scored, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Expected calibration error of the top label in ten bins of equal width, with its interval.

    The estimate is biased upwards where bins hold few clips, and the more so in a draw of people, which has
    some of them twice: the interval leans upwards too.
    """
    confidence, right = scored.confidence, scored.right
    which = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    inside = np.eye(_BINS)[which]
    parts = np.concatenate([inside * (right - confidence)[:, None], inside], 1)

    def error(sums: Floats) -> Floats:
        gaps, counts = sums[..., :_BINS], sums[..., _BINS:]
        value: Floats = np.abs(gaps).sum(-1) / counts.sum(-1)
        return value

    return _figure(parts, scored.persons.tolist(), error, draws, seed)


def at_threshold(scored: Scored, threshold: float, draws: int = DRAWS, seed: int = 0) -> Threshold:
    """Coverage and accuracy when labels below a confidence are withheld."""
    told, right = scored.confidence >= threshold, scored.right
    parts = np.stack([told, told & right, ~told & right, np.ones(len(told))], 1)

    def share(of: int, among: Any) -> Any:
        def value(sums: Floats) -> Floats:
            with np.errstate(invalid="ignore", divide="ignore"):
                result: Floats = sums[..., of] / among(sums)
            return result

        return value

    of_told = share(1, lambda sums: sums[..., 0])
    of_withheld = share(2, lambda sums: sums[..., 3] - sums[..., 0])
    coverage = share(0, lambda sums: sums[..., 3])
    figures = (
        _figure(parts, scored.persons.tolist(), s, draws, seed) for s in (coverage, of_told, of_withheld)
    )
    return Threshold(threshold, *figures)


def at_coverage(scored: Scored, coverage: float, draws: int = DRAWS, seed: int = 0) -> Threshold:
    """The same at the highest threshold that tells at least a share of the clips, 0..1."""
    return at_threshold(scored, highest_threshold(scored.confidence, coverage), draws, seed)


def highest_threshold(confidence: Floats, coverage: float) -> float:
    """Return the highest threshold at which at least a share of clips has its label told."""
    # Tolerates that 0.95 * 20 is a little more than 19.
    needed = max(1, math.ceil(coverage * len(confidence) - 1e-9))
    return float(np.sort(confidence)[::-1][needed - 1])


def uncertain_below(views: Mapping[str, Scored], least_coverage: float = LEAST_COVERAGE) -> float:
    """Choose the threshold of a bundle: as high as people permit.

    The rule: the highest confidence, in hundredths, that at least a share of the clips of people whom nothing
    was trained on reach, in every set of modalities. What it withholds of people is bounded so beforehand;
    what it withholds where nobody is there is for ``nothing-report`` to say.

    Args:
        views: Scored clips by set of modalities.
        least_coverage: Share of clips that keep their label, above 0, at most 1.

    Raises:
        InputError: The share is out of its range, or there are no clips.
    """
    if not 0 < least_coverage <= 1:
        raise InputError(f"least coverage is {least_coverage}; use more than 0, 1 at most")
    if not views:
        raise InputError("there are no held-out predictions to choose a threshold by")
    highest = min(highest_threshold(one.confidence, least_coverage) for one in views.values())
    return math.floor(highest * 100) / 100


def payers(scored: Scored, threshold: float, labels: Sequence[str]) -> dict[str, Any]:
    """Who is left without a label: coverage by true label, and of the person who has the fewest."""
    told = scored.confidence >= threshold
    by_label = {
        labels[i]: round(float(told[scored.truth == i].mean()), 4) for i in np.unique(scored.truth).tolist()
    }
    by_person = {p: round(float(told[scored.persons == p].mean()), 4) for p in sorted(set(scored.persons))}
    least = min(by_person, key=by_person.__getitem__)
    return {"coverage_by_label": by_label, "least_covered_person": {least: by_person[least]}}


def report(
    views: Mapping[str, Scored],
    labels: Sequence[str],
    least_coverage: float = LEAST_COVERAGE,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything above about each set of modalities, as plain values.

    Args:
        views: Scored clips by set of modalities.
        labels: The label set, in the order of the probabilities.
        least_coverage: See ``uncertain_below``.
        draws: Of people, for the intervals.
        seed: Of the draws.
    """
    threshold = uncertain_below(views, least_coverage)
    return {
        "uncertain_below": threshold,
        "rule": (
            f"the highest confidence, in hundredths, that at least {least_coverage:.0%} of the held-out clips"
            " reach in every set of modalities"
        ),
        "labels": list(labels),
        "intervals": f"95 %, {draws} draws of people, seed {seed}",
        "temperatures": "of each person: fitted on all other people",
        "views": {
            name: _view(scored, labels, threshold, draws, seed) for name, scored in views.items()
        },
    }  # fmt: skip


def in_words(found: Mapping[str, Any]) -> str:
    """A report as a Markdown table for people."""
    lines = [
        f"uncertain_below: {found['uncertain_below']} ({found['rule']})",
        "",
        "| inputs | clips | people | accuracy, all told | AURC | ECE | coverage |"
        " accuracy of told | of withheld |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, view in found["views"].items():
        chosen = view["at_uncertain_below"]
        cells = [view["accuracy"], view["aurc"], view["ece"]]
        cells += [chosen["coverage"], chosen["accuracy"], chosen["accuracy_withheld"]]
        shown = " | ".join(_shown(cell) for cell in cells)
        lines.append(f"| {name} | {view['clips']} | {view['people']} | {shown} |")
    return "\n".join(lines)


def _view(
    scored: Scored, labels: Sequence[str], threshold: float, draws: int, seed: int
) -> dict[str, Any]:  # fmt: skip
    curve = [{"aim": share, **at_coverage(scored, share, draws, seed).to_json()} for share in COVERAGES]
    area = aurc_figure(scored, draws, seed)
    return {
        "clips": len(scored.truth),
        "people": len(scored.temperatures),
        "temperatures": {p: round(t, 3) for p, t in scored.temperatures.items()},
        "mean_confidence": round(float(scored.confidence.mean()), 4),
        "accuracy": at_threshold(scored, 0.0, draws, seed).accuracy.to_json(),
        "ece": calibration_figure(scored, draws, seed).to_json(),
        "aurc": area.to_json(),
        "e_aurc": round(area.value - best_aurc(scored.right), 4),
        "at_uncertain_below": {
            **at_threshold(scored, threshold, draws, seed).to_json(),
            **payers(scored, threshold, labels),
        },
        "thresholds": [at_threshold(scored, t, draws, seed).to_json() for t in THRESHOLDS],
        "curve": curve,
    }


def _figure(parts: Floats, persons: Sequence[str], statistic: Any, draws: int, seed: int) -> Figure:
    low, high = bootstrap(parts, persons, statistic, draws, seed)
    return Figure(float(statistic(np.asarray(parts, np.float64).sum(0))), (float(low), float(high)))


def _plain(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _shown(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f}..{high:.3f})"

"""Accuracy of labels: UAR, WAR, confusion, and intervals that respect who the clips are of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, recall_score

Floats = NDArray[np.float64]

#: Draws of a bootstrap.
DRAWS = 2000


@dataclass(frozen=True)
class LabelScores:
    """How well labels were told.

    Attributes:
        n: Clips scored.
        persons: People they are of.
        uar: Unweighted average recall (macro recall) over the labels that occur.
        uar_interval: 95 % interval of ``uar`` by bootstrap over people.
        war: Weighted average recall (accuracy).
        ece: Expected calibration error of the top label.
        labels: Rows and columns of ``confusion``.
        confusion: Counts; rows are true labels.
    """

    n: int
    persons: int
    uar: float
    uar_interval: tuple[float, float]
    war: float
    ece: float
    labels: tuple[str, ...]
    confusion: list[list[int]]

    def to_json(self) -> dict[str, Any]:
        """As plain data, rounded to three decimals."""
        return {k: _rounded(v) for k, v in asdict(self).items()}


def score_labels(
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    persons: Sequence[str],
    labels: Sequence[str],
) -> LabelScores:
    """Score predictions, choosing among the labels that occur in the truth.

    Args:
        probabilities: (N, labels).
        truth: (N,) label indices.
        persons: Person of each clip.
        labels: Names of the columns.
    """
    occurring = np.unique(truth)
    chosen = occurring[probabilities[:, occurring].argmax(1)]
    return LabelScores(
        n=len(truth),
        persons=len(set(persons)),
        uar=_uar(truth, chosen),
        uar_interval=bootstrap_over_persons(truth, chosen, persons),
        war=float((truth == chosen).mean()),
        ece=calibration_error(probabilities, truth),
        labels=tuple(labels[i] for i in occurring),
        confusion=confusion_matrix(truth, chosen, labels=occurring).tolist(),
    )


def bootstrap_over_persons(
    truth: NDArray[np.int64],
    chosen: NDArray[np.int64],
    persons: Sequence[str],
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the UAR, drawing people with replacement, not clips: clips of one person are alike."""
    size = int(max(truth.max(), chosen.max())) + 1
    parts = confusion_parts(truth, chosen, size)
    low, high = bootstrap(parts, persons, lambda sums: _confusions(sums, size)["uar"], draws, seed)
    return float(low), float(high)


def bootstrap(
    parts: NDArray[Any],
    owners: Sequence[str],
    statistic: Callable[[Floats], Floats],
    draws: int = DRAWS,
    seed: int = 0,
) -> Floats:
    """95 % percentile interval of a statistic of sums, drawing owners with replacement (Efron 1979).

    Every score here is a function of sums over clips (of a confusion matrix, of hits and clips kept, ...), so
    that a draw is a weighted sum over owners and no score has to be worked out clip by clip again.

    Args:
        parts: (N, k), what each clip adds to the sums.
        owners: Whom or what to draw, for each clip: its person, or the clip itself.
        statistic: From sums (draws, k) to values (draws,); NaN where a draw has no value.
        draws: How many.
        seed: Of the random draws.

    Returns:
        (2,): low and high; NaN where no draw has a value.
    """
    sums, counts = np.unique(_sums_by_owner(parts, owners), axis=0, return_counts=True)
    owned = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(owned, counts / owned, size=draws)
    values = statistic(drawn.astype(np.float64) @ sums)
    values = values[np.isfinite(values)]
    return np.percentile(values, [2.5, 97.5]) if len(values) else np.full(2, np.nan)


def confusion_parts(truth: NDArray[np.int64], chosen: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Each clip's own confusion matrix (N, size * size): one 1, in the row of its true label."""
    parts = np.zeros((len(truth), size * size), np.int64)
    parts[np.arange(len(truth)), truth * size + chosen] = 1
    return parts


def confusion_scores(confusion: NDArray[Any]) -> dict[str, Floats]:
    """Scores of confusion matrices (..., labels, labels), rows are true labels; each of shape (...).

    Returns:
        ``uar``: mean of the recalls, over labels that are true of a clip. ``war``: share of clips told right,
        the accuracy. ``waf``: F1 of the labels, weighted by how often each is true. ``macro_f1``: mean of the
        F1, over labels that are true of a clip. All NaN without clips.
    """
    counts = np.asarray(confusion, np.float64)
    right, true, told = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)
    occurs, n = true > 0, true.sum(-1)
    recall = right / np.where(occurs, true, 1)
    f1 = 2 * right / np.where(true + told > 0, true + told, 1)
    with np.errstate(invalid="ignore"):
        return {
            "uar": recall.sum(-1) / occurs.sum(-1),
            "war": right.sum(-1) / n,
            "waf": (f1 * true).sum(-1) / n,
            "macro_f1": (f1 * occurs).sum(-1) / occurs.sum(-1),
        }


def _confusions(sums: Floats, size: int) -> dict[str, Floats]:
    return confusion_scores(sums.reshape(*sums.shape[:-1], size, size))


def _sums_by_owner(parts: NDArray[Any], owners: Sequence[str]) -> Floats:
    _, owner = np.unique(np.array(owners), return_inverse=True)
    order = np.argsort(owner, kind="stable")
    first = np.flatnonzero(np.diff(owner[order], prepend=-1))
    return np.add.reduceat(np.asarray(parts, np.float64)[order], first, axis=0)


def _uar(truth: NDArray[np.int64], chosen: NDArray[np.int64]) -> float:
    return float(recall_score(truth, chosen, labels=np.unique(truth), average="macro", zero_division=0))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    return [_rounded(v) for v in value] if isinstance(value, tuple | list) else value


def calibration_error(probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 10) -> float:
    """Expected calibration error of the top label, in equal-width bins (Naeini et al. 2015)."""
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[which == b].mean() - hit[which == b].mean()) * (which == b).mean()
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))

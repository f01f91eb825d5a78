"""Accuracy of labels: UAR, WAR, confusion, and intervals that respect who the clips are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, recall_score

from training.calibration import calibration_error


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
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the UAR, drawing people with replacement, not clips: clips of one person are alike."""
    rng = np.random.default_rng(seed)
    owner = np.array(persons)
    rows = [np.flatnonzero(owner == person) for person in np.unique(owner)]
    drawn = (np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))]) for _ in range(draws))
    low, high = np.percentile([_uar(truth[index], chosen[index]) for index in drawn], [2.5, 97.5])
    return float(low), float(high)


def _uar(truth: NDArray[np.int64], chosen: NDArray[np.int64]) -> float:
    return float(recall_score(truth, chosen, labels=np.unique(truth), average="macro", zero_division=0))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    return [_rounded(v) for v in value] if isinstance(value, tuple | list) else value

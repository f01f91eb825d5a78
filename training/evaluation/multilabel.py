"""Scores of clips that carry several labels at once, as MMEVerse-Bench takes them (MAFW-m, BOLD)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, f1_score, jaccard_score

from emollama_ros.errors import InputError


@dataclass(frozen=True)
class MultiLabelScores:
    """How well sets of labels were told.

    Attributes:
        n: Clips scored.
        labels: Labels that are true of some clip.
        labels_dropped: Labels that are true of no clip; they count in everything but ``mean_ap``.
        micro_f1: F1 over all decisions together.
        sample_f1: Mean over clips of the F1 of a clip; 1 where neither truth nor prediction has a label.
        jaccard: Mean over clips of common labels over all labels; 1 where there are none.
        mean_ap: Mean over ``labels`` of the average precision. None where no label is true of any clip.
    """

    n: int
    labels: int
    labels_dropped: int
    micro_f1: float
    sample_f1: float
    jaccard: float
    mean_ap: float | None


def score_multilabel(
    truth: ArrayLike, predicted: ArrayLike, scores: ArrayLike | None = None
) -> MultiLabelScores:
    """Score sets of labels.

    Args:
        truth: (N, labels) of 0 and 1.
        predicted: (N, labels) of 0 and 1.
        scores: (N, labels), higher where a label is likelier, for ``mean_ap``. Left out, the yes and no of
            ``predicted`` rank the clips, as in the benchmark's code: a model may answer in words only.

    Raises:
        InputError: Shapes that differ, no clips, fewer than two labels, or values other than 0 and 1.
    """
    true, guess = _binary("truth", truth), _binary("predicted", predicted)
    ranks = guess if scores is None else np.asarray(scores, np.float64)
    if not true.shape == guess.shape == ranks.shape:
        raise InputError(f"multi-label: shapes differ: {true.shape}, {guess.shape}, {ranks.shape}")
    occurring = true.any(axis=0)
    precisions = [average_precision_score(true[:, i], ranks[:, i]) for i in np.flatnonzero(occurring)]
    return MultiLabelScores(
        n=len(true),
        labels=int(occurring.sum()),
        labels_dropped=int((~occurring).sum()),
        micro_f1=float(f1_score(true, guess, average="micro", zero_division=1)),
        sample_f1=float(f1_score(true, guess, average="samples", zero_division=1)),
        jaccard=float(jaccard_score(true, guess, average="samples", zero_division=1)),
        mean_ap=float(np.mean(precisions)) if precisions else None,
    )


def _binary(name: str, values: ArrayLike) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 2 or not len(found) or found.shape[1] < 2 or not np.isin(found, (0, 1)).all():
        raise InputError(
            f"multi-label, {name}: expected 0 and 1 for clips and 2 or more labels, found {found.shape}"
        )
    return found.astype(np.int64)

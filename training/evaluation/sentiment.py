"""Sentiment of MER-UniBench: positive against negative, with neutral dropped and also kept.

Source: AffectGPT (arXiv 2501.16566), section 4: a score below 0 is negative, above 0 positive, and 0 is left
out; the weighted F1 (WAF) comes first, the accuracy (ACC) second. Keeping neutral as a class of its own shows
what that leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, f1_score

from emollama_ros.errors import InputError


@dataclass(frozen=True)
class ClassScores:
    """Scores of one protocol.

    Attributes:
        waf: F1 of the classes, weighted by how often each is true. None where no clip was kept.
        acc: Accuracy. None where no clip was kept.
        kept: Clips scored.
        dropped: Clips left out because their truth is neutral.
    """

    waf: float | None
    acc: float | None
    kept: int
    dropped: int


@dataclass(frozen=True)
class SentimentScores:
    """Both protocols: positive or not among clips that are not neutral, and three classes among all."""

    neutral_dropped: ClassScores
    neutral_kept: ClassScores


def score_sentiment(truth: ArrayLike, predicted: ArrayLike) -> SentimentScores:
    """Score predicted sentiment.

    Args:
        truth: (N,) scores in any unit whose sign counts.
        predicted: (N,) the same. With neutral dropped, a predicted 0 counts as not positive, as released.

    Raises:
        InputError: Different lengths, or a score that is not finite.
    """
    true, guess = _signs("truth", truth), _signs("predicted", predicted)
    if len(true) != len(guess):
        raise InputError(
            f"sentiment: {len(true)} true and {len(guess)} predicted scores; each clip needs both"
        )
    polar = true != 0
    return SentimentScores(
        _scores(true[polar] > 0, guess[polar] > 0, dropped=int((~polar).sum())),
        _scores(true, guess, dropped=0),
    )


def _signs(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"sentiment, {name}: expected finite scores in one row, found shape {values.shape}")
    return np.sign(values)


def _scores(true: NDArray, guess: NDArray, dropped: int) -> ClassScores:
    if not len(true):
        return ClassScores(None, None, 0, dropped)
    waf = f1_score(true, guess, average="weighted", zero_division=0)
    return ClassScores(float(waf), float(accuracy_score(true, guess)), len(true), dropped)

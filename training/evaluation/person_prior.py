"""What people are like on average, and how much they differ: what a bundle needs to follow a person.

Estimated on raw logits of people that the network was not trained on; ``emollama_ros.adaptation`` uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.manifest import Adaptation
from training.evaluation.calibration import log_softmax, pooled, temperature

Floats = NDArray[Any]

#: The ratio of variances is multiplied by this: scores are no labels, so a window tells less than the model
#: of known labels says. Chosen among 1, 2, 4 and 8 on held-out people of Javanese AV and Emo-DB.
CAUTION = 4.0
#: Strength is kept within these bounds: a handful of people says little about how much people differ.
STRENGTHS = (1.0, 60.0)
#: Sharpness is kept within these bounds.
SHARPNESS = (1.0, 2.0)
#: Weight of the plain means of the labels in solving for those that scores should be taken with.
RIDGE = 0.1
#: Habits larger than so many standard deviations of those seen are not believed.
CLIP_DEVIATIONS = 3.0


def fit_prior(
    views: Mapping[str, NDArray[np.float32]], truth: NDArray[np.int64], persons: NDArray[np.str_]
) -> Adaptation:
    """Estimate what ``calibration.adaptation`` of a manifest holds.

    Args:
        views: Raw logits (N, labels) of each view, as ``emollama_ros.manifest.Adaptation`` names them;
            ``video+audio`` needs ``audio`` too. Rows that are not finite are left out, and so is a view
            without any others.
        truth: (N,) label indices.
        persons: (N,) whose clip each is.
    """
    fits = {view: found for view in views if (found := _fit_view(view, views, truth, persons)) is not None}
    spread = max((fit.spread for fit in fits.values()), default=0.0)
    return Adaptation(
        strength={view: round(fit.strength, 4) for view, fit in fits.items()},
        means={view: tuple(map(tuple, fit.means.round(4).tolist())) for view, fit in fits.items()},
        clip=round(max(CLIP_DEVIATIONS * spread, 0.1), 4),
        sharpness={view: round(fit.sharpness, 4) for view, fit in fits.items()},
    )


@dataclass(frozen=True)
class _Fit:
    """Of one view: see ``Adaptation``; ``spread`` is the standard deviation of people's habits."""

    means: Floats
    strength: float
    sharpness: float
    spread: float


def _fit_view(
    view: str, views: Mapping[str, NDArray[np.float32]], truth: NDArray[np.int64], persons: NDArray[np.str_]
) -> _Fit | None:
    needed = {name: views[name] for name in ({view, "audio"} if view == "video+audio" else {view})}
    there = np.logical_and.reduce([np.isfinite(logits).all(1) for logits in needed.values()])
    if not there.any():
        return None
    shown, whose = truth[there], persons[there]
    raw = {name: centred(logits[there]) for name, logits in needed.items()}
    means = {name: label_means(logits, shown, whose) for name, logits in raw.items()}
    known = {name: logits - habits(logits - means[name][shown], whose) for name, logits in raw.items()}
    before, after = (_joint(view, logits) for logits in (raw, known))
    warm, cool = temperature(before, shown), temperature(after, shown)
    scores: Floats = after / cool
    doubt = label_means(np.exp(log_softmax(scores)), shown, whose)
    within, between = variances(raw[view] - means[view][shown], whose)
    size = raw[view].shape[1]
    return _Fit(
        means=expected_logits(doubt, means[view]),
        strength=float(np.clip(CAUTION * within / max(between, 1e-9), *STRENGTHS)),
        sharpness=float(np.clip(warm / cool, *SHARPNESS)),
        spread=float(np.sqrt(between / size)),
    )


def _joint(view: str, logits: Mapping[str, Floats]) -> Floats:
    """What is published where a view is the widest there is, before its temperature."""
    return pooled(logits["audio"], logits[view]) if view == "video+audio" else logits[view]


def centred(logits: NDArray[np.floating]) -> Floats:
    """Logits without what all labels have in common, which no probability depends on."""
    return logits - np.asarray(logits, np.float64).mean(1, keepdims=True)


def habits(residuals: Floats, persons: NDArray[np.str_]) -> Floats:
    """Each row's person's mean residual (N, labels)."""
    names, whose = np.unique(persons, return_inverse=True)
    return np.array([residuals[whose == i].mean(0) for i in range(len(names))])[whose]


def label_means(values: Floats, truth: NDArray[np.int64], persons: NDArray[np.str_]) -> Floats:
    """Mean values (labels, labels) of clips of each label: the mean over people of their own means.

    A label that nobody shows is put where the others lead one to expect it: as their rows, with the label's
    own value where theirs is.
    """
    size = values.shape[1]
    means = np.full((size, size), np.nan)
    for label in np.unique(truth):
        shown = truth == label
        own = [values[shown & (persons == person)].mean(0) for person in np.unique(persons[shown])]
        means[label] = np.mean(own, 0)
    for label in np.flatnonzero(np.isnan(means[:, 0])):
        means[label] = _like_the_others(means, int(label))
    return means


def _like_the_others(means: Floats, label: int) -> Floats:
    known = np.flatnonzero(~np.isnan(means[:, 0]))
    own = means[known, known].mean()
    row = np.full(len(means), (means[known].sum(1).mean() - own) / (len(means) - 1))
    row[label] = own
    return row


def expected_logits(doubt: Floats, means: Floats, ridge: float = RIDGE) -> Floats:
    """Rows m such that doubt @ m is close to means: what to expect of scores that doubt, whatever is shown.

    Scores of clips of one label are spread over several. To take residuals against the plain means would make
    whoever shows one emotion seem to have a habit of it. This is the correction of label shift by the
    confusion matrix (Lipton et al. 2018), with a ridge towards the plain means.

    Args:
        doubt: (labels, labels) mean scores of clips of each label.
        means: (labels, labels) mean logits of clips of each label.
        ridge: 0 solves exactly; large values leave the means.
    """
    square = doubt.T @ doubt + ridge * np.eye(len(doubt))
    return np.linalg.solve(square, doubt.T @ means + ridge * means)


def variances(residuals: Floats, persons: NDArray[np.str_]) -> tuple[float, float]:
    """Variance within a person, and of people's means beyond what so few clips explain; summed over logits.

    Args:
        residuals: (N, labels) what is left of the logits without the means of the labels.
        persons: (N,) whose each is.
    """
    names, whose, counts = np.unique(persons, return_inverse=True, return_counts=True)
    own = np.array([residuals[whose == i].mean(0) for i in range(len(names))])
    freedom = max(len(residuals) - len(names), 1)
    within = float(((residuals - own[whose]) ** 2).sum() / freedom)
    between = float((own**2).sum(1).mean()) - within * float((1 / counts).mean())
    return within, max(between, 0.0)

"""How much held-out scores owe to chance: the same people, told by networks of several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS
from training.evaluation.coverage import Scored, scored_views
from training.evaluation.held_out import HeldOut
from training.evaluation.metrics import (
    DRAWS,
    Floats,
    bootstrap,
    calibration_error,
    confusion_parts,
    confusion_scores,
)

#: What a seed changes in ``python -m training leave-one-out``, and what it leaves.
CHANGES = (
    "initialisation, order of the windows and dropout of the fused path; direct paths, what sees, and the "
    "windows with their disturbances are the same for every seed"
)
SIZE = len(DEFAULT_LABELS)


def over_seeds(runs: Mapping[int, HeldOut]) -> dict[str, Any]:
    """Mean and spread over seeds of each set of modalities.

    Args:
        runs: Predictions of the same clips, by the seed of the networks.

    Returns:
        ``seeds``, ``changes``, and under ``views``, for each set of modalities, of ``uar``, ``war`` and
        ``ece``: ``mean``, ``spread`` (standard deviation over seeds, n - 1; None for one seed) and ``each``;
        of ``uar`` also ``interval``, the 95 % interval of the mean by bootstrap over people.

    Raises:
        InputError: There is no run, or runs are not of the same clips.
    """
    if not runs:
        raise InputError("no seeds: name one at least, for example --seeds 0,1,2")
    first = next(iter(runs.values()))
    for seed, run in runs.items():
        if not (np.array_equal(run.truth, first.truth) and np.array_equal(run.persons, first.persons)):
            raise InputError(f"seed {seed} was run on other clips than seed {next(iter(runs))}")
    scored = [scored_views(run) for run in runs.values()]
    views = {view: _view([views[view] for views in scored]) for view in scored[0]}
    return {"seeds": list(runs), "changes": CHANGES, "views": views}


def _view(runs: Sequence[Scored]) -> dict[str, Any]:
    """Figures of one set of modalities."""
    told = [_told(run) for run in runs]
    uar, interval = _uar(told, runs[0])
    war = [float((chosen == runs[0].truth).mean()) for chosen in told]
    return {
        "uar": {**_figures(uar), "interval": interval},
        "war": _figures(war),
        "ece": _figures([calibration_error(run.probabilities, run.truth) for run in runs]),
    }


def _told(run: Scored) -> NDArray[np.int64]:
    """The most probable of the labels that occur, of each clip, as ``metrics.score_labels`` chooses."""
    occurring = np.unique(run.truth)
    told: NDArray[np.int64] = occurring[run.probabilities[:, occurring].argmax(1)]
    return told


def _uar(told: Sequence[NDArray[np.int64]], run: Scored) -> tuple[list[float], list[float]]:
    """UAR of each seed, and the interval of their mean: people are drawn, each with all of their seeds."""
    parts = np.hstack([confusion_parts(run.truth, chosen, SIZE) for chosen in told])

    def each(sums: Floats) -> Floats:
        matrices = sums.reshape(*sums.shape[:-1], len(told), SIZE, SIZE)
        return confusion_scores(matrices)["uar"]

    low, high = bootstrap(parts, run.persons.tolist(), lambda sums: each(sums).mean(-1), DRAWS)
    found = each(parts.sum(0, dtype=np.float64))
    return found.tolist(), [round(float(end), 3) for end in (low, high)]


def _figures(values: Sequence[float]) -> dict[str, Any]:
    spread = None if len(values) < 2 else round(float(np.std(values, ddof=1)), 4)
    return {
        "mean": round(float(np.mean(values)), 4),
        "spread": spread,
        "each": [round(float(value), 3) for value in values],
    }


def in_words(found: Mapping[str, Any]) -> str:
    """The UAR of each view as a line to read."""
    lines = [f"UAR over seeds {', '.join(map(str, found['seeds']))}: mean, spread, 95 % over people"]
    for view, row in found["views"].items():
        uar = row["uar"]
        spread = "-" if uar["spread"] is None else f"{uar['spread']:.3f}"
        low, high = uar["interval"]
        lines.append(f"  {view:12s} {uar['mean']:.3f}  {spread}  {low:.3f} to {high:.3f}  each {uar['each']}")
    return "\n".join(lines)

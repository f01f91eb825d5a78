"""How well the action units are measured, on generated faces whose truth is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from training.annotation.measuring.action_units import COMPUTED, lengths_of, measure_activity, median_of_seen
from training.annotation.measuring.synthetic_faces import (
    FIRST_PERSON,
    TRUE_UNITS,
    SyntheticClip,
    synthetic_clips,
)

#: Weight from which a unit is there, and up to which it is not; frames between do not count for the AUC.
PRESENT_FROM, ABSENT_TO = 0.35, 0.05
#: A unit is reported that reaches both.
LEAST_AUC, LEAST_CORRELATION = 0.75, 0.45


def validate(people: int, clips_each: int, seed: int) -> dict[str, Any]:
    """Generate clips, measure them and compare with the truth; plain data for a report."""
    clips = list(synthetic_clips(people, clips_each, seed))
    alone, with_rest = compare(clips, {}), compare(clips, rest_of_people(clips))
    return {
        "what": "action units measured on generated faces, against the clip's own rest and the person's",
        "people": people,
        "first_person": FIRST_PERSON,
        "clips": len(clips),
        "seed": seed,
        "present_from": PRESENT_FROM,
        "absent_to": ABSENT_TO,
        "least_auc": LEAST_AUC,
        "least_correlation": LEAST_CORRELATION,
        "alone": alone,
        "with_rest": with_rest,
        "reliable_alone": [name for name, unit in alone.items() if is_reliable(unit)],
        "reliable_with_rest": [name for name, unit in with_rest.items() if is_reliable(unit)],
    }


def is_reliable(unit: Mapping[str, Any]) -> bool:
    """Whether a unit is measured well enough to be reported."""
    return unit["auc"] >= LEAST_AUC and unit["correlation"] >= LEAST_CORRELATION


def rest_of_people(clips: Sequence[SyntheticClip]) -> dict[int, np.ndarray]:
    """The rest of each person as `people.measure_people` takes it: the median over all their clips."""
    measured: dict[int, list[np.ndarray]] = defaultdict(list)
    for clip in clips:
        measured[clip.person].append(lengths_of(clip.track))
    return {person: median_of_seen(np.concatenate(parts)) for person, parts in measured.items()}


def compare(clips: Sequence[SyntheticClip], rest: Mapping[int, np.ndarray]) -> dict[str, dict[str, Any]]:
    """By unit: ``auc`` of present against absent frames, ``correlation`` (Pearson) and counts of frames."""
    pairs = [(c.truth, measure_activity(c.track, rest.get(c.person)).intensities) for c in clips]
    truth, measured = (np.concatenate(part) for part in zip(*pairs, strict=True))
    names = list(TRUE_UNITS)
    return {unit: _score(truth[:, names.index(unit)], measured[:, COMPUTED.index(unit)]) for unit in COMPUTED}


def _score(truth: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    seen = np.isfinite(measured)
    truth, found = truth[seen], measured[seen]
    clear = (truth >= PRESENT_FROM) | (truth <= ABSENT_TO)
    present = truth[clear] >= PRESENT_FROM
    auc = float(roc_auc_score(present, found[clear]))
    correlation = float(np.corrcoef(truth, found)[0, 1])
    return {
        "auc": round(auc, 3),
        "correlation": round(correlation, 3),
        "frames": int(seen.sum()),
        "present": int(present.sum()),
        "mean_present": round(float(found[clear][present].mean()), 2),
        "mean_absent": round(float(found[clear][~present].mean()), 2),
    }

"""What seeds are worth: mean and spread by hand, one run as it is scored alone, other clips refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emollama_ros.errors import InputError
from training.evaluation.coverage import label_scores
from training.evaluation.held_out import HeldOut
from training.evaluation.seeds import in_words, over_seeds


def run(seed: int, clarity: float = 1.5, people: int = 5, seen: bool = True) -> HeldOut:
    """Logits that are mostly right, of the same clips for every seed."""
    truth = np.tile(np.arange(7), 4 * people)
    persons = np.repeat([f"made:{i}" for i in range(people)], 28)
    noise = np.random.default_rng(seed).normal(size=(3, len(truth), 7))
    views = (noise + clarity * np.eye(7)[truth]).astype(np.float32)
    if not seen:
        views[1:] = np.nan
    return HeldOut(truth, persons, *views)


def test_one_seed_is_scored_as_it_is_alone() -> None:
    one = run(0)
    found, alone = over_seeds({0: one})["views"], label_scores(one)
    assert list(found) == list(alone) == ["audio", "video", "video+audio"]
    for view, scores in alone.items():
        told = scores.to_json()
        for figure in ("uar", "war", "ece"):
            assert found[view][figure]["each"] == [told[figure]]
            assert found[view][figure]["spread"] is None
        assert found[view]["uar"]["interval"] == pytest.approx(told["uar_interval"], abs=0.001)


def test_mean_and_spread_are_those_of_the_seeds() -> None:
    runs = {seed: run(seed, clarity) for seed, clarity in ((3, 1.0), (4, 1.5), (7, 2.0))}
    found = over_seeds(runs)
    each = [label_scores(one)["audio"].uar for one in runs.values()]
    uar = found["views"]["audio"]["uar"]
    assert found["seeds"] == [3, 4, 7]
    assert uar["mean"] == pytest.approx(np.mean(each), abs=1e-4)
    assert uar["spread"] == pytest.approx(np.std(each, ddof=1), abs=1e-4) and uar["spread"] > 0.02
    low, high = uar["interval"]
    assert low <= uar["mean"] <= high
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_interval_is_over_people_and_does_not_shrink_by_telling_the_same_again() -> None:
    one, thrice = over_seeds({0: run(0)}), over_seeds(dict.fromkeys((0, 1, 2), run(0)))
    for figure in ("uar", "war", "ece"):
        assert thrice["views"]["video"][figure]["spread"] == 0
    assert thrice["views"]["video"]["uar"]["interval"] == one["views"]["video"]["uar"]["interval"]


def test_a_view_that_nobody_has_is_left_out() -> None:
    found = over_seeds({0: run(0, seen=False), 1: run(1, seen=False)})
    assert list(found["views"]) == ["audio"]
    assert "audio" in in_words(found) and "video" not in in_words(found)


def test_runs_of_other_clips_are_refused() -> None:
    with pytest.raises(InputError, match="seed 1 was run on other clips than seed 0"):
        over_seeds({0: run(0), 1: run(1, people=4)})
    with pytest.raises(InputError, match="no seeds"):
        over_seeds({})

"""Adaptation measured over made-up people: habits are learnt, single emotions kept, nobody known before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from emollama_ros.adaptation import Following
from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.manifest import parse_calibration
from training.__main__ import app
from training.evaluation.held_out import HeldOut
from training.evaluation.person_prior import centred, expected_logits, fit_prior, label_means, variances
from training.evaluation.streaming import SCENARIOS, Bench, Settings, report

SIZE = len(DEFAULT_LABELS)
QUICK = Settings(Following(is_on=True, after_s=8.0), seeds=1)


def made(people: int = 8, clips: int = 4, habit: float = 1.5, seed: int = 0) -> HeldOut:
    """People with a habit each; of the picture every second clip has nothing."""
    random = np.random.default_rng(seed)
    truth = np.tile(np.repeat(np.arange(SIZE), clips), people)
    persons = np.repeat([f"made:{i:02d}" for i in range(people)], SIZE * clips)
    views = {}
    for view in ("audio", "video", "video+audio"):
        habits = np.repeat(habit * random.standard_normal((people, SIZE)), SIZE * clips, axis=0)
        noise = 1.2 * random.standard_normal((len(truth), SIZE))
        views[view] = (3 * np.eye(SIZE)[truth] + noise + habits).astype(np.float32)
    for view in ("video", "video+audio"):
        views[view][::2] = np.nan
    return held_out(truth, persons, views)


def held_out(truth: np.ndarray, persons: np.ndarray, raw: Mapping[str, np.ndarray]) -> HeldOut:
    return HeldOut(truth, persons, raw["audio"], raw["video"], raw["video+audio"])


def heard(people: int, habit: float = 1.5) -> HeldOut:
    """The same, who are not seen."""
    given = made(people, habit=habit)
    nothing = np.full_like(given.raw["audio"], np.nan)
    return held_out(given.truth, given.persons, {**given.raw, "video": nothing, "video+audio": nothing})


def gains(given: HeldOut, *scenarios: str) -> list[float]:
    found = report(given, replace(QUICK, scenarios=scenarios))["results"]["made"]
    assert set(found) == {"audio"}
    return [row["gain"]["uar"] for row in found["audio"].values()]


def written(predictions: HeldOut, path: Path) -> Path:
    predictions.save(path)
    return path


def test_every_scenario_is_measured_for_what_there_is() -> None:
    found = report(made(people=2, clips=2), QUICK)["results"]["made"]
    assert set(found) == {"audio", "video", "video+audio"}
    assert all(list(rows) == list(SCENARIOS) for rows in found.values())
    windows = {name: row["windows"] for name, row in found["audio"].items()}
    assert windows == {
        "random order": 28,
        "second half": 14,
        "blocks by emotion": 28,
        "one emotion only": 28,
        "one emotion for long": 2 * 7 * 75,
        "neutral first": 26,
        "unannounced": 28,
    }
    assert found["video"]["random order"]["windows"] == 14


def test_habits_are_worth_knowing() -> None:
    found = report(heard(10, 1.5), replace(QUICK, scenarios=("random order", "second half")))
    for row in found["results"]["made"]["audio"].values():
        assert row["gain"]["uar"] > 0.04 and row["gain"]["interval"][0] > 0


def test_people_without_habits_lose_little_by_it() -> None:
    assert min(gains(heard(12, 0.0), "random order", "blocks by emotion", "one emotion only")) > -0.02


def test_one_emotion_is_not_erased_though_people_have_habits() -> None:
    assert min(gains(heard(12, 0.5), "one emotion only", "one emotion for long")) > -0.02


def test_switched_off_nothing_is_gained() -> None:
    off = Settings(Following(), seeds=1, scenarios=("random order", "neutral first"))
    rows = report(heard(2), off)["results"]["made"]["audio"].values()
    assert {row["gain"]["uar"] for row in rows} == {0.0}


def test_nothing_of_the_person_scored_is_known_before() -> None:
    given = made(people=4)
    changed = {view: logits.copy() for view, logits in given.raw.items()}
    own = given.persons == "made:02"
    changed["audio"][own] = 100 * changed["audio"][own][::-1]
    other = held_out(np.where(own, 3, given.truth), given.persons, changed)
    benches = [Bench(p, "audio", QUICK) for p in (given, other)]
    assert benches[0]._known["made:02"] == benches[1]._known["made:02"]
    assert benches[0]._known["made:01"] != benches[1]._known["made:01"]


def test_others_may_be_known_by_people_who_are_not_scored() -> None:
    given, known = made(people=2), heard(3)
    bench = Bench(given, "audio", QUICK, known)
    assert bench._known["made:00"] != Bench(given, "audio", QUICK)._known["made:00"]
    alone = given.take(given.persons == "made:00")
    assert (
        "made" in report(alone, replace(QUICK, scenarios=("random order", "unannounced")), known)["results"]
    )


def test_what_is_fitted_goes_into_a_manifest() -> None:
    given = made()
    found = fit_prior(given.raw, given.truth, given.persons)
    raw = asdict(found)
    rest = {"temperature": {}, "fusion_weight": 0.5, "text_weight": 0.5}
    assert parse_calibration(json.loads(json.dumps({**rest, "adaptation": raw}))).adaptation == found


def test_a_view_that_nobody_has_is_not_fitted() -> None:
    given = made()
    nothing = np.full_like(given.raw["audio"], np.nan)
    found = fit_prior({"audio": given.raw["audio"], "video": nothing}, given.truth, given.persons)
    assert set(found.means) == set(found.strength) == {"audio"}


def test_strength_is_the_ratio_of_variances() -> None:
    random = np.random.default_rng(3)
    persons = np.repeat([f"{i}" for i in range(200)], 10)
    habits = np.repeat(0.7 * random.standard_normal((200, 5)), 10, axis=0)
    within, between = variances(habits + 1.4 * random.standard_normal((2000, 5)), persons)
    assert (within / 5, between / 5) == pytest.approx((1.4**2, 0.7**2), rel=0.1)


def test_every_person_counts_the_same_in_the_means() -> None:
    logits = centred(np.array([[1.0, 0, 0]] * 9 + [[5.0, 0, 0]] + [[0.0, 2, 0]]))
    persons, truth = np.array(["a"] * 9 + ["b", "b"]), np.array([0] * 10 + [1])
    found = label_means(logits, truth, persons)
    assert found[0] == pytest.approx([2.0, -1.0, -1.0])
    assert found[1] == pytest.approx([-2 / 3, 4 / 3, -2 / 3])
    assert np.isfinite(found[2]).all() and found[2].argmax() == 2 and found[2].sum() == pytest.approx(0)


def test_scores_that_doubt_lead_to_the_means_of_the_labels() -> None:
    random = np.random.default_rng(0)
    doubt = random.dirichlet(np.ones(4), 4) / 2 + np.eye(4) / 2
    means = random.standard_normal((4, 4))
    assert np.allclose(doubt @ expected_logits(doubt, means, 0.0), means)
    assert np.allclose(expected_logits(doubt, means, 1e9), means, atol=1e-6)


def test_one_person_is_not_known_by_others() -> None:
    with pytest.raises(InputError, match="1 person"):
        report(made(1), QUICK)


def test_the_command_writes_what_it_says(tmp_path: Path) -> None:
    path, out = written(heard(2), tmp_path / "held.npz"), tmp_path / "report.json"
    found = CliRunner().invoke(app, ["streaming", str(path), "--out", str(out), "--seeds", "1"])
    assert found.exit_code == 0 and "one emotion only" in found.stdout
    told = json.loads(out.read_text())
    assert told["settings"]["seeds"] == 1
    gain = told["results"]["made"]["audio"]["random order"]["gain"]["uar"]
    assert f"gain {gain:+.3f}" in found.stdout
    bad = CliRunner().invoke(app, ["streaming", str(tmp_path / "absent.npz")])
    assert bad.exit_code == 1 and bad.stderr.startswith("error: ")

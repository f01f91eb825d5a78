"""Risk-coverage curves against their definition, thresholds against their rule, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS
from training.commands import Commands
from training.evaluation import coverage
from training.evaluation.calibration import temperature
from training.evaluation.metrics import calibration_error
from training.evaluation.uncertainty_cli import register

DRAWS = 100
#: Few different confidences, so that there are ties.
CLIPS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20)


def held_out(people: int = 4, clips: int = 25, seed: int = 0) -> dict[str, np.ndarray]:
    """Logits that are right about three times in four, of people of different clarity."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 7, people * clips)
    persons = np.repeat([f"source:{i}" for i in range(people)], clips)
    clarity = np.repeat(rng.uniform(1, 4, people), clips)
    views = {}
    for name in ("audio", "video", "fused"):
        logits = rng.normal(0, 1, (len(truth), 7))
        logits[np.arange(len(truth)), truth] += clarity
        views[name] = logits.astype(np.float32)
    return {"truth": truth, "persons": persons, **views}


def scored(name: str = "audio", **made: int) -> coverage.Scored:
    stored = held_out(**made)
    return coverage.leave_person_out(stored[name], stored["truth"], stored["persons"].tolist())


def by_definition(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean over clips of the risk among all clips that are as sure as that one."""
    return float(np.mean([1 - right[confidence >= c].mean() for c in confidence]))


@given(CLIPS)
def test_the_area_is_the_mean_risk_over_all_coverages(clips: list[tuple[int, bool]]) -> None:
    confidence, right = np.array([c / 5 for c, _ in clips]), np.array([r for _, r in clips])
    assert coverage.aurc(confidence, right) == pytest.approx(by_definition(confidence, right))
    assert coverage.best_aurc(right) <= coverage.aurc(confidence, right) + 1e-12


@given(CLIPS, st.data())
def test_a_clip_that_counts_twice_is_two_clips(clips: list[tuple[int, bool]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(clips), max_size=len(clips)).filter(any))
    confidence, right = np.array([c / 5 for c, _ in clips]), np.array([r for _, r in clips])
    expected = by_definition(np.repeat(confidence, weights), np.repeat(right, weights))
    assert coverage.aurc(confidence, right, np.array(weights, float)) == pytest.approx(expected)


def test_nothing_is_risked_where_nothing_is_wrong() -> None:
    assert coverage.aurc(np.array([0.9, 0.5, 0.2]), np.ones(3, bool)) == 0.0


def test_the_curve_ends_with_everything_told() -> None:
    one = scored()
    covered, risk = coverage.risks(one.confidence, one.right)
    assert covered[-1] == 1 and risk[-1] == pytest.approx(1 - one.right.mean())
    assert (np.diff(covered) >= 0).all()


def test_a_person_has_no_part_in_the_temperature_it_is_scored_with() -> None:
    stored = held_out()
    other = stored["audio"].copy()
    mine = stored["persons"] == "source:0"
    other[mine] *= 30
    before = coverage.leave_person_out(stored["audio"], stored["truth"], stored["persons"].tolist())
    after = coverage.leave_person_out(other, stored["truth"], stored["persons"].tolist())
    assert before.temperatures["source:0"] == after.temperatures["source:0"]
    assert before.temperatures["source:1"] != after.temperatures["source:1"]
    assert before.temperatures["source:0"] == temperature(stored["audio"][~mine], stored["truth"][~mine])


def test_clips_that_lack_the_modality_are_left_out() -> None:
    stored = held_out()
    stored["audio"][:30] = np.nan
    one = coverage.leave_person_out(stored["audio"], stored["truth"], stored["persons"].tolist())
    assert len(one.truth) == 70 and set(one.temperatures) == {"source:1", "source:2", "source:3"}


def test_one_person_cannot_be_left_out() -> None:
    stored = held_out(people=1)
    with pytest.raises(InputError, match="clips of 1 people"):
        coverage.leave_person_out(stored["audio"], stored["truth"], stored["persons"].tolist())


def test_the_calibration_error_is_the_usual_one() -> None:
    one = scored()
    found = coverage.calibration_figure(one, DRAWS)
    assert found.value == pytest.approx(calibration_error(one.probabilities, one.truth))
    low, high = found.interval
    assert 0 <= low < high <= 1


def test_what_a_threshold_does() -> None:
    probabilities = np.full((4, 7), 0.0)
    for row, (label, p) in enumerate([(0, 0.9), (1, 0.8), (0, 0.4), (0, 0.3)]):
        probabilities[row] = (1 - p) / 6
        probabilities[row, label] = p
    truth, persons = np.array([0, 0, 0, 1]), np.array(["a", "a", "b", "b"])
    one = coverage.Scored(probabilities, truth, persons, {})
    found = coverage.at_threshold(one, 0.4, DRAWS)
    assert (found.coverage.value, found.accuracy.value) == (0.75, pytest.approx(2 / 3))
    assert found.accuracy_withheld.value == 0.0
    assert coverage.at_threshold(one, 0.95, DRAWS).to_json()["accuracy"]["value"] is None
    assert coverage.payers(one, 0.4, DEFAULT_LABELS) == {
        "coverage_by_label": {"neutral": 1.0, "happy": 0.0},
        "least_covered_person": {"b": 0.5},
    }


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0.01, 1))
def test_the_threshold_of_a_coverage_is_the_highest_that_keeps_it(values: list[float], share: float) -> None:
    confidence = np.array(values)
    threshold = coverage.highest_threshold(confidence, share)
    assert (confidence >= threshold).mean() >= share - 1e-9
    above = confidence[confidence > threshold]
    assert len(above) == 0 or (confidence >= above.min()).mean() < share


def test_every_set_of_modalities_keeps_its_labels() -> None:
    views = {name: scored(name) for name in ("audio", "video")}
    threshold = coverage.uncertain_below(views, 0.9)
    kept = {name: (one.confidence >= threshold).mean() for name, one in views.items()}
    assert min(kept.values()) >= 0.9
    a_step_more = [(one.confidence >= threshold + 0.01).mean() for one in views.values()]
    assert min(a_step_more) < 0.9 or threshold > 0.98


@pytest.mark.parametrize("wrong", [0.0, 1.1, -1.0])
def test_a_coverage_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match="least coverage"):
        coverage.uncertain_below({"audio": scored()}, wrong)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_surer_labels_are_more_often_right_when_confidence_means_something(seed: int) -> None:
    one = scored(people=8, clips=60, seed=seed)
    half = coverage.at_coverage(one, 0.5, DRAWS)
    assert half.accuracy.value > coverage.at_threshold(one, 0.0, DRAWS).accuracy.value


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer(cls=Commands)
    app.callback()(lambda: None)
    register(app)
    found = CliRunner().invoke(app, ["coverage", *arguments])
    return found.exit_code, found.output


def test_the_command_writes_report_and_figure(tmp_path: Path) -> None:
    stored = held_out()
    stored["video"][:40] = stored["fused"][:40] = np.nan
    np.savez(tmp_path / "held_out.npz", **stored)
    figures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for figure in figures:
        status, text = run(
            str(tmp_path / "held_out.npz"), "--out", str(tmp_path / "report.json"), "--figure", str(figure),
            "--draws", "100",
        )  # fmt: skip
        assert status == 0, text
    report = json.loads((tmp_path / "report.json").read_text())
    assert f"uncertain_below: {report['uncertain_below']}" in text
    assert {name: view["clips"] for name, view in report["views"].items()} == {
        "audio": 100, "video": 60, "video+audio": 60,
    }  # fmt: skip
    for view in report["views"].values():
        assert view["at_uncertain_below"]["coverage"]["value"] >= 0.9
        assert [point["coverage"]["value"] for point in view["curve"]] == sorted(
            (point["coverage"]["value"] for point in view["curve"]), reverse=True
        )
        low, high = view["aurc"]["interval"]
        assert low <= view["aurc"]["value"] <= high and view["e_aurc"] >= 0
    assert figures[0].read_bytes() == figures[1].read_bytes() and b"<svg" in figures[0].read_bytes()


@pytest.mark.parametrize("missing", ["truth", "fused"])
def test_a_file_that_is_none_is_one_line_and_status_1(tmp_path: Path, missing: str) -> None:
    stored = held_out()
    del stored[missing]
    np.savez(tmp_path / "held_out.npz", **stored)
    status, text = run(str(tmp_path / "held_out.npz"), "--out", str(tmp_path / "report.json"))
    assert status == 1 and text.startswith("error: ") and missing in text and text.count("\n") == 1
    status, text = run(str(tmp_path / "gone.npz"), "--out", str(tmp_path / "report.json"))
    assert status == 1 and "make them with leave-one-out" in text

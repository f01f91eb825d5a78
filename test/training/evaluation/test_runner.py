"""A whole suite over generated sources: what is there, what is not and why, damage, and going on."""

import json
import shutil

import pytest
from native_layouts import bold, iemocap, mc_eiu, meld, mer, mmsa, wild
from typer.testing import CliRunner

from emollama_ros.bundle import packaged_path
from emollama_ros.errors import ConfigError, InputError
from training.__main__ import app
from training.evaluation.adapters.base import Claim
from training.evaluation.adapters.bundle import BundleModel, claims_of, words_of
from training.evaluation.predictions import read_predictions
from training.evaluation.runner import contents, exposure, failures_path, predict, run, thinned
from training.evaluation.scoring import ScoringOptions
from training.evaluation.suites import SUITES
from training.mmeverse.schema import Task

QUICK = ScoringOptions(draws=50)
SETS = {of.name: of for suite in SUITES.values() for of in suite.sets}
command = CliRunner()


def test_the_open_suite_is_found_with_what_is_absent_and_what_is_damaged(open_data):
    there = contents(SUITES["open"], open_data)
    assert {p.of.name: len(p.records) for p in there.present} == {
        "javanese_av": 6, "ravdess": 4, "faces_muxspace": 2, "goemotions": 5, "goemotions_multi": 6
    }  # fmt: skip
    assert [(a.of.name, a.why) for a in there.absent] == [("emodb", "no folder emodb/ in the data")]
    (damaged,) = (p for p in there.present if p.of.name == "ravdess")
    assert ["rage" in r.reason for r in damaged.rejects] == [True]


def test_a_source_with_a_broken_table_is_absent_with_the_reason(open_data, tmp_path):
    shutil.copytree(open_data / "faces_muxspace", tmp_path / "faces_muxspace")
    (tmp_path / "faces_muxspace" / "labels.csv").write_text("path,emotion\n")
    why = {a.of.name: a.why for a in contents(SUITES["open"], tmp_path).absent}
    assert why["faces_muxspace"].startswith("faces_muxspace/labels.csv:1: no column 'person_guess'")
    with pytest.raises(InputError, match="no such folder"):
        contents(SUITES["open"], tmp_path / "none")


def test_the_default_bundle_over_the_open_suite(open_data, tmp_path):
    out = tmp_path / "out"
    given = ["benchmark", "--suite", "open", "--data", str(open_data), "--out", str(out)]
    done = command.invoke(app, [*given, "--bundle", str(packaged_path())])
    assert done.exit_code == 0, done.output
    found = json.loads((out / "report.json").read_text())
    sets = {s["set"]: s for s in found["sets"]}
    seen = {name: s["seen_in_training"] for name, s in sets.items()}
    assert seen["javanese_av"] == seen["faces_muxspace"] == "seen in training"
    assert seen["ravdess"] == seen["goemotions"] == "no"
    assert "split train of the same source" in sets["goemotions"]["caution"]
    assert found["absent"] == [{"set": "emodb", "why": "no folder emodb/ in the data"}]
    # The sound that is gone is a failure; the unknown emotion is a row that could not be read.
    assert (sets["ravdess"]["kept"], sets["ravdess"]["dropped"]) == (3, {"no prediction": 1})
    assert "does not exist" in sets["ravdess"]["failures"][0] and sets["ravdess"]["unreadable_rows"] == 1
    assert sets["ravdess"]["unsayable"] == {"calm": 1}
    unseen = [s["figures"][s["primary"]]["value"] for s in sets.values() if s["seen_in_training"] == "no"]
    assert found["mean_of_primary"] == {
        "value": pytest.approx(sum(unseen) / 3, abs=1e-4), "sets": 3, "of": 6
    }  # fmt: skip
    assert {p.name for p in (out / "figures").iterdir()} >= {"overview.svg", "confusion_ravdess.png"}
    assert str(tmp_path) not in (out / "report.md").read_text() + (out / "report.json").read_text()


def test_a_perfect_model_is_perfect_on_all_eighteen_sets(oracle, tmp_path):
    for name, build in {
        "mer2023": mer.build_mer2023, "mer2024": mer.build_mer2024, "ov_merd_plus": mer.build_ov_merd_plus,
        "caer": wild.build_caer, "dfew": wild.build_dfew, "mafw": wild.build_mafw, "e3": wild.build_e3,
        "iemocap": iemocap.build, "meld": meld.build, "mc_eiu": mc_eiu.build, "bold": bold.build,
    }.items():  # fmt: skip
        build(tmp_path / name)
    mc_eiu.build_split(tmp_path / "mc_eiu")
    for name in ("cmu_mosi", "cmu_mosei", "ch_sims", "ch_sims_v2"):
        mmsa.build(tmp_path / name, name)
    result = run(SUITES["mmeverse"], tmp_path, tmp_path / "p.jsonl", oracle(), QUICK)
    assert [(a.of.name, a.why) for a in result.absent] == [("mc_eiu_intent", "it has no intentions")]
    assert len(result.measured) == 17
    for m in result.measured:
        assert m.scores.kept == m.clips > 0
        for name, figure in m.scores.figures.items():
            assert figure.value == pytest.approx(1.0) or (figure.value is None and not figure.kept), name
    # A space of the suite is the space that its source's records have.
    there = contents(SUITES["mmeverse"], tmp_path)
    for p in there.present:
        spaces = {r.label_space for r in p.records if r.label_space}
        assert (
            not spaces
            or p.of.task is Task.SENTIMENT
            or {frozenset(s) for s in spaces} == {frozenset(p.of.labels)}
        )


def test_a_run_that_was_stopped_goes_on_and_failures_are_tried_again(open_data, oracle, tmp_path):
    path, there = tmp_path / "p.jsonl", contents(SUITES["open"], open_data)
    first = oracle(fails=("1",))
    predict(first, there.present, path, progress=False)
    whole = path.read_text()
    assert "told not to know" in failures_path(path).read_text()
    lines = whole.splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:20])
    second = oracle()
    done = predict(second, there.present, path, progress=False)
    assert len(second.asked) == len(first.asked) - 5
    assert read_predictions(path).keys() == done.keys()
    assert failures_path(path).read_text() == ""
    assert oracle().name in whole
    third = oracle()
    predict(third, there.present, path, progress=False)
    assert third.asked == []


def test_predictions_of_another_model_are_not_continued(open_data, oracle, tmp_path):
    path, there = tmp_path / "p.jsonl", contents(SUITES["open"], open_data, limit=1)
    predict(oracle(), there.present, path, progress=False)
    other = oracle()
    other.name = "oracle 2"
    with pytest.raises(InputError, match="predictions of 'oracle 1', not of 'oracle 2'"):
        predict(other, there.present, path, progress=False)
    with pytest.raises(ConfigError, match="no model"):
        run(SUITES["open"], open_data, path)


def test_a_set_seen_in_training_is_in_no_mean(open_data, oracle, tmp_path):
    wrong = ("dev/d0", "dev/d1", "dev/d2", "dev/d3", "dev/d4")
    model = oracle(trained_on=(Claim("javanese_av"), Claim("goemotions", "validation")), wrong=wrong)
    result = run(SUITES["open"], open_data, tmp_path / "p.jsonl", model, QUICK)
    seen = {m.of.name: m.seen for m in result.measured}
    assert seen["goemotions"] == "seen in training (validation)" and seen["ravdess"] == ""
    values = {m.of.name: m.primary for m in result.measured}
    assert values["goemotions"] == 0 and result.mean() == (pytest.approx(1.0), 2)


def test_what_a_model_met_in_training_is_told_by_source_split_and_relation(record):
    test = [record()]
    assert exposure(SETS["meld_emotion"], test, None) == (None, "")
    assert exposure(SETS["meld_emotion"], test, [Claim("meld", "train")])[0] == ""
    assert exposure(SETS["meld_emotion"], test, [Claim("meld")])[0] == "seen in training"
    assert "shares recordings with ch_sims_v2" in exposure(SETS["ch_sims"], test, [Claim("ch_sims_v2")])[1]


def test_a_manifest_tells_what_a_bundle_was_trained_on():
    data = ["javanese_av (8 actors, 192 clips)", "goemotions (train)", "emodb"]
    assert claims_of({"data": data}) == (
        Claim("javanese_av"), Claim("goemotions", "train"), Claim("emodb")
    )  # fmt: skip
    assert claims_of({}) is None


def test_words_are_given_only_where_they_can_tell_something(record):
    assert words_of(record(transcript="No way", language="en-US")) == "No way"
    assert words_of(record(transcript="怎么会", language="zh")) == ""
    assert words_of(record(source="ravdess_16k", transcript="Kids are talking", language="en")) == ""


def test_a_limit_is_spread_over_the_whole_set(record):
    records = [record(str(i)) for i in range(100)]
    assert [r.id for r in thinned(records, 4)] == ["0", "25", "50", "75"]
    assert thinned(records, 200) == records and thinned(records, None) == records


def test_anyones_predictions_are_scored_without_a_model(open_data, oracle, tmp_path):
    path, there = tmp_path / "p.jsonl", contents(SUITES["open"], open_data)
    predict(oracle(), there.present[3:4], path, progress=False)
    given = ["score-predictions", str(path), "--suite", "open", "--data", str(open_data)]
    done = command.invoke(app, given)
    assert done.exit_code == 0, done.output
    assert "| GoEmotions dev, one label | UAR | 1.000 |" in done.output
    assert "- Javanese AV: no prediction for any of its 6 clips." in done.output
    assert "not told" in done.output


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["benchmark", "--suite", "glue", "--data", ".", "--out", "x"], "no suite named 'glue'"),
        (["benchmark", "--suite", "open", "--data", "nowhere", "--out", "x", "--bundle", "none"], "manifest"),
        (
            ["predict", "--suite", "open", "--data", ".", "--model", "magic", "--out", "x/p"],
            "expected one of",
        ),
        (["predict", "--suite", "open", "--data", ".", "--model", "gpt:4", "--out", "x/p"], "no kind 'gpt'"),
        (["score-predictions", "none.jsonl", "--suite", "open", "--data", "."], "none.jsonl: cannot be read"),
        (["score-predictions", "p", "--suite", "open", "--data", ".", "--judge", "me"], "cannot be read"),
        (["evaluate", "--root", ".", "--source", "glue"], "no source named 'glue'"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    done = command.invoke(app, given)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert done.stderr.startswith("error: ") and message in done.stderr


def test_the_same_clip_gives_the_same_prediction_whatever_came_before(open_data):
    model = BundleModel.load(packaged_path())
    there = contents(SUITES["open"], open_data).present[0]
    one, other = there.records[:2]
    alone = model.predict(one, there.root)
    model.predict(other, there.root)
    assert model.predict(one, there.root) == alone

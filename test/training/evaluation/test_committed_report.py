"""The committed report of the default bundle: of this bundle, and in agreement with the other reports."""

import json
from pathlib import Path

import pytest

from emollama_ros.bundle import Bundle, packaged_path
from training.evaluation.suites import SUITES

REPORTS = Path(__file__).resolve().parents[3] / "training" / "reports"
REPORT = json.loads((REPORTS / "open_suite" / "report.json").read_text())
SETS = {found["set"]: found for found in REPORT["sets"]}


def test_it_is_of_the_bundle_that_ships():
    bundle = Bundle.load(packaged_path(), verify=False)
    assert REPORT["model"] == f"{bundle.manifest.name} {bundle.manifest.version} {bundle.sha256[:12]}"
    assert list(SETS) == [of.name for of in SUITES["open"].sets] and not REPORT["limit"]


def test_what_was_seen_in_training_is_marked_and_in_no_mean():
    seen = {name for name, found in SETS.items() if found["seen_in_training"].startswith("seen")}
    assert seen == {"javanese_av", "emodb", "faces_muxspace"}
    rest = [f["figures"][f["primary"]]["value"] for n, f in SETS.items() if n not in seen]
    assert REPORT["mean_of_primary"] == {
        "value": pytest.approx(sum(rest) / len(rest), abs=1e-4), "sets": 3, "of": 6
    }  # fmt: skip


def test_every_clip_is_accounted_for():
    for found in SETS.values():
        assert found["kept"] + sum(found["dropped"].values()) == found["clips"]
        if found["confusion"]:
            assert sum(map(sum, found["confusion"])) == found["kept"]


def test_it_agrees_with_the_report_of_the_words():
    words = json.loads((REPORTS / "goemotions_dev.json").read_text())
    figures = SETS["goemotions"]["figures"]
    assert figures["uar"]["value"] == pytest.approx(words["uar"], abs=6e-4)
    assert figures["war"]["value"] == pytest.approx(words["war"], abs=6e-4)


def test_the_table_has_the_figures_of_the_json():
    text = (REPORTS / "open_suite" / "report.md").read_text()
    for found in SETS.values():
        value = found["figures"][found["primary"]]["value"]
        assert f"| {value:.3f} |".replace("0.", ".") in text

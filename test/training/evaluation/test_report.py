"""The report: the same facts in each form, nothing from outside, readable by eye, by ear and on a phone."""

import json
import re
from dataclasses import replace

import pytest

from training.evaluation.adapters.base import Claim
from training.evaluation.report import beside, mean_in_words
from training.evaluation.report_folder import write
from training.evaluation.runner import Absent, run
from training.evaluation.scoring import Figure, ScoringOptions
from training.evaluation.suites import SUITES

#: Role, words, width and number of texts of each figure.
PLOTS = """return [...document.querySelectorAll('figure svg')].map(e => [
  e.getAttribute('role'), e.getAttribute('aria-label'), e.getBoundingClientRect().width,
  e.querySelectorAll('text').length])"""
#: Caption, columns and rows with a heading, of each table.
TABLES = """return [...document.querySelectorAll('table')].map(t => [
  t.caption && t.caption.textContent.trim(), t.querySelectorAll('thead th[scope=col]').length,
  t.querySelectorAll('tbody th[scope=row]').length])"""
#: Brightness of ground and letters, 0 to 255.
GROUND = """const c = getComputedStyle(document.body);
return [c.backgroundColor, c.color].map(
  s => s.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3)"""
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def result(open_data, oracle, tmp_path_factory):
    """The open suite with one set seen in training, some clips wrong, and a name that wants to be a page."""
    model = oracle(
        trained_on=(Claim("javanese_av"),), wrong=("1", "2", "dev/d1"), silent=("calm",), fails=("dev/d4",)
    )
    model.name = EVIL
    return run(
        SUITES["open"], open_data, tmp_path_factory.mktemp("r") / "p.jsonl", model, ScoringOptions(draws=100)
    )


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    write(result, out)
    return out


def test_each_form_has_the_same_scores(result, folder):
    document = json.loads((folder / "report.json").read_text())
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    assert len(document["sets"]) == 5
    for found in document["sets"]:
        value = found["figures"][found["primary"]]["value"]
        shown = f"{value:.3f}".removeprefix("0")
        assert f"| {shown} |" in text and f'<td class="score">{shown}</td>' in page
    for words in ("Emo-DB", "no folder emodb/ in the data", "calm (1 clips)", "1 x no prediction"):
        assert words in text and words in page


def test_published_rows_are_marked_and_stand_beside_ones_own(result):
    sets = {of.name: of for of in SUITES["mer-unibench"].sets}
    first, second = result.measured[:2]

    def as_set(measured, name, seen):
        figure = Figure(0.5, 10, 0, (0.4, 0.6))
        scores = replace(measured.scores, figures={sets[name].primary: figure})
        return replace(measured, of=sets[name], scores=scores, seen=seen)

    own = replace(
        result,
        suite=SUITES["mer-unibench"],
        model="mine",
        measured=(as_set(first, "mer2023", "seen in training"), as_set(second, "cmu_mosi", "")),
        absent=(Absent(sets["ch_sims"], "no folder"),),
    )
    head, rows = beside(own)
    assert head == ("system", "", *(of.title for of in own.suite.sets), "mean")
    assert rows[0] == ("mine", "measured here", "(50.00)", *"–––", "50.00", *"––––", "50.00 (1 sets)")
    assert {row[1] for row in rows[1:]} == {"published"} and len(rows) == 12
    assert mean_in_words(own) == (
        "Mean of the primary metrics of 1 of 9 sets: **.500**; 1 seen in training left out; "
        "not comparable with means over all sets."
    )


def test_a_report_is_made_again_the_same(result, folder, tmp_path):
    write(result, tmp_path)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".png"):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes(), path.name


def test_the_page_asks_for_nothing_from_outside_and_has_no_identifier_twice(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!#|data:,)', page) and "@import" not in page
    assert "<script" not in page and "<img" not in page and "&lt;img" in page
    found = re.findall(r'\bid="([^"]+)"', page)
    assert len(found) == len(set(found))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(found)


def test_the_page_in_a_browser(folder, browser):
    browser.get((folder / "report.html").as_uri())
    run_script = browser.execute_script
    assert (
        "script" in browser.title
        and run_script("return performance.getEntriesByType('resource').length") == 0
    )
    plots = run_script(PLOTS)
    assert len(plots) == 5  # the overview and four confusion matrices
    assert all(role == "img" and words and width > 200 and texts > 3 for role, words, width, texts in plots)
    assert "Javanese AV UAR" in plots[0][1] and "seen in training" in plots[0][1]
    tables = run_script(TABLES)
    assert tables and all(caption and columns > 1 and rows for caption, columns, rows in tables)
    levels = [int(e.tag_name[1]) for e in browser.find_elements("css selector", "h1, h2, h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_as_wide_as_the_screen(folder, browser, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get((folder / "report.html").as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_is_dark_where_the_reader_wants_it(folder, browser):
    found = {}
    for scheme in ("light", "dark"):
        wish = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
        browser.get((folder / "report.html").as_uri())
        found[scheme] = browser.execute_script(GROUND)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert found["light"][0] > 200 > 100 > found["light"][1]
    assert found["dark"][0] < 100 < 200 < found["dark"][1]

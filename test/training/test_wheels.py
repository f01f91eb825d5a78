"""Emotion wheels and MER-UniBench scores: on made-up tables, and on the published ones where they are."""

import csv
import json
import random
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

openpyxl = pytest.importorskip("openpyxl", reason="the scorer needs openpyxl (make test installs it)")

from typer.testing import CliRunner  # noqa: E402

from benchmark.bench_scorer import (  # noqa: E402
    loop_hit_rate,
    loop_open_vocabulary,
    made_up_tables,
    measure,
)
from emollama_ros.errors import InputError  # noqa: E402
from training.__main__ import app  # noqa: E402
from training.evaluation.mer_unibench import (  # noqa: E402
    group,
    hit_rate,
    open_vocabulary,
    parse_labels,
    read_cases,
    score_cases,
)
from training.evaluation.wheels import LEVELS, RUNS, SECTOR_BITS, WHEELS, read_tables, work_out  # noqa: E402

TABLES = made_up_tables(random.Random(1))
GROUPING = work_out(TABLES)
KNOWN = sorted(TABLES.forms)
#: On every wheel, so that no wheel drops it.
EVERYWHERE = [word for word in KNOWN if all(TABLES.sector(word, wheel) for wheel in WHEELS)]

words = st.one_of(
    st.sampled_from(KNOWN),
    st.sampled_from(["xyzzy", "neutral", "", "  ", "[", "]", "'", "form1, form2", "a'b", "\0", "İ"]),
    st.sampled_from(KNOWN).map(lambda word: f"  {word.upper()} "),
    st.text(max_size=8),
)
answers = st.one_of(
    st.none(),
    st.lists(words, max_size=6),
    st.lists(words, max_size=6).map(lambda labels: f"[{', '.join(labels)}]"),
    st.lists(words, max_size=3).map(lambda labels: str(labels)),
    st.text(max_size=12),
)
clips = st.lists(
    st.tuples(st.sampled_from([*KNOWN, "neutral", "Form3"]), answers, answers), min_size=1, max_size=12
)


def save_sheet(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


@pytest.fixture
def folder(tmp_path):
    """Tables in the published form: two sectors a wheel, with spaces, capitals and gaps."""
    for wheel in WHEELS:
        rows = [LEVELS, (" Joy ", "Glad", "Merry"), (None, None, "Calm"), ("Anger", "Cross", "Bitter")]
        save_sheet(tmp_path / f"{wheel}.xlsx", rows)
    header = [f"{kind}_{run}" for run in RUNS for kind in ("word", "synonym")]
    named = {"Joy": "delight, cheer", "Glad": "pleased", "Merry": "cheer", "Calm": "still"}
    named |= {"Anger": "fury", "Cross": "cheer", "Bitter": "sour"}
    save_sheet(tmp_path / "synonym.xlsx", [header, *([w, s] * len(RUNS) for w, s in named.items())])
    bases = ["joy", "glad", "merry", "calm", "anger", "cross", "bitter", "delight", "cheer", "fury", "sour"]
    with (tmp_path / "format.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("name", "format"), *((b, f"{b},{b}s,  {b}ly") for b in bases)])
    return tmp_path


@pytest.fixture
def cases(tmp_path):
    content = {
        "ground_truth": {"a": "joy", "b": "neutral", "c": "fury"},
        "open_vocabulary_ground_truth": {"a": "[joys, fury]", "b": "[]", "c": ["anger"]},
        "predictions": {"a": "[Delight, xyzzy]", "b": "[joy]", "c": None},
    }
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(content))
    return path


def test_a_word_reaches_its_sector_over_form_and_synonym(folder):
    tables = read_tables(folder)
    assert [tables.sector(w, "wheel1") for w in ("delights", "joyly", "calm", "sour")] == [
        "joy",
        "joy",
        "joy",
        "anger",
    ]
    assert tables.sector("neutral", "wheel1") is None


def test_of_several_wheel_words_the_alphabetically_first_decides(folder):
    # `cheer` stands for cross (anger) and for joy and merry (joy); c comes first.
    assert read_tables(folder).sector("cheer", "wheel1") == "anger"


def test_the_published_tables_have_the_published_sizes(shared_dir):
    tables = read_tables(shared_dir / "emotion_wheels")
    on_wheels = set().union(*tables.wheels.values())
    assert (len(tables.forms), len(tables.synonyms), len(on_wheels)) == (7386, 1255, 253)
    assert [len(set(tables.wheels[wheel].values())) for wheel in WHEELS] == [6, 7, 6, 6, 6]


@pytest.mark.parametrize("name", ["format.csv", "synonym.xlsx", "wheel3.xlsx"])
def test_a_missing_empty_or_damaged_table_is_named(folder, name):
    path = folder / name
    path.write_bytes(b"")
    with pytest.raises(InputError, match=name):
        read_tables(folder)
    path.write_bytes(b"PK\x03\x04 no archive \xff")
    with pytest.raises(InputError, match=name):
        read_tables(folder)
    path.unlink()
    with pytest.raises(InputError, match=f"{name}.*cannot be read"):
        read_tables(folder)


def test_a_missing_column_is_named(folder):
    save_sheet(folder / "wheel2.xlsx", [("level1", "level2"), ("joy", "glad")])
    with pytest.raises(InputError, match=r"wheel2\.xlsx: no column 'level3'"):
        read_tables(folder)


def test_a_table_with_only_a_header_is_refused(folder):
    (folder / "format.csv").write_text("name,format\n")
    with pytest.raises(InputError, match=r"format\.csv: has no rows"):
        read_tables(folder)


def test_a_short_row_is_named_with_its_number(folder):
    (folder / "format.csv").write_text("name,format\njoy,joys\nglad\n")
    with pytest.raises(InputError, match="row 3 has 1 cells, not 2"):
        read_tables(folder)


def test_a_word_that_the_next_table_lacks_is_named(folder):
    (folder / "format.csv").write_text("name,format\nblue,blues\n")
    with pytest.raises(InputError, match=r"'blue'.*synonym\.xlsx"):
        read_tables(folder)


def test_a_wheel_with_too_many_sectors_is_refused(folder):
    rows = [(f"inner{i}", f"middle{i}", f"outer{i}") for i in range(SECTOR_BITS + 1)]
    save_sheet(folder / "wheel1.xlsx", [LEVELS, *rows, ("joy", "glad", "merry"), (None, "calm", "anger")])
    with pytest.raises(InputError, match="inner sectors"):
        work_out(read_tables(folder))


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("[happy, very sad]", ["happy", "very sad"]),
        ("['Happy', \"sad\"]", ["happy", "sad"]),
        ("happy", ["happy"]),
        ("[, , ]", []),
        ("[", []),
        ("", []),
        (None, []),
        ([" Happy ", ""], ["happy"]),
    ],
)
def test_labels_of_an_answer(answer, labels):
    assert parse_labels(answer) == labels


@given(st.lists(answers, max_size=8))
def test_grouping_all_at_once_equals_word_by_word(found):
    sectors = group(GROUPING, found)
    assert sectors.shape == (len(found), len(WHEELS))
    for row, answer in zip(sectors, found, strict=True):
        for bits, wheel in zip(row, WHEELS, strict=True):
            expected = {TABLES.sector(label, wheel) for label in parse_labels(answer)} - {None}
            assert int(bits).bit_count() == len(expected)


@given(clips)
def test_scores_equal_the_loop_over_words(found):
    truth, labels, predictions = map(list, zip(*found, strict=True))
    answered = group(GROUPING, predictions)
    hits, sets = hit_rate(GROUPING, truth, answered), open_vocabulary(GROUPING, labels, answered)
    for wheel in WHEELS:
        if hits[wheel].kept:
            expected = loop_hit_rate(TABLES, wheel, truth, predictions)
            assert (hits[wheel].hit_rate, hits[wheel].m_score) == pytest.approx(expected, abs=1e-9)
        if sets[wheel].kept:
            expected = loop_open_vocabulary(TABLES, wheel, labels, predictions)
            assert (sets[wheel].precision, sets[wheel].recall) == pytest.approx(expected, abs=1e-9)


@given(clips)
def test_scores_are_shares_and_every_clip_is_counted(found):
    truth, labels, predictions = map(list, zip(*found, strict=True))
    answered = group(GROUPING, predictions)
    for wheel_scores in (hit_rate(GROUPING, truth, answered), open_vocabulary(GROUPING, labels, answered)):
        for scores in wheel_scores.values():
            first, second, kept, dropped = astuple(scores)
            assert kept + dropped == len(found)
            assert (first is None) == (second is None) == (kept == 0)
            assert kept == 0 or (0 <= first <= 1 and 0 <= second <= 1)


@given(st.lists(st.lists(words, max_size=6), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_and_repetition_of_labels_do_not_matter(found, draw):
    shuffled = [draw.sample(labels * 2, len(labels) * 2) for labels in found]
    assert np.array_equal(group(GROUPING, found), group(GROUPING, shuffled))


@given(clips)
def test_a_word_outside_the_vocabulary_changes_nothing(found):
    truth, labels, predictions = map(list, zip(*found, strict=True))
    more = [[*parse_labels(answer), "xyzzy"] for answer in predictions]
    one, other = group(GROUPING, predictions), group(GROUPING, more)
    assert hit_rate(GROUPING, truth, one) == hit_rate(GROUPING, truth, other)
    assert open_vocabulary(GROUPING, labels, one) == open_vocabulary(GROUPING, labels, other)


@given(st.lists(st.sampled_from(EVERYWHERE), min_size=1, max_size=10), st.integers(0, 5))
def test_a_perfect_prediction_scores_one_and_neutral_is_dropped_and_counted(labels, neutrals):
    truth = [*labels, *["neutral"] * neutrals]
    answered = group(GROUPING, truth)
    for scores in hit_rate(GROUPING, truth, answered).values():
        assert astuple(scores) == (1.0, 1.0, len(labels), neutrals)
    for scores in open_vocabulary(GROUPING, truth, answered).values():
        assert astuple(scores) == (1.0, 1.0, len(labels), neutrals)
        assert scores.f_score == 1.0


def test_more_answers_hit_as_often_and_less_pointedly(folder):
    grouping, truth = work_out(read_tables(folder)), ["joy", "fury"]
    few, many = (hit_rate(grouping, truth, group(grouping, a))["wheel1"] for a in (truth, ["joy,fury"] * 2))
    assert (few.hit_rate, few.m_score, many.hit_rate, many.m_score) == (1.0, 1.0, 1.0, 0.5)


def test_no_match_at_all_has_an_f_score_of_zero():
    [*_, last] = open_vocabulary(GROUPING, [EVERYWHERE[0]], group(GROUPING, ["[]"])).values()
    assert (last.precision, last.recall, last.f_score) == (0.0, 0.0, 0.0)


def test_the_command_prints_scores_and_counts(folder, cases):
    result = CliRunner().invoke(app, ["score", "--tables", str(folder), str(cases)])
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["hit_rate"]["wheel1"] == {"hit_rate": 0.5, "m_score": 0.5}
    assert printed["open_vocabulary"]["wheel5"] == [0.5, 0.25]
    assert printed["counts"]["hit_rate"]["wheel1"] == {"kept": 2, "dropped": 1}
    assert printed["open_vocabulary_f_mean"] == pytest.approx(1 / 3)


def test_where_nothing_can_be_scored_the_figure_is_null(folder, cases):
    content = json.loads(cases.read_text()) | {"ground_truth": dict.fromkeys("abc", "neutral")}
    cases.write_text(json.dumps(content))
    printed = score_cases(work_out(read_tables(folder)), read_cases(cases))
    assert printed["hit_rate_mean"] is None
    assert printed["counts"]["hit_rate"]["wheel2"] == {"kept": 0, "dropped": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": {"a": "joy", "b": "joy"}}, r"'c'.*ground_truth and not in predictions.*3 clips.* 2"),
        ({"predictions": {"a": "x", "b": "x", "d": "x"}}, "'c' .of 2 such clips."),
        ({"open_vocabulary_ground_truth": {"a": "joy"}}, "'b'.*predictions and not in open_vocabulary"),
        ({"predictions": ["joy", "joy", "joy"]}, "no object 'predictions'"),
        ({"ground_truth": {}}, "ground_truth has no clips"),
        ({"ground_truth": {"a": "joy", "b": ["joy"], "c": "joy"}}, "ground_truth, 'b': expected one label"),
        ({"predictions": {"a": 1, "b": None, "c": "joy"}}, "predictions, 'a': expected a list of labels.*1"),
        ({"predictions": {"a": [None], "b": None, "c": "joy"}}, "predictions, 'a'.*None"),
    ],
)
def test_bad_cases_are_named(cases, change, message):
    cases.write_text(json.dumps(json.loads(cases.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_cases(cases)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "found list"),
        ("{}", "no object 'ground_truth'"),
        ('{"predictions": {"a": "x", "a": "y"}}', "'a' occurs more than once"),
    ],
)
def test_a_file_that_is_no_case_file_is_named(cases, text, message):
    cases.write_text(text)
    with pytest.raises(InputError, match=rf"cases\.json: .*{message}"):
        read_cases(cases)


def test_the_command_says_what_is_wrong_without_a_traceback(folder, tmp_path):
    result = CliRunner().invoke(app, ["score", "--tables", str(folder), str(tmp_path / "none.json")])
    assert result.exit_code == 1
    assert "none.json: cannot be read" in result.output
    assert "Traceback" not in result.output


def test_the_conformance_file_is_reproduced(shared_dir):
    path = shared_dir / "conformance" / "mer_unibench.json"
    result = CliRunner().invoke(app, ["score", "--tables", str(shared_dir / "emotion_wheels"), str(path)])
    assert result.exit_code == 0, result.output
    expected, printed = json.loads(path.read_text())["expected"], json.loads(result.stdout)
    assert printed["hit_rate_mean"] == pytest.approx(expected["hit_rate_mean"], abs=1e-9)
    for wheel in WHEELS:
        assert printed["hit_rate"][wheel] == pytest.approx(expected["hit_rate"][wheel], abs=1e-9)
        assert printed["open_vocabulary"][wheel] == pytest.approx(
            expected["open_vocabulary"][wheel], abs=1e-9
        )


def test_the_benchmark_compares_what_it_times():
    result = measure(clips=500)
    assert result["clips"] == 500
    assert result["ratio"] > 1

"""The catalogue of what can be said: complete, used, told apart, and the same in docs/operations.md."""

from __future__ import annotations

import ast
import importlib.util
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros import conditions
from emollama_ros.conditions import Condition, Level, all_conditions, recognise, worst
from emollama_ros.estimate import Status
from emollama_ros.nodes.diagnostic_contents import CONTENTS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "emollama_ros"
#: Whose texts contain those of others, or of anything.
NESTING = (conditions.NO_INPUT, conditions.NO_USABLE_INPUT)

each_condition = pytest.mark.parametrize("condition", all_conditions(), ids=lambda c: c.name)


@pytest.fixture(scope="module")
def tables():
    """The script that makes the tables."""
    path = ROOT / "scripts" / "operations_tables.py"
    spec = importlib.util.spec_from_file_location("operations_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(condition, fill="7"):
    """A text of a condition, whatever the types of its facts."""
    facts = {name: spec for _, name, spec, _ in string.Formatter().parse(condition.words) if name}
    return condition.say(**{name: 7 if spec else fill for name, spec in facts.items()}).text


def test_the_document_shows_the_catalogue(tables):
    text = tables.DOCUMENT.read_text(encoding="utf-8")
    assert tables.document(text) == text, f"run: {tables.COMMAND}"


@each_condition
def test_the_document_has_every_condition_where_it_belongs(tables, condition):
    if condition is conditions.PERCEIVING:
        return  # nothing is wrong, so there is nothing to look up
    part = {Status.DEGRADED: "degraded", Status.STALE: "stale", Status.OK: "warnings"}[condition.status]
    text = tables.DOCUMENT.read_text(encoding="utf-8")
    section = text.split(f"<!-- {part}: ")[1].split(f"<!-- end of {part} -->")[0]
    assert f"| `{condition.name}` |" in section and condition.meaning in section


def test_the_document_has_every_value(tables):
    text = tables.DOCUMENT.read_text(encoding="utf-8")
    for entry, (about, values) in CONTENTS.items():
        assert f"**`{entry}`**: {about}." in text
        assert all(meaning in text for meaning in values.values())


def test_names_and_words_are_unique():
    assert (
        len({c.name for c in all_conditions()})
        == len(all_conditions())
        == len({c.words for c in all_conditions()})
    )


@each_condition
def test_it_says_what_it_means_and_what_to_do(condition):
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", condition.name)
    assert condition.meaning.endswith(".") and condition.advice.rstrip("`").endswith((".", "?"))
    assert len(condition.words) > 8 and not condition.words.endswith(".")


@each_condition
def test_it_is_recognised_by_its_words_and_taken_for_no_other(condition):
    found = recognise(said(condition))
    assert condition in found
    assert set(found) <= {condition, *NESTING}


@given(st.sampled_from(all_conditions()), st.text(string.printable, min_size=1))
def test_it_is_recognised_whatever_the_facts_are(condition, fill):
    assert condition in recognise(said(condition, fill))


def test_several_are_recognised_in_one_text():
    text = "; ".join((said(conditions.SILENT), said(conditions.BLANK_PICTURE)))
    assert recognise(text) == (conditions.SILENT, conditions.BLANK_PICTURE)
    assert recognise("") == recognise("something nobody says") == ()


def test_a_fact_that_is_left_out_is_an_error():
    with pytest.raises(KeyError, match="seconds"):
        conditions.SILENT.say(topic="/camera")


def test_the_gravest_level_counts():
    found = [conditions.BLANK_PICTURE.say(), conditions.MODEL_FAILS.say(error="x")]
    assert worst(found) is Level.ERROR and worst([]) is Level.OK


def names_used():
    """Names of the catalogue that the code of the package mentions."""
    for path in PACKAGE.rglob("*.py"):
        if path.name == "conditions.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "conditions":
                yield node.attr


def test_the_code_says_every_one_of_them():
    catalogue = {name for name, value in vars(conditions).items() if isinstance(value, Condition)}
    assert catalogue <= set(names_used())


def test_a_state_that_is_degraded_or_stale_is_so_for_a_reason_in_the_catalogue():
    """Texts of states come from ``Condition.say``: no other literal goes with a bad status."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "status_text":
                assert not (isinstance(node.value, ast.Constant) and node.value.value), (path, node.lineno)
                assert not isinstance(node.value, ast.JoinedStr), (path, node.lineno)

"""Pools of instructions: enough of them, all different, and no label but those of the label space."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
import yaml

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS, HRI_EXPRESSIONS
from training.mmeverse.instructions.pool import FOLDER, pool_of, read_pool
from training.mmeverse.instructions.tags import REPLAY_TAGS, Tag, label_tag, think_tag
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Task

CLOSED = {Tag.EMOTION, Tag.SENTIMENT, Tag.INTENT, Tag.MULTI_LABEL, Tag.THINK, Tag.THINK_MULTI}
DESCRIPTIONS = {Tag.AUDIO, Tag.IMAGE}
#: Every word that any source uses as a label, and the expressions of hri_msgs.
LABELS = {label.lower() for space in LABEL_SPACES.values() for label in space}
LABELS |= {*DEFAULT_LABELS, *HRI_EXPRESSIONS, "joyful", "fearful", "worry", "anxious", "contemptuous"}

every_tag = pytest.mark.parametrize("tag", Tag, ids=lambda tag: tag.value)


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"\{.*?\}|<.*?>", " ", text.lower())))


@every_tag
def test_every_tag_has_a_pool_of_its_own_with_enough_in_it(tag):
    pool = pool_of(tag)
    assert pool.tag is tag and pool.version >= 1
    assert len(pool.instructions) >= (20 if tag in DESCRIPTIONS else 10)


def test_there_is_no_pool_without_a_tag():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {tag.value for tag in Tag}


@every_tag
def test_no_two_instructions_are_near_twins(tag):
    texts = [text for text in pool_of(tag).instructions if words(text)]
    for one, other in combinations(texts, 2):
        shared = len(words(one) & words(other)) / len(words(one) | words(other))
        assert shared < 0.6, f"{one!r} and {other!r}"


def test_no_instruction_is_in_two_pools():
    texts = [" ".join(sorted(words(t))) for tag in Tag for t in pool_of(tag).instructions if words(t)]
    assert len(texts) == len(set(texts))


@every_tag
def test_no_instruction_names_a_label_itself(tag):
    """A pool of the release offers labels outside its space; here they come from the space alone."""
    for text in pool_of(tag).instructions:
        named = [x for x in LABELS if re.search(rf"(?<!\w){re.escape(x)}(?!\w)", text, re.IGNORECASE)]
        assert not named, f"{text!r} names {named}"


@every_tag
def test_closed_instructions_leave_room_for_the_label_space_and_open_ones_do_not(tag):
    assert ("labels" in pool_of(tag).needs) == (tag in CLOSED)


@pytest.mark.parametrize("tag", [Tag.THINK, Tag.THINK_MULTI])
def test_thinking_instructions_say_which_tags_are_wanted(tag):
    for text in pool_of(tag).instructions:
        assert "<think>" in text and "<answer>" in text


@pytest.mark.parametrize("task", Task)
def test_every_task_has_its_tags(task):
    assert label_tag(task).value == task.value
    assert think_tag(task).printed == "think"
    assert label_tag(task) not in REPLAY_TAGS


def write(path, **changes):
    data = {"tag": "emotion", "version": 1, "needs": ["labels"], "instructions": ["Say it: {labels}."]}
    path.write_text(yaml.safe_dump({**data, **changes}))
    return path


def test_a_pool_of_ones_own_is_read(tmp_path):
    pool = read_pool(write(tmp_path / "p.yaml"))
    assert pool.instructions == ("Say it: {labels}.",) and pool.needs == {"labels"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instructions": ["Say it."]}, r"instruction 1: has the placeholders \[\], needs \['labels'\]"),
        ({"instructions": ["{labels}{what}"]}, "instruction 1: has the placeholders"),
        ({"instructions": ["{labels} {labels}"]}, "instruction 1: has the placeholders"),
        ({"instructions": ["{labels"]}, "instruction 1: expected '}'"),
        ({"instructions": ["A  gap {labels}"]}, "blanks too many"),
        ({"instructions": ["{labels}?", "{labels}?"]}, "is there twice"),
        ({"needs": ["name"]}, "unknown placeholder 'name'"),
        ({"tag": "mood"}, "'mood' is not a valid Tag"),
        ({"version": None}, "no pool of instructions"),
    ],
)
def test_a_damaged_pool_is_refused_and_says_why(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_pool(write(tmp_path / "p.yaml", **changes))


def test_a_missing_pool_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: no pool"):
        read_pool(tmp_path / "none.yaml")

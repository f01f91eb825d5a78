"""Splits by person."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.mmeverse.schema import Record, Task
from training.mmeverse.splits import SPLITS, assign, split_by_person, unit_of

LABELS = ("happy", "sad", "angry")


def make(clip, person=None, group=None, label="happy", split="train"):
    return Record(
        id=str(clip), source="made", split=split, person=person, group=group, task=Task.EMOTION, label=label
    )


people = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 2), st.booleans(), st.sampled_from(LABELS)), max_size=60
).map(
    lambda rows: [
        make(i, f"made:{who}" if known else None, f"made:film{film}" if film else None, label)
        for i, (who, film, known, label) in enumerate(rows)
    ]
)


@given(people, st.randoms(use_true_random=False))
def test_everybody_is_in_one_split_whatever_the_order(records, chance):
    split = split_by_person(records)
    assert set(split) == {unit_of(record) for record in records}
    shuffled = records[:]
    chance.shuffle(shuffled)
    assert split_by_person(shuffled) == split
    assert set(split.values()) >= {None: set(), 1: {"train"}, 2: {"train", "test"}}.get(
        len(split) or None, set(SPLITS)
    )


@given(people)
def test_no_record_is_lost_and_nobody_is_in_two_splits(records):
    moved = assign(records, has_splits=False, is_evaluation_only=False)
    assert [r.id for r in moved] == [r.id for r in records]
    where = {}
    for record in moved:
        assert where.setdefault(unit_of(record), record.split) == record.split


def test_without_a_person_the_group_stays_together_and_then_the_clip_is_alone():
    assert unit_of(make(1, "made:a", "made:film")) == "made:a"
    assert unit_of(make(1, None, "made:film")) == "made:film"
    assert unit_of(make(1)) == "made/1"


def test_shares_and_labels_are_near_what_is_wanted():
    chance = random.Random(1)
    records = [
        make(f"{who}/{i}", f"made:{who}", label=chance.choices(LABELS, (6, 3, 1))[0])
        for who in range(80)
        for i in range(chance.randint(1, 12))
    ]
    moved = assign(records, has_splits=False, is_evaluation_only=False)
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        for label in LABELS:
            n = sum(r.label == label for r in records)
            got = sum(r.label == label and r.split == split for r in moved)
            assert got == pytest.approx(n * share, abs=0.05 * n + 2), (split, label)


def test_few_people_fill_all_splits():
    records = [make(f"{who}/{i}", f"made:{who}") for who in range(8) for i in range(24)]
    moved = assign(records, has_splits=False, is_evaluation_only=False)
    persons = Counter(r.split for r in moved if r.id.endswith("/0"))
    assert persons["train"] in (5, 6) and persons["validation"] == 1 and persons["test"] in (1, 2)


def test_the_authors_split_is_kept_even_where_nothing_is_trained_on():
    records = [make(1, "made:a", split="validation"), make(2, "made:a", split="train")]
    for is_evaluation_only in (False, True):
        assert assign(records, has_splits=True, is_evaluation_only=is_evaluation_only) == records


def test_what_nobody_split_and_nothing_is_trained_on_is_all_for_testing():
    records = [make(1, "made:a"), make(2, "made:b"), make(3, "made:c")]
    only = assign(records, has_splits=False, is_evaluation_only=True)
    assert [r.split for r in only] == ["test"] * 3

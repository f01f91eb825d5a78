"""Train, validation and test by person, for sources whose authors do not split.

Nobody is heard or seen in two splits. What a person says is kept together, so exact shares cannot be had;
people are dealt out, those with most clips first, to where their labels are missing most (the greedy
stratification of Sechidis et al. 2011, of people instead of clips).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from training.mmeverse.schema import Record, Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
#: Shares of the clips.
SHARES: Mapping[Split, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}

Labels = Counter[tuple[str, str]]


def unit_of(record: Record) -> str:
    """What must not be divided: the person; where it is not told the group, then the clip alone."""
    if record.person is not None:
        return record.person
    return record.group or f"{record.source}/{record.id}"


def split_by_person(records: Iterable[Record], shares: Mapping[Split, float] = SHARES) -> dict[str, Split]:
    """Give each person a split; the same whatever the order of the records.

    Args:
        records: Of one source.
        shares: Wanted share of the clips of each split.

    Returns:
        By `unit_of`: the split. Three persons or more fill all three splits; two fill train and test.
    """
    labels = _labels(records)
    order = sorted(labels, key=lambda unit: (-labels[unit].total(), _shuffled(unit)))
    wanted = _wanted(labels.values(), shares)
    held: dict[Split, Labels] = {split: Counter() for split in SPLITS}
    given: dict[str, Split] = {}
    for unit in order:
        given[unit] = min(SPLITS, key=lambda s: _growth(held[s], wanted[s], labels[unit]))
        held[given[unit]].update(labels[unit])
    return _fill_empty(given, order)


def _labels(records: Iterable[Record]) -> dict[str, Labels]:
    """Labels of each unit, by task."""
    found: dict[str, Labels] = defaultdict(Counter)
    for record in records:
        said = record.labels if record.label is None else (record.label,)
        found[unit_of(record)].update((record.task.value, label) for label in said)
    return found


def _wanted(all_labels: Iterable[Labels], shares: Mapping[Split, float]) -> dict[Split, dict]:
    total: Labels = Counter()
    for labels in all_labels:
        total.update(labels)
    return {split: {label: n * shares[split] for label, n in total.items()} for split in SPLITS}


def _growth(held: Labels, wanted: Mapping[tuple[str, str], float], more: Labels) -> float:
    """How much further from what is wanted a split would be: squared distance, relative to what is wanted."""
    return sum(n * (n + 2 * (held[label] - wanted[label])) / wanted[label] for label, n in more.items())


def _shuffled(unit: str) -> str:
    """An order that has nothing to do with names: people who come first in a list differ from those last."""
    return hashlib.sha256(unit.encode()).hexdigest()


def _fill_empty(given: dict[str, Split], order: Sequence[str]) -> dict[str, Split]:
    """Move people with few clips from the fullest split into empty ones, as long as it keeps one itself."""
    for split in cast("tuple[Split, ...]", ("train", "test", "validation")):
        members = Counter(given.values())
        fullest = max(SPLITS, key=lambda s: members[s])
        if not members[split] and members[fullest] > 1:
            given[next(unit for unit in reversed(order) if given[unit] == fullest)] = split
    return given


def assign(records: Sequence[Record], *, has_splits: bool, is_evaluation_only: bool) -> list[Record]:
    """Put each record into its split.

    Args:
        records: Of one source.
        has_splits: Its authors split it, or its reader says what is for testing: that is kept.
        is_evaluation_only: Nothing may be trained on it: everything is for testing where nobody split it.
    """
    if has_splits:
        return list(records)
    if is_evaluation_only:
        return [_moved(record, "test") for record in records]
    split = split_by_person(records)
    return [_moved(record, split[unit_of(record)]) for record in records]


def _moved(record: Record, split: Split) -> Record:
    return record if record.split == split else record.model_copy(update={"split": split})

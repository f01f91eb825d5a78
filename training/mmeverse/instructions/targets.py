"""What a language model should answer: a label, labels with commas, reasons with a label, a description."""

from __future__ import annotations

from collections.abc import Iterable

from emollama_ros.errors import InputError
from training.mmeverse.instructions.template import as_data
from training.mmeverse.schema import Record

#: Longest description that is learnt, in words, by stage (V2 ``_check_answer``).
LONGEST = {1: 120, 2: 200}
#: Marks that separate labels, or parts of a target; no label can have one.
_SEPARATORS = frozenset(",;\n<>[]")


def labels_target(labels: Iterable[str]) -> str:
    """One label, or labels with ``, `` between them.

    Raises:
        InputError: A label has a comma or bracket in it and could not be read back.
    """
    labels = tuple(labels)
    for label in labels:
        if found := _SEPARATORS.intersection(label):
            raise InputError(f"label {label!r} has {sorted(found)[0]!r} in it; labels in a target need none")
    return ", ".join(labels)


def think_target(reasoning: str, labels: Iterable[str]) -> str:
    """Reasons, then labels, in the tags of the paper."""
    return f"<think>{as_data(reasoning)}</think><answer>{labels_target(labels)}</answer>"


def labels_of(record: Record) -> tuple[str, ...]:
    """The truth of a record as labels: one, or several in the order of its source."""
    return record.labels if record.label is None else (record.label,)


def why_unusable(description: str, stage: int) -> str:
    """Why a description is not learnt; empty where it is."""
    count = len(description.split())
    if not count:
        return "no description"
    if count > LONGEST[stage]:
        return f"description of {count} words, more than {LONGEST[stage]}"
    return ""

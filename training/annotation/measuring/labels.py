"""Which of the default emotions a record's label stands for."""

from __future__ import annotations

from training.annotation.measuring.unit_names import EMOTION_UNITS, SENTIMENT_EMOTIONS
from training.mmeverse.label_sets import to_default
from training.mmeverse.schema import Record, Task


def emotions_of(record: Record) -> tuple[str, ...]:
    """Default labels that a record's label stands for; none for other words (intents, ...)."""
    said = record.labels if record.label is None else (record.label,)
    if record.task is Task.SENTIMENT:
        return tuple(dict.fromkeys(e for word in said for e in SENTIMENT_EMOTIONS.get(word, ())))
    if record.task is Task.INTENT:
        return ()
    found = (to_default(word) for word in said)
    return tuple(dict.fromkeys(label for label in found if label in EMOTION_UNITS))


def said_label(record: Record) -> str:
    """The label or labels in the record's own words."""
    return record.label if record.label is not None else " and ".join(record.labels)

"""Transcripts and answers are data. Text that tells the pipeline to do something ends the clip's way here.

This is one of several fences, and not the strongest: agents have no tools, what they say fills named fields
of text and nothing else, the label is not among those fields, and every answer is parsed against a schema.
What is left is text that would talk a model, now or when it is trained on the records, into something; how it
is known is in `emollama_ros.preprocess.instructions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emollama_ros.preprocess.instructions import instruction_in
from training.annotation.agents import AgentError
from training.mmeverse.schema import Record


class InstructionLikeTextError(AgentError):
    """Text that asks the pipeline to do something; it is data and was not followed."""


def check_text(text: str, where: str) -> None:
    """Refuse text that asks the pipeline to do something.

    Args:
        text: What a source or an agent said.
        where: Whose it is, for the reason.

    Raises:
        InstructionLikeTextError: It does; names where and the words.
    """
    if found := instruction_in(text):
        raise InstructionLikeTextError(f"instruction-like text in {where}, {found}")


def check_fields(fields: Mapping[str, Any], whose: str) -> None:
    """Check every text of plain data, however deep.

    Raises:
        InstructionLikeTextError: See `check_text`.
    """
    for name, value in fields.items():
        for text in _texts(value):
            check_text(text, f"{whose}'s {name}")


def check_record(record: Record) -> None:
    """Check all words of a record that an agent may be shown.

    Raises:
        InstructionLikeTextError: See `check_text`.
    """
    shown = {
        "transcript": record.transcript,
        "label": [record.label or "", *record.labels, *record.label_space],
        "clues": [record.clues.audio, record.clues.visual],
        "reasoning": record.reasoning,
    }
    check_fields(shown, "the source")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts(part)

"""The form in which a model behind an endpoint answers, and how it is read: strictly."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.annotation.agents import AgentError
from training.mmeverse.label_sets import to_default
from training.mmeverse.schema import Record, explain

LONGEST_DESCRIPTION = 2000
#: A whole answer in a Markdown block of code, as many models cannot help writing.
_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


class ReplyFormError(AgentError):
    """An answer that is not of the form asked for."""


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    description: Annotated[str, Field(min_length=1, max_length=LONGEST_DESCRIPTION)]


class GuidedReply(_Reply):
    """Where the label was told: what speaks for it, and whether anything does."""

    agreement: Literal["supports", "unclear", "contradicts"]

    def contradiction(self, record: Record) -> str:
        """How the answer contradicts the record's label; empty where it does not say that it does."""
        if self.agreement != "contradicts":
            return ""
        return f"finds that the clip contradicts the label {label_words(record)}"


class FreeReply(_Reply):
    """Where the label was not told: what there is, and what it suggests."""

    emotion: Annotated[str, Field(min_length=1, max_length=60)]

    def contradiction(self, record: Record) -> str:
        """How the answer contradicts the record's label; empty where it does not.

        Compared in the words of the source and, where both have one, in the default labels.

        An open vocabulary has too many words for the same to be compared this way: nothing is said then.
        """
        said = [word.strip() for word in re.split(r"[,/;]| and ", self.emotion)]
        true = record.labels if record.label is None else (record.label,)
        if not record.label_space or any(_same(a, b) for a in said for b in true):
            return ""
        return f"finds {self.emotion!r} without being told the label {label_words(record)}"


Reply = GuidedReply | FreeReply


def label_words(record: Record) -> str:
    """The label, or all labels, of a record."""
    return record.label if record.label is not None else ", ".join(record.labels)


def reply_type(is_guided: bool) -> type[GuidedReply] | type[FreeReply]:
    """The form asked for in a mode."""
    return GuidedReply if is_guided else FreeReply


def reply_schema(is_guided: bool) -> str:
    """Its JSON schema, as it is written into the prompt."""
    schema = reply_type(is_guided).model_json_schema()
    del schema["description"]  # for readers of the code
    return json.dumps(schema, ensure_ascii=False)


def parse_reply(text: str, is_guided: bool) -> Reply:
    """Read an answer.

    Raises:
        ReplyFormError: It is not of the form; says what is wrong first.
    """
    fenced = _FENCED.match(text)
    try:
        return reply_type(is_guided).model_validate_json(fenced.group(1) if fenced else text)
    except ValidationError as error:
        raise ReplyFormError(f"the answer is not of the form asked for: {explain(error)[:300]}") from None


def _same(said: str, true: str) -> bool:
    mapped = to_default(said)
    return said.casefold() == true.casefold() or (mapped is not None and mapped == to_default(true))

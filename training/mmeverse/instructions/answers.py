"""From a model's words back to labels and reasons: tolerant of form, and never a label that was not said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.mmeverse.instructions.tags import Tag

_THINK = re.compile(r"<think>(.*?)(?:</think>|(?=<answer>)|\Z)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)(</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_BETWEEN_LABELS = re.compile(r"\s*(?:[,;、，；\n]|\s(?:and|&)\s)\s*", re.IGNORECASE)
_AROUND = " \t\r\n.,;:!?'\"`*_()[]{}“”‘’-"
_STOPS = re.compile(r"(?:</s>|<\|im_end\|>|<\|endoftext\|>).*", re.DOTALL)
_NEGATION = re.compile(
    r"\b(?:no|not|never|neither|nor|without|isn't|doesn't|don't|rather than|instead of|"
    r"cannot|can't|hardly|lacks?|nothing)\b",
    re.IGNORECASE,
)
#: A freely chosen label is a term; what has more words is a sentence that happens to have commas.
_LONGEST_TERM = 3

_WITH_ONE = frozenset({Tag.EMOTION, Tag.SENTIMENT, Tag.INTENT, Tag.THINK})
_WITH_THINKING = frozenset({Tag.THINK, Tag.THINK_MULTI})


@dataclass(frozen=True)
class Answer:
    """What was read.

    Attributes:
        labels: As the label space spells them; None where there is none to be read.
        reasoning: Reasons or description; None where there is none.
        foreign: Terms of a list that are outside the label space, and so are no labels here.
        problem: Why ``labels`` (or, for a description, ``reasoning``) is None; empty where it is not.
    """

    labels: tuple[str, ...] | None = None
    reasoning: str | None = None
    foreign: tuple[str, ...] = ()
    problem: str = ""


def read_answer(text: str, tag: Tag, label_space: Sequence[str] = ()) -> Answer:
    """Read the words of a model.

    A label counts when it is the whole answer, whatever its case and the punctuation around it, or when
    it is the only member of the space that a sentence without a negation names (of a set: every member
    named). Nothing is guessed from similar words.

    Args:
        text: As generated, with or without the token that ends it.
        tag: What was asked.
        label_space: Permitted labels; empty for an open vocabulary.
    """
    text = _STOPS.sub("", text).strip()
    if not text:
        return Answer(problem="empty answer")
    if tag in _WITH_THINKING:
        return _read_thinking(text, tag, label_space)
    if tag in (Tag.REASON, Tag.AUDIO, Tag.IMAGE, Tag.CAPTION, Tag.VQA, Tag.REFER):
        return Answer(reasoning=text)
    return _read_labels(_without_tags(text), tag in _WITH_ONE, label_space)


def _read_thinking(text: str, tag: Tag, space: Sequence[str]) -> Answer:
    found = _THINK.search(text)
    reasoning = (found.group(1).strip() or None) if found else None
    answers = _ANSWER.findall(text)
    if len(answers) != 1:
        return Answer(reasoning=reasoning, problem=f"{len(answers) or 'no'} <answer>")
    said, closing = answers[0]
    if not closing and not space:
        return Answer(reasoning=reasoning, problem="cut off within <answer>")
    return replace(_read_labels(said, tag in _WITH_ONE, space), reasoning=reasoning)


def _without_tags(text: str) -> str:
    answers = _ANSWER.findall(text)
    return answers[0][0] if len(answers) == 1 else text


def _read_labels(text: str, is_one: bool, space: Sequence[str]) -> Answer:
    answer = _read_closed(text, is_one, space) if space else _read_open(text)
    if is_one and answer.labels is not None and len(answer.labels) > 1:
        return Answer(problem=f"{len(answer.labels)} labels, one was asked for: {', '.join(answer.labels)}")
    return answer


def _read_closed(text: str, is_one: bool, space: Sequence[str]) -> Answer:
    known = {_plain(label): label for label in space}
    if (whole := known.get(_plain(text))) is not None:
        return Answer((whole,))
    terms = _terms(text)
    labels = tuple(dict.fromkeys(known[term] for term in terms if term in known))
    foreign = tuple(dict.fromkeys(term for term in terms if term not in known))
    is_list = all(len(term.split()) <= _LONGEST_TERM for term in foreign)
    if labels and (not foreign or (is_list and not is_one and not _NEGATION.search(text))):
        return Answer(labels, foreign=foreign)
    return _read_sentence(text, is_one, space)


def _read_sentence(text: str, is_one: bool, space: Sequence[str]) -> Answer:
    """The member of the space that a sentence names; for a set, all that it names."""
    # Longer labels first, so that a label within another one is not taken for a second.
    longest_first = sorted(space, key=len, reverse=True)
    pattern = r"(?<!\w)(?:" + "|".join(f"({re.escape(label)})" for label in longest_first) + r")(?!\w)"
    matches = re.finditer(pattern, text, re.IGNORECASE)
    found = tuple(dict.fromkeys(longest_first[(m.lastindex or 1) - 1] for m in matches))
    if not found:
        return Answer(problem=f"no label of the space in {text!r:.60}")
    if is_one and len(found) > 1:
        return Answer(problem=f"a sentence with {len(found)} labels: {', '.join(found)}")
    if _NEGATION.search(text):
        return Answer(problem=f"a sentence with a negation: {text!r:.60}")
    return Answer(found)


def _read_open(text: str) -> Answer:
    terms = _terms(text)
    if not terms:
        return Answer(problem="no label")
    if sentences := [term for term in terms if len(term.split()) > _LONGEST_TERM]:
        return Answer(problem=f"not a list of terms: {sentences[0]!r:.60}")
    return Answer(tuple(dict.fromkeys(terms)))


def _terms(text: str) -> list[str]:
    parts = (re.sub(r"^and\s", "", part, flags=re.I) for part in _BETWEEN_LABELS.split(text.strip(_AROUND)))
    return [term for part in parts if (term := _plain(part))]


def _plain(text: str) -> str:
    return " ".join(text.strip(_AROUND).split()).lower()

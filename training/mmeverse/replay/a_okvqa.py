"""A-OKVQA: questions that need knowledge of the world (Schwenk et al., arXiv 2206.01718)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.mmeverse.replay.base import (
    Entry,
    Item,
    ReplaySample,
    ReplaySet,
    Split,
    entries_of,
    read_json,
    samples,
)
from training.mmeverse.sources.base import UnusableError

NAME = "a_okvqa"
_NAMES = {"train": ("train", "train2017"), "validation": ("val", "val2017")}


def read(root: Path, images: Path, split: Split) -> Iterator[Item]:
    """A sample for each question, with its direct answers."""
    part, folder = _NAMES[split]
    file = f"aokvqa_v1p0_{part}.json"

    def make(entry: Entry) -> Iterator[ReplaySample]:
        image = f"{folder}/{entry.number('image_id'):012d}.jpg"
        question, answers = entry.text("question"), _answers(entry)
        yield ReplaySample(NAME, split, entry.id("question_id"), "vqa", image, question, answers)

    yield from samples(entries_of(read_json(root, file), root, file), make, images, "question_id")


def _answers(entry: Entry) -> tuple[str, ...]:
    answers = entry.data.get("direct_answers")
    if not isinstance(answers, list) or not answers or not all(map(_is_text, answers)):
        raise UnusableError(f"field 'direct_answers': {answers!r:.60} is no list of texts")
    return tuple(answer.strip() for answer in answers)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


SET = ReplaySet(
    name=NAME,
    title="A-OKVQA 1.0",
    homepage="https://github.com/allenai/aokvqa",
    licence="annotations Apache-2.0; pictures are COCO's",
    layout="""\
    ROOT/aokvqa_v1p0_train.json
    IMAGES/train2017/000000000009.jpg, ...""",
    read=read,
)

"""GQA: questions made from scene graphs, balanced version (Hudson and Manning, arXiv 1902.09506)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emollama_ros.errors import InputError
from training.mmeverse.replay.base import Entry, Item, ReplaySample, ReplaySet, Split, read_json, samples
from training.mmeverse.sources.base import Reject, UnusableError

NAME = "gqa"
_FILES = {"train": "train_balanced_questions.json", "validation": "val_balanced_questions.json"}


def read(root: Path, images: Path, split: Split) -> Iterator[Item]:
    """A sample for each question, with its short answer."""
    file = _FILES[split]

    def make(entry: Entry) -> Iterator[ReplaySample]:
        picture = entry.id("imageId")
        if not picture.isalnum():
            raise UnusableError(f"field 'imageId': {picture!r} is no id of a picture")
        question, answer = entry.text("question"), entry.text("answer")
        yield ReplaySample(NAME, split, entry.id(_ID), "vqa", f"images/{picture}.jpg", question, (answer,))

    yield from samples(_entries(root, file), make, images, _ID)


_ID = "question_id"  # the key of an entry; no field of that name is in the file


def _entries(root: Path, file: str) -> Iterator[Entry | Reject]:
    data = read_json(root, file)
    if not isinstance(data, dict):
        raise InputError(f"{root / file}: no object with a question under each id in it")
    for number, row in data.items():
        where = f"{file}: {number}"
        if isinstance(row, dict):
            yield Entry(where, {**row, _ID: number})
        else:
            yield Reject(where, number, f"{row!r:.60} is no object")


SET = ReplaySet(
    name=NAME,
    title="GQA 1.2, balanced",
    homepage="https://cs.stanford.edu/people/dorarad/gqa/download.html",
    licence="CC BY 4.0; pictures are Visual Genome's",
    layout="""\
    ROOT/train_balanced_questions.json
    IMAGES/images/2354786.jpg, ...""",
    read=read,
)

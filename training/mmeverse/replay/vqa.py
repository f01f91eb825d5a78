"""VQAv2 (Goyal et al., arXiv 1612.00837) and OK-VQA (Marino et al., arXiv 1906.00067): one layout."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from training.mmeverse.replay.base import (
    Entry,
    Item,
    ReplaySample,
    ReplaySet,
    Split,
    by_id,
    entries_of,
    read_json,
    samples,
    the_one,
)
from training.mmeverse.sources.base import UnusableError

_FOLDERS = {"train": "train2014", "validation": "val2014"}


def read(root: Path, images: Path, split: Split, *, name: str, prefix: str) -> Iterator[Item]:
    """A sample for each question, with the answers that ten people gave."""
    folder = _FOLDERS[split]
    questions = f"{prefix}OpenEnded_mscoco_{folder}_questions.json"
    answers = f"{prefix}mscoco_{folder}_annotations.json"
    asked = read_json(root, questions)
    annotations = entries_of(read_json(root, answers), root, answers, "annotations")
    answered, rejects = by_id(annotations, "question_id")
    yield from rejects

    def make(entry: Entry) -> Iterator[ReplaySample]:
        number = entry.id("question_id")
        annotation = the_one(answered, number, "annotation with question_id")
        if (picture := entry.number("image_id")) != annotation.number("image_id"):
            raise UnusableError(f"image_id {picture} here, {annotation.number('image_id')} in {answers}")
        image = f"{folder}/COCO_{folder}_{picture:012d}.jpg"
        yield ReplaySample(name, split, number, "vqa", image, entry.text("question"), _answers(annotation))

    yield from samples(entries_of(asked, root, questions, "questions"), make, images, "question_id")


def _answers(annotation: Entry) -> tuple[str, ...]:
    if not (answers := tuple(each.text("answer") for each in annotation.entries("answers"))):
        raise UnusableError("no answers")
    return answers


VQAV2 = ReplaySet(
    name="vqav2",
    title="VQA v2.0",
    homepage="https://visualqa.org/download.html",
    licence="annotations CC BY 4.0; pictures are COCO's",
    layout="""\
    ROOT/v2_OpenEnded_mscoco_train2014_questions.json
    ROOT/v2_mscoco_train2014_annotations.json
    IMAGES/train2014/COCO_train2014_000000000009.jpg, ...""",
    read=partial(read, name="vqav2", prefix="v2_"),
)
OK_VQA = ReplaySet(
    name="ok_vqa",
    title="OK-VQA",
    homepage="https://okvqa.allenai.org/download.html",
    licence="annotations CC BY 4.0; pictures are COCO's",
    layout="""\
    ROOT/OpenEnded_mscoco_train2014_questions.json
    ROOT/mscoco_train2014_annotations.json
    IMAGES/train2014/COCO_train2014_000000000009.jpg, ...""",
    read=partial(read, name="ok_vqa", prefix=""),
)
SETS = (VQAV2, OK_VQA)

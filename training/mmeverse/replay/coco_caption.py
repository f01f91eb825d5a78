"""COCO captions: five sentences on each picture (Chen et al., arXiv 1504.00325)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.mmeverse.replay.base import (
    Entry,
    Item,
    ReplaySample,
    ReplaySet,
    Split,
    by_id,
    entries_of,
    picture_name,
    read_json,
    samples,
    the_one,
)

NAME = "coco_caption"
_FOLDERS = {"train": ("train2014", "train2017"), "validation": ("val2014", "val2017")}


def read(root: Path, images: Path, split: Split) -> Iterator[Item]:
    """A sample for each caption; of 2014, which the release used, or else of 2017."""
    folder = next((f for f in _FOLDERS[split] if (root / _file(f)).is_file()), _FOLDERS[split][0])
    file = _file(folder)
    data = read_json(root, file)
    pictures, rejects = by_id(entries_of(data, root, file, "images"), "id")
    yield from rejects

    def make(entry: Entry) -> Iterator[ReplaySample]:
        picture = the_one(pictures, entry.id("image_id"), "entry in images with id")
        image = f"{folder}/{picture_name(picture, 'file_name')}"
        yield ReplaySample(NAME, split, entry.id("id"), "caption", image, "", (entry.text("caption"),))

    yield from samples(entries_of(data, root, file, "annotations"), make, images, "id")


def _file(folder: str) -> str:
    return f"annotations/captions_{folder}.json"


SET = ReplaySet(
    name=NAME,
    title="COCO captions",
    homepage="https://cocodataset.org/#download",
    licence="annotations CC BY 4.0; pictures under the terms of Flickr",
    layout="""\
    ROOT/annotations/captions_train2014.json   (or captions_train2017.json)
    IMAGES/train2014/COCO_train2014_000000000009.jpg, ...""",
    read=read,
)

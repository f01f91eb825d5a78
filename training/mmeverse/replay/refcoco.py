"""RefCOCO, RefCOCO+ (Yu et al., arXiv 1608.00272) and RefCOCOg (Mao et al., arXiv 1511.02283).

The original distribution has its expressions in a pickle, ``refs(unc).p``. Loading a pickle runs whatever its
author wants, so none is loaded here. Two JSON forms are read instead: the one made for MDETR (arXiv
2104.12763), and the same list of references written as JSON beside the original ``instances.json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from emollama_ros.errors import InputError
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
from training.mmeverse.replay.boxes import box_target
from training.mmeverse.sources.base import UnusableError

_FOLDER = "train2014"  # all three sets use training pictures of COCO 2014, in every split
_PARTS = {"train": "train", "validation": "val"}


def read(root: Path, images: Path, split: Split, *, name: str, split_by: str) -> Iterator[Item]:
    """A sample for each expression, in whichever JSON form is there."""
    mdetr, refs = f"finetune_{name}_{_PARTS[split]}.json", f"refs({split_by}).json"
    if (root / mdetr).is_file():
        yield from _read_mdetr(root, images, split, name, mdetr)
    elif (root / refs).is_file():
        yield from _read_refs(root, images, split, name, refs)
    else:
        raise InputError(_what_is_missing(root, mdetr, f"refs({split_by})"))


def _what_is_missing(root: Path, mdetr: str, refs: str) -> str:
    if (root / f"{refs}.p").is_file():
        return (
            f"{root / refs}.p: a pickle, which can run any code and is not loaded; use {mdetr} of MDETR's "
            f"annotations, or have someone who trusts the file write the same list to {refs}.json"
        )
    return f"{root}: neither {mdetr} nor {refs}.json is there"


def _read_mdetr(root: Path, images: Path, split: Split, name: str, file: str) -> Iterator[Item]:
    """COCO's form, with an entry in images for each expression, its ``caption``."""
    data = read_json(root, file)
    boxes, rejects = by_id(entries_of(data, root, file, "annotations"), "image_id")
    yield from rejects

    def make(entry: Entry) -> Iterator[ReplaySample]:
        box = the_one(boxes, entry.id("id"), "annotation with image_id")
        yield _sample(name, split, entry.id("id"), entry.text("caption"), box=box, picture=entry)

    yield from samples(entries_of(data, root, file, "images"), make, images, "id")


def _read_refs(root: Path, images: Path, split: Split, name: str, file: str) -> Iterator[Item]:
    """The original form: references with sentences, boxes in ``instances.json``."""
    instances = read_json(root, "instances.json")
    boxes, bad_boxes = by_id(entries_of(instances, root, "instances.json", "annotations"), "id")
    pictures, bad_pictures = by_id(entries_of(instances, root, "instances.json", "images"), "id")
    yield from (*bad_boxes, *bad_pictures)

    def make(entry: Entry) -> Iterator[ReplaySample]:
        if entry.text("split") != _PARTS[split]:
            return
        box = the_one(boxes, entry.id("ann_id"), "annotation with id")
        picture = the_one(pictures, entry.id("image_id"), "entry in images with id")
        for sentence in entry.entries("sentences"):
            yield _sample(
                name, split, sentence.id("sent_id"), sentence.text("sent"), box=box, picture=picture
            )

    yield from samples(entries_of(read_json(root, file), root, file), make, images, "ref_id")


def _sample(name: str, split: Split, number: str, phrase: str, *, box: Entry, picture: Entry) -> ReplaySample:
    width, height = picture.number("width"), picture.number("height")
    if not width or not height:
        raise UnusableError(f"a picture of {width} x {height}")
    target = box_target(box.numbers("bbox", 4), width, height)
    image = f"{_FOLDER}/{picture_name(picture, 'file_name')}"
    return ReplaySample(name, split, number, "refer", image, phrase, (target,))


def _set(name: str, title: str, split_by: str) -> ReplaySet:
    return ReplaySet(
        name=name,
        title=title,
        homepage="https://github.com/lichengunc/refer; JSON: https://github.com/ashkamath/mdetr",
        licence="not stated for the expressions; boxes CC BY 4.0; pictures are COCO's",
        layout=f"""\
    ROOT/finetune_{name}_train.json                 (MDETR's annotations)
    or ROOT/instances.json and ROOT/refs({split_by}).json   (the original list, as JSON)
    IMAGES/train2014/COCO_train2014_000000000009.jpg, ...""",
        read=partial(read, name=name, split_by=split_by),
    )


SETS = (
    _set("refcoco", "RefCOCO", "unc"),
    _set("refcoco+", "RefCOCO+", "unc"),
    _set("refcocog", "RefCOCOg", "umd"),
)

"""General vision-language sets that are replayed, so that a model which learns about people forgets nothing.

Each is read as its authors distribute it, from JSON alone; docs/instructions.md has the layouts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emollama_ros.errors import InputError
from training.mmeverse.replay import a_okvqa, coco_caption, gqa, refcoco, vqa
from training.mmeverse.replay.base import Item, ReplaySample, ReplaySet, Split

__all__ = ["REPLAY_SETS", "ReplaySample", "ReplaySet", "read_replay"]

#: Every set, by name.
REPLAY_SETS: dict[str, ReplaySet] = {
    each.name: each
    for each in (
        coco_caption.SET,
        *refcoco.SETS,
        *vqa.SETS,
        a_okvqa.SET,
        gqa.SET,
    )
}


def read_replay(name: str, root: Path, images: Path | None = None, split: Split = "train") -> Iterator[Item]:
    """Read a set: samples, and what could not become one.

    Args:
        name: One of `REPLAY_SETS`.
        root: Folder with its JSON files.
        images: Folder that holds the folders of pictures (``train2014``, ...); None for ``root``.
        split: ``train`` or ``validation``.

    Raises:
        InputError: No such set, folder or split, or a file of it is missing or damaged as a whole; shows the
            layout that is expected.
    """
    if name not in REPLAY_SETS:
        raise InputError(f"no replay set named {name!r}; available: {', '.join(REPLAY_SETS)}")
    replay_set = REPLAY_SETS[name]
    try:
        yield from replay_set.read(root, images or root, split)
    except InputError as error:
        raise InputError(f"{error}\n{replay_set.title} is expected so:\n{replay_set.layout}") from None

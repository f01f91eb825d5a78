"""Readers of data sets, one file each, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emollama_ros.errors import InputError
from training.mmeverse.sources import (
    bold,
    caer,
    ch_sims,
    ch_sims_v2,
    cmu_mosei,
    cmu_mosi,
    dfew,
    e3,
    emodb,
    faces_muxspace,
    goemotions,
    iemocap,
    javanese_av,
    mafw,
    mc_eiu,
    meld,
    mer2023,
    mer2024,
    ov_merd_plus,
    ravdess,
    synthesis,
)
from training.mmeverse.sources.base import Found, Item, Reject, Source, without_repeats

__all__ = ["SOURCES", "Found", "Item", "Reject", "Source", "read_items", "source_named"]

#: Every source, by name.
SOURCES: dict[str, Source] = {
    module.SOURCE.name: module.SOURCE
    for module in (
        javanese_av,
        emodb,
        faces_muxspace,
        goemotions,
        ravdess,
        iemocap,
        meld,
        cmu_mosi,
        cmu_mosei,
        ch_sims,
        ch_sims_v2,
        mc_eiu,
        bold,
        mer2023,
        mer2024,
        ov_merd_plus,
        caer,
        dfew,
        mafw,
        e3,
        synthesis,
    )
}


def source_named(name: str) -> Source:
    """Return a source.

    Raises:
        InputError: There is none of that name; the message lists what is available.
    """
    if name not in SOURCES:
        raise InputError(f"no source named {name!r}; available: {', '.join(SOURCES)}")
    return SOURCES[name]


def read_items(name: str, root: Path) -> Iterator[Item]:
    """Read a source from the folder as it was distributed: records, and what could not become one.

    Raises:
        InputError: No such source or folder, or a table of it is missing; shows the layout that is expected.
    """
    source = source_named(name)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; put {source.title} there:\n{source.layout}")
    try:
        yield from without_repeats(source.read(root))
    except InputError as error:
        raise InputError(f"{error}\n{source.title} is expected so:\n{source.layout}") from None

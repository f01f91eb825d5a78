"""Readers of data sets, one file each, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.mmeverse.schema import Clip
from training.mmeverse.sources import emodb, faces_muxspace, goemotions, javanese_av, ravdess

#: Name of each source -> function from the folder as distributed to its clips.
SOURCES: dict[str, Callable[[Path], list[Clip]]] = {
    "javanese_av": javanese_av.read,
    "emodb": emodb.read,
    "faces_muxspace": faces_muxspace.read,
    "goemotions": goemotions.read,
    "ravdess_16k": ravdess.read,
}


def read_source(name: str, root: Path) -> list[Clip]:
    """Read a source from ``root / name``.

    Raises:
        KeyError: No reader of that name; the message lists what is available.
        FileNotFoundError: The folder is not there.
    """
    if name not in SOURCES:
        raise KeyError(f"no source named {name!r}; available: {', '.join(SOURCES)}")
    folder = root / name
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; put the data of {name} there")
    return SOURCES[name](folder)

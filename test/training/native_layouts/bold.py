"""BoLD: two tables without a header and clips in folders named like the films."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from native_layouts.media import write_clip
from training.mmeverse.label_sets import LABEL_SPACES

#: Clip, character, shares of the categories that anybody saw, valence, arousal.
ROWS: Mapping[str, tuple[tuple[str, int, Mapping[str, float], float, float], ...]] = {
    "train": (
        ("003/pQ7rS9tU1vW.mp4/0114.mp4", 0, {"peace": 0.5, "happiness": 0.9, "anger": 0.1}, 10.0, 5.5),
        ("003/pQ7rS9tU1vW.mp4/0114.mp4", 1, {"doubt/confusion": 0.8, "disconnection": 0.6}, 1.0, 7.75),
        ("003/pQ7rS9tU1vW.mp4/0115.mp4", 0, {"pain": 0.49}, 3.0, 3.0),
    ),
    "val": (("010/x-2yZ4aB6cD.mp4/0208.mp4", 1, {"suffering": 1.0}, 5.5, 1.0),),
}


def build(root: Path) -> Path:
    """Write both tables and a clip for each that they name."""
    for word, rows in ROWS.items():
        write_rows(root / "annotations" / f"{word}.csv", [row(*r) for r in rows])
        for clip in {clip for clip, *_ in rows}:
            write_clip(root / "videos" / clip, clip, sound=False)
    return root


def row(
    clip: str, character: int, shares: Mapping[str, float], valence: object, arousal: object
) -> list[object]:
    """A row: the clip, the character and its frames, 26 categories, three dimensions, what it looks like."""
    categories = [shares.get(category, 0.0) for category in LABEL_SPACES["bold"]]
    return [clip, character, 0, 2, *categories, valence, arousal, 6.0, "Male", "Adult", "White", 0.7]


def write_rows(path: Path, rows: list[list[object]], mode: str = "w") -> None:
    """Write rows without a header, or with ``mode`` "a" add them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)

"""What a network gets to see and hear: in training, and when it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

View = Literal["all", "audio", "video"]
#: What a network that is trained on a view gets to see; a picture is a part of what is seen.
SEEN: Mapping[View, frozenset[str]] = {
    "all": frozenset({"audio", "image", "glance", "video"}),
    "audio": frozenset({"audio"}),
    "video": frozenset({"image", "glance", "video"}),
}


@dataclass(frozen=True)
class Measure:
    """Which clips a network is measured on, and what it may look at.

    Attributes:
        hears: Whether the sound is given.
        sees: Whether the pictures are given.
        needs_sound: Only clips that have sound.
        needs_pictures: Only clips that have pictures.
    """

    hears: bool
    sees: bool
    needs_sound: bool = False
    needs_pictures: bool = False


#: ``both``: clips that have both; there, what is taken away is really lost.
MEASURES: Mapping[str, Measure] = {
    "all": Measure(True, True),
    "audio": Measure(True, False, needs_sound=True),
    "video": Measure(False, True, needs_pictures=True),
    "both": Measure(True, True, True, True),
    "both, no video": Measure(True, False, True, True),
    "both, no audio": Measure(False, True, True, True),
}
#: What a network is measured by, by the view it is trained on.
MEASURED: Mapping[View, tuple[str, ...]] = {
    "all": tuple(MEASURES),
    "audio": ("audio", "both, no video"),
    "video": ("video", "both, no audio"),
}

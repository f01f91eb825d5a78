"""What a source yields: one labelled clip, image or sentence of one person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emollama_ros.estimate import Modality


@dataclass(frozen=True)
class Clip:
    """One labelled item.

    Attributes:
        id: Unique within the source.
        source: Name of the source, for example ``javanese_av``.
        person: Who is seen or heard, unique across sources (``source:name``); splits are by person.
        label: Canonical label (``emollama_ros.labels``).
        modalities: What the item holds.
        path: Media file, or ``None`` for a sentence.
        text: Transcript; empty where the words carry no label.
        sentence: Identifier of the spoken sentence, where a source repeats sentences.
    """

    id: str
    source: str
    person: str
    label: str
    modalities: Modality
    path: Path | None = None
    text: str = ""
    sentence: str = ""

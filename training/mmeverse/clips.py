"""Clips as perception is trained on them: one person, one of the default labels, media that can be opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emollama_ros.errors import InputError
from emollama_ros.estimate import Modality
from training.mmeverse.label_sets import to_default
from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources import Reject, read_items, source_named


@dataclass(frozen=True)
class Clip:
    """One labelled item.

    Attributes:
        id: Unique within the source.
        source: Name of the source, for example ``javanese_av``.
        person: Who is seen or heard, unique across sources (``source:name``); splits are by person.
        label: One of the default labels.
        modalities: What the item holds.
        media: Its files, and the part of them that it is; none for a sentence.
        root: Folder that they are relative to.
        text: Transcript; empty where the words carry no label.
    """

    id: str
    source: str
    person: str
    label: str
    modalities: Modality
    media: Media = Media()
    root: Path = Path()
    text: str = ""


def read_clips(name: str, root: Path, split: str | None = None) -> list[Clip]:
    """Read the clips of ``root / name`` whose emotion has a counterpart among the default labels.

    Args:
        name: Of the source.
        root: Folder that holds the sources' folders.
        split: Only of this split: train, validation or test.

    Raises:
        InputError: No such source or folder, or any part of it is damaged: what trains has to be whole.
    """
    return clips_in(name, root / name, split)


def clips_in(name: str, folder: Path, split: str | None = None) -> list[Clip]:
    """Read the same from the folder of the source itself, whatever its name is."""
    is_acted = source_named(name).is_acted
    clips = []
    for item in read_items(name, folder):
        if isinstance(item, Reject):
            raise InputError(f"{folder}: {item.where}: {item.reason}")
        clip = clip_of(item.record, folder, with_words=not is_acted)
        if clip and split in (None, item.record.split):
            clips.append(clip)
    return clips


def clip_of(record: Record, folder: Path, *, with_words: bool) -> Clip | None:
    """The clip of an emotion record; None where it has none of the default labels."""
    label = to_default(record.label) if record.task is Task.EMOTION and record.label else None
    if label is None:
        return None
    return Clip(
        id=record.id,
        source=record.source,
        person=record.person or f"{record.source}:{record.id}",
        label=label,
        modalities=_modalities(record, with_words and not record.media.files()),
        media=record.media,
        root=folder,
        text=record.transcript if with_words else "",
    )


def _modalities(record: Record, is_text: bool) -> Modality:
    media, held = record.media, Modality.TEXT if is_text else Modality.NONE
    if media.video or media.image:
        held |= Modality.VIDEO
    if media.video or media.audio:
        held |= Modality.AUDIO
    return held

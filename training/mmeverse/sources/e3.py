"""E3: first-person videos, 8 emotions of the people seen, each with its time."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources._files import Clips, clips_under, files_under
from training.mmeverse.sources._sheets import read_sheet
from training.mmeverse.sources.base import (
    Item,
    Row,
    Source,
    UnusableError,
    one_of,
    open_text,
    records,
    split_named,
)

NAME = "e3"
TABLE = "annotation/data2.xlsx"

#: What the columns are called here, and in the sheets.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Vid": ("vid", "video_id"),
    "sub_id": ("sub_id",),
    "person": ("person", "character"),
    "emotion": ("emotion", "label"),
    "start": ("start", "start_time", "begin"),
    "end": ("end", "end_time"),
}
_OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "set": ("set", "split", "mode"),
    "conversation": ("conversation", "subtitle"),
}
#: Words that the label space of MMEVerse-Bench spells otherwise.
_SPELLED = {"disgust": "disgusted", "surprise": "surprised", "sarcasm": "sarcastic"}


def read(root: Path) -> Iterator[Item]:
    """Read the emotions of the people, a row each."""
    subtitles = files_under(root, ("subtex",), (".vtt",), depth=2)
    make = partial(_records, root, clips_under(root, ("E3",), depth=2), subtitles)
    return records(read_sheet(root, TABLE, _COLUMNS, _OPTIONAL), make)


def _records(root: Path, clips: Clips, subtitles: Mapping[str, str], row: Row) -> Iterator[Record]:
    video, part, person = row.filled("Vid"), row.filled("sub_id"), row.filled("person")
    start, end = _seconds(row, "start"), _seconds(row, "end")
    emotion = row.filled("emotion").lower()
    name = f"{video}/{part}"
    yield Record(
        id=f"{video}-{part}/{person}/{start:g}-{end:g}",
        source=NAME,
        split=split_named(row.filled("set")) if "set" in row.cells else _split(video),
        person=f"{NAME}:{video}-{part}/{person}",
        group=f"{NAME}:{video}",
        media=Media(video=clips.path(name), start_s=start, end_s=end),
        transcript=row.cells.get("conversation") or _said(root, subtitles.get(name)),
        task=Task.EMOTION,
        label_space=LABEL_SPACES[NAME],
        label=one_of(_SPELLED.get(emotion, emotion), LABEL_SPACES[NAME]),
    )


def _seconds(row: Row, column: str) -> float:
    """A time: seconds, or ``minutes:seconds``."""
    text = row.filled(column)
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise UnusableError(f"column {column!r}: {text!r} is neither seconds nor minutes:seconds")
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def _split(video: str) -> Split:
    """Where the sheet does not tell: all parts of a video together, 8 : 1 : 1, the same on every machine."""
    tenth = zlib.crc32(video.encode()) % 10
    return "train" if tenth < 8 else "validation" if tenth == 8 else "test"


def _said(root: Path, file: str | None) -> str:
    """The words of subtitles (WebVTT), without their times; empty where there are none."""
    if file is None:
        return ""
    with open_text(root, file) as stream:
        lines = [line.strip() for line in stream]
    return " ".join(x for x in lines if x and not re.fullmatch(r"WEBVTT.*|\d+|.*-->.*", x))


LAYOUT = """\
annotation/data2.xlsx   Vid, sub_id, person, emotion, start, end; and set (train, val, test), conversation
                        where there are such columns
E3/VID/SUB_ID.mp4       the clips of each video
subtex/VID/SUB_ID.vtt   subtitles; optional"""

SOURCE = Source(
    name=NAME,
    title="E3 (Exploring Embodied Emotion)",
    homepage="https://github.com/Exploring-Embodied-Emotion-official/E3",
    licence="CC BY-NC-SA 4.0",
    citation="Feng et al., 2024, NeurIPS",
    layout=LAYOUT,
    read=read,
    notes="One record for each emotion of each person in a clip, with its time; the person is described (the "
    "man in the black hat) and holds for that clip only, the group is the unsplit video. The folders and "
    "the columns Vid and sub_id are those of the authors' description; the names of the other columns are "
    "assumed, from the MMEVerse tables (person, emotion, set, conversation): the message that a column is "
    "missing lists those that are there. Without a column set, whole videos are split 8 : 1 : 1 by a "
    "checksum of Vid. The overall sentiment of a clip (data1.xlsx) is not read.",
)

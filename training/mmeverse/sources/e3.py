"""E3: first-person videos, 8 emotions of the people seen, each with its time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources._files import Clips, clips_under, files_under
from training.mmeverse.sources._sheets import read_sheet
from training.mmeverse.sources.base import Item, Row, Source, one_of, open_text, records, split_named

NAME = "e3"
TABLE = "annotation/data2.xlsx"
_COLUMNS = ("Vid", "sub_id", "person", "emotion", "start_time", "end_time", "set")

_CLOCK = r"((?:\d+:){0,2}\d+(?:[.,]\d+)?)"
#: The line of WebVTT that tells from when to when the next lines are said.
_CUE = re.compile(rf"{_CLOCK}\s*-->\s*{_CLOCK}")


def read(root: Path) -> Iterator[Item]:
    """Read the emotions of the people, a row each."""
    clips = clips_under(root, ("E3",), depth=2)
    subtitles = files_under(root, ("subtext", "subtex"), (".vtt",), depth=2)
    return records(read_sheet(root, TABLE, _COLUMNS), partial(_records, root, clips, subtitles))


def _records(root: Path, clips: Clips, subtitles: Mapping[str, str], row: Row) -> Iterator[Record]:
    video, part = row.filled("Vid"), row.filled("sub_id")
    person = f"{video}-{part}/{' '.join(row.filled('person').split())}"
    start, end = _seconds(row, "start_time"), _seconds(row, "end_time")
    yield Record(
        id=f"{person}/{row.text('start_time')}-{row.text('end_time')}",
        source=NAME,
        split=split_named(row.filled("set")),
        person=f"{NAME}:{person}",
        group=f"{NAME}:{video}",
        media=Media(video=clips.path(f"{video}/{part}"), start_s=start, end_s=end),
        transcript=_said(root, subtitles.get(f"{video}/{part}"), start, end),
        task=Task.EMOTION,
        label_space=LABEL_SPACES[NAME],
        label=one_of(row.filled("emotion"), LABEL_SPACES[NAME]),
    )


def _seconds(row: Row, column: str) -> float | None:
    return row.number(column) if row.text(column) else None


def _said(root: Path, file: str | None, start: float | None, end: float | None) -> str:
    """What the subtitles say between two times of a clip, seconds; empty where there are none."""
    if file is None:
        return ""
    words, is_heard = [], False
    with open_text(root, file) as stream:
        for line in map(str.strip, stream):
            if cue := _CUE.match(line):
                is_heard = _clock(cue[1]) < (math.inf if end is None else end) and _clock(cue[2]) > (
                    start or 0
                )
            elif not line:
                is_heard = False
            elif is_heard:
                words.append(line)
    return " ".join(words)


def _clock(text: str) -> float:
    """``1:02.5`` in seconds."""
    total = 0.0
    for part in text.replace(",", ".").split(":"):
        total = total * 60 + float(part)
    return total


LAYOUT = """\
annotation/data2.xlsx   Vid,sub_id,person,emotion,degree,start_time,end_time,reason,set
E3/VID/SUB_ID.mp4       the clips of each video (or E3/E3/VID/...)
subtext/VID/SUB_ID.vtt  subtitles; optional (or subtex/)"""

SOURCE = Source(
    name=NAME,
    title="E3 (Exploring Embodied Emotion)",
    homepage="https://github.com/Exploring-Embodied-Emotion-official/E3",
    licence="CC BY-NC-SA 4.0",
    citation="Lin et al., 2024, NeurIPS Datasets and Benchmarks",
    layout=LAYOUT,
    read=read,
    notes="One record for each emotion of each person in a clip, with its time where that is told; "
    "MMEVerse-Bench shows the whole clip instead. A person is a description (the man in the black hat) "
    "that holds for this clip only; the group is the unsplit video. The transcript is what the "
    "subtitles, which come from Whisper, say in that time. Videos are in several languages, none is "
    "told. The folders are those of the authors' description, the columns and the spelling subtext "
    "those that public readers of the files use. The overall sentiment of a clip (data1.xlsx), degrees "
    "and reasons are not read.",
)

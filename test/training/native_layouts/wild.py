"""Sets cut from films, series and first-person videos: CAER, DFEW, MAFW, E3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from native_layouts.media import write_clip, write_table, write_text

#: Clips by split and folder.
CAER: Mapping[str, Mapping[str, int]] = {
    "train": {"Anger": 2, "Disgust": 1, "Fear": 1, "Happy": 1, "Neutral": 3, "Sad": 1, "Surprise": 1},
    "validation": {"Anger": 1, "Neutral": 1},
    "test": {"Happy": 2, "Sad": 1},
}
#: Clip and number of the label, by split.
DFEW: Mapping[str, tuple[tuple[int, int], ...]] = {
    "train": ((1, 1), (2, 2), (3, 3), (1600, 4), (16372, 7)),
    "test": ((4, 5), (5, 6), (6, 1)),
}
MAFW_SINGLE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "train": (("00025", "anger"), ("00026", "helplessness"), ("00027", "neutral")),
    "test": (("00028", "contempt"), ("00029", "anxiety")),
}
#: 00029 is a test clip of the single set; 00030 and 00031 are in the compound set only.
MAFW_COMPOUND: Mapping[str, tuple[tuple[str, str], ...]] = {
    "train": (("00025", "anger_disgust"), ("00027", "neutral"), ("00029", "sadness_anxiety")),
    "test": (("00030", "fear_surprise"), ("00031", "fear_sadness_anxiety")),
}
E3_HEADER = ("Vid", "sub_id", "person", "emotion", "degree", "start_time", "end_time", "reason", "set")
E3: tuple[tuple[object, ...], ...] = (
    (12, 1, "the man in the black hat", "happy", 2, 0, 0.2, "I gave him a cake", "train"),
    (12, 1, "grandma", "surprised", 1, 0.2, 0.3, "I came early", "train"),
    (12, 2, "grandma", "Disgusted", 3, 0, 0.3, "I burnt the cake", "train"),
    (40, 1, "the  girl", "shy", 1, None, None, "I praised her", "val"),
    (41, 1, "my friend", "sarcastic", 1, 0, 0.3, "I was late", "test"),
)


def build_caer(root: Path) -> Path:
    """Write a clip for each, and the hidden file that some systems leave in folders."""
    for split, folders in CAER.items():
        for folder, count in folders.items():
            for number in range(1, count + 1):
                path = root / split / folder / f"{number:04d}.avi"
                write_clip(path, path.relative_to(root).as_posix())
    write_text(root / "train/Anger/.DS_Store", ["x"])
    return root


def build_dfew(root: Path, mark: str = "-", part: str = "") -> Path:
    """Write fold 1 and, with the labels moved, fold 2, which is not read.

    Args:
        root: Where.
        mark: Between ``single`` and ``labeled`` in the folder's name.
        part: Folder of the clips under ``Clip/original``.
    """
    for split, clips in DFEW.items():
        folder = root / f"EmoLabel_DataSplit/{split}(single{mark}labeled)"
        write_table(folder / "set_1.csv", ("video_name", "label"), clips)
        write_table(folder / "set_2.csv", ("video_name", "label"), [(c, label % 7 + 1) for c, label in clips])
        for clip, _ in clips:
            write_clip(root / "Clip/original" / part / f"{clip:05d}.mp4")
    return root


def build_mafw(root: Path) -> Path:
    """Write the lists of fold 1 and the clips."""
    for which, splits in (("single", MAFW_SINGLE), ("compound", MAFW_COMPOUND)):
        for split, clips in splits.items():
            write_text(mafw_list(root, which, split), [f"{clip}.mp4 {label}" for clip, label in clips])
            for clip, _ in clips:
                write_clip(root / f"data/clips/{clip}.mp4")
    return root


def mafw_list(root: Path, which: str, split: str) -> Path:
    """Where a list is."""
    return root / f"Train & Test Set/{which}/no_caption/set_1/{split}.txt"


def build_e3(
    root: Path, rows: Iterable[Sequence[object]] = E3, nested: str = "", words: str = "subtext"
) -> Path:
    """Write the sheet, the clips of its rows and the subtitles of the first.

    Args:
        root: Where.
        rows: Of the sheet.
        nested: Folder within ``E3`` that holds those of the videos.
        words: Folder of the subtitles.
    """
    rows = list(rows)
    write_sheet(root / "annotation/data2.xlsx", E3_HEADER, rows)
    for video, part, *_ in rows:
        if video is not None:
            write_clip(root / "E3" / nested / f"{video}/{part}.mp4", f"{video}/{part}")
    first = ("1", "00:00.000 --> 00:00.200", "Look,", "a cake!", "")
    write_text(
        root / words / "12/1.vtt", ["WEBVTT", "", *first, "2", "00:00:00.200 --> 00:00:01.000", "For me?"]
    )
    return root


def write_sheet(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a workbook of one sheet."""
    from openpyxl import Workbook

    book = Workbook()
    for row in (header, *rows):
        book.active.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path

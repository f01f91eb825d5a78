"""The MER challenges: tables by clip name, subtitles beside them, clips in a folder each split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from native_layouts.media import write_clip, write_table

#: Name and emotion, by split.
MER2023: Mapping[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("sample_00000000", "happy"),
        ("sample_00000001", "angry"),
        ("sample_00000002", "neutral"),
        ("sample_00000003", "worried"),
        ("sample_00000004", "happy"),
    ),
    "test1": (("sample_00000100", "sad"), ("sample_00000101", "surprise")),
}
MER2024 = (("samplenew_00000007", "neutral"), ("samplenew_00000019", "Angry"), ("samplenew3_00000021", "sad"))
#: Name and labels as they are written.
OV_MERD_PLUS = (
    ("samplenew3_00000062", "['worry', 'shocked', 'surprised']"),
    ("samplenew3_00000181", "[complain, Serious]"),
    ("samplenew3_00001616", "['anxious', 'anxious']"),
)
#: Name, and what is said in Mandarin and in English.
SAID = (
    ("sample_00000000", "你来了，太好了", "You came, great"),
    ("sample_00000001", "", ""),
    ("sample_00000100", "我要走了", "I am leaving"),
    ("samplenew_00000007", "今天星期三", "Today is Wednesday"),
    ("samplenew3_00000181", "又是这样", "Like this again"),
)


def build_mer2023(root: Path, *, unpacked: bool = False) -> Path:
    """Write MER2023 as the organisers' tools read it, or as its archives unpack.

    In either, the clips of the test set are mp4 once, whatever the training set is.
    """
    train = root / "mer2023train" if unpacked else root
    tests = root / "test-labels" if unpacked else root
    for split, folder in (("train", train), ("test1", tests)):
        rows = [(name, emotion, 1.5) for name, emotion in MER2023[split]]
        write_table(folder / f"{split}-label.csv", ("name", "discrete", "valence"), rows)
    for name, _ in MER2023["train"]:
        write_clip(train / f"train/{name}.avi")
    for (name, _), suffix in zip(MER2023["test1"], ("avi", "mp4"), strict=True):
        write_clip(root / f"test1/{name}.{suffix}")
    write_subtitles(root / "transcription-engchi-polish.csv")
    return root


def build_mer2024(root: Path) -> Path:
    """Write the reference labels of MER-SEMI, and among its clips one that has no label."""
    write_table(root / "reference-semi.csv", ("name", "discrete"), MER2024)
    for name in (*(name for name, _ in MER2024), "samplenew_00099999"):
        write_clip(root / f"video-unlabeled/{name}.mp4")
    write_subtitles(root / "transcription-merge.csv")
    return root


def build_ov_merd_plus(root: Path, table: str = "ovlabel.csv") -> Path:
    """Write OV-MERD+ with English subtitles only."""
    write_table(root / table, ("name", "openset"), OV_MERD_PLUS)
    for name, _ in OV_MERD_PLUS:
        write_clip(root / f"video/{name}.mp4")
    write_table(
        root / "subtitle_eng.csv", ("name", "sentence"), [(name, english) for name, _, english in SAID]
    )
    return root


def write_subtitles(path: Path) -> Path:
    """Write what is said in both languages."""
    return write_table(path, ("name", "chinese", "english"), SAID)

"""CMU-MOSI, CMU-MOSEI, CH-SIMS, CH-SIMS v2: one table and ``Raw/<video>/<clip>.mp4``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from native_layouts.media import write_clip, write_table

HEADER = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")
TABLES = {"cmu_mosi": "label.csv", "cmu_mosei": "label.csv", "ch_sims": "label.csv", "ch_sims_v2": "meta.csv"}

Clip = tuple[str, str, str, float, str]
#: Video, clip, words, score, split.
CLIPS: Mapping[str, tuple[Clip, ...]] = {
    "cmu_mosi": (
        ("aB3-dE5fG7h", "1", 'SO "GRAND" A FILM, TRULY', 2.4, "train"),
        ("aB3-dE5fG7h", "11", "IT LASTS TWO HOURS", 0.0, "train"),
        ("k_9mN2pQ4rS", "2", "I LOOKED AT MY WATCH", -1.8, "valid"),
        ("tU6vW8xY0zA", "3", "NEVER AGAIN", -3.0, "test"),
    ),
    "cmu_mosei": (
        ("-bC4dE6fG8h", "10", "The neighbours help, and it shows", 1.0, "train"),
        ("-bC4dE6fG8h", "3", "Nobody answered our letters", -0.666667, "train"),
        ("jK1lM3nO5pQ", "0", "My name is Kim", 0.0, "test"),
    ),
    "ch_sims": (
        ("video_0001", "0001", "今天又下雨了", -1.0, "train"),
        ("video_0001", "0002", "没关系", -0.2, "valid"),
        ("video_0060", "0013", "太棒了", 0.8, "test"),
        ("video_0060", "0014", "哦", 0.0, "test"),
    ),
    "ch_sims_v2": (
        ("aqgy3_0001", "00000", "门又坏了", -0.6, "train"),
        ("video_0001", "0001", "今天又下雨了", -1.0, "valid"),
        ("aqgy4_0002", "00016", "我们赢了", 1.0, "test"),
    ),
}  # fmt: skip


def build(root: Path, name: str, clips: Iterable[Clip] | None = None) -> Path:
    """Write a set: its table, and a clip a row."""
    clips = tuple(CLIPS[name] if clips is None else clips)
    for video, clip, *_ in clips:
        write_clip(root / "Raw" / video / f"{clip}.mp4", f"{video}/{clip}")
    write_table(root / TABLES[name], HEADER, [_row(*clip) for clip in clips])
    return root


def _row(video: str, clip: str, words: str, score: float, mode: str) -> tuple[object, ...]:
    word = "Negative" if score < 0 else "Positive" if score > 0 else "Neutral"
    return video, clip, words, score, "", "", "", word, mode

"""MC-EIU: a table a language, and clips in unpacked archives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from native_layouts.media import write_clip, write_table

HEADER = (
    "video_name", "Season", "Episode", "Dia_No", "Utt_No", "speaker", "Begin_timestamp", "End_timestamp",
    "Subtitle", "emotion", "intent",
)  # fmt: skip
TABLES = {"en": "EnglishDialogues.csv", "zh": "ChineseDialogues.csv"}
#: Folders that the archives of each language unpack to; a dialogue goes into one of them.
FOLDERS = {"en": ("English_Dialogues_1/clips", "English_Dialogues_2"), "zh": ("Chinese_Dialogues",)}

#: Series, dialogue, line, speaker, words, emotion, intent.
LINES: Mapping[str, tuple[tuple[str, int, int, str, str, str, str], ...]] = {
    "en": (
        ("老友记", 0, 0, "Ross", "Is this seat free?", "neutral", "questioning"),
        ("老友记", 0, 1, "Rachel", "It is, do sit down!", "happy", "acknowledging"),
        ("老友记", 0, 2, "Ross", "What a pity about your hat.", "sad", "sympathizing"),
        ("生活大爆炸", 1, 0, "Leonard", "Put that back.", "anger", "suggesting"),
        ("生活大爆炸", 2, 0, "Penny", "It smells of fish.", "disgust", "neutral"),
    ),
    "zh": (
        ("欢乐颂", 0, 0, "A", "几点了", "neutral", "questioning"),
        ("欢乐颂", 0, 1, "B", "加油", "happy", "encouraging"),
    ),
}


def build(root: Path, languages: tuple[str, ...] = ("en", "zh")) -> Path:
    """Write the table and the clips of each language."""
    for language in languages:
        write_table(root / TABLES[language], HEADER, [row(*line) for line in LINES[language]])
        for _, dialogue, line, *_ in LINES[language]:
            folders = FOLDERS[language]
            path = root / folders[dialogue % len(folders)] / f"dia_{dialogue}_utt_{line}.mp4"
            write_clip(path, f"{language}/{path.name}")
    return root


def build_split(root: Path) -> None:
    """Write the lists of the authors' features: dialogue 0 trains, 1 validates, 2 tests (English)."""
    folder = root / "MC_EIU_English_features" / "target" / "1"
    folder.mkdir(parents=True)
    for dialogue, word in enumerate(("trn", "val", "tst")):
        names = [f"dia_{d}_utt_{u}" for _, d, u, *_ in LINES["en"] if d == dialogue]
        np.save(folder / f"{word}_int2name.npy", np.array(names))


def row(
    series: str, dialogue: int, line: int, speaker: str, words: str, emotion: str, intent: str
) -> tuple[object, ...]:
    """A row of a table."""
    return series, 1, 1, dialogue, line, speaker, 10.5 + line, 11.5 + line, words, emotion, intent

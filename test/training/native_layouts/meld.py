"""MELD: a table a split and clips named by dialogue and utterance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from native_layouts.media import write_clip, write_table

HEADER = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID",
    "Season", "Episode", "StartTime", "EndTime",
)  # fmt: skip
CLIPS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}

#: Words, speaker, emotion, sentiment, dialogue, utterance.
LINES: Mapping[str, tuple[tuple[str, str, str, str, int, int], ...]] = {
    "train": (
        (
            "That\x92s the last of the bread.",
            "Chandler",
            "neutral",
            "neutral",
            0,
            0,
        ),
        ("Shall I fetch more?", "The Waiter", "neutral", "neutral", 0, 1),
        ('You said, "More?!"', "Chandler", "surprise", "positive", 0, 2),
        ("Behind you, a wasp!", "Chandler", "fear", "negative", 1, 0),
    ),
    "dev": (
        ("The plant has died.", "Phoebe", "sadness", "negative", 0, 0),
        ("Already?", "Monica", "surprise", "negative", 0, 1),
    ),
    "test": (
        ("You painted the door, and green!", "Paul", "surprise", "positive", 0, 0),
        ("Who asked you to?", "Rachel", "anger", "negative", 0, 1),
        ("We won the raffle!", "Rachel", "joy", "positive", 1, 0),
    ),
}


def build(root: Path, *, nested: bool = False, flat: bool = False) -> Path:
    """Write the three splits: all in one place, each archive in a folder of its own, or clips right there."""
    for word, lines in LINES.items():
        folder = root / word if nested else root
        write_table(
            folder / f"{word}_sent_emo.csv", HEADER, [row(n, *line) for n, line in enumerate(lines, 1)]
        )
        for *_, dialogue, number in lines:
            path = folder / (word if flat else CLIPS[word]) / f"dia{dialogue}_utt{number}.mp4"
            write_clip(path, f"{word}/{path.name}")
    return root


def row(
    number: int, words: str, speaker: str, emotion: str, sentiment: str, dialogue: int, utterance: int
) -> tuple[object, ...]:
    """A row of a table."""
    times = ("00:16:16,059", "00:16:21,731")
    return number, words, speaker, emotion, sentiment, dialogue, utterance, 8, 21, *times

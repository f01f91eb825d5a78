"""MELD: lines of the series Friends, English; 7 emotions and 3 sentiments, one of each a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources.base import (
    Item,
    Row,
    Source,
    UnusableError,
    first_present,
    one_of,
    read_table,
    records,
)

NAME = "meld"
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")

#: The tables hold Windows-1252 punctuation as control characters (0x92 for an apostrophe, for example).
_PUNCTUATION = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}


@dataclass(frozen=True)
class _Part:
    """A published split: where its table and clips may be, depending on how the archives were unpacked."""

    split: Split
    tables: tuple[str, ...]
    clips: tuple[str, ...]


def _part(word: str, split: Split, clips: str) -> _Part:
    table = f"{word}_sent_emo.csv"
    return _Part(split, (table, f"{word}/{table}"), (clips, f"{word}/{clips}", word))


#: By the name that the ids of its lines begin with.
_PARTS: Mapping[str, _Part] = {
    "train": _part("train", "train", "train_splits"),
    "dev": _part("dev", "validation", "dev_splits_complete"),
    "test": _part("test", "test", "output_repeated_splits_test"),
}


def read(root: Path) -> Iterator[Item]:
    """Read the three tables: for every line a record of its emotion and one of its sentiment.

    Raises:
        InputError: A table or the folder of its clips is not there.
    """
    found = {
        word: (first_present(root, part.tables), first_present(root, part.clips))
        for word, part in _PARTS.items()
    }
    for word, (table, clips) in found.items():
        yield from records(read_table(root, table, _COLUMNS), partial(_records, word, clips), "Utterance")


def _records(word: str, clips: str, row: Row) -> Iterator[Record]:
    dialogue, line = _number(row, "Dialogue_ID"), _number(row, "Utterance_ID")
    common: dict[str, Any] = {
        "id": f"{word}_dia{dialogue}_utt{line}",
        "source": NAME,
        "split": _PARTS[word].split,
        "person": f"{NAME}:{row.filled('Speaker')}",
        "group": f"{NAME}:{word}_dia{dialogue}",
        "media": Media(video=f"{clips}/dia{dialogue}_utt{line}.mp4"),
        "transcript": row.text("Utterance").translate(_PUNCTUATION),
        "language": "en",
    }
    for task, column, space in (
        (Task.EMOTION, "Emotion", LABEL_SPACES["meld"]),
        (Task.SENTIMENT, "Sentiment", LABEL_SPACES["sentiment"]),
    ):
        label = one_of(row.filled(column), space, column.lower())
        yield Record(task=task, label_space=space, label=label, **common)


def _number(row: Row, column: str) -> str:
    text = row.filled(column)
    if not text.isdecimal():
        raise UnusableError(f"column {column!r}: {text!r} is not a whole number")
    return text


LAYOUT = """\
train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv
                                    Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,...
train_splits/dia<d>_utt<u>.mp4      the clips of each table
dev_splits_complete/...
output_repeated_splits_test/..."""

SOURCE = Source(
    name=NAME,
    title="MELD",
    homepage="https://affective-meld.github.io",
    licence="GPL-3.0 for the annotation; the scenes belong to their makers",
    citation="Poria et al., 2019, ACL",
    layout=LAYOUT,
    read=read,
    notes="Unpack MELD.Raw.tar.gz and the three archives in it, either all in one place or each in a folder "
    "`train`, `dev`, `test`; both are read, and a table may lie beside its clips. Dialogues are "
    "numbered anew in each split, so ids begin with `train_`, `dev_` or `test_`. The clips are cut "
    "already; the times in the tables are those of the episode and are not used. A speaker is a "
    "person by name; names such as `Woman` or `All` may stand for several people. Windows punctuation "
    "in the lines is mended. The authors' archives have a few clips that are missing or do not "
    "decode; `prepare` rejects those one by one.",
)

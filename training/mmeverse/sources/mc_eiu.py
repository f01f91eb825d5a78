"""MC-EIU: dialogues of English and Chinese series; 7 emotions and the intent of each line."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emollama_ros.errors import InputError
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources.base import (
    Item,
    Row,
    Source,
    UnusableError,
    one_of,
    read_table,
    records,
    split_named,
)

NAME = "mc_eiu"
_COLUMNS = ("video_name", "Dia_No", "Utt_No", "speaker", "Subtitle", "emotion", "intent")

#: The data set has a ninth intent, which MMEVerse-Bench neither asks for nor scores.
_INTENTS = (*LABEL_SPACES["intent"], "sympathizing")
#: Tenths of the dialogues that train, validate, test where no split is given; as large as in the paper.
_TENTHS: tuple[Split, ...] = ("train",) * 7 + ("validation",) + ("test",) * 2


@dataclass(frozen=True)
class _Language:
    """One half of the data set.

    Attributes:
        tag: BCP 47, of the words.
        suffix: Ends the ids, as in MMEVerse; dialogues are numbered from 0 in each half.
        tables: Names its table may have.
        folders: Beginnings of the names of the folders its archives unpack to.
        features: Folders of the authors' features, which hold their split.
    """

    tag: str
    suffix: str
    tables: tuple[str, ...]
    folders: tuple[str, ...]
    features: tuple[str, ...]


_LANGUAGES = (
    _Language(
        "en", "en", ("EnglishDialogues.csv",), ("English_Dialogues",), ("MC_EIU_English_features",)
    ),
    _Language(
        "zh", "ch", ("ChineseDialogues.csv", "MandarinDialogues.csv"),
        ("Chinese_Dialogues", "Mandarin_Dialogues"), ("MC_EIU_Chinese_features", "MC_EIU_Mandarin_features"),
    ),
)  # fmt: skip


def read(root: Path) -> Iterator[Item]:
    """Read the table of each language that is there: a record of the emotion and of the intent of a line.

    Raises:
        InputError: There is no table, or the split beside the features cannot be read.
    """
    tables = [(half, t) for half in _LANGUAGES for t in half.tables if (root / t).is_file()]
    if not tables:
        raise InputError(f"{root}: there is no {' and no '.join(t for h in _LANGUAGES for t in h.tables)}")
    for half, table in tables:
        make = partial(_records, half, _clips(root, half), _published_split(root, half))
        yield from records(read_table(root, table, _COLUMNS), make, "Subtitle")


def _clips(root: Path, half: _Language) -> Mapping[str, str]:
    """Where each clip is, by its name: the archives are unpacked in one folder or several."""
    return {
        path.stem: path.relative_to(root).as_posix()
        for start in half.folders
        for path in sorted(root.glob(f"{start}*/**/dia_*_utt_*.m[pk][4v]"))
    }


def _published_split(root: Path, half: _Language) -> Mapping[str, Split]:
    """The authors' split by name of the line, where their features are unpacked too; empty otherwise."""
    files = [
        (word, root / folder / "target" / "1" / f"{word}_int2name.npy")
        for folder in half.features
        for word in ("trn", "val", "tst")
        if (root / folder).is_dir()
    ]
    return {name: split_named(word) for word, file in files for name in _names(file)}


def _names(file: Path) -> Iterator[str]:
    try:
        names = np.load(file, allow_pickle=False).ravel()
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); this is where MC-EIU keeps its split") from None
    return (name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())


def _records(
    half: _Language, clips: Mapping[str, str], published: Mapping[str, Split], row: Row
) -> Iterator[Record]:
    dialogue = f"dia_{_whole(row, 'Dia_No')}"
    line = f"{dialogue}_utt_{_whole(row, 'Utt_No')}"
    common: dict[str, Any] = {
        "id": f"{line}_{half.suffix}",
        "source": NAME,
        "split": _split(published, row, dialogue, line),
        "person": _person(row, half, dialogue),
        "group": f"{NAME}:{dialogue}_{half.suffix}",
        "media": Media(video=clips.get(line, f"{half.folders[0]}/{line}.mp4")),
        "transcript": row.text("Subtitle"),
        "language": half.tag,
    }
    emotion = one_of(row.filled("emotion"), LABEL_SPACES["ekman"], "emotion")
    intent = one_of(row.filled("intent"), _INTENTS, "intent")
    yield Record(task=Task.EMOTION, label_space=LABEL_SPACES["ekman"], label=emotion, **common)
    if intent in LABEL_SPACES["intent"]:
        yield Record(task=Task.INTENT, label_space=LABEL_SPACES["intent"], label=intent, **common)


def _split(published: Mapping[str, Split], row: Row, dialogue: str, line: str) -> Split:
    """As published, else as the table's ``mode`` says, else by a checksum of the dialogue's name."""
    if published:
        if line not in published:
            raise UnusableError(f"{line} is in none of the authors' lists of train, validation and test")
        return published[line]
    if "mode" in row.cells:
        return split_named(row.filled("mode"))
    return _TENTHS[zlib.crc32(dialogue.encode()) % len(_TENTHS)]


def _person(row: Row, half: _Language, dialogue: str) -> str:
    """A name is a character of its series; a letter or a number only tells the two of a dialogue apart."""
    speaker = row.filled("speaker")
    anonymous = speaker.isdecimal() or len(speaker) == 1
    return f"{NAME}:{f'{dialogue}_{half.suffix}' if anonymous else row.filled('video_name')}/{speaker}"


def _whole(row: Row, column: str) -> int:
    number = row.number(column)
    if number != int(number) or number < 0:
        raise UnusableError(f"column {column!r}: {row.text(column)!r} is not a whole number")
    return int(number)


LAYOUT = """\
EnglishDialogues.csv                         video_name,...,Dia_No,Utt_No,speaker,...,Subtitle,emotion,intent
ChineseDialogues.csv                         the same; one of the two is enough
English_Dialogues*/**/dia_<d>_utt_<u>.mp4    the clips, however deep the archives unpack
Chinese_Dialogues*/**/dia_<d>_utt_<u>.mp4
MC_EIU_English_features/target/1/*.npy       the authors' features, for their split (optional)"""

SOURCE = Source(
    name=NAME,
    title="MC-EIU",
    homepage="https://github.com/MC-EIU/MC-EIU",
    licence="CC BY-NC 4.0; the scenes belong to their makers",
    citation="Liu et al., 2024, arXiv:2407.02751",
    layout=LAYOUT,
    read=read,
    notes="The clips and tables are at https://huggingface.co/datasets/YulangZhuo/MC-EIU, on request. "
    "Columns and names of the English half are as others who use it read them; those of the Chinese "
    "half are assumed to be alike (also MandarinDialogues.csv and Mandarin_Dialogues*). The tables "
    "tell no split. The authors' own is in their features (target/1/{trn,val,tst}_int2name.npy) and "
    "is taken where those are unpacked; else a column `mode` is taken where the table has one, as in "
    "MMEVerse; else dialogues are drawn 70:10:20 by a checksum of their number, always alike, which "
    "is not the published split: do not compare scores on it with published ones. Lines of the ninth "
    "intent, sympathizing, have a record of their emotion only, since MMEVerse-Bench leaves that "
    "intent out. A speaker with a name is a person within the series; letters and numbers tell people "
    "apart within their dialogue only.",
)

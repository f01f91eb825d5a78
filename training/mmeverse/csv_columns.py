"""The tables that MMEVerse is released as, and records: from one to the other and back.

A table has a row a clip: ``video_id``, a column for the split, one or two for the words, one for each task's
label, and the re-annotation: ``response_AudioReasoner`` and ``response_Qwen2Audio`` (the voice),
``response_Qwen25vl_72B`` (the picture), ``gpt-4o-mini_*`` (the reasoning of each task). The names are those
that the data classes of the official implementation of Emotion-LLaMAv2 read (``minigpt4/datasets/datasets``);
they differ from set to set, and so do the words for the splits.

What a table cannot hold, and what becomes of it:

- media and spans, person, group, valence, arousal, sentiment scores, action units, peak frame: no column;
- clues and reasoning by others than the four models above: no column; prompt and date of any: no column, so
  that records which were read have the day of the release and no prompt;
- the language, but for MER2023, which has a column each for Chinese and English: that of the set is assumed;
- two descriptions of one voice: a record holds one, that of Audio-Reasoner where both are there.

`write_csv` tells what was lost: it reads every row back and compares.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emollama_ros.errors import InputError
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import SINGLE_LABEL, Clues, Provenance, Record, Split, Task
from training.mmeverse.sources.base import (
    Item,
    Row,
    UnusableError,
    one_of,
    read_table,
    records,
    without_repeats,
)

#: The first release of the data; the tables tell no day.
RELEASED = "2025-12-17"
#: Column of each description: field, agent, model.
_DESCRIPTIONS: Mapping[str, tuple[str, str, str]] = {
    "response_AudioReasoner": ("audio", "audio", "Audio-Reasoner"),
    "response_Qwen2Audio": ("audio", "audio", "Qwen2-Audio"),
    "response_Qwen25vl_72B": ("visual", "visual", "Qwen2.5-VL-72B"),
}
_REASONER = ("fusion", "gpt-4o-mini")
_NO_LABEL = frozenset({"", "unknown", "nan"})
_ID = "video_id"


@dataclass(frozen=True)
class Answer:
    """Where a table has the answer to a task.

    Attributes:
        task: The task.
        column: Of its label.
        reasoning: Column of the reasoning.
        space: What the labels are chosen from.
        spell: From a label to how the table spells it.
    """

    task: Task
    column: str
    reasoning: str
    space: tuple[str, ...]
    spell: Callable[[str], str] = str


@dataclass(frozen=True)
class Columns:
    """The columns of one set.

    Attributes:
        split: Names of the column of the split; the first is written.
        splits: By the words for a split; the first word for each is written.
        words: Columns of the words with their language; the first that is filled is read.
        answers: A task each.
        digits: Ids are numbers of so many digits, from which a spreadsheet may have taken zeros.
    """

    split: tuple[str, ...]
    splits: Mapping[str, Split]
    words: tuple[tuple[str, str | None], ...]
    answers: tuple[Answer, ...]
    digits: int = 0

    def header(self) -> list[str]:
        """Columns as they are written."""
        words = [column for column, _ in self.words]
        labels = [answer.column for answer in self.answers]
        reasonings = [answer.reasoning for answer in self.answers]
        return list(dict.fromkeys([_ID, self.split[0], *words, *labels, *_DESCRIPTIONS, *reasonings]))


def _emotion(space: str, column: str = "emotion_label", spell: Callable[[str], str] = str) -> Answer:
    return Answer(Task.EMOTION, column, "gpt-4o-mini_Emotion", LABEL_SPACES[space], spell)


def _sentiment(column: str = "sentiment_label") -> Answer:
    return Answer(Task.SENTIMENT, column, "gpt-4o-mini_Sentiment", LABEL_SPACES["sentiment"])


_MODE: Mapping[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
_VALID: Mapping[str, Split] = {"train": "train", "valid": "validation", "test": "test"}
_DEV: Mapping[str, Split] = {"train": "train", "dev": "validation", "test": "test"}
_VAL: Mapping[str, Split] = {"train": "train", "val": "validation", "test": "test"}
_MER_TESTS: Mapping[str, Split] = {"train": "train", "test1": "test", "test2": "test", "test3": "test"}
_SESSIONS: Mapping[str, Split] = {f"Session{i}": "test" if i == 5 else "train" for i in range(1, 6)}

#: By source.
COLUMNS: Mapping[str, Columns] = {
    "mer2023": Columns(
        ("MER2023_mode",), _MER_TESTS, (("chinese", "zh"), ("english", "en")), (_emotion("mer"),)
    ),
    "caer": Columns(("mode",), _MODE, (("text_whisper", "en"),), (_emotion("ekman"),)),
    "dfew": Columns(("mode",), _MODE, (("sentence", None),), (_emotion("dfew", "label"),)),
    "mc_eiu": Columns(
        ("mode",),
        _MODE,
        (("Subtitle", None),),
        (
            _emotion("ekman", "emotion"),
            Answer(Task.INTENT, "intent", "gpt-4o-mini_intent", LABEL_SPACES["intent"]),
        ),
    ),
    "mafw": Columns(
        ("mode",),
        _MODE,
        (("text_whisper", None),),
        (
            Answer(Task.EMOTION, "single_label", "gpt-4o-mini_Single", LABEL_SPACES["mafw"]),
            Answer(Task.MULTI_LABEL, "multi_label", "gpt-4o-mini_Multi", LABEL_SPACES["mafw"]),
        ),
        digits=5,
    ),
    "bold": Columns(
        ("mode",),
        _VAL,
        (("text_whisper", None),),
        (Answer(Task.MULTI_LABEL, "Emotion_label", "gpt-4o-mini_Emotion", LABEL_SPACES["bold"]),),
    ),
    "e3": Columns(("mode", "set"), _VAL, (("conversation", "en"),), (_emotion("e3", "emotion"),)),
    "iemocap": Columns(
        ("session",), _SESSIONS, (("text", "en"),), (_emotion("iemocap", "official_label", str.capitalize),)
    ),
    "ch_sims_v2": Columns(("mode",), _VALID, (("text", "zh"),), (_sentiment("annotation"),)),
    "cmu_mosei": Columns(("mode",), _VALID, (("text", "en"),), (_sentiment(),)),
    "cmu_mosi": Columns(("mode",), _VALID, (("text", "en"),), (_sentiment(),)),
    "meld": Columns(
        ("mode",), _DEV, (("text", "en"),), (_emotion("meld", "Emotion"), _sentiment("Sentiment"))
    ),
}


@dataclass(frozen=True)
class Written:
    """What became of records.

    Attributes:
        clips: Rows of the table.
        lost: By field: in how many records it was filled and the table cannot hold it.
    """

    clips: int
    lost: Mapping[str, int]


def columns_of(source: str) -> Columns:
    """The columns of a source.

    Raises:
        InputError: No table of it is released; lists those that are.
    """
    if source not in COLUMNS:
        raise InputError(f"no table is released of source {source!r}; there are: {', '.join(COLUMNS)}")
    return COLUMNS[source]


def read_csv(path: Path, source: str) -> Iterator[Item]:
    """Read a released table: a record for each task of a clip, and what cannot be read.

    Raises:
        InputError: No table of this source is released, or it lacks a column; names it.
    """
    columns = columns_of(source)
    needed = (_ID, *(answer.column for answer in columns.answers))
    rows = read_table(path.parent, path.name, needed)
    return without_repeats(records(rows, lambda row: _records(row, source, columns), _ID))


def _records(row: Row, source: str, columns: Columns) -> Iterator[Record]:
    found = [answer for answer in columns.answers if row.text(answer.column).lower() not in _NO_LABEL]
    if not found:
        raise UnusableError(f"no label in {', '.join(answer.column for answer in columns.answers)}")
    words, language = _words(row, columns)
    clues, told = _clues(row)
    for answer in found:
        reasoning = _text(row, answer.reasoning)
        because = {"reasoning": _provenance(*_REASONER)} if reasoning else {}
        yield Record(
            id=_id(row, columns),
            source=source,
            split=_split(row, columns),
            transcript=words,
            language=language,
            task=answer.task,
            label_space=answer.space,
            clues=clues,
            reasoning=reasoning,
            provenance=told | because,
            **_labels(row, answer),
        )


def _text(row: Row, column: str) -> str:
    """A cell; empty where there is no such column."""
    return row.cells.get(column, "").strip()


def _id(row: Row, columns: Columns) -> str:
    """The id of the clip; in CMU-MOSEI the clip has a column of its own."""
    name, part = row.filled(_ID).zfill(columns.digits), _text(row, "clip_id")
    return f"{name}_{part}" if part and not name.endswith(f"_{part}") else name


def _split(row: Row, columns: Columns) -> Split:
    column = next((name for name in columns.split if name in row.cells), None)
    if column is None:
        raise UnusableError(f"no column {columns.split[0]!r}, which tells the split")
    return columns.splits[one_of(row.filled(column), tuple(columns.splits), "split")]


def _words(row: Row, columns: Columns) -> tuple[str, str | None]:
    for column, language in columns.words:
        if text := _text(row, column):
            return text, language
    return "", columns.words[0][1]


def _clues(row: Row) -> tuple[Clues, dict[str, Provenance]]:
    said: dict[str, str] = {}
    told = {}
    for column, (field, agent, model) in _DESCRIPTIONS.items():
        if field not in said and (text := _text(row, column)):
            said[field], told[f"clues.{field}"] = text, _provenance(agent, model)
    return Clues(**said), told


def _provenance(agent: str, model: str) -> Provenance:
    return Provenance(agent=agent, model=model, date=RELEASED)


def _labels(row: Row, answer: Answer) -> dict[str, Any]:
    if answer.task in SINGLE_LABEL:
        return {"label": one_of(row.text(answer.column), answer.space)}
    # The tables hold what a list of strings prints as, or words between commas.
    words = [word.strip() for word in re.split(r"[\[\]'\",;]", row.text(answer.column))]
    return {"labels": tuple(one_of(word, answer.space) for word in words if word)}


def write_csv(records: Iterable[Record], path: Path) -> Written:
    """Write the records of one source as its table.

    Raises:
        InputError: There are none, they are of several sources or of one without a table, a clip is in two
            splits, or its id does not tell the session that IEMOCAP's table has in place of a split.
    """
    clips = _by_clip(records)
    source = next(iter(clips.values()))[0].source
    columns = columns_of(source)
    rows = {name: _row(members, columns) for name, members in clips.items()}
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns.header(), restval="")
            writer.writeheader()
            writer.writerows(rows.values())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    return Written(len(rows), _lost(clips, rows, columns))


def _by_clip(records: Iterable[Record]) -> dict[str, list[Record]]:
    clips: dict[str, list[Record]] = {}
    for record in records:
        clips.setdefault(record.id, []).append(record)
    sources = {record.source for members in clips.values() for record in members}
    if len(sources) != 1:
        found = ", ".join(sorted(sources)) or "no record at all"
        raise InputError(f"a table is of one source; these are of: {found}")
    if torn := [name for name, members in clips.items() if len({r.split for r in members}) > 1]:
        raise InputError(f"clip {torn[0]!r} is in several splits; a table has one row for it")
    return clips


def _row(members: Sequence[Record], columns: Columns) -> dict[str, str]:
    first = members[0]
    row = {_ID: first.id, columns.split[0]: _split_word(first, columns)}
    row[_words_column(first, columns)] = first.transcript
    for record in members:
        row |= _described(record) | _answered(record, columns)
    return row


def _split_word(record: Record, columns: Columns) -> str:
    if columns.splits is _SESSIONS:
        session = re.match(r"Ses0?(\d)", record.id)
        word = f"Session{session[1]}" if session else ""
        if columns.splits.get(word) != record.split:
            raise InputError(f"clip {record.id!r} in {record.split}: its id tells no session of that split")
        return word
    for word, split in columns.splits.items():
        if split == record.split:
            return word
    raise InputError(f"clip {record.id!r}: the table of {record.source} has no word for {record.split}")


def _words_column(record: Record, columns: Columns) -> str:
    known = {language: column for column, language in columns.words}
    return known.get(record.language, columns.words[0][0])


def _described(record: Record) -> dict[str, str]:
    cells = {}
    for column, (field, _, model) in _DESCRIPTIONS.items():
        by = record.provenance.get(f"clues.{field}")
        if by is not None and by.model == model:
            cells[column] = getattr(record.clues, field)
    return cells


def _answered(record: Record, columns: Columns) -> dict[str, str]:
    for answer in columns.answers:
        if answer.task is record.task:
            said = record.labels if record.label is None else (record.label,)
            by = record.provenance.get("reasoning")
            is_theirs = by is not None and (by.agent, by.model) == _REASONER
            cells = {answer.column: ", ".join(map(answer.spell, said))}
            return cells | ({answer.reasoning: record.reasoning} if is_theirs else {})
    return {}


def _lost(
    clips: Mapping[str, Sequence[Record]], rows: Mapping[str, dict[str, str]], columns: Columns
) -> dict[str, int]:
    """Compare what was to be written with what is read again."""
    lost: Counter[str] = Counter()
    for name, members in clips.items():
        cells = dict.fromkeys(columns.header(), "") | rows[name]
        try:
            again = {r.task: r for r in _records(Row("", cells), members[0].source, columns)}
        except UnusableError:
            again = {}
        for record in members:
            lost.update(_differences(record, again.get(record.task)))
    return dict(lost.most_common())


def _differences(record: Record, again: Record | None) -> Iterator[str]:
    if again is None:
        yield f"task {record.task.value}"
        return
    for name in Record.model_fields:
        if getattr(record, name) != getattr(again, name):
            yield name

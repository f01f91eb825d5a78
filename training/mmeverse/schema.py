"""The one form that every data set is brought into: a record a clip and task, as a line of JSON.

A record keeps what its source says in the source's own words (label space, split, score range). What an
agent or a person added later carries its provenance. Files are JSON Lines in UTF-8; paths are relative to the
folder the source was distributed in, so that a file of records holds nothing of the machine that wrote it.

The released MMEVerse data are CSV tables; `training.mmeverse.csv_columns` reads and writes those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from emollama_ros.errors import InputError

#: Raised with every change that an older reader would misunderstand.
SCHEMA_VERSION = 1

Split = Literal["train", "validation", "test"]
Identifier = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Task(str, Enum):
    """What is asked about a clip; the tags of the paper's prompts, and ``open-vocabulary``."""

    EMOTION = "emotion"
    SENTIMENT = "sentiment"
    INTENT = "intent"
    MULTI_LABEL = "multi-label"
    OPEN_VOCABULARY = "open-vocabulary"


#: Tasks whose truth is one label, and tasks whose truth is a set of labels.
SINGLE_LABEL = frozenset({Task.EMOTION, Task.SENTIMENT, Task.INTENT})
SET_OF_LABELS = frozenset({Task.MULTI_LABEL, Task.OPEN_VOCABULARY})


class _Part(BaseModel):
    """Immutable, nothing converted, nothing unknown taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Media(_Part):
    """Files of a clip, relative to the source's folder, with ``/``; and the part of them that is the clip.

    Attributes:
        video: Pictures in motion, usually with sound.
        audio: Sound alone, or the sound that belongs to ``video``.
        image: One picture.
        start_s: Where the clip begins in the files, seconds; None for their beginning.
        end_s: Where it ends; None for their end.
    """

    video: str | None = None
    audio: str | None = None
    image: str | None = None
    start_s: Annotated[Finite, Field(ge=0)] | None = None
    end_s: Annotated[Finite, Field(gt=0)] | None = None

    @field_validator("video", "audio", "image")
    @classmethod
    def _is_relative(cls, path: str | None) -> str | None:
        if path is not None and (
            not path or "\\" in path or path.startswith("/") or ".." in PurePosixPath(path).parts
        ):
            raise ValueError("a path inside the source's folder is needed, with / between its parts")
        return path

    @model_validator(mode="after")
    def _is_a_span(self) -> Media:
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s} is not after start_s {self.start_s}")
        return self

    def files(self) -> tuple[str, ...]:
        """The files named, each once."""
        return tuple(dict.fromkeys(f for f in (self.video, self.audio, self.image) if f))


class ActionUnit(_Part):
    """A facial action unit: its name in FACS and its intensity, 0 (absent) to 5 (as strong as can be)."""

    unit: Annotated[str, Field(pattern=r"^AU\d{2}$")]
    intensity: Annotated[Finite, Field(ge=0, le=5)]


class Clues(_Part):
    """What can be heard and seen, in words and in measurements.

    Attributes:
        audio: Words about the voice.
        visual: Words about the picture.
        action_units: Measured at the peak frame.
        peak_frame: Index of the video frame, from 0, where the expression is strongest.
    """

    audio: str = ""
    visual: str = ""
    action_units: tuple[ActionUnit, ...] = ()
    peak_frame: Annotated[int, Field(ge=0)] | None = None


class Provenance(_Part):
    """Who says so.

    Attributes:
        agent: Role, for example ``audio`` or ``fusion``; ``human`` for a person.
        model: Model and version, or the person's pseudonym.
        prompt: Version of the prompt; empty where there is none.
        date: Day it was said, ISO 8601.
    """

    agent: Identifier
    model: Identifier
    prompt: str = ""
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]

    @field_validator("date")
    @classmethod
    def _is_a_day(cls, text: str) -> str:
        date.fromisoformat(text)
        return text


#: Fields that no source distributes in this form: where one is filled in, its provenance must be told.
ANNOTATED = ("clues.audio", "clues.visual", "clues.action_units", "clues.peak_frame", "reasoning")
#: Further fields whose provenance may be told, where they did not come with the source.
_MAY_BE_ANNOTATED = (*ANNOTATED, "transcript", "label", "labels", "sentiment_score", "valence", "arousal")


class Record(_Part):
    """One clip under one task.

    Attributes:
        schema_version: ``SCHEMA_VERSION``.
        id: Of the clip; unique within source and task.
        source: Name of the source (``training.mmeverse.sources``).
        split: As the source splits it; ``train`` where it does not.
        person: Who is seen or heard, ``source:name``; None where the source does not tell.
        group: What the clip was cut from, ``source:name`` (a film, a dialogue); None where not told.
        media: Its files; none for a bare sentence.
        transcript: What is said; empty where not told.
        language: BCP 47 tag of the words, for example ``zh``; None where not told.
        task: What the labels answer.
        label_space: What the labels are chosen from, in the source's words; empty for an open vocabulary.
        label: The answer to a task with one label.
        labels: The answer to a task with a set of labels.
        sentiment_score: As annotated, within ``sentiment_range``.
        sentiment_range: Least and greatest score of this source.
        valence: -1 to 1.
        arousal: -1 to 1.
        clues: What speaks for the label.
        reasoning: Why, in words.
        provenance: By field name (``clues.audio``, ``reasoning``): who said so.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    id: Identifier
    source: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    split: Split
    person: Identifier | None = None
    group: Identifier | None = None
    media: Media = Media()
    transcript: str = ""
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")] | None = None
    task: Task
    label_space: tuple[Identifier, ...] = ()
    label: Identifier | None = None
    labels: tuple[Identifier, ...] = ()
    sentiment_score: Finite | None = None
    sentiment_range: tuple[Finite, Finite] | None = None
    valence: Annotated[Finite, Field(ge=-1, le=1)] | None = None
    arousal: Annotated[Finite, Field(ge=-1, le=1)] | None = None
    clues: Clues = Clues()
    reasoning: str = ""
    provenance: dict[str, Provenance] = {}

    @field_validator("task", mode="before")
    @classmethod
    def _task_by_name(cls, value: Any) -> Any:
        return Task(value) if isinstance(value, str) and value in {t.value for t in Task} else value

    @field_validator("label_space", "labels")
    @classmethod
    def _has_no_repeats(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := [x for x in labels if labels.count(x) > 1]:
            raise ValueError(f"{repeated[0]!r} is there more than once")
        return labels

    @model_validator(mode="after")
    def _fits_its_task(self) -> Record:
        if self.task in SINGLE_LABEL and (self.label is None or self.labels):
            raise ValueError(f"task {self.task.value} needs `label`, and no `labels`")
        if self.task in SET_OF_LABELS and (self.label is not None or not self.labels):
            raise ValueError(f"task {self.task.value} needs `labels`, and no `label`")
        said = self.labels if self.label is None else (self.label,)
        if self.label_space and (foreign := [x for x in said if x not in self.label_space]):
            raise ValueError(f"{foreign[0]!r} is not in label_space: {', '.join(self.label_space)}")
        return self

    @model_validator(mode="after")
    def _score_is_in_range(self) -> Record:
        if (self.sentiment_score is None) != (self.sentiment_range is None):
            raise ValueError("sentiment_score and sentiment_range belong together")
        if self.sentiment_range is not None and self.sentiment_score is not None:
            low, high = self.sentiment_range
            if not low <= self.sentiment_score <= high:
                raise ValueError(f"sentiment_score {self.sentiment_score} is outside {low:g} to {high:g}")
        return self

    @model_validator(mode="after")
    def _says_who_annotated(self) -> Record:
        if unknown := [name for name in self.provenance if name not in _MAY_BE_ANNOTATED]:
            known = ", ".join(_MAY_BE_ANNOTATED)
            raise ValueError(f"provenance of {unknown[0]!r}, which is no annotated field; those are: {known}")
        filled = {
            "clues.audio": bool(self.clues.audio),
            "clues.visual": bool(self.clues.visual),
            "clues.action_units": bool(self.clues.action_units),
            "clues.peak_frame": self.clues.peak_frame is not None,
            "reasoning": bool(self.reasoning),
        }
        if untold := [name for name in ANNOTATED if filled[name] and name not in self.provenance]:
            raise ValueError(f"{untold[0]} has no provenance: say agent, model, prompt and date")
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        """What no two records share: source, clip, task."""
        return self.source, self.id, self.task.value

    def with_changes(self, **changes: Any) -> Record:
        """Return a copy with some fields changed, checked as a whole."""
        return Record(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})

    def to_line(self) -> str:
        """One line of JSON; what has its default is left out, but never the version."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps({"schema_version": self.schema_version, **data}, ensure_ascii=False)


def parse_record(line: str | bytes, where: str = "record") -> Record:
    """Parse one line.

    Args:
        line: JSON.
        where: What the errors call it, for example ``train.jsonl:17``.

    Raises:
        InputError: Not a record; names ``where``, the field, the value and what is wrong.
    """
    try:
        record = Record.model_validate_json(line)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error)}") from None
    if "schema_version" not in record.model_fields_set:
        raise InputError(f"{where}: schema_version: missing; this version writes {SCHEMA_VERSION}")
    return record


def explain(error: ValidationError) -> str:
    """Say the first thing wrong, with its field and value, in one line."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "record"
    value = first.get("input")
    shown = f" (found {value!r:.80})" if not isinstance(value, dict | Record) and first["loc"] else ""
    more = f"; and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{field}: {first['msg'].removeprefix('Value error, ')}{shown}{more}"


def read_records(path: Path) -> Iterator[Record]:
    """Read a JSON Lines file, one record after the other.

    Raises:
        InputError: A line is no record, a key occurs twice, or the last line was cut off; names file, line.
    """
    seen: dict[tuple[str, str, str], int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            if not line.endswith(b"\n"):
                raise InputError(f"{where}: the line has no end: the file was cut off; prepare it again")
            record = parse_record(line, where)
            if record.key in seen:
                raise InputError(
                    f"{where}: id {record.id!r} with task {record.task.value} was in line {seen[record.key]}"
                )
            seen[record.key] = number
            yield record


def write_records(records: Iterable[Record], path: Path) -> int:
    """Write a JSON Lines file, complete or not at all; returns how many records it has."""
    part = path.with_name(path.name + ".part")
    count = 0
    with part.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(record.to_line() + "\n")
            count += 1
    part.replace(path)
    return count


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record (draft 2020-12), for other languages and editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"emollama_ros MMEVerse record, version {SCHEMA_VERSION}",
        **{k: v for k, v in Record.model_json_schema().items() if k != "title"},
    }

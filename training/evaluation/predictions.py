"""Anyone's predictions: JSON Lines, one line a clip and task, in the words of the set.

    {"source": "meld", "id": "dia0_utt0", "task": "emotion", "answer": "Anger"}
    {"source": "meld", "id": "dia0_utt1", "task": "emotion", "label": "joy", "probabilities": {"joy": 0.7}}
    {"source": "bold", "id": "003/ab.mp4/0", "task": "multi-label", "labels": ["happiness", "peace"]}
    {"source": "cmu_mosi", "id": "aVideo_1", "task": "sentiment", "sentiment_score": -0.4}

Free text becomes labels word for word, as in the released code of Emotion-LLaMAv2: lower case, a list parsed
at its commas, nothing repaired and no language model asked. What is no label is dropped and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from emollama_ros.errors import InputError
from training.evaluation.mer_unibench import parse_labels
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Finite, Identifier, Record, Task, explain

Key = tuple[str, str, str]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

#: Why a clip was dropped, as counted in reports.
NO_PREDICTION = "no prediction"
NOT_A_LABEL = "answer is not a label of the set"
SEVERAL_LABELS = "answer names several labels where one is asked for"
EMPTY_ANSWER = "answer is empty"

_ANSWER_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL | re.IGNORECASE)
_SIGN = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}


class Prediction(BaseModel):
    """What a model says of one clip under one task; one of the first four says it.

    Attributes:
        source: Of the record.
        id: Of the record.
        task: Of the record.
        answer: Free text, parsed as `interpret` says.
        label: One label of the set's label space, where one is asked for.
        labels: Labels, where a set of them is asked for; may be empty.
        sentiment_score: Its sign is the sentiment.
        probabilities: By label of the set; of one choice, or of each yes and no of a multi-label set.
        reasoning: Why, in words; scored only by a judge.
        model: Which model said it; a file that is resumed has to be of the same one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: Identifier
    id: Identifier
    task: Task
    answer: str | None = None
    label: Identifier | None = None
    labels: tuple[Identifier, ...] | None = None
    sentiment_score: Finite | None = None
    probabilities: dict[str, Probability] = {}
    reasoning: str = ""
    model: str = ""

    @field_validator("task", mode="before")
    @classmethod
    def _task_by_name(cls, value: object) -> object:
        return Task(value) if isinstance(value, str) and value in {t.value for t in Task} else value

    @model_validator(mode="after")
    def _says_something(self) -> Prediction:
        said = [
            name
            for name in ("answer", "label", "labels", "sentiment_score")
            if getattr(self, name) is not None
        ]
        if len(said) != 1:
            raise ValueError(
                f"one of answer, label, labels and sentiment_score is needed, found {said or 'none'}"
            )
        return self

    @property
    def key(self) -> Key:
        """As `Record.key`."""
        return self.source, self.id, self.task.value

    def to_line(self) -> str:
        """One line of JSON; what has its default is left out."""
        return self.model_dump_json(exclude_defaults=True)


def read_predictions(path: Path, *, may_be_cut: bool = False) -> dict[Key, Prediction]:
    """Read a file of predictions.

    Args:
        path: JSON Lines.
        may_be_cut: Leave a last line without its end out: what wrote it was stopped, and will write it again.

    Raises:
        InputError: Not to be read, a line is no prediction, or a key occurs twice; names file and line.
    """
    found: dict[Key, Prediction] = {}
    for number, line in enumerate(_lines(path), 1):
        if may_be_cut and not line.endswith(b"\n"):
            break
        prediction = _parse(line, f"{path}:{number}")
        if prediction.key in found:
            raise InputError(f"{path}:{number}: {prediction.key} was predicted before; remove one of them")
        found[prediction.key] = prediction
    return found


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(line: bytes, where: str) -> Prediction:
    try:
        return Prediction.model_validate_json(line)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error)}") from None


@dataclass(frozen=True)
class Told:
    """A prediction in the terms of its set.

    Attributes:
        labels: In the spelling of the set: one for a task with one label, any number for a set of labels.
        score: For sentiment: its sign counts.
        dropped: Why it cannot be scored; empty where it can.
    """

    labels: tuple[str, ...] = ()
    score: float | None = None
    dropped: str = ""


def interpret(record: Record, prediction: Prediction | None) -> Told:
    """Put a prediction into the terms of the record's set, or say why it cannot be scored."""
    if prediction is None:
        return Told(dropped=NO_PREDICTION)
    if record.task is Task.SENTIMENT and prediction.sentiment_score is not None:
        return Told(score=prediction.sentiment_score)
    words = _words(prediction)
    if record.task is Task.OPEN_VOCABULARY:
        return Told(tuple(words))
    space = _space(record)
    known = tuple(dict.fromkeys(space[word] for word in words if word in space))
    if record.task is Task.MULTI_LABEL:
        return Told(known, dropped="" if known or not words else NOT_A_LABEL)
    if fault := _fault(words, known):
        return Told(dropped=fault)
    return Told(known, _SIGN[known[0].lower()] if record.task is Task.SENTIMENT else None)


def answer_of(text: str) -> str:
    """The answer in a text: what stands between the answer tags, or all but the thoughts before it."""
    tagged = _ANSWER_TAG.findall(text)
    return (tagged[-1] if tagged else _THOUGHT.sub("", text)).strip()


def _words(prediction: Prediction) -> list[str]:
    """What was said, as words in lower case."""
    if prediction.answer is not None:
        return parse_labels(answer_of(prediction.answer).removesuffix(".").strip())
    said = prediction.labels if prediction.labels is not None else (prediction.label or "",)
    return parse_labels(said)


def _space(record: Record) -> Mapping[str, str]:
    labels = record.label_space or (LABEL_SPACES["sentiment"] if record.task is Task.SENTIMENT else ())
    return {label.lower(): label for label in labels}


def _fault(words: list[str], known: tuple[str, ...]) -> str:
    if not words:
        return EMPTY_ANSWER
    if len(known) == 1 and len(set(words)) == 1:
        return ""
    return SEVERAL_LABELS if len(set(words)) > 1 and known else NOT_A_LABEL


def append(predictions: Iterable[Prediction], path: Path) -> int:
    """Write predictions to the end of a file, each at once: a stop loses nothing; returns how many."""
    count = 0
    with path.open("a", encoding="utf-8") as file:
        for prediction in predictions:
            file.write(prediction.to_line() + "\n")
            file.flush()
            count += 1
    return count

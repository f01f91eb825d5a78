"""Small sources, models and results that the tests of the evaluation share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the evaluation needs scikit-learn (make test installs it)")

from native_layouts.media import write_clip, write_picture, write_sound, write_text  # noqa: E402

from training.evaluation.predictions import Prediction  # noqa: E402
from training.mmeverse.schema import Record, Task  # noqa: E402

SENTENCES = ("I am so happy today", "what a terrible loss", "how dare you", "ok", "this is disgusting")


class Oracle:
    """A model that knows the truth, but for what it was told not to know."""

    name = "oracle 1"
    rules = ("It looks the answers up.",)

    def __init__(self, trained_on=None, silent=(), fails=(), wrong=()):
        self.trained_on, self.silent, self.fails, self.wrong = trained_on, silent, fails, wrong
        self.asked: list[str] = []

    def unsayable(self, record):
        return tuple(label for label in record.label_space if label in self.silent)

    def cannot_do(self, record):
        return "it has no intentions" if record.task is Task.INTENT else ""

    def predict(self, record, root):
        from training.evaluation.adapters.base import CannotTellError

        self.asked.append(record.id)
        if record.id in self.fails:
            raise CannotTellError("it was told not to know")
        place = {"source": record.source, "id": record.id, "task": record.task, "model": self.name}
        if record.label is None:
            return Prediction(labels=record.labels, **place)
        others = [label for label in record.label_space if label != record.label]
        return Prediction(label=others[0] if record.id in self.wrong else record.label, **place)


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture
def record() -> Callable[..., Record]:
    """Makes a record of a test set; what matters to the test is given by name."""

    def make(id: str = "a", label: str | None = "joy", **given) -> Record:
        space = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
        given = {"source": "meld", "split": "test", "task": Task.EMOTION, "label_space": space} | given
        return Record(id=id, label=label, **given)

    return make


@pytest.fixture
def prediction() -> Callable[..., Prediction]:
    """Makes a prediction of such a record."""

    def make(id: str = "a", **given) -> Prediction:
        return Prediction(**({"id": id, "source": "meld", "task": Task.EMOTION} | given))

    return make


@pytest.fixture(scope="session")
def open_data(tmp_path_factory) -> Path:
    """The open sources in little: some of them, one damaged, and media of all kinds."""
    data = tmp_path_factory.mktemp("open")
    rows = ["path,actor,sentence,emotion"]
    for i, emotion in enumerate(("neutral", "sadness", "happiness", "surprise", "fear", "anger")):
        write_clip(data / "javanese_av" / "clips" / f"{i}.mp4", f"av{i}", seconds=0.6)
        rows.append(f"clips/{i}.mp4,actor{i % 2},1,{emotion}")
    write_text(data / "javanese_av" / "labels.csv", rows)
    rows = ["path,actor,emotion,intensity,transcript,rep"]
    for i, emotion in enumerate(("calm", "anger", "fear", "rage")):
        write_sound(data / "ravdess_16k" / f"{i}.wav", f"sound{i}", seconds=0.6)
        rows.append(f"{i}.wav,{i % 2},{emotion},1,Kids are talking,1")
    write_text(data / "ravdess_16k" / "labels.csv", [*rows, "gone.wav,1,sadness,1,Dogs,1"])
    rows = ["path,person_guess,emotion"]
    for i, emotion in enumerate(("happiness", "contempt")):
        write_picture(data / "faces_muxspace" / f"{i}.png", f"face{i}")
        rows.append(f"{i}.png,person{i},{emotion}")
    write_text(data / "faces_muxspace" / "labels.csv", rows)
    labels = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
    write_text(data / "goemotions" / "ekman_labels.txt", labels)
    write_text(data / "goemotions" / "ekman_train.tsv", ["fine\t4\tt0"])
    lines = [
        f"{text}\t{number}\td{i}" for i, (text, number) in enumerate(zip(SENTENCES, "35041", strict=True))
    ]
    write_text(data / "goemotions" / "ekman_dev.tsv", [*lines, "both at once\t0,1\td9"])
    return data

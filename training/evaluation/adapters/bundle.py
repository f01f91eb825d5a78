"""A bundle, exactly as the robot runs it: one window a clip, through encoders, fusion and head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.estimate import EmotionEstimate
from emollama_ros.labels import UNKNOWN
from emollama_ros.perception import Perception
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from training.evaluation.adapters.base import CannotTellError, Claim
from training.evaluation.native import RULES, in_words, likely, unsayable
from training.evaluation.predictions import Prediction
from training.mmeverse.decoding import RATE, DecodedClip, decode_clip
from training.mmeverse.schema import Record, Task
from training.mmeverse.sources import source_named

_TASKS = (Task.EMOTION, Task.MULTI_LABEL, Task.OPEN_VOCABULARY, Task.SENTIMENT)
#: ``goemotions (train)`` or ``javanese_av (8 actors, 192 clips)``, as a manifest tells its data.
_DATA = re.compile(r"([a-z0-9_]+)\s*(?:\((.*)\))?")
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class BundleModel:
    """A bundle as a model to be measured; one thread at a time."""

    bundle: Bundle
    perception: Perception

    @classmethod
    def load(cls, path: Path | None = None) -> BundleModel:
        """Open and verify a bundle.

        Args:
            path: Its folder; None for the default one.

        Raises:
            BundleError: It is damaged.
        """
        bundle = Bundle.load(path)
        return cls(bundle, Perception(bundle, EngineOptions("auto", threads=2)))

    @property
    def name(self) -> str:
        """Name, version and the beginning of the manifest's hash."""
        manifest = self.bundle.manifest
        return f"{manifest.name} {manifest.version} {self.bundle.sha256[:12]}"

    @property
    def trained_on(self) -> tuple[Claim, ...] | None:
        """What the manifest's provenance says."""
        return claims_of(self.bundle.manifest.provenance)

    @property
    def rules(self) -> tuple[str, ...]:
        """As `native` states them."""
        return RULES

    def unsayable(self, record: Record) -> tuple[str, ...]:
        """Labels of the record's space that no default label stands for."""
        return unsayable(record.label_space) if record.task in (Task.EMOTION, Task.MULTI_LABEL) else ()

    def cannot_do(self, record: Record) -> str:
        """Intent is no emotion."""
        return "" if record.task in _TASKS else f"a bundle says nothing about {record.task.value}"

    def predict(self, record: Record, root: Path) -> Prediction:
        """Perceive the clip as one window."""
        self.perception.reset()
        clip = decode_clip(record.media, root, to_model_frame)
        estimate = self.perception.perceive_one(window_of(clip, words_of(record)), 0)
        if estimate.label == UNKNOWN:
            raise CannotTellError(f"nothing could be perceived: {estimate.status_text or 'no usable input'}")
        return _prediction(record, estimate, self.name)


def claims_of(provenance: Mapping[str, object]) -> tuple[Claim, ...] | None:
    """Read ``data`` of a manifest's provenance: a source a line, and what was used of it in brackets."""
    lines = provenance.get("data")
    if not isinstance(lines, list | tuple):
        return None
    found = [_DATA.fullmatch(str(line).strip()) for line in lines]
    return tuple(Claim(m[1], m[2] if m[2] in _SPLITS else "") for m in found if m)


def window_of(clip: DecodedClip, words: str = "") -> Window:
    """A whole clip as one window, with what the robot would have of it."""
    frames, sound = clip.pictures, clip.samples
    end_ns = max(
        1, round(len(sound) / RATE * 1e9), *(stamp + 250_000_000 for stamp in clip.stamps_ns[-1:]), 1
    )
    return Window(
        0,
        end_ns,
        FrameBatch(np.array(clip.stamps_ns, np.int64), np.stack(frames)) if frames else None,
        AudioSpan(0, sound, 1.0) if len(sound) else None,
        words,
    )


def words_of(record: Record) -> str:
    """The transcript where it says something about the emotion, in the language the model reads."""
    is_english = (record.language or "").split("-")[0] == "en"
    return record.transcript if is_english and not source_named(record.source).is_acted else ""


def _prediction(record: Record, estimate: EmotionEstimate, model: str) -> Prediction:
    place = {"source": record.source, "id": record.id, "task": record.task, "model": model}
    scores = dict(zip(estimate.labels, estimate.scores, strict=True))
    if record.task is Task.SENTIMENT:
        return Prediction(sentiment_score=estimate.valence, **place)
    if record.task is Task.OPEN_VOCABULARY:
        return Prediction(labels=likely(scores), **place)
    words = {word: round(p, 6) for word, p in in_words(scores, record.label_space).items()}
    if not words:
        raise CannotTellError(f"no label of the set has a counterpart: {', '.join(record.label_space)}")
    if record.task is Task.MULTI_LABEL:
        return Prediction(labels=likely(words), probabilities=words, **place)
    return Prediction(label=max(words, key=words.__getitem__), probabilities=words, **place)

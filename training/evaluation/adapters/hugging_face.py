"""Any audio or video classifier of Hugging Face ``transformers``, as published, on the sets of a suite.

The class names in the model's configuration have to be emotion words; they become words of the set as the
labels of a bundle do (`training.evaluation.native`), so that peers are measured by the same rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from training.evaluation.adapters.base import CannotTellError
from training.evaluation.native import RULES, in_words, likely, unsayable
from training.evaluation.predictions import Prediction
from training.mmeverse.decoding import RATE, DecodedClip, decode_clip
from training.mmeverse.label_sets import to_default
from training.mmeverse.schema import Record, Task

_TASKS = (Task.EMOTION, Task.MULTI_LABEL, Task.OPEN_VOCABULARY)


@dataclass(frozen=True)
class _Classifier(ABC):
    """A classifier and its processor.

    Attributes:
        place: Folder or name on the hub.
        network: The model, in evaluation mode.
        processor: Its feature extractor or image processor.
    """

    place: str
    network: Any
    processor: Any

    @property
    def name(self) -> str:
        """Name of the folder or model, and its revision where the hub told one."""
        revision = getattr(self.network.config, "_commit_hash", None) or ""
        return f"{self.place.rstrip('/').rsplit('/', 1)[-1]} {revision[:12]}".strip()

    @property
    def trained_on(self) -> None:
        """A configuration does not tell."""
        return None

    @property
    def rules(self) -> tuple[str, ...]:
        """As for a bundle, without what concerns sentiment and transcripts."""
        return (
            *RULES[:2],
            "The model's class names are emotion words; other classes take no part.",
            RULES[-1],
        )

    @property
    def classes(self) -> dict[int, str]:
        """Default label of each class that stands for one."""
        names: Mapping[int, str] = self.network.config.id2label
        return {int(i): label for i, word in names.items() if (label := to_default(word)) is not None}

    def unsayable(self, record: Record) -> tuple[str, ...]:
        """Labels of the record's space that no class stands for."""
        if record.task not in (Task.EMOTION, Task.MULTI_LABEL):
            return ()
        told, silent = set(self.classes.values()), unsayable(record.label_space)
        return tuple(w for w in record.label_space if w in silent or to_default(w) not in told)

    def cannot_do(self, record: Record) -> str:
        """Emotions only, and only where there are media."""
        if record.task not in _TASKS:
            return f"a classifier of emotions says nothing about {record.task.value}"
        return "" if record.media.files() else "its clips are sentences without media"

    def predict(self, record: Record, root: Path) -> Prediction:
        """Classify the clip as a whole."""
        clip = decode_clip(record.media, root)
        logits = self._logits(clip)
        scores = dict.fromkeys(DEFAULT_LABELS, 0.0)
        for i, probability in enumerate(_softmax(logits)):
            if i in self.classes:
                scores[self.classes[i]] += float(probability)
        return _prediction(record, scores, self.name)

    @abstractmethod
    def _logits(self, clip: DecodedClip) -> NDArray[np.float32]:
        """Logits of the model's own classes, (classes,)."""


@dataclass(frozen=True)
class AudioClassifier(_Classifier):
    """`AutoModelForAudioClassification` over the sound of a clip."""

    @classmethod
    def load(cls, place: str) -> AudioClassifier:
        """Load from a folder, or from the hub.

        Raises:
            ConfigError: No such model, or none of its classes is an emotion word.
        """
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        return cls(*_loaded(place, AutoModelForAudioClassification, AutoFeatureExtractor))

    def _logits(self, clip: DecodedClip) -> NDArray[np.float32]:
        if not len(clip.samples):
            raise CannotTellError("there is no sound, and the model only hears")
        rate = getattr(self.processor, "sampling_rate", RATE)
        if rate != RATE:
            raise CannotTellError(f"the model wants {rate} Hz; only {RATE} Hz is supported")
        return _run(self.network, self.processor(clip.samples, sampling_rate=RATE, return_tensors="pt"))


@dataclass(frozen=True)
class VideoClassifier(_Classifier):
    """`AutoModelForVideoClassification` over pictures taken evenly from a clip."""

    @classmethod
    def load(cls, place: str) -> VideoClassifier:
        """Load from a folder, or from the hub.

        Raises:
            ConfigError: No such model, or none of its classes is an emotion word.
        """
        from transformers import AutoImageProcessor, AutoModelForVideoClassification

        return cls(*_loaded(place, AutoModelForVideoClassification, AutoImageProcessor))

    def _logits(self, clip: DecodedClip) -> NDArray[np.float32]:
        if not clip.pictures:
            raise CannotTellError("there are no pictures, and the model only sees")
        pictures = evenly(clip.pictures, getattr(self.network.config, "num_frames", 16))
        return _run(self.network, self.processor(list(pictures), return_tensors="pt"))


def evenly(pictures: Sequence[Any], count: int) -> tuple[Any, ...]:
    """So many pictures, at even distances from the first to the last; of few, some more than once."""
    return tuple(pictures[round(i)] for i in np.linspace(0, len(pictures) - 1, count))


def _loaded(place: str, network: Any, processor: Any) -> tuple[str, Any, Any]:
    try:
        # Weights only as safetensors: a pickle of a stranger may do anything.
        loaded = network.from_pretrained(place, use_safetensors=True).eval()
        made = processor.from_pretrained(place)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{place}: is no model of this kind that can be loaded from safetensors ({first})"
        ) from error
    words = list(loaded.config.id2label.values())
    if all(to_default(word) is None for word in words):
        raise ConfigError(
            f"{place}: none of its classes is an emotion word: {', '.join(map(str, words[:8]))}; "
            "name them in id2label of config.json"
        )
    return place, loaded, made


def _run(network: Any, inputs: Mapping[str, Any]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        return network(**inputs).logits[0].float().numpy()


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


def _prediction(record: Record, scores: Mapping[str, float], model: str) -> Prediction:
    place = {"source": record.source, "id": record.id, "task": record.task, "model": model}
    if record.task is Task.OPEN_VOCABULARY:
        return Prediction(labels=likely(scores), **place)
    words = {word: round(p, 6) for word, p in in_words(scores, record.label_space).items()}
    if not words:
        raise CannotTellError("no word of the set has a class")
    if record.task is Task.MULTI_LABEL:
        return Prediction(labels=likely(words), probabilities=words, **place)
    return Prediction(label=max(words, key=words.__getitem__), probabilities=words, **place)

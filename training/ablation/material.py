"""What all runs have in common: clips and models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from training.ablation.plan import Plan, System, preset_of
from training.ablation.views import SEEN
from training.curriculum.encoders import ClipFeatures, Shapes
from training.curriculum.examples import Corpus
from training.mmeverse.schema import Record
from training.networks.language import LanguageModel
from training.presets import LanguagePreset, Preset

#: Fields of a record that the perception head learns from, or is measured by.
_LEARNT_BY_HEAD = {"id", "source", "person", "media", "task", "label", "valence", "arousal"}


@dataclass(frozen=True)
class Material:
    """What all runs have in common.

    Attributes:
        preset: The system that the plan varies.
        train: Clips that are learnt.
        held_out: Clips of other people.
        shapes: Of the features.
        version: Of the encoders.
        language: Makes a language model with new LoRA, for every run; such as `Languages`.
        device: Of training: cpu or cuda.
    """

    preset: Preset
    train: Corpus
    held_out: Corpus
    shapes: Shapes
    version: str
    language: Callable[[LanguagePreset], LanguageModel]
    device: str = "cpu"


class LimitedCorpus(Corpus):
    """A corpus of which only some streams can be had, and only the clips that have one of them."""

    def __init__(self, whole: Corpus, names: frozenset[str]) -> None:
        self._whole, self._names = whole, names
        self.records = tuple(r for r in whole.records if names & whole.features(r.key).keys())
        self.replay = whole.replay

    def record(self, key: tuple[str, str, str]) -> Record | None:
        """As `Corpus.record`."""
        return self._whole.record(key)

    def features(self, key: tuple[str, str, str]) -> ClipFeatures:
        """What is left of the features of a clip."""
        return {k: v for k, v in self._whole.features(key).items() if k in self._names}


def weighed(corpus: Corpus, preset: Preset) -> Corpus:
    """Only the records whose source has a weight."""
    limited = LimitedCorpus(corpus, SEEN["all"])
    limited.records = tuple(r for r in corpus.records if r.source in preset.curriculum[0].weights)
    return limited


def settings_of(plan: Plan, material: Material, system: System, seed: int) -> str:
    """Digest of all that a result depends on: the preset, the clips, the encoders."""
    parts: list[Any] = [
        preset_of(plan, material.preset, system, seed).model_dump(mode="json"),
        asdict(system),
    ]
    if system.grid == "answers" and plan.answers:
        parts += [plan.answers.blocks, plan.answers.asked]
    for corpus in (material.train, material.held_out):
        parts.append([_matters(record, system) for record in corpus.records])
    return hashlib.sha256(json.dumps([*parts, material.version], sort_keys=True).encode()).hexdigest()[:16]


def _matters(record: Record, system: System) -> dict[str, Any]:
    """What a result depends on of a record: words and reasons only where there is a language model."""
    fields = None if system.grid == "answers" else _LEARNT_BY_HEAD
    return record.model_dump(mode="json", include=fields)

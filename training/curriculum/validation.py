"""How a trained network does on people it was not trained on.

The head by modality; clips of which a modality is removed; the answers, beside those about another clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.curriculum.encoders import batch_of
from training.curriculum.examples import Batch, ExampleMaker
from training.evaluation.metrics import LabelScores, score_labels
from training.mmeverse.instructions.samples import Instruction, instructions_of
from training.mmeverse.schema import Record
from training.networks.emotion_llama import IGNORED, EmotionLlama, Features

#: What is looked at: (sound, pictures).
VIEWS: Mapping[str, tuple[bool, bool]] = {
    "video+audio": (True, True),
    "audio": (True, False),
    "video": (False, True),
}
#: What is taken from clips that have both, likewise.
REMOVALS: Mapping[str, tuple[bool, bool]] = {
    "both": (True, True),
    "sound removed": (False, True),
    "pictures removed": (True, False),
}
BATCH = 16
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class AnswerLoss:
    """Mean cross entropy of answers, nats a token.

    Attributes:
        own: With the soft tokens of the clip itself; NaN where there are no answers.
        foreign: With those of another clip: what the words alone give away.
        n: Answers.
    """

    own: float
    foreign: float
    n: int


@torch.no_grad()
def score_head(net: EmotionLlama, examples: ExampleMaker) -> dict[str, LabelScores]:
    """Score the perception head on clips with a default label, in each view that some clip has.

    Args:
        net: Trained.
        examples: Of people it was not trained on.
    """
    items = _labelled(examples)
    found = {view: _scores(net, examples, _seen(examples, items, *senses)) for view, senses in VIEWS.items()}
    return {view: scores for view, scores in found.items() if scores is not None}


@dataclass(frozen=True)
class Removal:
    """What a network tells of clips that have sound and pictures when it is given less.

    Attributes:
        scores: Of the head.
        answer: Cross entropy of the answers of stage 1, nats a token.
        noise_changes: Whether noise in the place of what was removed changes a bit of anything.
    """

    scores: LabelScores
    answer: float
    noise_changes: bool

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        scores = self.scores.to_json()
        return {**scores, "answer": round(self.answer, 4), "noise_changes": self.noise_changes}


@torch.no_grad()
def score_removals(net: EmotionLlama, examples: ExampleMaker, most: int = 128) -> dict[str, Removal]:
    """Score a network on labelled clips that have sound and pictures, and on the same clips with one removed.

    Args:
        net: Trained.
        examples: Of people it was not trained on.
        most: Answers at most.

    Returns:
        By the names of `REMOVALS`; empty where no labelled clip has both.
    """
    items = [r for r in _labelled(examples) if {"audio", "image"} <= examples.corpus.features(r.key).keys()]
    if not items:
        return {}
    asked = spread(_asked(examples, items, stage=1), most)
    return {name: _removal(net, examples, items, asked, senses) for name, senses in REMOVALS.items()}


def _removal(
    net: EmotionLlama,
    examples: ExampleMaker,
    items: Sequence[Record],
    asked: Sequence[Instruction],
    senses: tuple[bool, bool],
) -> Removal:
    def left() -> Iterator[Batch]:
        batches = (examples.batch(part) for part in _parts(asked))
        return (replace(batch, features=_without(batch.features, *senses)) for batch in batches)

    scores = _scores(net, examples, _seen(examples, items, *senses))
    assert scores is not None  # the clips have both
    costs = [_cost(net, batch) for batch in left()]
    changes = False
    if not all(senses):
        noisy = [_cost(net, replace(batch, features=_noisy(batch.features))) for batch in left()]
        seen = _seen(examples, items, *senses)
        changes = noisy != costs or any(not _same(net, clips, _noisy(clips)) for _, clips in seen)
    return Removal(scores, _mean(costs), changes)


def _labelled(examples: ExampleMaker) -> list[Record]:
    return [record for record in examples.corpus.records if examples.label_of(record) != IGNORED]


def _seen(
    examples: ExampleMaker, items: Sequence[Record], hears: bool, sees: bool
) -> Iterator[tuple[list[Record], Features]]:
    """Batches of the clips of which something is left."""
    for part in _parts(items):
        features = Features(**batch_of([examples.corpus.features(r.key) for r in part], examples.shapes))
        left = _without(features, hears, sees)
        has = left.present.any(-1)
        if has.any():
            rows = {name: value[has] for name, value in vars(left).items()}
            yield [record for record, here in zip(part, has.tolist(), strict=True) if here], Features(**rows)


def _without(features: Features, hears: bool, sees: bool) -> Features:
    return replace(features, present=features.present & torch.tensor([hears, sees, sees]))


def _noisy(features: Features) -> Features:
    """The same with noise wherever nothing is there."""
    draw = torch.Generator().manual_seed(0)
    hears, sees, watches = features.present.unbind(-1)
    here = {"audio": hears, "image": sees, "glance": sees, "video": watches}
    changed = {
        name: torch.where(
            flag.reshape(-1, *[1] * (value.ndim - 1)), value, 100 * torch.randn(value.shape, generator=draw)
        )
        for name, flag in here.items()
        for value in [getattr(features, name)]
    }
    return replace(features, **changed)


def _told(net: EmotionLlama, features: Features) -> tuple[Tensor, ...]:
    """All that comes of features: logits, valence and arousal, soft tokens and their mask."""
    perceived, soft = net.perceive(features.to(next(net.parameters()).device))
    return perceived.logits, perceived.affect, soft.tokens, soft.mask


def _same(net: EmotionLlama, ours: Features, theirs: Features) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_told(net, ours), _told(net, theirs), strict=True))


def _scores(
    net: EmotionLlama, examples: ExampleMaker, seen: Iterable[tuple[list[Record], Features]]
) -> LabelScores | None:
    """Of the head; None where nothing is seen."""
    chances: list[NDArray[np.float32]] = []
    records: list[Record] = []
    for part, features in seen:
        chances.append(_told(net, features)[0].float().softmax(-1).cpu().numpy())
        records += part
    if not records:
        return None
    truth = np.array([examples.label_of(record) for record in records])
    persons = [record.person or record.id for record in records]
    return score_labels(np.concatenate(chances), truth, persons, examples.preset.head.labels)


# --- answers ------------------------------------------------------------------------------------------------


@torch.no_grad()
def answer_loss(net: EmotionLlama, examples: ExampleMaker, stage: int, most: int = 128) -> AnswerLoss:
    """Cross entropy of every answer of a stage, with the clip's own soft tokens and with another clip's.

    Args:
        net: Trained.
        examples: Of people it was not trained on.
        stage: Whose tasks are asked.
        most: Answers at most, spread over the records.
    """
    chosen = spread(_asked(examples, examples.corpus.records, stage), most)
    own, foreign = (
        _mean(_cost(net, examples.batch(part)) for part in _parts(them))
        for them in (chosen, about_others(chosen))
    )
    return AnswerLoss(own, foreign, len(chosen))


def about_others(items: Sequence[Instruction]) -> list[Instruction]:
    """The same questions and answers, each about the next clip of its source, which has the same streams."""
    clips: dict[str, list[str]] = {}
    for source, clip, _ in (item.key for item in items):
        members = clips.setdefault(source, [])
        if clip not in members:
            members.append(clip)
    following = {
        (source, clip): members[(place + 1) % len(members)]
        for source, members in clips.items()
        for place, clip in enumerate(members)
    }
    return [replace(item, key=(item.key[0], following[item.key[:2]], item.key[2])) for item in items]


def spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of them, evenly."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))]


def _asked(examples: ExampleMaker, records: Sequence[Record], stage: int) -> list[Instruction]:
    return [
        item
        for record in records
        for item in instructions_of(record, stage, examples.preset.seed, template=examples.template)
    ]


@dataclass(frozen=True)
class _Cost:
    """Cross entropy of the answers of a batch, nats in all, and their tokens."""

    nats: float
    tokens: int


def _cost(net: EmotionLlama, batch: Batch) -> _Cost:
    moved = batch.to(next(net.parameters()).device)
    tokens = int((batch.targets != IGNORED).sum())
    return _Cost(float(net(moved.features, moved.ids, moved.mask, moved.targets)[1]) * tokens, tokens)


def _mean(costs: Iterable[_Cost]) -> float:
    """Nats a token over all of them; NaN where there are none."""
    found = list(costs)
    tokens = sum(cost.tokens for cost in found)
    return sum(cost.nats for cost in found) / tokens if tokens else math.nan


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[i : i + BATCH] for i in range(0, len(items), BATCH))

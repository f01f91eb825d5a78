"""How a trained network does on people it was not trained on: the head by modality, and the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.curriculum.encoders import batch_of
from training.curriculum.examples import Batch, ExampleMaker
from training.evaluation.metrics import LabelScores, score_labels
from training.mmeverse.instructions.samples import instructions_of
from training.networks.emotion_llama import IGNORED, EmotionLlama, Features

#: What is looked at: (sound, pictures).
VIEWS: Mapping[str, tuple[bool, bool]] = {
    "video+audio": (True, True),
    "audio": (True, False),
    "video": (False, True),
}
BATCH = 16


@dataclass(frozen=True)
class AnswerLoss:
    """Mean cross entropy of answers, nats a token.

    Attributes:
        own: With the soft tokens of the clip itself.
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
    items = [r for r in examples.corpus.records if examples.label_of(r) != IGNORED]
    labels = examples.preset.head.labels
    scores = {}
    for view, (hears, sees) in VIEWS.items():
        rows, kept = [], []
        for part in _parts(items):
            features = Features(**batch_of([examples.corpus.features(r.key) for r in part], examples.shapes))
            seen = replace(features, present=features.present & torch.tensor([hears, sees, sees]))
            has = seen.present.any(-1)
            logits = _on(net, seen)[has].softmax(-1).cpu().numpy()
            rows.append(logits)
            kept += [record for record, here in zip(part, has.tolist(), strict=True) if here]
        if kept:
            truth = np.array([examples.label_of(record) for record in kept])
            persons = [record.person or record.id for record in kept]
            scores[view] = score_labels(np.concatenate(rows), truth, persons, labels)
    return scores


def _on(net: EmotionLlama, features: Features) -> Tensor:
    device = next(net.parameters()).device
    return net.perceive(features.to(device))[0].logits.float()


@torch.no_grad()
def answer_loss(net: EmotionLlama, examples: ExampleMaker, stage: int, most: int = 128) -> AnswerLoss:
    """Cross entropy of every answer of a stage, with the clip's own soft tokens and with another clip's.

    Args:
        net: Trained.
        examples: Of people it was not trained on.
        stage: Whose tasks are asked.
        most: Answers at most, spread over the records.
    """
    asked = [
        item
        for record in examples.corpus.records
        for item in instructions_of(record, stage, examples.preset.seed, template=examples.template)
    ]
    chosen = [asked[i] for i in np.unique(np.linspace(0, len(asked) - 1, min(most, len(asked))).astype(int))]
    device = next(net.parameters()).device
    sums = np.zeros(3)
    for part in _parts(chosen):
        batch = examples.batch(part)
        tokens = int((batch.targets != IGNORED).sum())
        for column, which in enumerate((batch, _shifted(batch))):
            moved = which.to(device)
            sums[column] += float(net(moved.features, moved.ids, moved.mask, moved.targets)[1]) * tokens
        sums[2] += tokens
    return AnswerLoss(sums[0] / sums[2], sums[1] / sums[2], len(chosen))


def _shifted(batch: Batch) -> Batch:
    """The same questions about the clip of the row before."""
    rolled = {name: value.roll(1, 0) for name, value in vars(batch.features).items()}
    return replace(batch, features=Features(**rolled))


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[i : i + BATCH] for i in range(0, len(items), BATCH))

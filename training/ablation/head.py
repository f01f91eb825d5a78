"""The perception head alone: fusion and head trained without a language model, and what they tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from emollama_ros.errors import InputError
from training.ablation.results import Told, told_of
from training.ablation.views import Measure
from training.curriculum.encoders import Shapes, batch_of
from training.curriculum.examples import Corpus, affect_of, label_index
from training.curriculum.network import config_of
from training.curriculum.trainer import head_losses, rate_at
from training.mmeverse.instructions.sampling import visits
from training.mmeverse.schema import Record
from training.networks.emotion_llama import IGNORED, EmotionLlama, Features
from training.presets import Preset, StagePreset


@dataclass(frozen=True)
class HeadClips:
    """Clips that have a default label, as tensors: what the perception head learns and is measured on."""

    records: tuple[Record, ...]
    features: Features
    labels: Tensor
    affect: Tensor

    def rows(self, rows: Tensor) -> HeadClips:
        """Some of them."""
        features = Features(**{k: v[rows] for k, v in vars(self.features).items()})
        return HeadClips((), features, self.labels[rows], self.affect[rows])


def head_clips(corpus: Corpus, shapes: Shapes, labels: Sequence[str]) -> HeadClips:
    """Put the labelled clips of a corpus together.

    Raises:
        InputError: There is none.
    """
    records = tuple(r for r in corpus.records if label_index(r, labels) != IGNORED)
    if not records:
        raise InputError("no clip has one of the labels of the head; check the sources of the plan")
    return HeadClips(
        records=records,
        features=Features(**batch_of([corpus.features(r.key) for r in records], shapes)),
        labels=torch.tensor([label_index(r, labels) for r in records]),
        affect=torch.tensor([affect_of(r) for r in records]),
    )


def train_head(preset: Preset, shapes: Shapes, clips: HeadClips) -> EmotionLlama:
    """Train fusion and perception head, without a language model."""
    torch.manual_seed(preset.seed)
    stage = preset.curriculum[0]
    net = EmotionLlama(config_of(preset, shapes, language=1))  # adapters to no language model: untrained
    learnt = [value for name, value in net.named_parameters() if not name.startswith("llama_")]
    adam = torch.optim.AdamW(learnt, stage.rate, betas=stage.betas, weight_decay=stage.weight_decay)
    for step, rows in enumerate(islice(_rows(clips, stage, preset.seed), stage.steps)):
        for group in adam.param_groups:
            group["lr"] = rate_at(stage, step)
        part = clips.rows(rows)
        seen = _dropped(part.features, stage.modality_dropout)
        label, affect = head_losses(net.perceive(seen)[0], part.labels, part.affect, preset.head.smoothing)
        (label + preset.head.affect_weight * affect).backward()
        torch.nn.utils.clip_grad_norm_(learnt, stage.clip_norm or float("inf"))
        adam.step()
        adam.zero_grad()
    return net.eval()


def _rows(clips: HeadClips, stage: StagePreset, seed: int) -> Iterator[Tensor]:
    """Rows of the clips of a batch, for ever, in the proportions of the stage."""
    members: dict[tuple[str, str], list[int]] = {}
    for row, record in enumerate(clips.records):
        members.setdefault((record.source, record.task.value), []).append(row)
    sizes = {group: len(rows) for group, rows in members.items()}
    drawn = visits(sizes, {group: stage.weights[group[0]] for group in members}, seed)
    while True:
        yield torch.tensor([members[v.group][v.index] for v in islice(drawn, stage.batch)])


def _dropped(features: Features, share: float) -> Features:
    """Take sound or pictures from some of the clips that have both."""
    present = features.present
    has_both = present[:, 0] & present[:, 1:].any(-1)
    drawn = torch.rand(len(present))
    deaf, blind = has_both & (drawn < share / 2), has_both & (drawn >= share / 2) & (drawn < share)
    kept = present & ~torch.stack([deaf, blind, blind], -1)
    return replace(features, present=kept)


@torch.no_grad()
def tell(net: EmotionLlama, clips: HeadClips, measure: Measure, labels: Sequence[str]) -> Told | None:
    """What the perception head tells of clips, choosing among labels that occur; None without clips."""
    hears, sees, watches = clips.features.present.unbind(-1)
    fits = torch.ones_like(hears)
    fits &= hears if measure.needs_sound else fits
    fits &= (sees | watches) if measure.needs_pictures else fits
    if not fits.any():
        return None
    rows = fits.nonzero()[:, 0]
    part = clips.rows(rows)
    given = part.features.present & torch.tensor([measure.hears, measure.sees, measure.sees])
    seen = replace(part.features, present=given).to(device_of(net))
    logits = net.perceive(seen)[0].logits.cpu()
    occurring = part.labels.unique()
    chosen = occurring[logits[:, occurring].argmax(-1)]
    records = [clips.records[i] for i in rows.tolist()]
    return told_of(records, [labels[i] for i in part.labels], [labels[i] for i in chosen])


def device_of(net: EmotionLlama) -> torch.device:
    """Where a network computes."""
    return next(net.parameters()).device

"""Whether the language model reads its soft tokens: true texts, with the soft tokens of another scene.

A model that only knows how such texts go finds the true one as likely with anybody's soft tokens. So the
loss of true texts is compared with soft tokens of the same scene, of a scene with another label, and of
another scene with the same label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from emollama_ros.language.grammar import TextTokens
from training.cognition.fit import Cognition
from training.cognition.scenes import Scene
from training.cognition.texts import QUESTIONS, Lesson, answer
from training.evaluation.metrics import DRAWS, bootstrap
from training.networks.emotion_llama import SoftTokens

#: Whose soft tokens stand in the prompt.
OWN, OTHER = "of the scene", "of a scene with another label"
SAME_LABEL = "of another scene with the same label"
_BATCH = 8


@dataclass(frozen=True)
class Told:
    """True texts and their losses.

    Attributes:
        persons: (N,) person of each scene.
        tokens: (N,) length of each text.
        losses: Whose soft tokens -> (N,) cross entropy of the whole text, nats; NaN where there is nobody.
    """

    persons: NDArray[np.str_]
    tokens: NDArray[np.int64]
    losses: dict[str, NDArray[np.float64]]


@torch.no_grad()
def tell(model: Cognition, scenes: Sequence[Scene], seed: int = 0) -> Told:
    """Work out how likely true texts are with their own soft tokens, and with those of others.

    Args:
        model: Trained.
        scenes: Of people that nothing was trained on.
        seed: Of the texts, and of who is exchanged with whom. Exchanged are scenes with the same senses.
    """
    model.eval()
    rng = np.random.default_rng(seed)
    lessons = [_lesson(scene, model.codec, rng) for scene in scenes]
    soft = _joined([model.soft([lesson]) for lesson in lessons])
    found = {OWN: np.arange(len(lessons))}
    found |= {name: _partners(lessons, name == SAME_LABEL, rng) for name in (OTHER, SAME_LABEL)}
    counts, losses = np.zeros(len(lessons), np.int64), {}
    for name, partners in found.items():
        losses[name] = np.full(len(lessons), np.nan)
        rows = np.nonzero(partners >= 0)[0]
        for some in tqdm(np.array_split(rows, max(1, len(rows) // _BATCH)), name, leave=False):
            theirs = partners[some]
            each, row = model.losses(
                [lessons[i] for i in some], SoftTokens(soft.tokens[theirs], soft.mask[theirs])
            )
            sums = torch.zeros(len(some)).index_add(0, row, each)
            losses[name][some] = sums.numpy()
            counts[some] = torch.bincount(row, minlength=len(some)).numpy()
    return Told(np.array([scene.person for scene in scenes]), counts, losses)


def _lesson(scene: Scene, tokens: TextTokens, rng: np.random.Generator) -> Lesson:
    asked = QUESTIONS["reason"][0]
    return Lesson(
        scene, scene.has, "reason", asked, "", answer(scene, scene.has, "reason", asked, tokens, rng)
    )


def _joined(parts: Sequence[SoftTokens]) -> SoftTokens:
    return SoftTokens(torch.cat([p.tokens for p in parts]), torch.cat([p.mask for p in parts]))


def _partners(lessons: Sequence[Lesson], same_label: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """Another scene for each, by chance, that has the same senses; -1 where there is none."""
    partners = np.full(len(lessons), -1)
    for i, lesson in enumerate(lessons):
        alike = [
            j
            for j, other in enumerate(lessons)
            if other.given == lesson.given
            and other.scene.person != lesson.scene.person
            and (other.scene.label == lesson.scene.label) == same_label
        ]
        if alike:
            partners[i] = int(rng.choice(alike))
    return partners


def report(told: Told, seed: int = 0) -> dict[str, Any]:
    """Nats a token, and how many more with the soft tokens of others, with 95 % intervals over people."""
    found: dict[str, Any] = {"texts": len(told.tokens), "people": len(set(told.persons.tolist()))}
    found["nats a token"] = round(float(told.losses[OWN].sum() / told.tokens.sum()), 4)
    for name in (OTHER, SAME_LABEL):
        rows = np.isfinite(told.losses[name])
        parts = np.stack([(told.losses[name] - told.losses[OWN])[rows], told.tokens[rows]], 1)
        low, high = bootstrap(parts, told.persons[rows].tolist(), _ratio, DRAWS, seed)
        found[f"more with soft tokens {name}"] = {
            "value": round(float(_ratio(parts.sum(0)[None])[0]), 4),
            "interval": [round(float(low), 4), round(float(high), 4)],
            "texts": int(rows.sum()),
        }
    return found


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[:, 0] / sums[:, 1]

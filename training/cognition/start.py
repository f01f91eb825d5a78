"""Soft tokens begin near words: the mean of all, moved towards the words for what a linear map finds.

A language model reads words from the first step on, and would have to learn to read anything else. So each
adapter starts as the ridge regression of what can be noticed (and the label) on its stream, put into the
place of the words' embeddings, around the mean of all words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emollama_ros.estimate import Modality
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.language.phrases import CLAUSES, Claim, adjective
from training.cognition.fit import shown
from training.cognition.texts import Lesson
from training.evaluation.reasoning_claims import CUE_OF, modality_of
from training.networks.language import TextCodec
from training.networks.perception_net import PerceptionNet
from training.networks.soft_tokens import SoftTokenAdapters

#: Strength of the ridge, as a share of the variance of a stream's features.
RIDGE = 0.3
#: Length (root of the mean square) of a soft token's components around the mean of all words. What lies
#: further out is like no word, and the model makes nothing of the rest of the prompt: true texts cost it 3.8
#: nats a token from here, 6.9 from four times as far (16 scenes, SmolLM2).
DEVIATION = 0.025
#: What each stream can know.
_KNOWS = {
    "fusion": Modality.AUDIO | Modality.VIDEO,
    "image": Modality.VIDEO,
    "video": Modality.VIDEO,
    "audio": Modality.AUDIO,
}


@torch.no_grad()
def start_from_words(
    adapters: SoftTokenAdapters,
    net: PerceptionNet,
    lessons: Sequence[Lesson],
    words: nn.Embedding,
    codec: TextCodec,
) -> None:
    """Set what is usual in each stream, and the adapters' first weights.

    Args:
        adapters: To start, in place.
        net: Finished perception.
        lessons: Scenes with all that they have.
        words: Embeddings of the language model.
        codec: Its tokens.
    """
    audio, image, video, present = shown(lessons)
    fused = net.eval()(audio, image, video, present)[2]
    hears, sees = present[:, 0] > 0.5, present[:, 1] > 0.5
    there = {"fusion": hears | sees, "image": sees, "video": sees, "audio": hears}
    for name, found in adapters.streams(audio, image, video, fused).items():
        rows = there[name].nonzero()[:, 0]
        claims = [claim for claim in CUE_OF if modality_of(claim) in _KNOWS[name]]
        truth = _truth([lessons[row] for row in rows.tolist()], claims)
        adapters.norms[name].measure(found[rows].flatten(0, 1))
        streams = adapters.norms[name](found[rows])
        meaning = torch.stack([_meaning(text, words, codec) for text in _texts(claims)])
        _start(adapters.adapters[name], streams, truth, meaning, DEVIATION)
        adapters.adapters[name].bias.copy_(words.weight.float().mean(0))


def _start(adapter: nn.Linear, streams: Tensor, truth: Tensor, meaning: Tensor, size: float) -> None:
    """Ridge regression of ``truth`` (N, C) on ``streams`` (N, T, D), through ``meaning`` (C, width)."""
    count, parts, width = streams.shape
    rows = streams.flatten(0, 1).double()
    wanted = (truth - truth.mean(0)).repeat_interleave(parts, 0).double()
    gram = rows.T @ rows + RIDGE * count * parts * torch.eye(width, dtype=torch.float64)
    maps = torch.linalg.solve(gram, rows.T @ wanted)
    weight = (maps @ meaning.double()).float().T
    said = streams.flatten(0, 1) @ weight.T
    adapter.weight.copy_(weight * size / said.square().mean().sqrt())


def _truth(lessons: Sequence[Lesson], claims: Sequence[Claim]) -> Tensor:
    """(N, claims + labels): 1 where a cue can be noticed, or the label is shown, else 0."""
    rows = []
    for lesson in lessons:
        noticed = set(lesson.scene.cues(lesson.given))
        rows.append(
            [*(claim in noticed for claim in claims), *(lesson.scene.label == n for n in DEFAULT_LABELS)]
        )
    return torch.tensor(rows).float()


def _texts(claims: Sequence[Claim]) -> list[str]:
    return [*(" ".join(CLAUSES[claim]) for claim in claims), *map(adjective, DEFAULT_LABELS)]


def _meaning(text: str, words: nn.Embedding, codec: TextCodec) -> Tensor:
    """Mean embedding of the words of a text."""
    return words.weight[codec.encode(f" {text}")].float().mean(0)

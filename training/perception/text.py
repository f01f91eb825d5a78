"""The words' view: a linear model over hashed n-grams, trained on GoEmotions.

Bag-of-n-grams linear models (Joulin et al. 2017, fastText) are within a few points of far larger ones on
short emotional sentences, and cost the robot a table look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.preprocess.text import hash_ngrams
from training.mmeverse.clips import Clip


@dataclass(frozen=True)
class TextConfig:
    """Schedule of the text model; ``keep`` is the share of n-grams that survive dropout."""

    buckets: int = 2**16
    epochs: int = 6
    batch: int = 256
    rate: float = 0.3
    keep: float = 0.7
    smoothing: float = 0.1
    seed: int = 0


class NgramClassifier(nn.Module):
    """Mean of the rows of the n-grams, plus a bias."""

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(buckets, len(DEFAULT_LABELS)))
        self.bias = nn.Parameter(torch.zeros(len(DEFAULT_LABELS)))

    def forward(self, ngrams: Tensor) -> Tensor:
        """Map the hashed n-grams (n,) of one sentence, n >= 1, to logits (labels,)."""
        return self.table[ngrams].mean(0) + self.bias

    def batch(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Logits (B, labels) of B sentences laid end to end, as ``torch.nn.EmbeddingBag`` reads them."""
        return F.embedding_bag(ids, self.table, offsets, mode="mean") + self.bias


def fit_text(clips: Sequence[Clip], config: TextConfig) -> NgramClassifier:
    """Train on sentences; rare labels weigh more, by the inverse root of their frequency."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    bags, labels = encode(clips, config.buckets)
    model = NgramClassifier(config.buckets)
    optimiser = torch.optim.Adagrad(model.parameters(), config.rate)
    weights = torch.bincount(labels, minlength=len(DEFAULT_LABELS)).float().clamp(min=1).rsqrt()
    for _ in tqdm(range(config.epochs), desc="text", leave=False):
        for rows in np.array_split(rng.permutation(len(bags)), len(bags) // config.batch):
            chosen = [_thin(bags[i], config.keep, rng) for i in rows]
            logits = model.batch(*_flatten(chosen))
            loss = F.cross_entropy(
                logits, labels[rows], weights / weights.mean(), label_smoothing=config.smoothing
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


@torch.no_grad()
def predict_text(model: NgramClassifier, clips: Sequence[Clip]) -> NDArray[np.float32]:
    """Logits (N, labels)."""
    bags, _ = encode(clips, len(model.table))
    return model.batch(*_flatten(bags)).numpy()


def encode(clips: Sequence[Clip], buckets: int) -> tuple[list[NDArray[np.int64]], Tensor]:
    """Hashed n-grams and label index of each sentence; sentences without any n-gram get bucket 0."""
    bags = [hash_ngrams(clip.text, buckets) for clip in clips]
    labels = torch.tensor([DEFAULT_LABELS.index(clip.label) for clip in clips])
    return [bag if len(bag) else np.zeros(1, np.int64) for bag in bags], labels


def _thin(bag: NDArray[np.int64], keep: float, rng: np.random.Generator) -> NDArray[np.int64]:
    kept = bag[rng.random(len(bag)) < keep]
    return kept if len(kept) else bag


def _flatten(bags: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    offsets = np.cumsum([0] + [len(bag) for bag in bags[:-1]])
    return torch.from_numpy(np.concatenate(bags)), torch.from_numpy(offsets)

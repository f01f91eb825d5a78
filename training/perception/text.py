"""The words' view: a linear model over hashed n-grams, trained on GoEmotions.

Bag-of-n-grams linear models (Joulin et al. 2017, fastText) are within a few points of far larger ones on
short emotional sentences, and cost the robot a table look-up. N-grams count by how rare they are (tf-idf,
Spärck Jones 1972), and every sentence has length one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.preprocess.text import hash_ngrams
from training.mmeverse.clips import Clip

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TextConfig:
    """How it is fitted.

    Attributes:
        buckets: Of hashed n-grams.
        strength: Inverse strength of regularisation.
        balance: Labels weigh as their frequency to minus this: 0 as often as they are, 1 all alike.
        iterations: Most of L-BFGS.
    """

    buckets: int = 2**17
    strength: float = 2.0
    balance: float = 0.5
    iterations: int = 60


class NgramClassifier(nn.Module):
    """Weighted sum of the rows of the n-grams over the length of the sentence, plus a bias."""

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(buckets, len(DEFAULT_LABELS)))
        self.squares = nn.Parameter(torch.ones(buckets))
        self.bias = nn.Parameter(torch.zeros(len(DEFAULT_LABELS)))

    def forward(self, ngrams: Tensor) -> Tensor:
        """Map the hashed n-grams (n,) of one sentence, n >= 1, to logits (labels,)."""
        return self.table[ngrams].sum(0) / self.squares[ngrams].sum().sqrt() + self.bias


def fit_text(clips: Sequence[Clip], config: TextConfig) -> NgramClassifier:
    """Fit on sentences; the same sentences give the same model."""
    counts, labels = encode(clips, config.buckets)
    rarity = _rarity(counts)
    frequency = np.bincount(labels, minlength=len(DEFAULT_LABELS)) / len(labels)
    weights = {i: f**-config.balance for i, f in enumerate(frequency) if f}
    regression = LogisticRegression(C=config.strength, class_weight=weights, max_iter=config.iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # more steps change the second decimal of nothing
        regression.fit(_standard(counts, rarity), labels)
    model = NgramClassifier(config.buckets)
    with torch.no_grad():
        known = torch.from_numpy(regression.classes_)
        model.table[:, known] = torch.from_numpy(rarity[:, None] * regression.coef_.T).float()
        model.bias[known] = torch.from_numpy(regression.intercept_).float()
        model.squares.copy_(torch.from_numpy(rarity**2))
    return model.eval()


@torch.no_grad()
def predict_text(model: NgramClassifier, clips: Sequence[Clip]) -> Floats:
    """Logits (N, labels)."""
    counts, _ = encode(clips, len(model.table))
    length = np.sqrt(counts @ model.squares.numpy())
    return np.asarray(counts @ model.table.numpy() / length[:, None] + model.bias.numpy(), np.float32)


def encode(clips: Sequence[Clip], buckets: int) -> tuple[csr_matrix, NDArray[np.int64]]:
    """How often each n-gram is in each sentence (N, buckets), and the labels; of none, bucket 0."""
    bags = [hash_ngrams(clip.text, buckets) for clip in clips]
    bags = [bag if len(bag) else np.zeros(1, np.int64) for bag in bags]
    ends = np.cumsum([0, *map(len, bags)])
    ones = np.ones(ends[-1], np.float32)
    counts = csr_matrix((ones, np.concatenate(bags), ends), shape=(len(bags), buckets))
    counts.sum_duplicates()
    return counts, np.array([DEFAULT_LABELS.index(clip.label) for clip in clips])


def _rarity(counts: csr_matrix) -> Floats:
    """Inverse document frequency of each n-gram (buckets,)."""
    having = np.asarray((counts > 0).sum(0)).ravel()
    return (np.log((1 + counts.shape[0]) / (1 + having)) + 1).astype(np.float32)


def _standard(counts: csr_matrix, rarity: Floats) -> csr_matrix:
    """Weigh n-grams by rarity, and give every sentence length one."""
    length = np.sqrt(counts @ rarity**2)
    return (diags(1 / length) @ counts @ diags(rarity)).tocsr()

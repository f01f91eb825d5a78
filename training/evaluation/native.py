"""From the seven default labels to the words of a set, and what cannot be said in them.

The rules are stated here and in every report, and none of them was fitted to anything:

- *Which word*: a word of the set stands for the default label that `to_default` maps it to. Words without
  one (calm, boredom, contempt, worried, ...) cannot be told; clips that truly carry them stay in the score
  and are wrong. Default labels without a word in the set take no part, and the rest is scaled to sum to 1.
- *One label*: the most probable word.
- *Several labels*: the most probable word, and every word at least half as probable.
- *Sentiment*: the estimated valence is the score, so that its sign decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.mmeverse.label_sets import to_default

#: Share of the most probable word's probability that makes another word a label too.
SHARE_OF_BEST = 0.5

RULES = (
    "A word of the set is told when the default label it stands for is the most probable of those that have "
    "a word in the set. Words that no default label stands for are never told.",
    "Several labels: the most probable word, and every word at least half as probable.",
    "Sentiment: the sign of the estimated valence.",
    "Words are given to the model only where a record is in English and its sentences differ by emotion.",
    "A clip is one window, at most 30 s of it.",
)


def sayable(space: Sequence[str]) -> dict[str, str]:
    """Word of the set, to the default label that it stands for; words without one are not in it."""
    return {word: label for word in space if (label := to_default(word)) is not None}


def unsayable(space: Sequence[str]) -> tuple[str, ...]:
    """Words of the set that no default label stands for."""
    said = sayable(space)
    return tuple(word for word in space if word not in said)


def in_words(scores: Mapping[str, float], space: Sequence[str]) -> dict[str, float]:
    """Probabilities of default labels as probabilities of the set's words; empty where none can be told.

    Args:
        scores: By default label.
        space: Label space of the set. Words that stand for one label share its probability.
    """
    words = sayable(space)
    sharing = {label: list(words.values()).count(label) for label in words.values()}
    taken = {word: scores.get(label, 0.0) / sharing[label] for word, label in words.items()}
    total = sum(taken.values())
    return {word: min(1.0, value / total) for word, value in taken.items()} if total > 0 else {}


def likely(probabilities: Mapping[str, float]) -> tuple[str, ...]:
    """The most probable word, and every word at least `SHARE_OF_BEST` as probable; best first."""
    order = sorted(probabilities, key=lambda word: -probabilities[word])
    return tuple(w for w in order if probabilities[w] >= SHARE_OF_BEST * probabilities[order[0]])

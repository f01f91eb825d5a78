"""Sounds in which nobody speaks, and what the tests compare words by."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Floats = NDArray[np.float32]


def silence(seconds: float) -> Floats:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds: float, dbfs: float, seed: int = 0) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (drawn * 10 ** (dbfs / 20)).astype(np.float32)


def tone(seconds: float, hertz: float, dbfs: float = -20.0) -> Floats:
    time = np.arange(round(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * hertz * time) * 10 ** (dbfs / 20)).astype(np.float32)


def melody(seconds: float, seed: int = 0) -> Floats:
    """Plucked notes of a scale with overtones, four a second, two at a time."""
    rng, out = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    time = np.arange(RATE // 2) / RATE
    for begin in range(0, len(out) - len(time), RATE // 4):
        for hertz in 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 2) / 12):
            overtones = (np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6))
            out[begin : begin + len(time)] += 0.05 * sum(overtones) * np.exp(-4 * time)
    return out.astype(np.float32)


_NUMBERS = {"11": "eleven", "9": "nine", "7": "seven"}


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation, small numbers written out."""
    spelt = re.sub(r"\d+", lambda found: _NUMBERS.get(found[0], found[0]), text.lower())
    return re.sub(r"[^a-z' ]", " ", spelt).split()


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """Words that are wrong, missing or too many, and words that were said."""
    truth, found = words(said), words(heard)
    row = list(range(len(found) + 1))
    for i, word in enumerate(truth, 1):
        last, row = row, [i]
        for j, other in enumerate(found, 1):
            row.append(min(row[-1] + 1, last[j] + 1, last[j - 1] + (word != other)))
    return row[-1], len(truth)

"""Choices that depend on what is chosen for, and on nothing that happened before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_STEPS = 2**64


def fraction(*parts: object) -> float:
    """A number in [0, 1), uniform over different ``parts`` and always the same for the same ones.

    A generator with a state would make a clip's prompt depend on how many clips came before it, as the
    released code does. `random.Random` promises the same choices only within one version of Python.
    """
    text = "\x1f".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / _STEPS


def one_of(options: Sequence[T], *parts: object) -> T:
    """One of the options, each as likely as the others."""
    return options[_index(fraction(*parts) * len(options), len(options))]


def weighted(options: Sequence[T], weights: Sequence[float], *parts: object) -> T:
    """One of the options, as likely as its weight says."""
    left = fraction(*parts) * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        if left < weight:
            return option
        left -= weight
    return [option for option, weight in zip(options, weights, strict=True) if weight > 0][-1]  # rounding


def shuffled(options: Sequence[T], *parts: object) -> tuple[T, ...]:
    """The options in another order; the order they come in has no influence where they differ in `repr`."""
    return tuple(sorted(options, key=lambda option: fraction(*parts, option)))


def _index(position: float, length: int) -> int:
    return min(int(position), length - 1)  # a fraction just below 1 times a length can round up to it

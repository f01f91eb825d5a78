"""All pairs of bit strings that differ in few places, without comparing all with all.

Strings that differ in at most r places agree wholly in one of r + 1 bands at least (the pigeonhole principle;
Manku, Jain, Das Sarma 2007 use it for web pages). So each band is sorted, and only neighbours with the same
band are compared. The result is exact: nothing within the limit is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

#: Pairs compared at once: 16 bytes of indices each.
_BLOCK = 1 << 21
_ONES_OF_16_BITS = np.array([bin(i).count("1") for i in range(1 << 16)], dtype=np.uint8)


def words(hexadecimal: Sequence[str]) -> Words:
    """Bit strings of one length (a multiple of 64) as numbers: ``[n, bits / 64]``."""
    raw = bytes.fromhex("".join(hexadecimal))
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(len(hexadecimal), -1)


def differing_bits(a: Words, b: Words) -> NDArray[np.int64]:
    """In how many places the rows of ``[n, words]`` differ: ``[n]``."""
    parts = np.ascontiguousarray(a ^ b).view(np.uint16)
    return _ONES_OF_16_BITS[parts].sum(axis=-1, dtype=np.int64)


def near_pairs(strings: Words, limit: int) -> tuple[Indices, Indices, NDArray[np.int64]]:
    """Find all pairs of rows that differ in at most ``limit`` places.

    Args:
        strings: ``[n, words]``.
        limit: Less than the number of bits.

    Returns:
        Rows i, rows j (i < j, in order), and in how many places they differ.
    """
    found = [np.zeros((0, 3), dtype=np.int64)]
    for band in _bands(strings, limit + 1):
        order = np.argsort(band, kind="stable")
        for left, right in _same(band[order]):
            i, j = order[left], order[right]
            apart = differing_bits(strings[i], strings[j])
            near = apart <= limit
            found.append(np.column_stack([np.minimum(i, j)[near], np.maximum(i, j)[near], apart[near]]))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1], pairs[:, 2]


def _bands(strings: Words, count: int) -> Iterator[NDArray[np.uint64]]:
    """Cut the rows into ``count`` bands of nearly the same width, each a number of at most 64 bits."""
    bits = strings.shape[1] * 64
    edges = [bits * i // count for i in range(count + 1)]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        yield _bits(strings, low, high)


def _bits(strings: Words, low: int, high: int) -> NDArray[np.uint64]:
    """Bits ``low`` to ``high`` (at most 64) of each row, counted from the right of each word."""
    word, shift, width = low // 64, low % 64, high - low
    value = strings[:, word] >> np.uint64(shift)
    if shift + width > 64:
        value = value | strings[:, word + 1] << np.uint64(64 - shift)
    return value if width == 64 else value & np.uint64((1 << width) - 1)


def _same(ordered: NDArray[np.uint64]) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of places that hold the same number, in blocks, of numbers in order."""
    left, step = np.arange(len(ordered)), 1
    while len(left := left[left + step < len(ordered)]):
        left = left[ordered[left] == ordered[left + step]]
        for block in range(0, len(left), _BLOCK):
            part = left[block : block + _BLOCK]
            yield part, part + step
        step += 1

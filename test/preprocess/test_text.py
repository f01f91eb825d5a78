"""Hashed n-grams: the same numbers everywhere, and nothing that text can break."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.preprocess.text import MAX_CHARACTERS, hash_ngrams, normalise


def test_ngrams_of_one_word_are_these() -> None:
    grams = ["w1:hi", "c:<h", "c:hi", "c:i>", "c:<hi", "c:hi>", "c:<hi>"]
    assert hash_ngrams("Hi").tolist() == [zlib.crc32(g.encode()) % 2**16 for g in grams]


def test_golden_buckets() -> None:
    """Fixed numbers: a platform or Python that hashes otherwise would read other embeddings."""
    assert hash_ngrams("Oh, no!")[:6].tolist() == [43586, 31236, 3744, 1721, 726, 23516]


def test_word_pairs_are_there_and_characters_stay_inside_words() -> None:
    def bucket(gram: str) -> int:
        return zlib.crc32(gram.encode()) % 2**16

    both = set(hash_ngrams("not good").tolist())
    assert bucket("w2:not good") in both
    assert bucket("c:t g") not in both and bucket("c:tg") not in both


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HELLO", "hello"),
        ("STRASSE", "straße"),
        ("don\u2019t", "don't"),
        ("soooooo", "sooo"),
        ("caf\u0065\u0301", "caf\u00e9"),
        ("👍🏽", "👍"),
        ("❤\ufe0f", "❤"),
        ("a\tb\n", " a  b"),
        ("a\x00b", "a b"),
        ("ﬁne", "fine"),
    ],
)
def test_what_reads_the_same_hashes_the_same(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    np.testing.assert_array_equal(hash_ngrams(one), hash_ngrams(other))


def test_what_matters_stays_different() -> None:
    texts = ["oh", "oh!", "oh?", "oh 🙂", "oh 😡", "oh no", "no oh", "so", "soo"]
    assert len({tuple(hash_ngrams(t).tolist()) for t in texts}) == len(texts)


@pytest.mark.parametrize("text", ["", "  \n", "\u200b", "\x00"])
def test_no_words_no_numbers(text: str) -> None:
    out = hash_ngrams(text)
    assert out.shape == (0,) and out.dtype == np.int64


def test_only_the_end_of_a_long_text_is_read() -> None:
    end = "x y " * (MAX_CHARACTERS // 4)
    np.testing.assert_array_equal(hash_ngrams("far away " * 100_000 + end), hash_ngrams(end))


@given(st.text(max_size=200), st.integers(1, 2**20))
def test_every_text_gives_buckets_in_range(text: str, buckets: int) -> None:
    out = hash_ngrams(text, buckets)
    assert out.dtype == np.int64
    assert ((out >= 0) & (out < buckets)).all()

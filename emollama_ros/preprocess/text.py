"""Words to numbers: hashed n-grams, the same on every platform and Python.

A transcript is data: it is only ever counted here, never interpreted.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Only the end of a longer text is read: the latest words say most about the present.
MAX_CHARACTERS = 2000

_WORD_GRAMS = (1, 2)
_CHARACTER_GRAMS = (2, 3, 4, 5)

# A word with inner apostrophes, or one sign: "don't", "!", "🙂".
_TOKEN = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
_STRETCHED = re.compile(r"(.)\1{2,}")
# Joiner, variation selectors and skin tones vary an emoji without changing what it says.
_EMOJI_VARIANTS = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'"})


def normalise(text: str) -> str:
    """Return text in the one form that is hashed.

    In this order: the last ``MAX_CHARACTERS`` characters; emoji variants (skin tone, joiner, variation
    selector) removed; Unicode NFKC; case folded; curly apostrophes made straight; characters repeated
    more than twice cut to two ("soooo" and "sooo" are one word); white space and control characters
    made single spaces.
    """
    plain = _EMOJI_VARIANTS.sub("", text[-MAX_CHARACTERS:])
    folded = unicodedata.normalize("NFKC", plain).casefold().translate(_QUOTES)
    printable = "".join(" " if unicodedata.category(c).startswith("C") else c for c in folded)
    return " ".join(_STRETCHED.sub(r"\1\1", printable).split())


def hash_ngrams(text: str, buckets: int = 2**16) -> NDArray[np.int64]:
    """Return the buckets of all n-grams of a text, for a bag of embeddings.

    N-grams are of one and two words (a punctuation mark or emoji is a word), and of two to five
    characters inside each word, where ``<`` and ``>`` mark its ends (Bojanowski et al. 2017, fastText).
    The hash is CRC-32 of their UTF-8 bytes, modulo ``buckets``.

    Args:
        text: Any text, in any language; normalised by ``normalise``.
        buckets: Number of buckets, 1 or more.

    Returns:
        int64 ``[n]`` in [0, buckets), in text order, repetitions kept; empty for a text without words.
    """
    words = _TOKEN.findall(normalise(text))
    hashes = [zlib.crc32(gram.encode()) % buckets for gram in _grams(words)]
    return np.array(hashes, np.int64)


def _grams(words: list[str]) -> Iterator[str]:
    """Yield n-grams; a prefix keeps the word "he" apart from the characters "he"."""
    for n in _WORD_GRAMS:
        for i in range(len(words) - n + 1):
            yield f"w{n}:" + " ".join(words[i : i + n])
    for word in words:
        marked = f"<{word}>"
        for n in _CHARACTER_GRAMS:
            for i in range(len(marked) - n + 1):
                yield "c:" + marked[i : i + n]

"""Words that name a feeling, so that free text can be kept from naming another one than is published."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from emollama_ros.labels import canonical

#: Label -> patterns of words that say it: the words data sets use, their nouns and adverbs, close synonyms.
WORDS: Mapping[str, tuple[str, ...]] = {
    "neutral": ("neutral(?:ity|ly)?", "indifferen(?:t|ce)", "unemotional"),
    "happy": ("happ(?:y|ier|iest|ily|iness)", r"joy\w*", r"cheer(?:ful|fully|fulness)", "delight(?:ed)?"),
    "sad": ("sad(?:der|ly|ness|dened)?", r"sorrow\w*", "grief", "grieving", "unhapp(?:y|iness)", r"gloom\w*"),
    "angry": ("ang(?:er|ered|ry|rily)", "furious(?:ly)?", "fury", "rage", "enraged", "annoy(?:ed|ance)"),
    "surprised": (r"surpris\w*", r"astonish\w*", "amaze(?:d|ment)"),
    "scared": (r"scar(?:ed|y)", r"fear\w*", "afraid", r"fright\w*", r"terrif\w*", "terror", "panic"),
    "disgusted": (r"disgust\w*", "revulsion", "revolted"),
    "bored": ("bored(?:om)?", "boring"),
    "contempt": (r"contempt\w*", r"disdain\w*"),
}


def other_feelings(label: str, labels: Iterable[str]) -> re.Pattern[str] | None:
    """Match whole words that name a label of a set other than ``label``, in any case; None for no others.

    Args:
        label: The published label, or one that is not of the set.
        labels: The label set; labels without an entry in `WORDS` are matched as they are spelt.
    """
    return _pattern(_known(label), tuple(dict.fromkeys(map(_known, labels))))


@lru_cache(maxsize=64)
def _pattern(label: str, labels: tuple[str, ...]) -> re.Pattern[str] | None:
    words = [word for other in labels if other != label for word in WORDS.get(other, (re.escape(other),))]
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE) if words else None


def _known(label: str) -> str:
    try:
        return canonical(label)
    except KeyError:
        return label.lower()

"""Action units: what FACS calls those measured here, and which of them each emotion shows."""

from __future__ import annotations

from collections.abc import Mapping

#: Ekman, Friesen & Hager (2002), Facial Action Coding System.
NAMES: Mapping[str, str] = {
    "AU01": "inner brow raiser",
    "AU02": "outer brow raiser",
    "AU04": "brow lowerer",
    "AU05": "upper lid raiser",
    "AU06": "cheek raiser",
    "AU07": "lid tightener",
    "AU09": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU12": "lip corner puller",
    "AU15": "lip corner depressor",
    "AU17": "chin raiser",
    "AU20": "lip stretcher",
    "AU23": "lip tightener",
    "AU25": "lips part",
    "AU26": "jaw drop",
    "AU45": "blink",
}

#: Units of each default label after EMFACS (Friesen & Ekman 1983), all variants together; those that are not
#: measured count as well where another tool measured them.
EMOTION_UNITS: Mapping[str, tuple[str, ...]] = {
    "happy": ("AU06", "AU12"),
    "sad": ("AU01", "AU04", "AU15", "AU17"),
    "surprised": ("AU01", "AU02", "AU05", "AU26"),
    "scared": ("AU01", "AU02", "AU04", "AU05", "AU07", "AU20", "AU26"),
    "angry": ("AU04", "AU05", "AU07", "AU23"),
    "disgusted": ("AU09", "AU10", "AU15", "AU17"),
    "neutral": (),
}
#: The same for the words of sentiment.
SENTIMENT_EMOTIONS: Mapping[str, tuple[str, ...]] = {
    "positive": ("happy",),
    "negative": ("sad", "scared", "angry", "disgusted"),
    "neutral": ("neutral",),
}

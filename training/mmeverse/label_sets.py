"""Label spaces of the sources, in their own words, and the explicit ways from one to another."""

from __future__ import annotations

from collections.abc import Mapping

from emollama_ros.labels import DEFAULT_LABELS, canonical

#: The spaces as the sources (and the prompts of MMEVerse-Bench) spell them.
LABEL_SPACES: Mapping[str, tuple[str, ...]] = {
    "default": DEFAULT_LABELS,
    "mer": ("angry", "happy", "neutral", "sad", "surprise", "worried"),
    "meld": ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"),
    "ekman": ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    "dfew": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    "e3": ("angry", "disgusted", "happy", "sad", "sarcastic", "scared", "shy", "surprised"),
    "iemocap": ("anger", "happiness", "neutral", "sadness"),
    "mafw": (
        "anger", "anxiety", "contempt", "disappointment", "disgust", "fear",
        "happiness", "helplessness", "neutral", "sadness", "surprise",
    ),
    "bold": (
        "peace", "affection", "esteem", "anticipation", "engagement", "confidence", "happiness", "pleasure",
        "excitement", "surprise", "sympathy", "doubt/confusion", "disconnection", "fatigue", "embarrassment",
        "yearning", "disapproval", "aversion", "annoyance", "anger", "sensitivity", "sadness", "disquietment",
        "fear", "pain", "suffering",
    ),
    "intent": (
        "acknowledging", "agreeing", "consoling", "encouraging",
        "neutral", "questioning", "suggesting", "wishing",
    ),
    "sentiment": ("negative", "neutral", "positive"),
    "javanese_av": ("neutral", "sadness", "happiness", "surprise", "fear", "anger"),
    "emodb": ("anger", "boredom", "neutral", "happiness", "fear", "sadness", "disgust"),
    "faces_muxspace": (
        "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    ),
    "ravdess": ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"),
}  # fmt: skip


def to_default(label: str) -> str | None:
    """The default label that a source's emotion word stands for.

    None for words that have no counterpart among the seven (calm, boredom, contempt, worried, shy, ...):
    their clips train and test nothing that needs one.
    """
    try:
        word = canonical(label)
    except KeyError:
        return None
    return word if word in DEFAULT_LABELS else None


def sentiment_of(score: float) -> str:
    """The sentiment word of a score: its sign, and neutral for 0 (MER-UniBench, arXiv 2501.16566)."""
    return "negative" if score < 0 else "positive" if score > 0 else "neutral"

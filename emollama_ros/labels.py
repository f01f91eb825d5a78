"""Label sets, their ``hri_msgs/Expression`` names, data set label maps, valence and arousal."""

from __future__ import annotations

from collections.abc import Mapping

#: What a state says instead of a label: nothing could be perceived.
UNKNOWN = "unknown"
#: The same: something was perceived, and no label is likely enough (``emollama_ros.uncertainty``).
UNCERTAIN = "uncertain"
#: Labels that no label set has, and hri_msgs/Expression has no word for.
WITHOUT_FEELING: frozenset[str] = frozenset({UNKNOWN, UNCERTAIN})

#: The seven labels of the default model, named as the constants of hri_msgs/Expression.
DEFAULT_LABELS: tuple[str, ...] = (
    "neutral",
    "happy",
    "sad",
    "angry",
    "surprised",
    "scared",
    "disgusted",
)

#: Every string constant of hri_msgs/Expression (release 2.3.2).
HRI_EXPRESSIONS: frozenset[str] = frozenset(
    {
        "neutral", "angry", "sad", "happy", "surprised", "disgusted", "scared", "pleading", "vulnerable",
        "despaired", "guilty", "disappointed", "embarrassed", "horrified", "skeptical", "annoyed", "furious",
        "suspicious", "rejected", "bored", "tired", "asleep", "confused", "amazed", "excited",
    }
)  # fmt: skip

#: Words that data sets use for the same emotion. Keys are lower case.
_SYNONYMS: Mapping[str, str] = {
    "neutral": "neutral",
    "happiness": "happy",
    "happy": "happy",
    "joy": "happy",
    "sadness": "sad",
    "sad": "sad",
    "anger": "angry",
    "angry": "angry",
    "surprise": "surprised",
    "surprised": "surprised",
    "fear": "scared",
    "fearful": "scared",
    "scared": "scared",
    "disgust": "disgusted",
    "disgusted": "disgusted",
    "boredom": "bored",
    "bored": "bored",
    "calm": "calm",
    "contempt": "contempt",
}

#: Circumplex coordinates (valence, arousal) in [-1, 1] of each label, rounded from the
#: Russell (1980) placement. Used where a data set has labels but no dimensional annotation.
CIRCUMPLEX: Mapping[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happy": (0.8, 0.5),
    "sad": (-0.7, -0.5),
    "angry": (-0.6, 0.7),
    "surprised": (0.2, 0.8),
    "scared": (-0.7, 0.7),
    "disgusted": (-0.7, 0.3),
    "bored": (-0.4, -0.6),
    "contempt": (-0.5, 0.1),
}


def canonical(word: str) -> str:
    """Map a data set's emotion word to this package's label.

    Args:
        word: Any spelling found in a supported data set, in any case.

    Raises:
        KeyError: The word is not known; the message lists what is.
    """
    try:
        return _SYNONYMS[word.strip().lower()]
    except KeyError:
        known = ", ".join(sorted(_SYNONYMS))
        raise KeyError(f"unknown emotion word {word!r}; known: {known}") from None

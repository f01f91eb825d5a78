"""What to generate, who plays what, and which split a person belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from training.synthesis.people import SAMPLE_PERSON

#: Raised whenever the same seed would give another clip, and the day that this happened.
VERSION, VERSION_DATE = 2, "2026-11-23"

#: By last digit of the person number: eight of ten people train, one validates, one tests.
_SPLITS: dict[int, Literal["validation", "test"]] = {8: "validation", 9: "test"}


@dataclass(frozen=True)
class Options:
    """What to generate.

    Attributes:
        seed: Seed of everything that is not the identity of a person.
        people: Number of identities.
        first_person: Number of the first identity.
        seconds: Length of a clip.
        fps: Frames per second of the video.
        width: Picture width in pixels.
        height: Picture height in pixels.
        face: Range of the head height as a share of the picture height; every doubling of the distance
            in it is as likely.
        labels: Labels to show.
        conflict: Share of clips with picture and sound in which the two show different labels.
        missing: Share of clips that lack one modality.
        cutout: Share of clips in which one modality is cut out for a stretch.
        emotional_words: Share of sentences whose words carry the emotion.
        segments: Expressions shown one after the other in a clip.
    """

    seed: int = 0
    people: int = 60
    first_person: int = 0
    seconds: float = 4.0
    fps: float = 10.0
    width: int = 320
    height: int = 240
    face: tuple[float, float] = (0.3, 0.85)
    labels: tuple[str, ...] = DEFAULT_LABELS
    conflict: float = 0.0
    missing: float = 0.0
    cutout: float = 0.0
    emotional_words: float = 0.15
    segments: int = 1

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        checks = {
            "people": self.people >= 1,
            "first_person": self.first_person >= 0,
            "seconds": self.seconds >= 0.5,
            "fps": 0 < self.fps <= 60,
            "width": 32 <= self.width <= 1920 and self.width % 2 == 0,
            "height": 32 <= self.height <= 1080 and self.height % 2 == 0,
            "face": 0.1 <= self.face[0] <= self.face[1] <= 1.0,
            "conflict": 0 <= self.conflict <= 1,
            "missing": 0 <= self.missing <= 1,
            "cutout": 0 <= self.cutout <= 1,
            "emotional_words": 0 <= self.emotional_words <= 1,
            "segments": self.segments >= 1,
            "labels": bool(self.labels) and set(self.labels) <= set(DEFAULT_LABELS),
        }
        wrong = [f"{name}={getattr(self, name)!r}" for name, good in checks.items() if not good]
        if wrong:
            raise ConfigError(
                f"synthesis options out of range: {', '.join(wrong)}; see training.synthesis.options.Options"
            )
        if self.first_person <= SAMPLE_PERSON < self.first_person + self.people:
            raise ConfigError(
                f"person {SAMPLE_PERSON} is kept for the bundled sample: choose another first_person"
            )


def cast(index: int, options: Options) -> tuple[int, str]:
    """Return person number and first label of clip ``index``: every person shows every label in turn."""
    person = index % options.people
    label = options.labels[(index // options.people + person) % len(options.labels)]
    return options.first_person + person, label


def split_of(person_id: int) -> Literal["train", "validation", "test"]:
    """Return the split of a person; a function of the number alone, so that no two folders disagree."""
    return _SPLITS.get(person_id % 10, "train")

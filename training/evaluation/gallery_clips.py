"""What the gallery shows: clips, what was told of them, and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.labels import DEFAULT_LABELS

SENSES = {"audio": "voice", "video": "picture"}


@dataclass(frozen=True)
class Shown:
    """A clip, what was told of it, and the truth.

    Attributes:
        record: Its truth.
        views: Scores of ``DEFAULT_LABELS`` by view: ``audio``, ``video``, ``both``.
        reasoning: Why, in words.
        frames: uint8 (height, width, 3) each, at ``MOMENTS``.
        samples: Sound, 16 kHz.
    """

    record: Mapping[str, Any]
    views: Mapping[str, Sequence[float]]
    reasoning: str = ""
    frames: tuple[NDArray[np.uint8], ...] = ()
    samples: NDArray[np.float32] | None = None

    @property
    def truth(self) -> str:
        """The true label."""
        return str(self.record["label"])

    @property
    def is_right(self) -> bool:
        """Whether the true label has the highest score."""
        return self.label == self.truth

    @property
    def label(self) -> str:
        """The label with the highest score."""
        return best(self.views["both"])[0]

    @property
    def confidence(self) -> float:
        """Its score."""
        return best(self.views["both"])[1]

    @property
    def intensity(self) -> float:
        """How strongly it was shown and said, 0 to 1."""
        return float(self.record["segments"][0]["intensity"])

    def alone(self) -> dict[str, tuple[str, float]]:
        """What each sense says by itself: label and probability."""
        return {name: best(self.views[view]) for view, name in SENSES.items()}

    def circumstances(self) -> list[str]:
        """What of the truth makes it hard, in words."""
        record, segment = self.record, self.record["segments"][0]
        scene, speech = record["scene"], segment["speech"]
        found = []
        if record["conflict"]:
            found.append(f"face shows {segment['face']}, voice {segment['voice']}")
        found += [f"{cut['modality']} {cut['kind']} for a while" for cut in record["cutouts"]]
        if scene["face_height"] < 0.25:
            found.append(f"face {100 * scene['face_height']:.0f} % of the picture")
        if scene["exposure"] < 0.7:
            found.append("dim light")
        if abs(scene["yaw"]) > 0.25:
            found.append("head turned")
        if speech["snr_db"] < 15:
            found.append(f"voice {speech['snr_db']:.0f} dB above noise")
        if self.intensity < 0.6 and self.truth != "neutral":
            found.append(f"shown weakly ({self.intensity:.2f})")
        return found


@dataclass(frozen=True)
class Found:
    """What the gallery shows, and what it was chosen from.

    Attributes:
        model: Name, version and hash of the bundle.
        mistakes: Most confident ones first, one a person.
        successes: Weakest expressions first, one a person, neutral ones left out.
        told: All clips that were told.
    """

    model: str
    mistakes: tuple[Shown, ...]
    successes: tuple[Shown, ...]
    told: tuple[Shown, ...]


def best(scores: Sequence[float]) -> tuple[str, float]:
    """The label with the highest score, and its score."""
    top = int(np.argmax(scores))
    return DEFAULT_LABELS[top], float(scores[top])

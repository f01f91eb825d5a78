"""A bundle as a predictor of packed clips: one window a clip, through the robot's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS, UNKNOWN
from emollama_ros.perception import TINY
from training.evaluation.adapters.bundle import BundleModel, window_of
from training.mmeverse.decoding import FRAME_HZ, DecodedClip

_NOTHING = np.zeros(0, np.float32)


class BundlePredictor:
    """Tells clips as a robot would that has the bundle.

    Attributes:
        model: The bundle.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open a bundle.

        Args:
            path: Its folder; None for the default one.

        Raises:
            BundleError: It is damaged.
            InputError: Its labels are not the default ones.
        """
        self.model = BundleModel.load(path)
        self._labels = self.model.bundle.manifest.labels
        if missing := sorted(set(DEFAULT_LABELS) - set(self._labels)):
            raise InputError(f"{self.model.name}: does not tell {', '.join(missing)}")
        self._seen: NDArray[np.uint8] | None = None

    @property
    def trained_on(self) -> list[str]:
        """Sources that the manifest says it was trained on."""
        return sorted({claim.source for claim in self.model.trained_on or ()})

    def predict(
        self, samples: NDArray[np.float32] | None, frames: NDArray[np.uint8] | None, person: str
    ) -> NDArray[np.float32]:
        """Logarithms (7,) of the scores that the robot would publish; zeros where it says ``unknown``."""
        if frames is not None and frames is not self._seen:
            # Frames are known by their stamps, and every clip begins at 0.
            self.model.perception.reset()
            self._seen = frames
        estimate = self.model.perception.perceive_one(window_of(_decoded(samples, frames)), 0)
        if estimate.label == UNKNOWN:
            return np.zeros(len(DEFAULT_LABELS), np.float32)
        scores = dict(zip(self._labels, estimate.scores, strict=True))
        return np.log(np.array([scores[label] for label in DEFAULT_LABELS], np.float32) + np.float32(TINY))


def _decoded(samples: NDArray[np.float32] | None, frames: NDArray[np.uint8] | None) -> DecodedClip:
    pictures = () if frames is None else tuple(frames)
    stamps = tuple(round(i * 1e9 / FRAME_HZ) for i in range(len(pictures)))
    return DecodedClip(_NOTHING if samples is None else samples, pictures, stamps)

"""Predictions for people that nothing was trained on: what ``python -m training leave-one-out`` leaves.

One ``.npz`` that the calibration of the recipe, the coverage report and the streaming evaluation all read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS
from training.evaluation.calibration import pooled, temperature

Logits = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class HeldOut:
    """Raw logits (N, labels) of clips of people that nothing was trained on; NaN where a view is not there.

    Attributes:
        truth: (N,) label indices.
        persons: (N,) ``source:person`` of each clip.
        audio: Voice alone.
        video: Picture alone.
        fused: Both through Conv-Attention.
    """

    truth: NDArray[np.int64]
    persons: NDArray[np.str_]
    audio: NDArray[np.float32]
    video: NDArray[np.float32]
    fused: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.truth)

    @classmethod
    def load(cls, path: Path) -> HeldOut:
        """Read a file that ``save`` wrote.

        Raises:
            InputError: It is no such file; says what is missing or wrong.
        """
        try:
            with np.load(path) as stored:
                columns = {field.name: stored[field.name] for field in fields(cls)}
            truth, persons = columns["truth"].astype(np.int64), columns["persons"].astype(np.str_)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(
                f"{path}: no held-out predictions ({error}); make them with leave-one-out"
            ) from None
        found = cls(truth, persons, columns["audio"], columns["video"], columns["fused"])
        shape = (len(truth), len(DEFAULT_LABELS))
        if len(persons) != len(truth):
            raise InputError(f"{path}: {len(persons)} persons for {len(truth)} clips; make it anew")
        if wrong := [view for view, logits in found.raw.items() if logits.shape != shape]:
            raise InputError(
                f"{path}: {wrong[0]} has the shape {found.raw[wrong[0]].shape}, not {shape}; make it anew"
            )
        return found

    def save(self, path: Path) -> None:
        """Write them to a file, ``.npz``."""
        np.savez(path, **vars(self))

    @classmethod
    def joined(cls, parts: Sequence[HeldOut]) -> HeldOut:
        """The clips of several, in this order."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def take(self, rows: NDArray[Any]) -> HeldOut:
        """Some of the clips, by index or mask."""
        return HeldOut(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def raw(self) -> Mapping[str, NDArray[np.float32]]:
        """Logits by view, as the network gives them: ``audio``, ``video``, and ``video+audio`` as fused."""
        return {"audio": self.audio, "video": self.video, "video+audio": self.fused}

    def views(self) -> dict[str, Logits]:
        """Logits of each set of modalities that any clip has, as the robot combines them, in double."""
        audio, fused = self.audio.astype(np.float64), self.fused.astype(np.float64)
        found = {
            "audio": audio,
            "video": self.video.astype(np.float64),
            "video+audio": pooled(audio, fused),
        }
        return {name: logits for name, logits in found.items() if np.isfinite(logits).all(1).any()}

    def temperatures(self) -> dict[str, float]:
        """Fitted temperature of each set of modalities, over the clips that have it."""
        there = {name: np.isfinite(logits).all(1) for name, logits in self.views().items()}
        return {
            name: temperature(logits[there[name]], self.truth[there[name]])
            for name, logits in self.views().items()
        }

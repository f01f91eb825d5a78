"""Muxspace faces: photographs with noisy labels (github muxspace/facial_expressions, Apache-2.0)."""

from __future__ import annotations

from pathlib import Path

from emollama_ros.estimate import Modality
from emollama_ros.labels import canonical
from training.mmeverse.schema import Clip
from training.mmeverse.sources.labels_csv import rows


def read(folder: Path) -> list[Clip]:
    """Read ``labels.csv`` (path, person_guess, emotion) and the photographs beside it."""
    return [
        Clip(
            id=Path(row["path"]).stem,
            source="faces_muxspace",
            person=f"faces_muxspace:{row['person_guess']}",
            label=canonical(row["emotion"]),
            modalities=Modality.VIDEO,
            path=folder / row["path"],
        )
        for row in rows(folder)
    ]

"""RAVDESS speech (Livingstone & Russo 2018), CC BY-NC-SA 4.0: measured on, never trained on."""

from __future__ import annotations

from pathlib import Path

from emollama_ros.estimate import Modality
from emollama_ros.labels import canonical
from training.mmeverse.schema import Clip
from training.mmeverse.sources.labels_csv import rows


def read(folder: Path) -> list[Clip]:
    """Read ``labels.csv``; calm has no counterpart elsewhere and is left out."""
    return [
        Clip(
            id=Path(row["path"]).stem,
            source="ravdess_16k",
            person=f"ravdess_16k:{row['actor']}",
            label=canonical(row["emotion"]),
            modalities=Modality.AUDIO,
            path=folder / row["path"],
            sentence=row["transcript"],
        )
        for row in rows(folder)
        if row["emotion"] != "calm"
    ]

"""Emo-DB: acted German speech, 7 emotions, 10 speakers (Burkhardt et al. 2005)."""

from __future__ import annotations

from pathlib import Path

from emollama_ros.estimate import Modality
from emollama_ros.labels import canonical
from training.mmeverse.schema import Clip
from training.mmeverse.sources.labels_csv import rows


def read(folder: Path) -> list[Clip]:
    """Read ``labels.csv`` (path, speaker, text, emotion) and the recordings beside it."""
    return [
        Clip(
            id=Path(row["path"]).stem,
            source="emodb",
            person=f"emodb:{row['speaker']}",
            label=canonical(row["emotion"]),
            modalities=Modality.AUDIO,
            path=folder / row["path"],
            sentence=row["text"],
        )
        for row in rows(folder)
    ]

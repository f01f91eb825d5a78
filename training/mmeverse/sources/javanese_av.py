"""Javanese AV: acted clips, 6 emotions (github 2black0/video-emotion-recognition-javanese, MIT)."""

from __future__ import annotations

from pathlib import Path

from emollama_ros.estimate import Modality
from emollama_ros.labels import canonical
from training.mmeverse.schema import Clip
from training.mmeverse.sources.labels_csv import rows


def read(folder: Path) -> list[Clip]:
    """Read ``labels.csv`` (path, actor, sentence, emotion) and the clips beside it."""
    return [
        Clip(
            id=Path(row["path"]).stem,
            source="javanese_av",
            person=f"javanese_av:{row['actor']}",
            label=canonical(row["emotion"]),
            modalities=Modality.VIDEO | Modality.AUDIO,
            path=folder / row["path"],
            sentence=row["sentence"],
        )
        for row in rows(folder)
    ]

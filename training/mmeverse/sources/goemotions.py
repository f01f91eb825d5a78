"""GoEmotions in the Ekman grouping (Demszky et al. 2020; github monologg/GoEmotions-pytorch, data CC BY 4.0).

The sentences have no author, so every one counts as a person of its own; the published split is kept.
"""

from __future__ import annotations

import csv
from pathlib import Path

from emollama_ros.estimate import Modality
from emollama_ros.labels import canonical
from training.mmeverse.schema import Clip

#: File of each published split that is distributed here.
SPLITS = {"train": "ekman_train.tsv", "dev": "ekman_dev.tsv"}


def read(folder: Path) -> list[Clip]:
    """Read the sentences that carry exactly one label, both splits; the id starts with the split."""
    names = (folder / "ekman_labels.txt").read_text(encoding="utf-8").split()
    clips = []
    for split, file_name in SPLITS.items():
        with (folder / file_name).open(newline="", encoding="utf-8") as file:
            for text, indices, key in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                if "," not in indices:
                    clips.append(_sentence(split, key, text, canonical(names[int(indices)])))
    return clips


def _sentence(split: str, key: str, text: str, label: str) -> Clip:
    return Clip(
        id=f"{split}/{key}",
        source="goemotions",
        person=f"goemotions:{key}",
        label=label,
        modalities=Modality.TEXT,
        text=text,
    )

"""The project's own generated people: labels, action units and reasons are true, being drawn first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import ActionUnit, Clues, Media, Provenance, Record, Split, Task, explain
from training.mmeverse.sources.base import (
    Found,
    Item,
    Reject,
    Source,
    UnusableError,
    one_of,
    open_text,
    split_named,
)

NAME = "synthesis"
_TABLE = "labels.jsonl"


def read(root: Path) -> Iterator[Item]:
    """Read ``labels.jsonl`` as `training.synthesis.generate` writes it; the clips lie beside it."""
    with open_text(root, _TABLE, "utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _item(f"{_TABLE}:{number}", line)


def _item(where: str, line: str) -> Item:
    try:
        truth = json.loads(line)
    except json.JSONDecodeError as error:
        return Reject(where, line[:40], f"broken line: {error}")
    try:
        return Found(where, _record(truth))
    except UnusableError as error:
        return Reject(where, str(truth.get("id", "")), str(error))
    except ValidationError as error:
        return Reject(where, str(truth.get("id", "")), explain(error))
    except (AttributeError, KeyError, TypeError) as error:
        clip = str(truth.get("id", "")) if isinstance(truth, dict) else ""
        return Reject(where, clip, f"broken line: {type(error).__name__}: {error}")


def _record(truth: Mapping[str, Any]) -> Record:
    clues = _clues(truth)
    return Record(
        id=truth["id"],
        source=NAME,
        split=cast(Split, split_named(truth["split"])),
        person=f"{NAME}:{truth['person']}",
        media=_media(truth),
        transcript=truth["transcript"],
        language="en" if truth["transcript"] else None,
        task=Task.EMOTION,
        label_space=LABEL_SPACES["default"],
        label=one_of(truth["label"], LABEL_SPACES["default"]),
        clues=clues,
        reasoning=truth["reasoning"],
        provenance=_provenance(truth, clues),
    )


def _media(truth: Mapping[str, Any]) -> Media:
    """Name the clip as film where it has pictures, as sound where it has nothing else."""
    return Media(video=truth["clip"]) if "video" in truth["modalities"] else Media(audio=truth["clip"])


def _clues(truth: Mapping[str, Any]) -> Clues:
    peak = truth["peak"]
    units = peak["units"] if peak else {}
    return Clues(
        audio=truth["clue_voice"],
        visual=truth["clue_visual"],
        action_units=tuple(ActionUnit(unit=name, intensity=float(value)) for name, value in units.items()),
        peak_frame=peak["frame"] if peak else None,
    )


def _provenance(truth: Mapping[str, Any], clues: Clues) -> dict[str, Provenance]:
    filled = {
        "clues.audio": clues.audio,
        "clues.visual": clues.visual,
        "clues.action_units": clues.action_units,
        "clues.peak_frame": clues.peak_frame is not None,
        "reasoning": truth["reasoning"],
    }
    version = f"training.synthesis {truth['version']}"
    made = Provenance(agent=NAME, model=version, prompt="", date=truth["date"])
    return {name: made for name, there in filled.items() if there}


LAYOUT = """\
labels.jsonl       one line a clip: label, person, action units, prosody, text
clips/NNNNNN.mp4   the clips"""

SOURCE = Source(
    name=NAME,
    title="Generated people (emollama_ros)",
    homepage="docs/synthesis.md",
    licence="CC0 1.0",
    citation="this project",
    layout=LAYOUT,
    read=read,
    notes=(
        "Made by `python -m training.synthesis --out FOLDER`, split by person number. A share of the "
        "sentences (15 % by default) carries the emotion in words. In a conflict the label is the stronger "
        "modality's. Action units over time and prosody stay in labels.jsonl."
    ),
)

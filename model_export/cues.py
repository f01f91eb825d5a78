"""Detectors of cues for a bundle that is otherwise finished: they read what its own encoders give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from emollama_ros.bundle import MANIFEST, Bundle, file_sha256, seal
from emollama_ros.cue_head import CUES, write_cue_head
from emollama_ros.errors import ConfigError, InputError
from emollama_ros.language.phrases import Claim
from emollama_ros.manifest import BundleFile
from model_export.manifest import render
from training.cognition.cue_head import (
    Quality,
    clip_windows,
    collect,
    fit_cue_head,
    usual_windows,
    voice_windows,
)
from training.evaluation.reasoning_truth import read_truth
from training.synthesis.options import Options, cast, split_of

#: Sentences said besides the clips, and the seed of what they are.
VOICES, _SEED = 2400, 5
#: Real sources with neutral speech that may be trained on.
REAL = ("emodb", "javanese_av")


def add_cues(
    folder: Path,
    synthesis: Path,
    persons: range,
    voices: int = VOICES,
    root: Path | None = None,
    threads: int = 2,
    split: str | None = None,
) -> tuple[Bundle, dict[Claim, Quality]]:
    """Fit detectors on generated people, and keep them in a bundle.

    The same bundle, clips and processor give the same bytes.

    Args:
        folder: The bundle; its manifest is written anew.
        synthesis: Folder of ``python -m training.synthesis``.
        persons: Numbers of the people to learn from. Keep some for measuring.
        voices: Sentences that these people say besides, made on the spot; 0 for none.
        root: Folder of real sources, whose neutral speech says what is usual; None goes without.
        threads: CPU threads.
        split: Learn only from people of this split, in clips and voices; None from all of ``persons``.

    Returns:
        The bundle as it is then, and how each detector does on people it was not fitted on.

    Raises:
        ConfigError: The clips are too few for any detector.
        InputError: There are no clips, or one cannot be decoded.
    """
    bundle = Bundle.load(folder)
    records = [
        record
        for record in read_truth(synthesis, persons.start)
        if record["person"] < persons.stop and _is_of(split, record)
    ]
    if not records:
        raise InputError(f"{synthesis}: no clips of people of the split {split!r} among {persons}")
    numbers = sorted({record["person"] for record in records})
    windows = clip_windows(synthesis, records)
    options = Options(seed=_SEED, first_person=numbers[0], people=numbers[-1] - numbers[0] + 1)
    if voices:
        spoken = (pair for pair in voice_windows(voices, options) if _is_of(split, pair[1]))
        windows = chain(windows, spoken)
    if root:
        windows = chain(windows, usual_windows(root, REAL))
    head, quality = fit_cue_head(collect(bundle, windows, threads))
    if not quality:
        raise ConfigError(f"{synthesis}: {len(records)} clips are too few to fit any detector on; make more")
    write_cue_head(head, folder / CUES)
    said = sum(_is_of(split, {"person": cast(index, options)[0]}) for index in range(voices))
    made = f"{len(records)} generated clips and {said} voices of {len(numbers)} people"
    real = f"; neutral speech of {', '.join(REAL)} as what is usual" if root else ""
    _enter(bundle, f"fitted on {made}{real}")
    return Bundle.load(folder), quality


def _is_of(split: str | None, record: Mapping[str, Any]) -> bool:
    return split is None or split_of(record["person"]) == split


def _enter(bundle: Bundle, origin: str) -> None:
    """Put the file into the manifest."""
    path = bundle.path / CUES
    entry = asdict(BundleFile("", path.stat().st_size, file_sha256(path), "Apache-2.0", origin))
    del entry["name"]
    raw = json.loads((bundle.path / MANIFEST).read_text())
    raw["files"] = dict(sorted({**raw["files"], CUES: entry}.items()))
    (bundle.path / MANIFEST).write_text(render(raw))
    seal(bundle.path)


def table(quality: Mapping[Claim, Quality]) -> str:
    """How detectors do on people they were not fitted on, as Markdown."""
    lines = ["| cue | can be noticed | not true | precision | recall |", "|---|---|---|---|---|"]
    for claim, q in quality.items():
        cells = ("/".join(claim), q.positives, q.negatives, f"{q.precision:.2f}", f"{q.recall:.2f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)

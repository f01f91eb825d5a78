"""What a bundle's own reasonings look like, for it to guess from: its texts over clips it was trained on.

Reasonings that people or other models wrote are worse to guess from: a language model has phrases of its own
(figures in docs/language.md). The texts hold nothing that the weights would not write anyway.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from emollama_ros.bundle import MANIFEST, Bundle, file_sha256, seal
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import ConfigError
from emollama_ros.estimate import EmotionEstimate
from emollama_ros.free_reasoning import FreeReasoner
from emollama_ros.language.guesses import GUESSES, Guesses, write_guesses
from emollama_ros.manifest import BundleFile, Task
from emollama_ros.perception import Perception
from model_export.manifest import render
from model_export.verification import Clip, read_clips

#: Clips that are written about unless a caller says otherwise.
CLIPS = 96


def add_guesses(folder: Path, prepared: Path, root: Path, clips: int = CLIPS, threads: int = 2) -> Bundle:
    """Have a bundle write about clips of the training splits, and keep its texts in it.

    The same bundle and clips give the same bytes on the same kind of processor; on another one, products of
    eight bits are rounded otherwise and a text may differ.

    Args:
        folder: The bundle; its manifest is written anew.
        prepared: What ``python -m training prepare`` wrote: a folder a source.
        root: Holds the sources' folders, as distributed.
        clips: How many, over all sources.
        threads: CPU threads.

    Returns:
        The bundle as it is then.

    Raises:
        ConfigError: The bundle writes no free text, or its decoder checks no guesses, as in older releases.
        InputError: There are no clips.
    """
    bundle = Bundle.load(folder)
    if bundle.manifest.prompt is None or not bundle.has_language:
        raise ConfigError(f"{folder}: has no language model that writes freely, so there is nothing to guess")
    texts = write_texts(bundle, read_clips(prepared, root, clips, "train"), threads)
    (folder / GUESSES).write_bytes(write_guesses(texts))
    _enter(bundle, f"its own texts over {clips} clips of the training splits")
    return Bundle.load(folder)


def write_texts(bundle: Bundle, clips: Sequence[Clip], threads: int = 2) -> list[list[int]]:
    """Write about clips, once for every question of the bundle; tokens of each text, clip by clip.

    Raises:
        ConfigError: The bundle's decoder checks no guesses.
    """
    perception = Perception(bundle, EngineOptions("cpu", threads))
    assert bundle.manifest.prompt is not None
    tasks = [task for task in get_args(Task) if task in bundle.manifest.prompt.questions]
    reasoners = [FreeReasoner.load(bundle, threads, task) for task in tasks]
    written = []
    for clip in clips:
        estimate = _perceived(perception, clip)
        written += [_written(reasoner, estimate, clip.window.transcript) for reasoner in reasoners]
    return written


def _written(reasoner: FreeReasoner, estimate: EmotionEstimate, transcript: str) -> list[int]:
    if not isinstance(reasoner.guesses, Guesses):
        raise ConfigError("the bundle's decoder checks no guesses; export the bundle again")
    reasoner.explain(estimate, transcript)
    return reasoner.guesses.last


def _perceived(perception: Perception, clip: Clip) -> EmotionEstimate:
    perception.reset()
    # The number seeds the text where tokens are drawn; they are not, unless the manifest says so.
    return perception.perceive_one(clip.window)


def _enter(bundle: Bundle, origin: str) -> None:
    """Put the file into the manifest."""
    path = bundle.path / GUESSES
    licence = bundle.manifest.files[bundle.graph("decoder").file].licence
    entry = asdict(BundleFile("", path.stat().st_size, file_sha256(path), licence, origin))
    del entry["name"]
    raw = json.loads((bundle.path / MANIFEST).read_text())
    raw["files"] = dict(sorted({**raw["files"], GUESSES: entry}.items()))
    (bundle.path / MANIFEST).write_text(render(raw))
    seal(bundle.path)

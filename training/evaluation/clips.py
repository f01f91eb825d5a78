"""Scores of a bundle on labelled clips, through the robot's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.perception import Perception
from emollama_ros.preprocess.image import to_model_frame
from training.evaluation.adapters.bundle import window_of
from training.evaluation.metrics import LabelScores, score_labels
from training.mmeverse.clips import Clip
from training.mmeverse.decoding import decode_clip


@dataclass(frozen=True)
class BundleScores:
    """Scores, and the bundle they belong to (name, version, hash of the manifest)."""

    bundle: str
    scores: LabelScores


def evaluate_bundle(clips: Sequence[Clip], path: Path | None) -> BundleScores:
    """Perceive each clip as one window and score the labels; foreign labels are left out."""
    bundle = Bundle.load(path)
    perception = Perception(bundle, EngineOptions("auto", threads=2))
    labels = bundle.manifest.labels
    known = [clip for clip in clips if clip.label in labels]
    rows = [_probabilities(perception, clip) for clip in tqdm(known, desc="clips")]
    truth = np.array([labels.index(clip.label) for clip in known])
    name = f"{bundle.manifest.name} {bundle.manifest.version} {bundle.sha256[:12]}"
    return BundleScores(name, score_labels(np.array(rows), truth, [clip.person for clip in known], labels))


def _probabilities(perception: Perception, clip: Clip) -> tuple[float, ...]:
    perception.reset()
    decoded = decode_clip(clip.media, clip.root, to_model_frame)
    return perception.perceive_one(window_of(decoded, clip.text), 0).scores

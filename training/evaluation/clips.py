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
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from training.clip_packs import RawClip, decode
from training.evaluation.metrics import LabelScores, score_labels
from training.mmeverse.clips import Clip
from training.mmeverse.decoding import FRAME_HZ, RATE


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
    window = Window(0, 1, transcript=clip.text) if not clip.media.files() else clip_window(decode(clip))
    return perception.perceive(window, 0).scores


def clip_window(raw: RawClip) -> Window:
    """A whole clip as one window."""
    stamps = (np.arange(len(raw.frames)) * 1e9 / FRAME_HZ).astype(np.int64)
    end_ns = max(round(len(raw.samples) / RATE * 1e9), round(len(raw.frames) / FRAME_HZ * 1e9))
    return Window(
        0,
        end_ns,
        FrameBatch(stamps, raw.frames) if len(raw.frames) else None,
        AudioSpan(0, raw.samples, 1.0) if len(raw.samples) else None,
    )

"""What a robot says where nobody is, summed up; and clips of nobody that training never saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.labels import DEFAULT_LABELS, UNCERTAIN, UNKNOWN
from emollama_ros.streams import Window
from emollama_ros.uncertainty import Uncertainty
from emollama_ros.usable import usable_modalities
from training.evaluation import nobody
from training.evaluation.nothing_report import (
    GENERATED,
    OTHER,
    Nobody,
    everything,
    markdown,
    measure,
    report,
    window_of,
)

SILENT, UNSEEN = np.zeros(0, np.float32), np.zeros((0, 224, 224, 3), np.uint8)


class Scripted:
    """A perception that is as sure as it is told to be; unknown where that is 0."""

    def __init__(self, confidences: Sequence[float]) -> None:
        self._confidences = iter(confidences)
        self.windows: list[Window] = []
        self.resets = 0

    def reset(self, source: int | None = None) -> None:
        self.resets += 1

    def perceive_one(self, window: Window, sequence: int = 0) -> EmotionEstimate:
        self.windows.append(window)
        confidence = next(self._confidences)
        label, used = ("sad", usable_modalities(window)[0]) if confidence else (UNKNOWN, Modality.NONE)
        scores = tuple(confidence if name == label else (1 - confidence) / 6 for name in DEFAULT_LABELS)
        return EmotionEstimate(
            0, window.end_ns, sequence, label, DEFAULT_LABELS, scores, 0.0, 0.0, confidence, used
        )


def clip(kind: str = "hum", made_by: str = GENERATED) -> Nobody:
    return Nobody(kind, made_by, np.random.default_rng(0).normal(0, 0.1, 64000).astype(np.float32), UNSEEN)


def test_each_clip_is_a_first_window() -> None:
    perception = Scripted([0.3, 0.6])
    told = measure(perception, [clip(), clip()], Uncertainty(0.4))
    assert [t.label for t in told] == [UNCERTAIN, "sad"]
    assert [(t.likeliest, t.inputs, t.confidence) for t in told] == [
        ("sad", "audio", 0.3),
        ("sad", "audio", 0.6),
    ]
    assert perception.resets == 2, "frames are known by their stamps, and every clip begins at 0"


def test_confidences_are_summed_up_over_what_could_be_perceived() -> None:
    clips = [clip(), clip(), clip("night", OTHER), clip("night", OTHER)]
    told = measure(Scripted([0.2, 0.6, 0.3, 0.0]), clips, Uncertainty(0.4))
    found = report(told, {"bundle": "b", "uncertain_below": 0.4, "seed": 1})
    assert found["all"] == {
        "clips": 4, "mean_confidence": 0.3667, "highest_confidence": 0.6, "threshold_for_95_percent": 0.61,
        "uncertain": 0.5, "unknown": 0.25, "a_label": 0.25, "commonest_label": "sad",
    }  # fmt: skip
    assert found["by_maker"][GENERATED]["mean_confidence"] == 0.4
    assert [(row["kind"], row["unknown"]) for row in found["kinds"]] == [("hum", 0.0), ("night", 0.5)]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    table = markdown(found)
    assert "| hum | 2 | **0.40** | 0.60 | 50% | 0% | 50% | sad |" in table
    assert "| night | 2 | 0.30 | 0.30 | 50% | 50% | 0% | sad |" in table


def test_a_window_has_what_the_clip_has() -> None:
    both = Nobody("night", OTHER, np.zeros(64000, np.float32), np.zeros((16, 224, 224, 3), np.uint8))
    window = window_of(both)
    assert (window.start_ns, window.end_ns) == (0, 4_000_000_000)
    assert window.audio is not None and window.frames is not None
    assert np.diff(window.frames.stamps_ns).tolist() == [250_000_000] * 15
    assert window_of(Nobody("x", OTHER, SILENT, both.frames)).audio is None
    assert window_of(clip()).frames is None


def test_all_clips_are_made_of_one_seed() -> None:
    made = list(everything(10, 1, seed=5))
    kinds = [one.kind for one in made]
    assert kinds[10:] == [*nobody.SOUNDS, *nobody.PICTURES]
    assert [one.made_by for one in made] == [GENERATED] * 10 + [OTHER] * (len(made) - 10)
    again = list(everything(10, 1, seed=5))
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_array_equal(one.frames, other.frames)


def test_some_have_the_other_sense_too() -> None:
    three = [(len(s) > 0, len(f) > 0) for kind, s, f in nobody.others(3, 0) if kind in ("alarm", "office")]
    assert three == [(True, False), (True, False), (True, True), (False, True), (False, True), (True, True)]


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from([*nobody.SOUNDS]), seed=st.integers(0, 2**32 - 1))
def test_any_sound_is_four_seconds_within_full_scale(kind: str, seed: int) -> None:
    samples = nobody.SOUNDS[kind](np.random.default_rng(seed))
    assert samples.shape == (64000,) and samples.dtype == np.float32
    assert np.isfinite(samples).all() and 0 < np.abs(samples).max() <= 1


@settings(max_examples=16, deadline=None)
@given(kind=st.sampled_from([*nobody.PICTURES]), seed=st.integers(0, 2**32 - 1))
def test_any_pictures_are_sixteen_frames_that_are_not_alike(kind: str, seed: int) -> None:
    frames = nobody.PICTURES[kind](np.random.default_rng(seed))
    assert frames.shape == (16, 224, 224, 3) and frames.dtype == np.uint8
    assert (frames[0] != frames[1]).any(), "a camera has noise"


@pytest.mark.slow
def test_the_default_bundle_runs_over_all_kinds(tmp_path: Path) -> None:
    """Whatever it says of them: nothing fails, and every clip is counted."""
    from training.evaluation.adapters.bundle import BundleModel

    model = BundleModel.load()
    told = measure(model.perception, everything(10, 1, seed=11), Uncertainty(0.4))
    found = report(told, {"bundle": model.name, "uncertain_below": 0.4, "seed": 11})
    assert found["all"]["clips"] == 10 + len(nobody.SOUNDS) + len(nobody.PICTURES)
    assert 1 / 7 <= found["all"]["mean_confidence"] <= 1

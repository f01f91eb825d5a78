"""Detectors of cues: what they read, what they say, and the file they are kept in."""

from __future__ import annotations

import numpy as np
import pytest

from emollama_ros.cue_head import (
    CUES,
    CueHead,
    Detectors,
    audio_features,
    read_cue_head,
    statistics,
    write_cue_head,
)
from emollama_ros.cues import SURE, CueHistory, measure
from emollama_ros.encoders import WindowFeatures
from emollama_ros.errors import BundleError
from emollama_ros.estimate import Modality
from emollama_ros.prosody import Prosody
from emollama_ros.streams import AudioSpan, FrameBatch, Window

BOTH = Modality.AUDIO | Modality.VIDEO
VOICE = Prosody(level_dbfs=-20.0, voiced=0.8, pitch_hz=200.0, rate=5.0)


def detectors(claims, size: int, weights: float = 0.0, bias: float = 0.0, measures=()) -> Detectors:
    k, d = len(claims), size
    return Detectors(
        tuple(claims), np.zeros(d, np.float32), np.ones(d, np.float32),
        np.full((k, d), weights, np.float32), np.full(k, bias, np.float32), tuple(measures),
    )  # fmt: skip


HEAD = CueHead(
    detectors([("voice.register", "raised"), ("voice.rate", "high")], 2 * 3 + 1, 0.5, measures=["rate"]),
    detectors([("face.smile", "shown")], 2 * 4, 0.0, 2.0),
)
FEATURES = WindowFeatures(audio=np.ones((1, 16, 3), np.float32), video=np.ones((16, 4), np.float32))


def test_a_file_brings_back_what_was_written_and_the_same_bytes(tmp_path):
    write_cue_head(HEAD, tmp_path / CUES)
    write_cue_head(HEAD, tmp_path / "again.npz")
    assert (tmp_path / CUES).read_bytes() == (tmp_path / "again.npz").read_bytes()
    back = read_cue_head(tmp_path / CUES)
    assert back.audio.claims == HEAD.audio.claims and back.audio.measures == ("rate",)
    assert back.detect(FEATURES, VOICE, BOTH) == pytest.approx(HEAD.detect(FEATURES, VOICE, BOTH))


@pytest.mark.parametrize(
    "wrong",
    [
        {"video.levels": np.array(["face.moustache/shown"])},
        {"video.levels": np.array(["voice.rate/high"])},
        {"video.levels": np.array(["face.smile/broad"])},
        {"video.measures": np.array(["height"])},
        {"video.weights": np.zeros((1, 3), np.float16)},
        {"video.levels": np.array([{"a": 1}], dtype=object)},
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path, wrong):
    write_cue_head(CueHead(None, HEAD.video), tmp_path / CUES)
    with np.load(tmp_path / CUES) as arrays:
        np.savez(tmp_path / CUES, **{**arrays, **wrong})
    with pytest.raises(BundleError, match="cannot be read as detectors"):
        read_cue_head(tmp_path / CUES)


def test_no_arrays_at_all_are_refused(tmp_path):
    (tmp_path / CUES).write_bytes(b"PK no zip")
    with pytest.raises(BundleError, match=CUES):
        read_cue_head(tmp_path / CUES)


def test_probability_is_of_log_odds():
    assert HEAD.detect(FEATURES, VOICE, BOTH)["face.smile", "shown"] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_only_what_may_be_used_is_judged():
    assert set(HEAD.detect(FEATURES, VOICE, Modality.VIDEO)) == {("face.smile", "shown")}
    assert set(HEAD.detect(FEATURES, VOICE, Modality.AUDIO)) == set(HEAD.audio.claims)
    assert set(HEAD.detect(FEATURES, Prosody(-20.0, 0.0), BOTH)) == {("face.smile", "shown")}
    assert HEAD.detect(WindowFeatures(), None, BOTH) == {}
    assert CueHead().detect(FEATURES, VOICE, BOTH) == {}


def test_a_measure_that_is_not_known_counts_as_the_mean():
    known = audio_features(FEATURES.audio, VOICE, ["rate"])
    unknown = audio_features(FEATURES.audio, Prosody(-20.0, 0.8, 200.0), ["rate"])
    assert known[-1] == 5.0 and np.isnan(unknown[-1])
    mean = known.copy()
    mean[-1] = 0.0
    assert HEAD.audio.probabilities(unknown) == HEAD.audio.probabilities(mean)


def test_nothing_far_out_decides_alone():
    features = np.zeros(7, np.float32)
    features[0] = 1e9
    assert HEAD.audio.probabilities(features)["voice.rate", "high"] < 0.9


def test_statistics_are_mean_and_deviation_over_time():
    tokens = np.stack([np.zeros(3), np.full(3, 2.0)]).astype(np.float32)
    assert statistics(tokens).tolist() == [1.0] * 6


def window() -> Window:
    time_s = np.arange(32_000) / 16_000
    sound = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 9)).astype(np.float32) * 0.05
    stamps = np.arange(8, dtype=np.int64) * 250_000_000
    frames = FrameBatch(stamps, np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
    return Window(0, 2_000_000_000, frames, AudioSpan(0, sound, 1.0), "")


def test_detectors_decide_levels_and_measures_stay():
    plain = {c.name: c for c in measure(window(), CueHistory())}
    assert not any(name.startswith("face.") for name in plain), "without detectors no face is spoken of"
    found = {
        ("voice.rate", "high"): 0.9,
        ("voice.rate", "low"): 0.05,
        ("voice.loudness", "low"): SURE - 0.01,
        ("voice.sharpness", "high"): 0.1,
        ("face.smile", "shown"): 1.0,
        ("face.rest", "shown"): 0.1,
    }
    judged = {c.name: c for c in measure(window(), CueHistory(), detected=found)}
    assert (judged["voice.rate"].level, judged["voice.rate"].value) == ("high", plain["voice.rate"].value)
    assert 0 < judged["voice.rate"].strength < 1
    assert (judged["voice.sharpness"].level, judged["voice.sharpness"].strength) == ("medium", 0.0)
    assert "voice.loudness" not in judged, "neither quiet for sure nor for sure as usual"
    assert (judged["face.smile"].level, judged["face.smile"].strength) == ("shown", 1.0)
    assert (judged["face.rest"].level, judged["face.rest"].strength) == ("unseen", 0.0)
    assert judged["voice.pitch"] == plain["voice.pitch"]

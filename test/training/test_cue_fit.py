"""Detectors of cues are fitted on what is known, calibrated on people that a fit did not see, and kept."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the truth is the generator's, which draws with opencv-python-headless")
pytest.importorskip("sklearn", reason="the detectors are fitted with scikit-learn")

from emollama_ros.cue_head import read_cue_head, write_cue_head  # noqa: E402
from emollama_ros.cues import SURE  # noqa: E402
from training.cognition.cue_head import MEASURES, Examples, fit_cue_head, truth_of  # noqa: E402

SMILE, OPEN, LOUD = ("face.smile", "shown"), ("face.mouth_open", "shown"), ("voice.loudness", "high")


def examples(count: int = 400, seed: int = 0) -> Examples:
    """The first feature of the picture says a smile, with noise; nothing says whether the voice is loud."""
    random = np.random.default_rng(seed)
    video = random.normal(5, 3, (count, 12)).astype(np.float32)
    audio = random.normal(0, 1, (count, 8 + len(MEASURES))).astype(np.float32)
    audio[:, -1][::3] = np.nan
    video[:20] = np.nan
    smile = (video[:, 0] + random.normal(0, 0.5, count) > 6).astype(np.int8)
    smile[40:60] = -1
    truth = {
        SMILE: smile,
        LOUD: random.integers(0, 2, count).astype(np.int8),
        OPEN: (np.arange(count) < 3).astype(np.int8),
    }
    return Examples(np.arange(count) // 4, audio, video, truth)


def test_detectors_find_what_there_is_to_find_and_doubt_the_rest(tmp_path):
    head, quality = fit_cue_head(examples())
    assert set(quality) == {SMILE, LOUD}, "three clips are too few to fit anything on"
    assert quality[SMILE].precision > 0.9 and quality[SMILE].recall > 0.6
    assert quality[SMILE].positives + quality[SMILE].negatives == 400 - 20 - 20
    write_cue_head(head, tmp_path / "cues.npz")
    fresh, head = examples(seed=1), read_cue_head(tmp_path / "cues.npz")
    likely = np.array([head.video.probabilities(row)[SMILE] for row in fresh.video[60:]])
    true = fresh.truth[SMILE][60:]
    assert true[likely >= SURE].mean() > 0.9
    assert abs(likely.mean() - true.mean()) < 0.08
    assert head.audio is None, "what cannot be told is not told"


def test_a_modality_that_nobody_has_gets_no_detectors():
    data = examples()
    data.video[:] = np.nan
    assert fit_cue_head(data)[0].video is None


def test_what_lies_between_true_and_noticed_is_neither():
    def clip(level: float, noticed: tuple[str, ...]) -> dict:
        speech = {
            "pitch_hz": 200.0, "usual_pitch_hz": 200.0, "pitch_range_st": 9.0, "pitch_end_st": 0.0,
            "rate_hz": 5.5, "pause_s": 0.0, "heard_dbfs": level, "tilt": 0.0, "breath": 0.1, "tremor_st": 0.0,
            "creak": 0.0, "voiced_s": 2.0,
        }  # fmt: skip
        return {
            "label": "happy",
            "segments": [{"start_s": 0.0, "end_s": 4.0, "label": "happy", "speech": speech}],
            "action_units": None,
            "cues": {"visual": [], "voice": list(noticed)},
        }

    truth = truth_of([clip(-20.0, ("loud",)), clip(-20.0, ()), clip(-22.8, ()), clip(-26.0, ())])
    assert truth[LOUD].tolist() == [1, -1, -1, 0]


def test_neutral_speech_of_real_people_is_not_loud_and_may_have_pauses():
    truth = truth_of([{"person": -1, "usual": True}])
    assert truth[LOUD].tolist() == [0] and truth["voice.pauses", "many"].tolist() == [-1]

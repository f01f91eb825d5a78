"""Cues on synthesised signals with known answers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros import cues
from emollama_ros.cues import SPEC_BY_NAME, SPECS, CueHistory, CueSpec, measure
from emollama_ros.estimate import Cue, Modality
from emollama_ros.prosody import analyse
from emollama_ros.streams import AudioSpan, FrameBatch, Window

RATE = 16_000
SECOND = 1_000_000_000


def voice(hertz: np.ndarray, loudness_db: float = -20.0, harmonics: int = 8) -> np.ndarray:
    """A buzz whose fundamental follows ``hertz`` (one value a sample), at an RMS level in dBFS."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, harmonics + 1))
    return (sound / np.sqrt(np.mean(np.square(sound))) * 10 ** (loudness_db / 20)).astype(np.float32)


def steady(hertz: float = 150.0, seconds: float = 4.0, loudness_db: float = -20.0) -> np.ndarray:
    return voice(np.full(round(seconds * RATE), hertz), loudness_db)


def bursts(on_s: float, off_s: float, seconds: float = 4.0) -> np.ndarray:
    """Voice that is on and off in turn, beginning and ending with voice."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    return steady(seconds=seconds) * (time_s % (on_s + off_s) < on_s)


def cues_of(samples: np.ndarray, end_s: float = 4.0, history: CueHistory | None = None) -> dict[str, Cue]:
    history = CueHistory() if history is None else history
    start = round((end_s - len(samples) / RATE) * SECOND)
    window = Window(start, round(end_s * SECOND), None, AudioSpan(start, samples.astype(np.float32), 1.0), "")
    return {cue.name: cue for cue in measure(window, history)}


def frames_of(images: np.ndarray, period_ns: int = 250_000_000) -> FrameBatch:
    return FrameBatch(np.arange(len(images), dtype=np.int64) * period_ns, images)


def picture_cues(images: np.ndarray, period_ns: int = 250_000_000) -> dict[str, Cue]:
    window = Window(0, 4 * SECOND, frames_of(images, period_ns), None, "")
    return {cue.name: cue for cue in measure(window, CueHistory())}


@pytest.mark.parametrize("hertz", [75.0, 110.0, 150.0, 220.0, 330.0, 450.0])
def test_pitch_of_a_steady_voice(hertz):
    found = cues_of(steady(hertz))
    assert found["voice.pitch"].value == pytest.approx(hertz, rel=0.01)
    assert found["voice.pitch_range"].value < 0.2
    assert found["voice.pitch_slope"].level == "level"
    assert found["voice.activity"].value > 0.95


@pytest.mark.parametrize(("semitones_per_s", "level"), [(4.0, "rising"), (-5.0, "falling"), (0.5, "level")])
def test_slope_of_a_glide(semitones_per_s, level):
    time_s = np.arange(4 * RATE) / RATE
    found = cues_of(voice(180.0 * 2 ** (semitones_per_s * (time_s - 2) / 12)))
    assert found["voice.pitch_slope"].value == pytest.approx(semitones_per_s, rel=0.08)
    assert found["voice.pitch_slope"].level == level
    assert found["voice.pitch_range"].value == pytest.approx(0.8 * 4 * abs(semitones_per_s), rel=0.1)


def test_wide_pitch_swings_are_high_range():
    time_s = np.arange(4 * RATE) / RATE
    found = cues_of(voice(200.0 * 2 ** (7 * np.sin(2 * np.pi * 1.0 * time_s) / 12)))
    assert found["voice.pitch_range"].level == "high"
    assert found["voice.pitch_range"].strength > 0.5


@pytest.mark.parametrize(("decibel", "level"), [(-50.0, "low"), (-25.0, "medium"), (-10.0, "high")])
def test_loudness(decibel, level):
    cue = cues_of(steady(loudness_db=decibel))["voice.loudness"]
    assert cue.value == pytest.approx(decibel, abs=0.6)
    assert cue.level == level


def test_pause_share():
    found = cues_of(bursts(0.5, 0.5, seconds=3.5), end_s=3.5)
    assert found["voice.pauses"].value == pytest.approx(3 * 0.5 / 3.5, abs=0.06)
    assert found["voice.pauses"].level == "many"
    assert cues_of(steady())["voice.pauses"].value == 0.0


@pytest.mark.parametrize("rate", [2.5, 4.0, 6.0])
def test_syllable_rate(rate):
    time_s = np.arange(4 * RATE) / RATE
    envelope = 0.1 + 0.9 * np.sin(np.pi * rate * time_s) ** 2
    assert cues_of(steady() * envelope)["voice.rate"].value == pytest.approx(rate, abs=0.4)


def test_sharpness_orders_dull_and_bright_voices():
    dull = cues_of(voice(np.full(4 * RATE, 150.0), harmonics=2))["voice.sharpness"]
    time_s = np.arange(4 * RATE) / RATE
    bright = cues_of(steady() + 0.2 * np.sin(2 * np.pi * 2400 * time_s))["voice.sharpness"]
    assert (dull.level, bright.level) == ("low", "high")


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(4 * RATE),
        np.random.default_rng(0).normal(0, 0.1, 4 * RATE),
        np.full(4 * RATE, 0.3),
        np.random.default_rng(0).normal(0, 1e-4, 4 * RATE),
    ],
    ids=["silence", "noise", "offset", "faint noise"],
)
def test_what_is_not_a_voice_gives_no_voice_cues(samples):
    found = cues_of(samples)
    assert set(found) == {"voice.activity"}
    assert found["voice.activity"].level == "none"


def test_no_data_gives_no_cues():
    assert measure(Window(0, SECOND), CueHistory()) == ()
    assert cues_of(np.zeros(0)) == {}
    assert set(cues_of(np.zeros(100))) == {"voice.activity"}


def test_a_voice_in_noise_keeps_its_pitch():
    noisy = steady(200.0) + np.random.default_rng(1).normal(0, 0.03, 4 * RATE)
    assert cues_of(noisy)["voice.pitch"].value == pytest.approx(200.0, rel=0.02)


def test_still_and_moving_pictures():
    noise = np.random.default_rng(2)
    scene = noise.integers(40, 200, (1, 14, 14, 1)).repeat(16, 1).repeat(16, 2).repeat(3, 3).astype(np.uint8)
    still = np.clip(scene.repeat(16, 0) + noise.normal(0, 2, (16, 224, 224, 3)), 0, 255).astype(np.uint8)
    assert picture_cues(still)["picture.motion"].level == "low"
    moving = np.concatenate([np.roll(scene, 6 * k, axis=2) for k in range(16)])
    assert picture_cues(moving)["picture.motion"].level == "high"
    jumping = scene.repeat(16, 0)
    jumping[8:] = np.roll(scene, 40, axis=1)
    assert picture_cues(jumping)["picture.suddenness"].level == "sudden"


def test_frames_that_were_measured_before_are_not_measured_again(monkeypatch):
    seen: list[int] = []

    def counting(images, thin=cues._thin):
        seen.append(len(images))
        return thin(images)

    monkeypatch.setattr(cues, "_thin", counting)
    images = np.random.default_rng(3).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    history, period = CueHistory(), 250_000_000
    for first in range(3):
        stamps = np.arange(first, first + 6, dtype=np.int64) * period
        batch = FrameBatch(stamps, images[first : first + 6])
        window = Window(int(stamps[0]), int(stamps[-1]) + period, batch, None, "")
        assert measure(window, history) == measure(window, CueHistory())
    assert seen == [6, 6, 1, 6, 1, 6]
    history.reset()
    other = FrameBatch(batch.stamps_ns, 255 - batch.images)
    fresh = Window(window.start_ns, window.end_ns, other, None, "")
    assert measure(fresh, history) == measure(fresh, CueHistory())


def test_flicker_of_the_light_is_not_movement():
    scene = np.full((16, 64, 64, 3), 100, np.uint8)
    scene[::2] = 140
    assert picture_cues(scene)["picture.motion"].value == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(("grey", "level"), [(3, "dark"), (128, "normal"), (250, "bright")])
def test_brightness(grey, level):
    assert picture_cues(np.full((2, 8, 8, 3), grey, np.uint8))["picture.brightness"].level == level


def test_one_frame_or_frames_far_apart_say_nothing_about_motion():
    one = np.full((1, 1, 1, 3), 50, np.uint8)
    assert set(picture_cues(one)) == {"picture.brightness"}
    assert set(picture_cues(one.repeat(3, 0), period_ns=2 * SECOND)) == {"picture.brightness"}


def test_changes_are_against_earlier_windows_only():
    history = CueHistory()
    for hop in range(12):
        found = cues_of(steady(150.0, loudness_db=-30), end_s=4 + 0.5 * hop, history=history)
        # Windows that overlap the present one are not the past: the fourth that does not comes at hop 11.
        assert ("change.loudness" in found) == (hop >= 11)
    louder = cues_of(steady(225.0, loudness_db=-20), end_s=20, history=history)
    assert (louder["change.loudness"].level, louder["change.loudness"].value) == (
        "higher",
        pytest.approx(10, abs=0.5),
    )
    assert louder["change.pitch"].value == pytest.approx(12 * np.log2(1.5), abs=0.2)


def test_history_forgets_and_is_bounded():
    history = CueHistory(seconds=10, limit=30)
    for hop in range(100):
        history.add(hop * SECOND // 2, {"voice.loudness": -20.0})
    assert len(history) <= 30
    assert history.usual("voice.loudness", 10**12) is None, "a minute-old voice is not what is usual now"
    history.add(0, {"voice.loudness": -20.0})
    assert len(history) == 1, "a clock that went back starts anew"
    history.reset()
    assert len(history) == 0


def test_every_spec_is_consistent():
    assert len(SPEC_BY_NAME) == len(SPECS)
    for spec in SPECS:
        assert len(spec.levels) == len(spec.bounds) + 1
        assert list(spec.bounds) == sorted(spec.bounds)
        assert spec.typical in spec.levels
        assert len(spec.modality.names()) == 1
        assert spec.extremes[0] <= spec.bounds[0] <= spec.bounds[-1] <= spec.extremes[1]


@given(st.sampled_from(SPECS), st.floats(-1e6, 1e6))
def test_strength_is_zero_exactly_when_typical(spec: CueSpec, value: float):
    cue = spec.cue(value)
    assert 0 <= cue.strength <= 1
    assert (cue.strength == 0) == (cue.level == spec.typical)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 2**31), st.floats(0, 1), st.booleans())
def test_any_sound_and_picture_gives_finite_cues(length, seed, level, broken):
    random = np.random.default_rng(seed)
    samples = random.normal(0, level, length).astype(np.float32)
    if broken and length:
        samples[:: max(1, length // 7)] = np.nan
        samples[-1] = np.inf
    images = random.integers(0, 256, (random.integers(1, 5), 9, 7, 3), dtype=np.uint8)
    window = Window(0, SECOND, frames_of(images), AudioSpan(0, samples, 1.0), "")
    found = measure(window, CueHistory())
    assert all(np.isfinite([cue.value, cue.strength]).all() for cue in found)
    assert all(cue.modality in (Modality.AUDIO, Modality.VIDEO) for cue in found)


def test_fast_enough_for_every_hop():
    samples = steady() * (1 + 0.3 * np.sin(np.arange(4 * RATE) / 500)).astype(np.float32)
    images = np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), dtype=np.uint8)
    window = Window(0, 4 * SECOND, frames_of(images), AudioSpan(0, samples, 1.0), "")
    took = []
    for _ in range(7):
        begin = time.process_time()
        measure(window, CueHistory())
        took.append(time.process_time() - begin)
    assert min(took) < 0.015


def test_prosody_of_very_short_sound():
    assert analyse(np.zeros(639, np.float32)).pitch_hz is None
    assert analyse(steady(seconds=0.1)).voiced > 0

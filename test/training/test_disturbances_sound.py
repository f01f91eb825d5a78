"""Disturbances of sound: they keep their form, begin at nothing, grow with strength, are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="disturbances need SciPy (make test installs it)")

from emollama_ros.errors import InputError  # noqa: E402
from training.disturbances import SOUNDS, STRENGTHS, random_sound, speed  # noqa: E402
from training.disturbances.sound import FLOOR, coloured, room_tail, speech_level  # noqa: E402

RATE = 16_000
each_sound = pytest.mark.parametrize("name", SOUNDS)
lengths = st.sampled_from((1, 2, 31, 319, 320, 321, 999, 5000))
seeds = st.integers(0, 2**32 - 1)


def voice(count: int = 2 * RATE, seed: int = 0) -> np.ndarray:
    """Four syllables a second of a harmonic tone with breath, and pauses between them."""
    rng, seconds = np.random.default_rng(seed), np.arange(count) / RATE
    tone = sum(np.sin(2 * np.pi * 150 * k * seconds) / k for k in range(1, 12))
    there = np.sin(2 * np.pi * 4 * seconds) > -0.3
    return ((0.15 * tone + 0.02 * rng.standard_normal(count)) * there).astype(np.float32)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def distortion(name: str, strength: float, count: int = 12) -> float:
    clean = voice()
    return float(
        np.mean([rms(SOUNDS[name](clean, strength, np.random.default_rng(i)) - clean) for i in range(count)])
    )


# --- form ---


@each_sound
@settings(max_examples=15)
@given(count=lengths, strength=st.floats(0, 1), seed=seeds, loudness=st.sampled_from((0, 1e-6, 0.1, 1, 30)))
def test_sound_keeps_its_form_whatever_it_is(name, count, strength, seed, loudness):
    given_samples = (loudness * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)
    before = given_samples.copy()
    found = SOUNDS[name](given_samples, strength, np.random.default_rng(seed))
    assert found.shape == (count,) and found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.array_equal(given_samples, before)
    if strength:
        assert np.abs(found).max() <= 1


@each_sound
def test_the_same_generator_gives_the_same_sound_and_another_does_not(name):
    one, two, other = (SOUNDS[name](voice(), 0.9, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@each_sound
def test_strength_0_changes_nothing_and_a_little_changes_little(name):
    clean = voice()
    assert np.array_equal(SOUNDS[name](clean, 0, np.random.default_rng(0)), clean)
    assert distortion(name, 0.001) < 0.02 * rms(clean)


@each_sound
def test_more_strength_disturbs_more(name):
    found = [distortion(name, strength) for strength in STRENGTHS]
    assert 0.01 * rms(voice()) < found[0] < found[1] < found[2]


@each_sound
def test_no_samples_stay_none(name):
    assert SOUNDS[name](np.zeros(0, np.float32), 1, np.random.default_rng(0)).shape == (0,)


@pytest.mark.parametrize("name", [name for name in SOUNDS if name not in ("noise", "babble")])
def test_silence_stays_silence(name):
    assert not SOUNDS[name](np.zeros(RATE, np.float32), 1, np.random.default_rng(0)).any()


@pytest.mark.parametrize("name", ["noise", "babble"])
def test_in_silence_what_is_added_stands_at_the_floor(name):
    found = SOUNDS[name](np.zeros(RATE, np.float32), 1, np.random.default_rng(0))
    assert rms(found) == pytest.approx(FLOOR, rel=0.01)


@each_sound
@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_a_strength_out_of_range_is_refused(name, strength):
    with pytest.raises(InputError, match="strength"):
        SOUNDS[name](voice(100), strength, np.random.default_rng(0))


def test_samples_of_two_channels_are_refused():
    with pytest.raises(InputError, match=r"\(n,\)"):
        SOUNDS["noise"](np.zeros((2, 100), np.float32), 1, np.random.default_rng(0))


# --- what each is ---


@pytest.mark.parametrize("name", ["noise", "babble"])
@pytest.mark.parametrize(("strength", "decibels"), [(0.33, 19.3), (0.67, 7.0), (1.0, 0.0)])
def test_the_signal_to_noise_ratio_is_as_documented(name, strength, decibels):
    clean = 0.2 * voice()  # far from full scale, where a converter would clip the sum
    for seed in range(5):
        added = SOUNDS[name](clean, strength, np.random.default_rng(seed)) - clean
        assert 20 * np.log10(speech_level(clean) / rms(added)) == pytest.approx(decibels, abs=0.2)


def test_the_level_of_speech_leaves_pauses_out():
    speech = np.concatenate([np.full(RATE, 0.1), np.zeros(9 * RATE)]).astype(np.float32)
    assert speech_level(speech) == pytest.approx(0.1, rel=0.01)
    assert speech_level(np.zeros(100, np.float32)) == FLOOR


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_has_the_colour_asked_for(slope):
    made = coloured(10 * RATE, slope, np.random.default_rng(0))
    power, hertz = np.abs(np.fft.rfft(made)) ** 2, np.fft.rfftfreq(len(made), 1 / RATE)
    octaves = [power[(hertz >= 100 * 2**k) & (hertz < 200 * 2**k)].mean() for k in range(6)]
    fitted = np.polyfit(np.arange(6), np.log2(octaves), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.1)
    assert rms(made) == pytest.approx(1, rel=1e-3)


def test_babble_can_be_made_of_other_clips():
    other = np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE).astype(np.float32)
    added = SOUNDS["babble"](voice(), 0.5, np.random.default_rng(1), others=[other]) - voice()
    spectrum = np.abs(np.fft.rfft(added))
    hertz = np.fft.rfftfreq(len(added), 1 / RATE)
    assert abs(hertz[spectrum.argmax()] - 1000) < 5


@pytest.mark.parametrize("others", [[np.zeros(0, np.float32)], [np.zeros(500, np.float32)]])
def test_babble_of_silent_clips_adds_nothing(others):
    found = SOUNDS["babble"](voice(), 1, np.random.default_rng(1), others=others)
    assert np.allclose(found, voice().clip(-1, 1), atol=1e-6)


@pytest.mark.parametrize("rt60", [0.1, 0.5, 0.9])
def test_a_room_decays_in_its_time(rt60):
    tail = room_tail(rt60, np.random.default_rng(2))
    assert len(tail) == int(rt60 * RATE) and np.sum(tail**2) == pytest.approx(1, rel=1e-3)
    left = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] + 1e-12)  # Schroeder's integral
    fell = [np.argmax(left < level) / RATE for level in (-10, -25)]
    # The early reflections come at once, and the treble takes 60 % of the time.
    assert 0.5 * rt60 < 4 * (fell[1] - fell[0]) < 1.1 * rt60


def test_reverberation_smears_and_keeps_the_level():
    click = np.zeros(RATE, np.float32)
    click[1000] = 0.5
    found = SOUNDS["reverberation"](click, 1, np.random.default_rng(0))
    assert rms(found) == pytest.approx(rms(click), rel=0.01)
    assert not found[:1000].round(5).any(), "nothing is heard before the sound"
    assert 20 * np.log10(abs(found[1000]) / np.linalg.norm(found[1001:])) == pytest.approx(-6, abs=2.1)


def test_a_microphone_keeps_the_level_and_colours_within_its_range():
    hiss = (0.1 * np.random.default_rng(0).standard_normal(4 * RATE)).astype(np.float32)
    hertz = np.fft.rfftfreq(len(hiss), 1 / RATE)
    middle = [(hertz > 600 * 1.26**k) & (hertz < 600 * 1.26 ** (k + 1)) for k in range(6)]
    for seed in range(6):
        found = SOUNDS["microphone"](hiss, 1, np.random.default_rng(seed))
        assert rms(found) == pytest.approx(rms(hiss), rel=0.01)
        gains = [
            np.sum(abs(np.fft.rfft(found)[m]) ** 2) / np.sum(abs(np.fft.rfft(hiss)[m]) ** 2) for m in middle
        ]
        spread = 10 * np.log10(max(gains) / min(gains))
        assert 1 < spread < 25


def test_level_is_quieter_or_louder_and_swings():
    clean = np.full(4 * RATE, 0.05, np.float32)
    gains = [
        20 * np.log10(SOUNDS["level"](clean, 1, np.random.default_rng(seed)) / clean) for seed in range(12)
    ]
    means = [gain.mean() for gain in gains]
    assert min(means) < -12 and max(means) > 4
    assert all(gain.min() > -31 and gain.max() < 18.5 for gain in gains)
    assert all(np.ptp(gain) > 1 for gain in gains)


def test_clipping_cuts_both_halves_and_keeps_the_level():
    clean = 0.3 * voice()
    found = SOUNDS["clipping"](clean, 1, np.random.default_rng(0))
    assert rms(found) == pytest.approx(rms(clean), rel=0.01)
    for side in (found, -found):
        assert np.mean(side > 0.999 * side.max()) > 0.05


@pytest.mark.parametrize("strength", [0.33, 1.0])
def test_as_many_packets_are_lost_as_documented(strength):
    hiss = (0.1 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)
    shares = []
    for seed in range(10):
        found = SOUNDS["dropouts"](hiss, strength, np.random.default_rng(seed))
        same = np.isclose(found, hiss, atol=1e-6).reshape(-1, 320)[:, 100:220].all(1)
        shares.append(1 - same.mean())
    assert np.mean(shares) == pytest.approx(0.4 * strength, abs=0.03)


def test_a_codec_leaves_few_levels_or_few_frequencies():
    clean = voice()
    found = [SOUNDS["codec"](clean, 1, np.random.default_rng(seed)) for seed in range(8)]
    levels = [len(np.unique(np.abs(one).round(6))) for one in found]
    assert min(levels) <= 2**3 + 1 and max(levels) > 1000, "both kinds are drawn"
    frame = np.abs(np.fft.rfft(found[int(np.argmax(levels))][RATE : RATE + 512] * np.hanning(512)))
    assert np.sum(frame > frame.max() * 1e-2) < 60


# --- together ---


@settings(max_examples=25)
@given(count=lengths, seed=seeds)
def test_random_sound_keeps_the_form_and_depends_on_the_generator_alone(count, seed):
    clean = voice(count)
    one, two = (random_sound(clean, np.random.default_rng(seed), [voice(500)]) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.shape == (count,) and one.dtype == np.float32 and np.isfinite(one).all()


def test_random_sound_leaves_three_of_ten_clean():
    clean = voice(2000)
    untouched = [np.array_equal(random_sound(clean, np.random.default_rng(i)), clean) for i in range(400)]
    assert 0.22 < np.mean(untouched) < 0.38


# --- speed ---


@pytest.mark.parametrize("factor", [0.85, 0.93, 1.0, 1.15])
def test_speed_changes_length_and_pitch(factor):
    tone = (0.5 * np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE)).astype(np.float32)
    found = speed(tone, factor)
    assert found.dtype == np.float32 and len(found) == pytest.approx(RATE / factor, rel=0.01)
    spectrum = np.abs(np.fft.rfft(found))
    assert np.fft.rfftfreq(len(found), 1 / RATE)[spectrum.argmax()] == pytest.approx(400 * factor, rel=0.01)


def test_speed_of_nothing_is_nothing():
    assert len(speed(np.zeros(0, np.float32), 1.1)) == 0


@pytest.mark.parametrize("factor", [0.5, 1.2, float("nan")])
def test_a_speed_that_would_change_the_emotion_is_refused(factor):
    with pytest.raises(InputError, match="speed"):
        speed(voice(100), factor)

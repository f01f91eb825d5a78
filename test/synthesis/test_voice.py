from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")

from emollama_ros.errors import ConfigError, InputError  # noqa: E402
from emollama_ros.labels import DEFAULT_LABELS  # noqa: E402
from training.synthesis import voice  # noqa: E402
from training.synthesis.look import draw_look, person_rng  # noqa: E402
from training.synthesis.prosody import PROFILES, Prosody, Speaker, draw_prosody, make_speaker  # noqa: E402
from training.synthesis.room import Room, place_in_room  # noqa: E402
from training.synthesis.voice_facts import RATE, active_rms, pauses  # noqa: E402

WOMAN = Speaker(pitch_hz=205, formant=1.0, rate=1.0, breath=0.05, tilt=0.0, liveliness=1.0)
USUAL = Prosody()
TEXT = "The papers are on the table by the window."


def say(speech, prosody=USUAL, speaker=WOMAN, text=TEXT, seed=0):
    return speech.speak(text, speaker, prosody, np.random.default_rng(seed))


def heard_pitch(samples: np.ndarray) -> float:
    """Median pitch by autocorrelation, independent of how the voice was made."""
    found = []
    for start in range(0, len(samples) - 1024, 320):
        frame = samples[start : start + 1024] * np.hanning(1024)
        power = np.fft.rfft(frame, 2048)
        lags = np.fft.irfft(np.abs(power) ** 2)[:400]
        lags = lags / (lags[0] + 1e-9) / (1 - np.arange(400) / 1024)
        best = 32 + int(np.argmax(lags[32:230]))
        if (frame**2).mean() > 1e-5 and lags[best] > 0.6:
            found.append(16_000 / best)
    return float(np.median(found))


def test_every_label_has_voice_profiles():
    assert set(PROFILES) == set(DEFAULT_LABELS)
    assert PROFILES["neutral"][0] == Prosody()


def test_profiles_follow_the_literature():
    """Scherer (2003), table 3: direction of each emotion against neutral."""
    mean = {
        label: {f.name: np.mean([getattr(p, f.name) for p in variants]) for f in dataclasses.fields(Prosody)}
        for label, variants in PROFILES.items()
    }
    assert mean["angry"]["level_db"] == max(m["level_db"] for m in mean.values())
    assert mean["sad"]["level_db"] == min(m["level_db"] for m in mean.values())
    assert mean["sad"]["rate"] == min(m["rate"] for m in mean.values())
    assert mean["scared"]["rate"] == max(m["rate"] for m in mean.values())
    assert mean["scared"]["tremor_st"] == max(m["tremor_st"] for m in mean.values())
    assert mean["surprised"]["end_st"] == max(m["end_st"] for m in mean.values())
    assert mean["happy"]["range"] > 1.3 > 0.7 > mean["sad"]["range"]
    assert mean["disgusted"]["creak"] == max(m["creak"] for m in mean.values())


def test_an_unknown_label_is_refused_by_name():
    with pytest.raises(ConfigError, match="'bored'"):
        draw_prosody("bored", np.random.default_rng(0), 1.0)


def test_men_speak_lower_than_women_and_children_highest():
    def pitch(gender, age):
        looks = (
            dataclasses.replace(draw_look(person_rng(i, "look")), gender=gender, age=age) for i in range(40)
        )
        return np.median([make_speaker(i, look).pitch_hz for i, look in enumerate(looks)])

    assert pitch(1.0, 0.5) < 140 < 170 < pitch(0.0, 0.5) < 225 < pitch(0.0, 0.05)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(80, 320),
    st.floats(-6, 8),
    st.floats(0.2, 2.2),
    st.floats(-5, 5),
    st.floats(0, 8),
    st.integers(0, 99),
)
def test_pitch_stays_human_and_zero_where_unvoiced(base, shift, spread, slope, end, seed):
    rng = np.random.default_rng(seed)
    given_pitch = np.where(rng.random(200) < 0.7, rng.uniform(100, 300, 200), 0).astype(np.float32)
    prosody = Prosody(pitch_st=shift, range=spread, slope_st=slope, end_st=end, tremor_st=1.0, jitter=0.3)
    curve, voiced = voice.pitch_curve(given_pitch, dataclasses.replace(WOMAN, pitch_hz=base), prosody, rng)
    assert np.all(curve[~voiced] == 0)
    assert np.all((curve[voiced] >= 58) & (curve[voiced] <= 620))


def test_speech_is_deterministic_and_in_range(speech):
    one, two = say(speech), say(speech)
    assert np.array_equal(one.samples, two.samples) and one.facts == two.facts
    assert one.samples.dtype == np.float32 and np.abs(one.samples).max() <= 1
    assert len(one.envelope) / voice.ENVELOPE_HZ == pytest.approx(len(one.samples) / RATE, abs=0.05)
    assert one.envelope.min() >= 0 and one.envelope.max() <= 1


@pytest.mark.parametrize(("pitch", "shift"), [(110, 0.0), (205, 0.0), (205, 4.0), (280, -2.0)])
def test_the_stated_pitch_is_what_is_heard(speech, pitch, shift):
    said = say(speech, Prosody(pitch_st=shift, range=0.3), dataclasses.replace(WOMAN, pitch_hz=pitch))
    assert heard_pitch(said.samples) == pytest.approx(said.facts["pitch_hz"], rel=0.06)


def test_prosody_moves_the_facts_the_right_way(speech):
    usual = say(speech).facts
    assert say(speech, Prosody(rate=0.75)).facts["rate_hz"] < 0.85 * usual["rate_hz"]
    assert say(speech, Prosody(level_db=6)).facts["level_dbfs"] == pytest.approx(
        usual["level_dbfs"] + 6, abs=0.5
    )
    assert say(speech, Prosody(range=0.5)).facts["pitch_range_st"] < 0.7 * usual["pitch_range_st"]
    assert say(speech, Prosody(end_st=6)).facts["pitch_end_st"] > usual["pitch_end_st"] + 1


def test_tilt_moves_energy_to_high_frequencies(speech):
    def high_share(tilt):
        power = np.abs(np.fft.rfft(say(speech, Prosody(tilt=tilt)).samples)) ** 2
        return power[len(power) // 4 :].sum() / power.sum()

    assert high_share(-3) < high_share(0) < high_share(3)


def test_text_without_words_is_refused(speech):
    with pytest.raises(InputError, match="nothing that can be spoken"):
        say(speech, text="...")


@settings(max_examples=20, deadline=None)
@given(st.integers(100, 9000), st.floats(0, 0.6), st.floats(0, 0.5), st.floats(5, 50), st.floats(0, 2))
def test_a_room_keeps_the_length_and_full_scale(count, reverb, wet, snr, slope):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, count).astype(np.float32)
    heard = place_in_room(samples, Room(reverb, wet, snr, slope, 6.0), rng)
    assert heard.shape == samples.shape and heard.dtype == np.float32
    assert np.isfinite(heard).all() and np.abs(heard).max() <= 1


def test_room_noise_has_the_stated_level():
    heard = place_in_room(np.zeros(64_000, np.float32), Room(snr_db=20), np.random.default_rng(0))
    assert 20 * np.log10(heard.std()) == pytest.approx(-46, abs=0.5)


def test_a_hesitation_is_heard_measured_and_leaves_the_rate_of_the_words_alone(speech):
    usual, halting = say(speech).facts, say(speech, Prosody(pause_s=0.6))
    assert usual["pauses"] == 0 and halting.facts["pauses"] == 1
    assert halting.facts["pause_s"] == pytest.approx(0.6, abs=0.35)
    assert halting.facts["rate_hz"] == pytest.approx(usual["rate_hz"], rel=0.2)
    quiet = np.abs(halting.samples).reshape(-1, 200).max(1) < 0.03 * np.abs(halting.samples).max()
    runs = [len(run) for run in "".join("x" if q else " " for q in quiet[20:-20]).split()]
    assert max(runs) * 0.0125 == pytest.approx(halting.facts["pause_s"], abs=0.15)


def test_sentences_are_divided_where_people_hesitate():
    assert voice.split_at_pause(TEXT) == ("The papers are on the table,", "by the window.")
    assert voice.split_at_pause("Stop lying!") == ("Stop lying!",)


@given(st.floats(0.25, 1.5), st.floats(0.05, 0.15))
def test_pauses_are_measured_to_a_block(length, short):
    tone = np.sin(np.arange(8_000) * 0.3).astype(np.float32) * 0.2
    gap, breath = (np.zeros(round(s * RATE), np.float32) for s in (length, short))
    count, silent_s, spoken_s = pauses(np.concatenate([gap, tone, breath, tone, gap, tone, gap]))
    assert count == 1
    assert silent_s == pytest.approx(length, abs=0.021)
    assert spoken_s == pytest.approx(1.5 + length + short, abs=0.03)


def test_silence_has_no_level_and_no_pauses():
    assert active_rms(np.zeros(6_400, np.float32)) == 0.0
    assert pauses(np.zeros(6_400, np.float32)) == (0, 0.0, 0.0)

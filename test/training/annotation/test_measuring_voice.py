"""Voices measured by Praat and said in words."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("parselmouth", reason="needs praat-parselmouth")
sys.path.insert(0, str(Path(__file__).parent))
from measuring_media import record, vowel, write_clip  # noqa: E402

from emollama_ros.cues import SPEC_BY_NAME  # noqa: E402
from training.annotation.agents import AgentError, Request  # noqa: E402
from training.annotation.measuring.voice import VoiceAgent, cues_of, measure_voice  # noqa: E402
from training.annotation.measuring.words import SPECS, claims  # noqa: E402
from training.mmeverse.schema import Media  # noqa: E402

ALL_SPECS = {**SPEC_BY_NAME, **{spec.name: spec for spec in SPECS}}
MEASURES = [name for name in ALL_SPECS if name.startswith("voice.") and name != "voice.activity"]


@pytest.mark.parametrize("hertz", [95.0, 140.0, 230.0, 330.0])
def test_the_pitch_is_that_of_the_voice(hertz: float) -> None:
    assert measure_voice(vowel(1.0, hertz))["voice.pitch"] == pytest.approx(hertz, rel=0.02)


def test_noise_and_jitter_are_told_from_a_clean_voice() -> None:
    clean, noisy, rough = (
        measure_voice(sound)
        for sound in (vowel(1.0, 140), vowel(1.0, 140, noise=0.03), vowel(1.0, 140, jitter=0.03))
    )
    assert noisy["voice.harmonicity"] < clean["voice.harmonicity"] - 5
    assert rough["voice.jitter"] > clean["voice.jitter"] + 1


@pytest.mark.parametrize("sound", [np.zeros(16_000, np.float32), np.zeros(0, np.float32)])
def test_silence_says_nothing(sound: np.ndarray) -> None:
    assert measure_voice(sound) == {}


def test_a_span_of_the_sound_is_all_that_is_heard(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav", sound=np.concatenate([vowel(1.5, 100), vowel(1.5, 330)]))
    for media, level in (
        (Media(audio="a.wav", end_s=1.4), "low"),
        (Media(audio="a.wav", start_s=1.6), "high"),
    ):
        text = VoiceAgent().annotate(Request(record(media=media), tmp_path)).fields["clues.audio"]
        assert {claim[1] for claim in claims(text) if claim[0] == "voice.pitch"} <= {level}


def test_the_usual_of_a_person_is_what_they_are_compared_with(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav", sound=vowel(1.5, 200))
    clip = record(media=Media(audio="a.wav"), person="made_up:a")
    agent = VoiceAgent(usual={"made_up:a": {"voice.pitch": 110.0}})
    assert ("usual.pitch", "higher") in claims(agent.annotate(Request(clip, tmp_path)).fields["clues.audio"])
    stranger = record(media=Media(audio="a.wav"), person="made_up:b")
    said = claims(agent.annotate(Request(stranger, tmp_path)).fields["clues.audio"])
    assert not [name for name, _ in said if name.startswith("usual.")]


def test_a_clip_without_sound_adds_nothing_and_a_broken_one_says_why(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5)
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 4000)
    assert VoiceAgent().annotate(Request(record(), tmp_path)).fields == {}
    with pytest.raises(AgentError, match=r"broken\.mp4"):
        VoiceAgent().annotate(Request(record(media=Media(video="broken.mp4")), tmp_path))


@given(
    values=st.dictionaries(st.sampled_from(MEASURES), st.floats(0.01, 600, allow_nan=False), min_size=1),
    label=st.sampled_from(["happy", "sad", "angry", "neutral", "surprised"]),
    guided=st.booleans(),
)
def test_words_name_only_what_was_measured(values: dict[str, float], label: str, guided: bool) -> None:
    cues = cues_of(values, {"voice.pitch": 150.0})
    measured = {(cue.name, cue.level) for cue in cues}
    agent = VoiceAgent(guided)
    text = agent._describe(Request(record(label), Path("."), guided), cues)
    assert claims(text) <= measured
    assert len(claims(text)) <= agent.settings["named"]
    assert bool(text) == bool(claims(text))


def test_the_agent_travels_and_its_settings_are_plain() -> None:
    agent = VoiceAgent(usual={"made_up:a": {"voice.pitch": 110.0}})
    again = pickle.loads(pickle.dumps(agent))
    assert again == agent
    assert json.loads(json.dumps(again.settings)) == agent.settings
    assert agent.model.startswith("praat-parselmouth-")

"""Windows in which nobody is there: always the same, as the robot takes them, of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from emollama_ros.estimate import Modality
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from emollama_ros.usable import usable_modalities
from training.mmeverse.decoding import FRAME_HZ, RATE
from training.nothing import KINDS, PICTURES, SOUNDS, generate, make


def test_the_kinds_are_those_that_were_agreed_on() -> None:
    assert set(KINDS) == {
        "silence", "room_noise", "hum", "music", "street",
        "empty_room", "static", "patterns", "texture", "darkness",
    }  # fmt: skip


def test_clips_come_in_all_kinds_without_a_label() -> None:
    clips = list(generate(len(KINDS), seed=3))
    assert [clip.person for clip in clips] == [f"nothing:{kind}" for kind in KINDS]
    assert {clip.label for clip in clips} == {""}
    assert len({clip.name for clip in clips}) == len(clips)


def test_a_clip_is_the_same_however_many_are_made() -> None:
    few, more = list(generate(3, seed=8)), list(generate(6, seed=8))
    for one, other in zip(few, more, strict=False):
        assert one.name == other.name
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_array_equal(one.frames, other.frames)


def test_another_seed_makes_other_clips() -> None:
    one, other = next(generate(1, seed=1)), next(generate(1, seed=2))
    assert not np.array_equal(one.samples, other.samples)


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1))
def test_any_clip_is_four_seconds_of_legal_values(kind: str, seed: int) -> None:
    clip = make(kind, np.random.default_rng(seed))
    assert clip.samples.dtype == np.float32 and clip.frames.dtype == np.uint8
    assert len(clip.samples) in (0, 4 * RATE) and np.abs(clip.samples).max(initial=0) <= 1
    assert clip.frames.shape in ((0, 224, 224, 3), (4 * FRAME_HZ, 224, 224, 3))
    assert len(clip.samples) > 0 if kind in SOUNDS else len(clip.frames) > 0


def test_some_clips_have_one_sense_and_some_have_both() -> None:
    senses = {(len(c.samples) > 0, len(c.frames) > 0) for c in generate(30, seed=0)}
    assert senses == {(True, False), (False, True), (True, True)}


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("silence", "darkness")])
def test_the_robot_would_perceive_it(kind: str) -> None:
    rng = np.random.default_rng(7)
    samples = SOUNDS[kind](rng) if kind in SOUNDS else None
    frames = PICTURES[kind](rng) if kind in PICTURES else None
    stamps = np.arange(16) * 250_000_000
    usable, _ = usable_modalities(
        Window(
            0,
            4_000_000_000,
            None if frames is None else FrameBatch(stamps, frames),
            None if samples is None else AudioSpan(0, samples, 1.0),
            "",
        )
    )
    assert usable == (Modality.AUDIO if kind in SOUNDS else Modality.VIDEO)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(InputError, match="use one of silence"):
        make("crowd", np.random.default_rng(0))
    with pytest.raises(InputError, match="count is -1"):
        next(generate(-1, seed=0))

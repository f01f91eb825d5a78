"""What a window may be judged by: each fault is named, and costs no more than it must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros import conditions
from emollama_ros.conditions import Condition
from emollama_ros.estimate import Modality
from emollama_ros.streams import AudioRing, AudioSpan, FrameBatch, FrameRing, Window, cut_window
from emollama_ros.usable import CLIPPED_SHARE, usable_modalities

S = 1_000_000_000
RANDOM = np.random.default_rng(3)
NOISE = RANDOM.integers(0, 256, (8, 16, 16, 3), np.uint8)


def voice(seconds: float = 2.0, gain: float = 0.3) -> np.ndarray:
    """A hum of 150 Hz that swells four times a second."""
    t = np.arange(round(16000 * seconds)) / 16000
    return (gain * np.sin(2 * np.pi * 150 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)


def pictures(*shown: int) -> FrameBatch:
    """Four pictures a second; equal numbers are equal pictures."""
    return FrameBatch(np.arange(len(shown), dtype=np.int64) * (S // 4), NOISE[list(shown)])


def judged(window: Window) -> tuple[Modality, list[Condition]]:
    used, faults = usable_modalities(window)
    return used, [condition for fault in faults for condition in conditions.recognise(fault)]


def heard(samples: np.ndarray, valid: float = 1.0) -> Window:
    return Window(0, 2 * S, None, AudioSpan(0, samples, valid))


@pytest.mark.parametrize(
    ("shown", "used", "seconds"),
    [
        ((0, 1, 2, 3, 4, 5, 6, 7), True, None),
        ((0, 1, 2, 3, 3, 3, 3), True, None),  # for 0.75 s: somebody sits still in a compressed video
        ((0, 1, 2, 3, 3, 3, 3, 3), True, 1.0),
        ((3, 3, 3, 3, 3, 3, 3, 3), False, 1.75),
        ((3, 3, 3, 3, 3, 3, 3, 4), True, None),  # it moves again: noticed with the next picture
        ((3, 3, 3, 3), True, None),  # the first second of a stream proves nothing
        ((3,), True, None),
    ],
)
def test_a_camera_that_froze_is_said_and_not_used_once_nothing_else_is_in_the_window(
    shown: tuple[int, ...], used: bool, seconds: float | None
) -> None:
    found, faults = usable_modalities(Window(0, 2 * S, pictures(*shown)))
    assert found is (Modality.VIDEO if used else Modality.NONE)
    assert faults == ((conditions.FROZEN_PICTURE.say(seconds=seconds).text,) if seconds else ())


def test_a_frozen_camera_leaves_the_voice_in_use() -> None:
    window = Window(0, 2 * S, pictures(*[1] * 8), AudioSpan(0, voice(), 1.0))
    assert judged(window) == (Modality.AUDIO, [conditions.FROZEN_PICTURE])


def test_a_dark_picture_is_blank_whether_it_is_frozen_or_not() -> None:
    black = FrameBatch(np.arange(8, dtype=np.int64) * (S // 4), np.zeros((8, 16, 16, 3), np.uint8))
    assert judged(Window(0, 2 * S, black)) == (Modality.NONE, [conditions.BLANK_PICTURE])


@pytest.mark.parametrize(("gain", "is_clipped"), [(0.3, False), (0.98, False), (1.3, True), (4.0, True)])
def test_a_microphone_that_clips_is_said_and_used(gain: float, is_clipped: bool) -> None:
    samples = np.clip(voice(gain=gain), -1, 32767 / 32768)
    assert judged(heard(samples)) == (Modality.AUDIO, [conditions.CLIPPED_AUDIO] * is_clipped)


def test_single_peaks_at_full_scale_are_no_clipping() -> None:
    samples = voice()
    samples[:: round(2 / CLIPPED_SHARE)] = 1.0
    assert judged(heard(samples)) == (Modality.AUDIO, [])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("share", "used", "words"),
    [(0.0, True, ""), (0.1, True, "10.0% of"), (0.6, False, "60.0% of"), (1.0, False, "100.0% of")],
)
def test_what_is_no_number_counts_as_missing_and_is_said(
    bad: float, share: float, used: bool, words: str
) -> None:
    ring = AudioRing(4.0)
    samples = voice()
    samples[: round(share * len(samples))] = bad
    ring.push(0, samples)
    window = cut_window(0, 2 * S, audio=ring)
    assert window.audio is not None and np.isfinite(window.audio.samples).all()
    found, faults = usable_modalities(window)
    assert found is (Modality.AUDIO if used else Modality.NONE)
    assert len(faults) == bool(share) and words in "".join(faults)
    assert judged(window)[1] == [conditions.BAD_SAMPLES] * bool(share)


def test_sound_that_did_not_arrive_is_told_from_sound_that_is_no_number() -> None:
    ring = AudioRing(4.0)
    ring.push(0, np.full(3200, np.nan, np.float32))
    ring.push(S // 5, voice(0.4))
    assert judged(cut_window(0, 2 * S, audio=ring)) == (
        Modality.NONE,
        [conditions.BAD_SAMPLES, conditions.FEW_SAMPLES],
    )


@given(
    chunks=st.lists(
        st.tuples(
            st.integers(-2, 2),
            st.sampled_from([0.0, 1e-5, 0.3, 2.0, 1e30, np.nan, np.inf]),
            st.integers(0, 4000),
        ),
        max_size=12,
    ),
    frames=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 7)), max_size=8),
)
def test_any_input_is_judged_without_a_fuss(
    chunks: list[tuple[int, float, int]], frames: list[tuple[int, int]]
) -> None:
    audio, video, at = AudioRing(4.0), FrameRing(4.0, 4.0, 16), 0
    for shift, level, count in chunks:
        at += count * S // 16000 + shift * S // 10
        audio.push(at, np.full(count, level, np.float32))
    for after_ms, shown in frames:
        at += after_ms * 1_000_000
        video.push(at, NOISE[shown])
    window = cut_window(at - 2 * S, at, frames=video, audio=audio)
    used, faults = usable_modalities(window)
    assert all(len(conditions.recognise(fault)) == 1 for fault in faults)
    if Modality.AUDIO in used:
        assert (
            window.audio is not None and window.audio.valid >= 0.5 and np.isfinite(window.audio.samples).all()
        )
    if Modality.VIDEO in used:
        assert window.frames is not None and len(window.frames)

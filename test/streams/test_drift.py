"""Drift of clocks: found where it is, not where it is not, whatever delays and jumps there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.streams.drift import BINS, LEAST_BINS, ClockTrack, compare, leap
from emollama_ros.streams.stamps import NS_PER_S

MS = NS_PER_S // 1000
EPOCH = 1_790_000_000 * NS_PER_S


def feed(track, seconds, ppm=0.0, hz=30, delay_ms=5.0, stamp_ms=0.0, start_ns=0, offset_ns=EPOCH, seed=0):
    """Send a stream with exponential delays and jittering stamps; returns the time of its end.

    The stamp is ``offset_ns`` plus the time on a clock that runs ``ppm`` fast since ``start_ns``.
    """
    noise = np.random.default_rng(seed)
    count = round(seconds * hz)
    true = start_ns + np.arange(count) * NS_PER_S // hz
    # int64: the drift alone is computed in float, or the stamps of 2026 would be rounded.
    stamps = true + ((true - start_ns) * ppm * 1e-6).astype(np.int64) + offset_ns
    stamps += (noise.normal(0, stamp_ms, count) * MS).astype(np.int64)
    arrivals = np.maximum.accumulate(true + (noise.exponential(delay_ms, count) * MS).astype(np.int64))
    for stamp, arrival in zip(stamps.tolist(), arrivals.tolist(), strict=True):
        track.note(stamp, arrival)
    return start_ns + round(seconds * NS_PER_S)


@settings(max_examples=30, deadline=None)
@given(
    ppm=st.floats(-500, 500),
    delay_ms=st.floats(0, 30),
    stamp_ms=st.floats(0, 3),
    hz=st.sampled_from([10, 30]),
    seconds=st.integers(90, 400),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_rate_is_found_within_its_error(ppm, delay_ms, stamp_ms, hz, seconds, seed):
    track = ClockTrack()
    feed(track, seconds, ppm, hz, delay_ms, stamp_ms, seed=seed)
    line = track.line()
    assert track.restarts == 0
    assert abs(line.rate_ppm - ppm) <= 2 * line.error_ppm + 2


def test_five_minutes_are_enough_for_an_ordinary_crystal():
    camera, sound = ClockTrack(), ClockTrack()
    feed(camera, 300, 0, 30, delay_ms=8, seed=1)
    feed(sound, 300, 43, 31, delay_ms=3, seed=2)
    drift = compare(sound.line(), camera.line())
    assert drift.is_certain and drift.ppm == pytest.approx(43, abs=drift.error_ppm) and drift.error_ppm < 20
    assert drift.describe("microphone", "camera").startswith("clock drift of microphone against camera +")
    assert drift.ms_per_minute == pytest.approx(drift.ppm * 60e-3)


def test_the_offset_is_that_of_the_clocks_and_of_the_least_delays():
    camera, sound = ClockTrack(), ClockTrack()
    feed(camera, 120, seed=1)
    feed(sound, 120, offset_ns=EPOCH + 12 * MS, seed=2)
    drift = compare(sound.line(), camera.line())
    assert drift.offset_ms == pytest.approx(12, abs=1)
    assert drift.describe("a", "b").startswith("no clock drift of a against b beyond") and "+12 ms" in str(
        drift.describe("a", "b")
    )


def test_nothing_is_said_on_a_minute_of_nothing():
    track = ClockTrack()
    assert track.line() is None
    feed(track, 50)
    assert track.line() is None and compare(track.line(), track.line()) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 20))
def test_clocks_that_run_alike_are_rarely_accused_and_never_of_much(seed, delay_ms):
    one, other = ClockTrack(), ClockTrack()
    feed(one, 150, delay_ms=delay_ms, hz=15, seed=seed)
    feed(other, 150, delay_ms=delay_ms, hz=15, seed=seed + 1)
    drift = compare(one.line(), other.line())
    assert abs(drift.ppm) <= 2 * drift.error_ppm


@pytest.mark.parametrize("jump_ns", [-3600 * NS_PER_S, 3600 * NS_PER_S, 2 * NS_PER_S, -2 * NS_PER_S])
def test_a_clock_that_is_set_begins_anew_and_is_not_averaged_over(jump_ns):
    track = ClockTrack()
    end = feed(track, 100, ppm=50)
    end = feed(track, 30, ppm=50, start_ns=end, offset_ns=EPOCH + jump_ns, seed=1)
    assert track.restarts == 1 and track.line() is None
    feed(track, 120, ppm=50, start_ns=end, offset_ns=EPOCH + jump_ns, seed=2)
    line = track.line()
    assert abs(line.rate_ppm - 50) <= 2 * line.error_ppm


@pytest.mark.parametrize("step_ms", [-40, 20, 40])
def test_a_small_lasting_step_is_found_too(step_ms):
    """Capture clocks that count samples are set right in steps of 40 ms."""
    track = ClockTrack()
    end = feed(track, 200, ppm=30)
    moved = EPOCH + 200 * 30_000 + step_ms * MS
    feed(track, 200, ppm=30, start_ns=end, offset_ns=moved, seed=1)
    line = track.line()
    assert track.restarts == 1 and abs(line.rate_ppm - 30) <= 2 * line.error_ppm


def test_ten_seconds_of_load_do_not_turn_the_line():
    track = ClockTrack()
    end = feed(track, 150, ppm=-80)
    moved = EPOCH - 150 * 80_000
    end = feed(track, 10, start_ns=end, offset_ns=moved - 60 * MS, seed=1)
    feed(track, 150, ppm=-80, start_ns=end, offset_ns=moved, seed=2)
    line = track.line()
    assert track.restarts == 0 and line.rate_ppm == pytest.approx(-80, abs=2 * line.error_ppm + 5)


def test_a_stall_of_the_middleware_is_no_leap_of_the_clock():
    track = ClockTrack()
    end = feed(track, 80)
    for i in range(100):  # three seconds of frames arrive at once
        assert track.note(EPOCH + end + i * 33 * MS, end + 3300 * MS) == 0
    assert track.restarts == 0


@pytest.mark.parametrize("speed", [0.5, 2.0, 4.0])
def test_a_recording_played_fast_or_slow_is_a_rate_like_any_other(speed):
    camera, sound = ClockTrack(), ClockTrack()
    feed(camera, 100, (speed - 1) * 1e6, seed=1)
    feed(sound, 100, (speed * (1 + 100e-6) - 1) * 1e6, seed=2)
    assert camera.line().rate_ppm == pytest.approx((speed - 1) * 1e6, abs=200)
    drift = compare(sound.line(), camera.line())
    assert camera.restarts == 0 and drift.ppm == pytest.approx(100, abs=2 * drift.error_ppm)


def test_memory_is_bounded():
    track = ClockTrack()
    feed(track, 2 * BINS * 4, hz=2)
    assert len(track._bins) == BINS and track.line().span_s <= BINS * 4


def test_forgetting_is_no_restart():
    track = ClockTrack()
    feed(track, 100)
    track.forget()
    assert track.line() is None and track.restarts == 0
    assert track.note(0, 10**15) == 0


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**12))
def test_only_what_no_playback_explains_is_a_leap(stamp_step, arrival_step):
    direction = leap(stamp_step, arrival_step)
    if 0 <= stamp_step <= 4 * arrival_step:
        assert direction == 0
    if stamp_step < -NS_PER_S:
        assert direction == -1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 10 * NS_PER_S)), max_size=200))
def test_no_sequence_of_stamps_breaks_it(messages):
    track, now = ClockTrack(), 0
    for stamp, step in messages:
        track.note(stamp, now := now + step)
    line = track.line()
    assert line is None or np.isfinite([line.rate_ppm, line.error_ppm, line.lag_ns]).all()
    assert LEAST_BINS <= BINS

"""WindowClock and cut_window: each window once, in order, complete, from stamps alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.streams import AudioRing, FrameRing, Grid, TranscriptRing, WindowClock, cut_window

S = 1_000_000_000
MS = 1_000_000


def drain(clock: WindowClock, events: list[tuple[str, int]]) -> list[int]:
    """Feed (stream, milliseconds) and return all ends in milliseconds."""
    ends: list[int] = []
    for stream, stamp in events:
        clock.advance(stream, stamp * MS)
        ends += [end // MS for end in clock.due()]
    return ends


def test_windows_end_on_hops_after_the_first_stamp() -> None:
    assert drain(WindowClock(), [("video", 70 + 100 * k) for k in range(31)]) == [
        1070,
        1570,
        2070,
        2570,
        3070,
    ]


def test_the_first_windows_are_short_at_the_front() -> None:
    clock = WindowClock()
    clock.advance("audio", 10 * S)
    assert clock.span(11 * S) == (10 * S, 11 * S)
    assert clock.span(14 * S) == (10 * S, 14 * S)
    assert clock.span(20 * S) == (16 * S, 20 * S)


def test_a_window_waits_for_every_active_stream() -> None:
    clock = WindowClock()
    assert drain(clock, [("video", 0), ("audio", 0), ("video", 900), ("audio", 900)]) == []
    assert drain(clock, [("video", 1040)]) == [], "sound ends at 900 ms"
    assert drain(clock, [("audio", 1000)]) == [1000]


def test_a_dead_stream_holds_nothing_back_beyond_the_patience() -> None:
    clock = WindowClock(patience_s=0.3)
    drain(clock, [("video", 0), ("audio", 0), ("video", 950), ("audio", 950)])
    assert drain(clock, [("audio", 1250)]) == [], "the camera is 300 ms behind: waited for"
    assert drain(clock, [("audio", 1251)]) == [1000]
    assert drain(clock, [("audio", 2000)]) == [1500, 2000]
    assert drain(clock, [("video", 2000), ("audio", 2510)]) == [2500], "510 ms behind: no longer waited for"
    assert drain(clock, [("video", 2990), ("audio", 3010)]) == [], "back again: waited for"


def test_a_stream_set_back_starts_the_clock_again() -> None:
    clock = WindowClock()
    drain(clock, [("video", 60_000 + 100 * k) for k in range(20)])
    assert clock.advance("video", 0) is True
    assert clock.restarts == 1 and clock.first_ns == 0
    assert drain(clock, [("video", 100 * k) for k in range(1, 12)]) == [1000]


def test_reordered_stamps_are_not_a_jump() -> None:
    clock = WindowClock()
    assert drain(clock, [("video", 0), ("video", 1200), ("video", 1100), ("video", 1500)]) == [1000, 1500]
    assert clock.restarts == 0


def test_a_leap_to_calendar_time_is_one_restart_not_a_million_windows() -> None:
    clock = WindowClock()
    drain(clock, [("video", 100)])
    assert clock.advance("video", 1_700_000_000 * S)
    assert clock.due() == [] and clock.first_ns == 1_700_000_000 * S


def test_two_clocks_do_not_restart_for_ever() -> None:
    """A camera on uptime and a microphone on calendar time: the newer clock wins, once."""
    clock, base = WindowClock(), 1_700_000_000_000
    events = [e for k in range(40) for e in (("video", 100 * k), ("audio", base + 100 * k))]
    ends = drain(clock, events)
    assert clock.restarts == 1 and ends == [base + 1000 + 500 * k for k in range(6)]


def test_reset_and_empty() -> None:
    clock = WindowClock()
    assert clock.due() == [] and clock.first_ns is None
    drain(clock, [("video", 0), ("video", 5000)])
    clock.reset()
    assert clock.due() == [] and clock.first_ns is None


@pytest.mark.parametrize(
    "wrong", [{"hop_s": 0}, {"window_s": 0.5}, {"patience_s": -1}, {"patience_s": 11}, {"pause_s": 0}]
)
def test_parameters_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="WindowClock"):
        WindowClock(**wrong)


@given(
    steps=st.lists(st.tuples(st.sampled_from("va"), st.integers(-900, 3000)), min_size=1, max_size=80),
    hop=st.integers(50, 2000),
)
def test_due_never_repeats_skips_or_goes_back(steps: list[tuple[str, int]], hop: int) -> None:
    """Within one run of the clock, the ends are first + minimum, then every hop, without exception."""
    clock = WindowClock(hop_s=hop / 1000)
    latest = {"v": 0, "a": 0}
    ends: list[int] = []
    newest = 0
    for stream, step in steps:
        latest[stream] = max(0, latest[stream] + step)
        if clock.advance(stream, latest[stream] * MS):
            ends, newest = [], 0
        newest = max(newest, latest[stream])
        for end in clock.due():
            start, same_end = clock.span(end)
            assert same_end == end and 0 < end - start <= 4 * S and start >= clock.first_ns
            ends.append(end)
        least = clock.first_ns + -(-1000 // hop) * hop * MS
        assert ends == [least + k * hop * MS for k in range(len(ends))]
        assert not ends or ends[-1] <= newest * MS


@given(
    stamps=st.lists(st.integers(0, 9000), max_size=40),
    last=st.integers(0, 9000),
    first=st.integers(0, 10**15),
)
def test_the_ends_do_not_depend_on_the_chunks(stamps: list[int], last: int, first: int) -> None:
    fine = drain(WindowClock(), [("a", first + t) for t in [0, *sorted(s for s in stamps if s < last), last]])
    assert fine == drain(WindowClock(), [("a", first), ("a", first + last)])


def test_cut_window_takes_what_there_is() -> None:
    frames, audio, words = FrameRing(4.0, 4.0, 2), AudioRing(4.0), TranscriptRing(4.0)
    empty = cut_window(0, S, frames=frames, audio=audio, transcripts=words)
    assert empty.frames is None and empty.audio is None and empty.transcript == ""
    frames.push(0, np.zeros((2, 2, 3), np.uint8))
    audio.push(S // 2, np.ones(8000, np.float32))
    words.push(S // 2, "hello")
    full = cut_window(0, S, frames=frames, audio=audio, transcripts=words)
    assert full.frames is not None and len(full.frames) == 1 and full.transcript == "hello"
    assert full.audio is not None and len(full.audio.samples) == 16000 and full.audio.valid == 0.5
    assert cut_window(0, S).frames is None


@given(
    firsts=st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    hops=st.lists(st.integers(100, 3000), min_size=1, max_size=3),
)
def test_clocks_that_share_a_grid_end_their_windows_together(firsts: list[int], hops: list[int]) -> None:
    grid, ends = Grid(), list[set[int]]()
    for first in firsts:
        clock = WindowClock(hop_s=hops[0] / 1000, grid=grid)
        ends.append(set(drain(clock, [("a", first + 50 * k) for k in range(250)])))
    for later in ends[1:]:
        both = [t for t in later if min(ends[0]) <= t <= max(ends[0])]
        assert set(both) <= ends[0]


@given(st.lists(st.integers(100, 3000), max_size=5))
def test_another_hop_leaves_no_gap_longer_than_itself(later: list[int]) -> None:
    clock, stamp, ends = WindowClock(), 0, list[tuple[int, int]]()
    for hop in (500, *later):
        clock.retime(hop / 1000, 0.3)
        for stamp in range(stamp, stamp + 3 * hop, 10):  # noqa: B020
            clock.advance("a", stamp * MS)
            ends += [(end // MS, hop) for end in clock.due()]
    assert all(0 < after - before <= hop for (before, _), (after, hop) in pairwise(ends))


def test_one_stamp_of_the_future_does_not_stop_the_others_for_ever() -> None:
    clock = WindowClock()
    hour = 3600 * 1000
    drain(clock, [("audio", 100 * k) for k in range(20)])
    drain(clock, [("audio", hour)])  # and then the microphone dies
    ends = drain(clock, [("video", 2000 + 100 * k) for k in range(40)])
    assert clock.restarts == 2 and ends and ends[0] <= 2000 + 1300 + 1000 + 200


def test_a_clock_that_stands_in_the_future_does_not_stop_the_others_for_ever() -> None:
    clock = WindowClock()
    both = [event for k in range(40) for event in (("audio", 3_600_000), ("video", 2000 + 100 * k))]
    assert drain(clock, both) and clock.restarts == 1


def test_streams_of_different_clocks_follow_the_one_that_is_ahead() -> None:
    clock = WindowClock()
    both = [event for k in range(40) for event in (("audio", 3_600_000 + 100 * k), ("video", 100 * k))]
    ends = drain(clock, both)
    assert clock.restarts == 0 and min(ends) > 3_600_000 and len(ends) == 6

"""FrameRing: a fixed sampling grid by stamp, in memory that never grows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.streams import FrameRing

S = 1_000_000_000
MS = 1_000_000


def picture(value: int, size: int = 2) -> np.ndarray:
    return np.full((size, size, 3), value % 256, np.uint8)


def test_one_frame_of_each_cell_is_kept() -> None:
    ring = FrameRing(4.0, 4.0, 2)
    kept = [k for k in range(30) if ring.push(k * 33 * MS, picture(k)).stored]
    assert kept == [0, 8, 16, 23]
    batch = ring.between(0, S)
    assert batch.stamps_ns.tolist() == [k * 33 * MS for k in kept]
    assert batch.images[:, 0, 0, 0].tolist() == kept


def test_wants_says_what_push_does() -> None:
    ring = FrameRing(1.0, 10.0, 2)
    for stamp in (0, 50, 99, 100, 100, 90, 310, 5000, 3000, 3050):
        wanted = ring.wants(stamp * MS)
        assert ring.push(stamp * MS, picture(0)).stored == wanted


def test_intervals_are_half_open_and_copies() -> None:
    ring = FrameRing(1.0, 10.0, 2)
    for k in range(5):
        ring.push(k * 100 * MS, picture(k))
    batch = ring.between(100 * MS, 300 * MS)
    assert batch.images[:, 0, 0, 0].tolist() == [1, 2]
    for k in range(5, 30):
        ring.push(k * 100 * MS, picture(99))
    assert batch.images[:, 0, 0, 0].tolist() == [1, 2], "a batch must not change when the ring goes on"


def test_a_full_interval_is_held() -> None:
    """4 s at 8 Hz are 32 frames, whatever the phase of the interval."""
    ring = FrameRing(4.0, 8.0, 2)
    for k in range(200):
        ring.push(k * 33_333_333, picture(k))
    end = ring.latest_ns
    assert len(ring.between(end - 4 * S, end)) == 32


def test_a_clock_that_falls_back_starts_again() -> None:
    ring = FrameRing(4.0, 4.0, 2)
    ring.push(100 * S, picture(1))
    report = ring.push(2 * S, picture(2))
    assert report.stored and report.jumped
    assert len(ring.between(0, 200 * S)) == 1 and ring.latest_ns == 2 * S
    assert ring.totals.jumps == 1


def test_a_late_frame_is_dropped_and_counted() -> None:
    ring = FrameRing(4.0, 4.0, 2)
    ring.push(5 * S, picture(1))
    report = ring.push(5 * S - 400 * MS, picture(2))
    assert not report.stored and not report.jumped
    assert (ring.totals.stored, ring.totals.dropped) == (1, 1)


@pytest.mark.parametrize("wrong", [picture(0, 3), picture(0).astype(np.float32), picture(0)[..., 0]])
def test_wrong_pictures_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="to_model_frame"):
        FrameRing(1.0, 4.0, 2).push(0, wrong)


def test_bounds_are_checked_before_memory_is_taken() -> None:
    with pytest.raises(ConfigError, match="max_bytes"):
        FrameRing(3600.0, 30.0, 1000)
    with pytest.raises(ConfigError, match="sample_hz"):
        FrameRing(1.0, 0.0, 2)


def test_push_allocates_nothing() -> None:
    ring, small = FrameRing(4.0, 30.0, 112), picture(7, 112)
    ring.push(0, small)
    tracemalloc.start()
    for k in range(1, 300):
        ring.push(k * S // 30, small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000 < small.nbytes


def test_empty_and_cleared() -> None:
    ring = FrameRing(1.0, 4.0, 2)
    assert len(ring.between(0, S)) == 0 and ring.latest_ns is None
    ring.push(0, picture(1))
    ring.clear()
    assert len(ring.between(0, S)) == 0 and ring.latest_ns is None and ring.totals.stored == 1


@given(st.lists(st.integers(-2000, 700), max_size=60), st.integers(1, 60))
def test_random_stamps_keep_order_grid_and_bound(steps: list[int], hz: int) -> None:
    ring = FrameRing(1.0, hz, 2)
    period, at = round(S / hz), 0
    for k, step in enumerate(steps):
        at += step * MS
        ring.push(at, picture(k))
        batch = ring.between(-(10**15), 10**15)
        cells = batch.stamps_ns // period
        assert (np.diff(cells) > 0).all() and len(batch) <= hz + 1
    assert ring.totals.stored + ring.totals.dropped == len(steps)


@given(st.sets(st.integers(0, 3_999), min_size=1))
def test_the_first_frame_of_every_seen_cell_is_there(stamps: set[int]) -> None:
    ring = FrameRing(4.0, 4.0, 2)
    for stamp in sorted(stamps):
        ring.push(stamp * MS, picture(0))
    first = {stamp // 250: stamp * MS for stamp in sorted(stamps, reverse=True)}
    assert ring.between(0, 4 * S).stamps_ns.tolist() == sorted(first.values())


def test_what_is_kept_is_counted_from_the_oldest_frame_that_is_left() -> None:
    ring = FrameRing(2.0, 4.0, 2)
    assert ring.kept_ns == 0
    for k in range(40):
        ring.push(k * S // 4, np.zeros((2, 2, 3), np.uint8))
    assert ring.kept_ns == 2 * S
    report = ring.push(3600 * S, np.zeros((2, 2, 3), np.uint8))  # an hour ahead: what was is of no use
    assert report.stored and report.jumped and ring.kept_ns == 0
    ring.push(3600 * S + S // 2, np.zeros((2, 2, 3), np.uint8))
    assert ring.kept_ns == S // 2
    ring.clear()
    assert ring.kept_ns == 0

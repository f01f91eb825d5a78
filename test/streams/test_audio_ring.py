"""AudioRing: every sample is accounted for, and spans are exact whatever the chunks were."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.streams import AudioRing

RATE = 16000
S = 1_000_000_000


def ns(samples: int) -> int:
    return round(samples * S / RATE)


def ramp(first: int, count: int) -> np.ndarray:
    """Samples that name their own time: 1, 2, 3 ... exact in float32."""
    return np.arange(first + 1, first + count + 1, dtype=np.float32)


def test_contiguous_chunks_are_one_sound() -> None:
    ring = AudioRing(1.0)
    for first in range(0, RATE, 512):
        ring.push(ns(first), ramp(first, 512))
    span = ring.between(ns(8000), ns(8000) + S // 4)
    assert span.valid == 1.0
    np.testing.assert_array_equal(span.samples, ramp(8000, 4000))


@given(jitter=st.lists(st.integers(-29_000_000, 29_000_000), min_size=5, max_size=30))
def test_jitter_within_tolerance_changes_nothing(jitter: list[int]) -> None:
    ring = AudioRing(4.0)
    for k, shift in enumerate(jitter):
        # 64 ms chunks: the stamps jitter but increase. The first one anchors the time line.
        report = ring.push(k * 64_000_000 + (shift if k else 0), ramp(k * 1024, 1024))
        assert (report.appended, report.gap_samples, report.overlap_samples) == (1024, 0, 0)
    np.testing.assert_array_equal(
        ring.between(0, ns(1024 * len(jitter))).samples, ramp(0, 1024 * len(jitter))
    )


def test_a_gap_is_invalid_silence() -> None:
    ring = AudioRing(2.0)
    ring.push(0, ramp(0, 1600))
    report = ring.push(ns(4800), ramp(4800, 1600))
    assert report.gap_samples == 3200 and report.appended == 1600
    span = ring.between(0, ns(6400))
    assert span.valid == pytest.approx(0.5)
    np.testing.assert_array_equal(span.samples[1600:4800], 0)
    np.testing.assert_array_equal(span.samples[4800:], ramp(4800, 1600))


@pytest.mark.parametrize("size", [16, 320, 1600, 32000])
def test_a_duplicate_is_dropped_however_short(size: int) -> None:
    ring = AudioRing(4.0)
    ring.push(0, ramp(0, size))
    again = ring.push(0, ramp(0, size))
    assert (again.appended, again.overlap_samples, again.jumped) == (0, size, False)


def test_an_overlap_adds_only_what_is_new() -> None:
    ring = AudioRing(2.0)
    ring.push(0, ramp(0, 8000))
    report = ring.push(ns(4000), ramp(4000, 8000))
    assert (report.appended, report.overlap_samples) == (4000, 4000)
    np.testing.assert_array_equal(ring.between(0, ns(12000)).samples, ramp(0, 12000))


def test_a_clock_that_falls_back_starts_again() -> None:
    ring = AudioRing(4.0)
    ring.push(100 * S, ramp(0, 16000))
    report = ring.push(0, ramp(5, 1600))
    assert report.jumped and report.appended == 1600 and report.gap_samples == 0
    assert ring.latest_ns == S // 10
    assert ring.between(100 * S, 101 * S).valid == 0
    assert ring.totals.jumps == 1


@pytest.mark.parametrize(("ends_before_s", "jumped"), [(0.99, False), (1.01, True)])
def test_only_a_second_or_more_is_a_fall(ends_before_s: float, jumped: bool) -> None:
    ring = AudioRing(8.0)
    ring.push(0, ramp(0, 64000))
    report = ring.push(round((4 - ends_before_s) * S) - ns(160), ramp(0, 160))
    assert (report.jumped, report.overlap_samples) == (jumped, 0 if jumped else 160)


def test_a_wild_stamp_heals() -> None:
    """One stamp of the year 2262 may cost the buffer, not the stream."""
    ring = AudioRing(1.0)
    ring.push(0, ramp(0, 1600))
    ring.push(9_000_000_000 * S, ramp(0, 1600))
    ring.push(ns(1600), ramp(1600, 1600))
    ring.push(ns(3200), ramp(3200, 1600))
    np.testing.assert_array_equal(ring.between(ns(1600), ns(4800)).samples, ramp(1600, 3200))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_becomes_invalid_silence(bad: float) -> None:
    ring = AudioRing(1.0)
    chunk = ramp(0, 100)
    chunk[10:20] = bad
    assert ring.push(0, chunk).bad_samples == 10
    span = ring.between(0, ns(100))
    assert np.isfinite(span.samples).all() and span.valid == pytest.approx(0.9)
    assert np.count_nonzero(np.isnan(chunk) | np.isinf(chunk)) == 10, (
        "the caller's data must stay as they are"
    )


def test_drift_is_corrected_in_tolerance_sized_steps() -> None:
    """A sound card 1 % slow: after 20 s of it the time line is within the tolerance."""
    ring = AudioRing(4.0)
    for k in range(1000):
        ring.push(round(k * 20_200_000), ramp(k * 320, 320))
    assert abs(ring.latest_ns - 1000 * 20_200_000) <= 60_000_000
    assert ring.totals.gap_samples == pytest.approx(3200, abs=960)


def test_a_chunk_longer_than_the_ring_leaves_its_end() -> None:
    ring = AudioRing(0.5)
    assert ring.push(0, ramp(0, 20000)).appended == 20000
    np.testing.assert_array_equal(ring.between(ns(12000), ns(20000)).samples, ramp(12000, 8000))
    assert ring.between(0, ns(12000)).valid == 0


def test_nothing_was_heard() -> None:
    ring = AudioRing(1.0)
    assert ring.latest_ns is None
    assert ring.push(5, np.zeros(0, np.float32)).appended == 0
    assert ring.latest_ns is None, "an empty message says nothing about time"
    span = ring.between(0, S)
    assert len(span.samples) == RATE and span.valid == 0


def test_clear_forgets_sound_but_not_counts() -> None:
    ring = AudioRing(1.0)
    ring.push(0, ramp(0, 100))
    ring.clear()
    assert ring.latest_ns is None and ring.between(0, ns(100)).valid == 0
    assert ring.totals.appended == 100


@pytest.mark.parametrize("data", [np.zeros((4, 2), np.float32), np.zeros(4, np.int16)])
def test_wrong_chunks_are_refused(data: np.ndarray) -> None:
    with pytest.raises(InputError, match="Resampler"):
        AudioRing(1.0).push(0, data)


def test_bounds_are_checked_before_memory_is_taken() -> None:
    with pytest.raises(ConfigError, match="max_bytes"):
        AudioRing(10**9)
    for wrong in ({"seconds": 0}, {"seconds": 1, "rate": -1}, {"seconds": float("nan")}):
        with pytest.raises(ConfigError, match="above 0"):
            AudioRing(**wrong)


def test_an_interval_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match="before it starts"):
        AudioRing(1.0).between(5, 4)


def test_push_allocates_for_the_chunk_not_for_the_ring() -> None:
    ring = AudioRing(100.0)
    chunk = np.ones(512, np.float32)
    ring.push(0, chunk)
    tracemalloc.start()
    for k in range(1, 100):
        ring.push(ns(512 * k), chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 < ring.nbytes // 100


chunk_events = st.lists(st.tuples(st.integers(-40000, 60000), st.integers(0, 12000)), max_size=40)


@given(chunk_events)
def test_every_sample_is_accounted_for(events: list[tuple[int, int]]) -> None:
    """Gaps, overlaps, duplicates, jumps: the reports always add up, and spans have the right length."""
    ring = AudioRing(1.0)
    at, origin, line = 0, None, 0
    for shift, count in events:
        at += shift
        report = ring.push(ns(at), np.ones(count, np.float32))
        assert report.appended + report.overlap_samples == count
        assert report.gap_samples >= 0
        if count and (report.jumped or origin is None):
            origin, line = ns(at), 0
        line += report.appended + report.gap_samples
        if origin is not None:
            assert abs(ring.latest_ns - origin - ns(line)) <= 1
        assert len(ring.between(ns(at) - S, ns(at)).samples) == RATE
    assert ring.totals.appended + ring.totals.overlap_samples == sum(count for _, count in events)


@given(
    start=st.integers(-(10**18), 10**18),
    length=st.integers(0, 5 * S),
    stamp=st.integers(-(10**18), 10**18),
)
def test_a_span_is_always_exactly_as_long_as_its_interval(start: int, length: int, stamp: int) -> None:
    ring = AudioRing(1.0)
    ring.push(stamp, np.ones(3000, np.float32))
    span = ring.between(start, start + length)
    assert len(span.samples) == (length * RATE + S // 2) // S
    assert 0.0 <= span.valid <= 1.0 and span.start_ns == start


def cut(first: int, last: int, points: list[int]) -> list[tuple[int, int]]:
    """Split [first, last) at the points that lie in it."""
    edges = sorted({first, last, *(p for p in points if first < p < last)})
    return list(zip(edges, edges[1:], strict=False))


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 8000), min_size=1, max_size=6),
    gaps=st.lists(st.integers(1600, 6000), min_size=6, max_size=6),
    points=st.lists(st.integers(0, 80000), max_size=30),
    base=st.integers(0, 2 * 10**18),
)
def test_the_sound_does_not_depend_on_how_it_was_cut(
    lengths: list[int], gaps: list[int], points: list[int], base: int
) -> None:
    whole, pieces = AudioRing(8.0), AudioRing(8.0)
    at = 0
    for length, gap in zip(lengths, gaps, strict=False):
        whole.push(base + ns(at), ramp(at, length))
        for first, last in cut(at, at + length, points):
            pieces.push(base + ns(first), ramp(first, last - first))
        at += length + gap
    one, many = whole.between(base, base + ns(at)), pieces.between(base, base + ns(at))
    np.testing.assert_array_equal(one.samples, many.samples)
    assert one.valid == many.valid == pytest.approx(sum(lengths) / at, abs=1e-6)
    assert whole.totals == pieces.totals


def test_a_chunk_that_comes_late_fills_its_gap() -> None:
    ring = AudioRing(4.0)
    ring.push(0, ramp(0, 1600))
    ring.push(ns(4800), ramp(4800, 1600))
    report = ring.push(ns(1600), ramp(1600, 3200))
    assert (report.appended, report.overlap_samples, report.filled_samples) == (0, 3200, 3200)
    span = ring.between(0, ns(6400))
    np.testing.assert_array_equal(span.samples, ramp(0, 6400))
    assert span.valid == 1.0 and ring.totals.lost == 0
    again = ring.push(ns(1600), ramp(9999, 3200))  # and only once
    assert again.filled_samples == 0
    np.testing.assert_array_equal(ring.between(0, ns(6400)).samples, ramp(0, 6400))


def test_what_comes_late_as_no_number_fills_nothing() -> None:
    ring = AudioRing(4.0)
    ring.push(0, ramp(0, 1600))
    ring.push(ns(4800), ramp(4800, 1600))
    late = ramp(1600, 3200)
    late[:100] = np.nan
    assert ring.push(ns(1600), late).filled_samples == 3100
    assert ring.totals.lost == 100 and ring.between(0, ns(6400)).valid == pytest.approx(1 - 100 / 6400)


@given(st.permutations(range(8)), st.integers(0, 3))
def test_chunks_in_any_order_and_twice_are_the_sound_as_it_was(order: list[int], twice: int) -> None:
    ring, size = AudioRing(4.0), 1600
    first = ring.push(0, ramp(0, size))
    for k in [*order, *order[:twice]]:
        ring.push(ns((k + 1) * size), ramp((k + 1) * size, size))
    span = ring.between(0, ns(9 * size))
    assert first.appended == size
    np.testing.assert_array_equal(span.samples, ramp(0, 9 * size))
    assert (span.valid, ring.totals.lost) == (1.0, 0)


def test_bad_samples_are_told_from_missing_ones() -> None:
    ring = AudioRing(4.0)
    chunk = ramp(0, 1600)
    chunk[:400] = np.inf
    ring.push(0, chunk)
    span = ring.between(0, ns(3200))
    assert (span.valid, span.bad) == (1200 / 3200, 400 / 3200)


def test_an_hour_ahead_is_another_time_and_not_an_hour_of_lost_sound() -> None:
    ring = AudioRing(2.0)
    ring.push(0, ramp(0, 1600))
    report = ring.push(3600 * S, ramp(0, 1600))
    assert report.jumped and report.gap_samples == 0 and ring.totals.jumps == 1
    assert ring.between(3600 * S, 3600 * S + ns(1600)).valid == 1.0
    assert ring.push(ns(1600), ramp(1600, 1600)).jumped and ring.totals.lost == 0

"""Arithmetic on stamps: exact integers, because a float of nanoseconds since 1970 is 200 ns coarse.

A *stamp* is an ``int`` of nanoseconds on the acquisition clock (the clock of the message headers).
Intervals are half open, ``[start_ns, end_ns)``, so that adjoining windows share no datum.
"""

from __future__ import annotations

NS_PER_S = 1_000_000_000

#: A stream whose stamps fall back by more than this did not jitter: its clock was set back, its
#: driver restarted, or a recording looped. What is buffered belongs to another time and is dropped.
JUMP_NS = NS_PER_S


def to_ns(seconds: float) -> int:
    """Return a duration in seconds as the nearest whole number of nanoseconds."""
    return round(seconds * NS_PER_S)


def to_samples(duration_ns: int, rate: int) -> int:
    """Return how many samples of ``rate`` Hz last ``duration_ns`` (nearest, halves up; sign is kept)."""
    return (duration_ns * rate + NS_PER_S // 2) // NS_PER_S


def to_duration_ns(samples: int, rate: int) -> int:
    """Return how long ``samples`` samples of ``rate`` Hz last, in nanoseconds (nearest, halves up)."""
    return (samples * NS_PER_S + rate // 2) // rate

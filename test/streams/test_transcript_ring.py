"""TranscriptRing: words by the time they were spoken, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from emollama_ros.streams import TranscriptRing

S = 1_000_000_000


def test_words_of_the_interval_in_order() -> None:
    ring = TranscriptRing(10.0)
    ring.push(3 * S, "and me")
    ring.push(1 * S, "you")  # a recogniser that answers out of order
    ring.push(8 * S, "later")
    assert ring.between(0, 4 * S) == "you and me"
    assert ring.between(4 * S, 8 * S) == "", "an utterance at the end belongs to the next window"


def test_an_utterance_counts_while_it_lasts() -> None:
    ring = TranscriptRing(10.0)
    ring.push(5 * S, "a long story", start_ns=0)
    assert ring.between(2 * S, 3 * S) == "a long story"
    assert ring.between(6 * S, 7 * S) == ""


def test_blank_and_repeated_texts_are_not_stored() -> None:
    ring = TranscriptRing(10.0)
    assert not ring.push(0, " \n\t").stored
    assert ring.push(S, "oh no").stored and not ring.push(S, "oh  no").stored
    assert ring.between(0, 2 * S) == "oh no" and ring.totals.stored == 1


def test_lines_become_one_line() -> None:
    ring = TranscriptRing(10.0)
    ring.push(S, "one\ntwo\r\n  three\u2028four")
    assert ring.between(0, 2 * S) == "one two three four"


def test_old_words_go() -> None:
    ring = TranscriptRing(2.0)
    ring.push(1 * S, "old")
    ring.push(4 * S, "new")
    assert ring.between(0, 9 * S) == "new"


def test_a_clock_that_falls_back_starts_again() -> None:
    ring = TranscriptRing(2.0)
    ring.push(100 * S, "before")
    assert ring.push(1 * S, "after").jumped
    assert ring.between(0, 200 * S) == "after" and ring.totals.jumps == 1


def test_a_long_text_keeps_its_end() -> None:
    ring = TranscriptRing(2.0, max_bytes=11)
    report = ring.push(0, "ünbelievably long and then happy")
    assert report.cut and ring.between(0, 1) == " then happy"
    assert ring.push(1, "é" * 20).cut and ring.between(1, 2) == "ééééé"


def test_parameters_are_checked() -> None:
    with pytest.raises(ConfigError, match="seconds"):
        TranscriptRing(0)


@given(st.lists(st.tuples(st.integers(0, 20), st.text(max_size=30)), max_size=40))
def test_bytes_and_seconds_stay_bounded(pushes: list[tuple[int, str]]) -> None:
    ring = TranscriptRing(5.0, max_bytes=64)
    for second, text in pushes:
        ring.push(second * S, text)
        everything = ring.between(-S, 100 * S)
        assert len(everything.encode()) <= 64 + everything.count(" ")
        if ring.latest_ns is not None:
            assert ring.between(-S, ring.latest_ns - 5 * S) == ""

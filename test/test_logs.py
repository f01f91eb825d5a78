"""Logs: each matter once per period, nothing lost without a count, memory bounded."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.logs import Throttle, ThrottleFilter, structured


class Clock:
    def __init__(self):
        self.s = 0.0

    def __call__(self):
        return self.s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(period_s=10, kinds=3, now_s=clock)


def test_a_matter_is_said_once_a_period_and_then_counted(throttle, clock):
    assert throttle.admit("camera lost") == "camera lost"
    assert [throttle.admit("camera lost") for _ in range(7)] == [None] * 7
    clock.s = 10
    assert throttle.admit("camera lost") == "camera lost (and 7 more like this in 10 s)"
    clock.s = 20
    assert throttle.admit("camera lost") == "camera lost"


def test_numbers_do_not_make_another_matter(throttle):
    assert throttle.admit("silent for 3.1 s")
    assert throttle.admit("silent for 14 s") is None
    assert throttle.admit("deaf for 14 s")


def test_a_kind_can_be_given(throttle):
    assert throttle.admit("a", kind="x")
    assert throttle.admit("b", kind="x") is None


def test_what_was_silent_longest_is_forgotten_first(throttle):
    for text in "abcd":
        assert throttle.admit(text)
    assert throttle.admit("a") and throttle.admit("d") is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 8)), max_size=100))
def test_every_message_is_said_or_counted(messages):
    clock = Clock()
    throttle = Throttle(period_s=5, kinds=3, now_s=clock)
    said = counted = 0
    for text, step in messages:
        clock.s += step
        if line := throttle.admit(text):
            said += 1
            counted += int(line.split("and ")[1].split()[0]) if "(and" in line else 0
    pending = sum(entry.left_out for entry in throttle._said.values())
    assert said + counted + pending == len(messages)


def test_filter_of_logging(caplog, throttle, clock):
    logger = logging.getLogger("emollama_ros.test_logs")
    logger.setLevel(logging.DEBUG)
    filtered = ThrottleFilter(throttle)
    logger.addFilter(filtered)
    try:
        for i in range(5):
            logger.warning("window %d failed", i)
            logger.debug("detail %d", i)
        clock.s = 30
        logger.warning("window %d failed", 99)
    finally:
        logger.removeFilter(filtered)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == ["window 0 failed", "window 99 failed (and 4 more like this in 30 s)"]
    assert sum(record.levelno == logging.DEBUG for record in caplog.records) in (0, 5)


def test_a_structured_line_reads_well():
    line = structured("input refused", topic="/camera", reason="wrong step", count=3, rate=29.97, none=None)
    assert line == 'input refused topic=/camera reason="wrong step" count=3 rate=30'


@given(st.text())
def test_values_can_be_taken_apart_again(value):
    name, _, written = structured("", value=value).strip().partition("=")
    assert name == "value" and "\n" not in written
    assert (json.loads(written) if written.startswith('"') else written) == value

"""Meters of the input topics: what is usual, what is silence, what is worth saying."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros import conditions
from emollama_ros.estimate import Status
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.inputs import INTERVALS, InputMeter, Inputs

MS = SECOND // 1000
TIMEOUT = 800 * MS


def fed(count, interval, start=0, topic="/camera"):
    """A meter that got so many messages in so regular a way; and the time of the last."""
    meter = InputMeter(topic)
    for i in range(count):
        meter.accept(start + i * interval, start + i * interval)
    return meter, start + (count - 1) * interval


class TestUsualInterval:
    @given(st.lists(st.integers(30 * MS, 37 * MS), min_size=INTERVALS, max_size=3 * INTERVALS))
    def test_it_is_that_of_the_stream_whatever_the_jitter(self, intervals):
        meter, now = InputMeter("/camera"), 0
        for interval in intervals:
            meter.accept(now := now + interval, now)
        assert 30 * MS <= meter.interval_ns <= 37 * MS

    @pytest.mark.parametrize("outage", [5 * SECOND, 3600 * SECOND])
    def test_an_outage_does_not_change_it(self, outage):
        meter, now = fed(50, 33 * MS)
        meter.accept(now + outage, now + outage)
        assert meter.interval_ns == 33 * MS

    def test_a_new_pace_is_learned(self):
        meter, now = fed(100, 33 * MS)
        for _ in range(INTERVALS // 2 + 1):
            meter.accept(now := now + 2 * SECOND, now)
        assert meter.interval_ns == 2 * SECOND

    def test_refused_messages_count_too(self):
        meter = InputMeter("/camera")
        for i in range(10):
            meter.refuse(i * SECOND, "too dark")
        assert meter.interval_ns == SECOND

    def test_the_first_pause_is_not_yet_usual(self):
        meter, _ = fed(3, 10 * SECOND)
        assert meter.interval_ns == 0 and meter.allowed_ns(TIMEOUT) == TIMEOUT


class TestSilence:
    def test_a_fast_stream_is_silent_after_the_timeout(self):
        meter, last = fed(100, 33 * MS)
        assert meter.finding(last + TIMEOUT, TIMEOUT) is None
        found = meter.finding(last + TIMEOUT + 1, TIMEOUT)
        assert found.condition is conditions.SILENT and found.text == "/camera: silent for 0.8 s"

    def test_a_slow_stream_is_given_three_of_its_intervals(self):
        meter, last = fed(10, 2 * SECOND)
        assert meter.finding(last + 6 * SECOND, TIMEOUT) is None
        assert meter.finding(last + 6 * SECOND + 1, TIMEOUT).condition is conditions.SILENT

    def test_coming_back_is_noticed_at_once(self):
        meter, last = fed(100, 33 * MS)
        back = last + 60 * SECOND
        assert meter.complaint(back, TIMEOUT)
        meter.accept(back, back)
        assert meter.complaint(back, TIMEOUT) == "" and meter.flowing(back, TIMEOUT)

    def test_a_slow_camera_alone_is_waited_for_and_not_blamed_on_the_model(self):
        camera, last = fed(10, 2 * SECOND)
        inputs = Inputs(camera, InputMeter("/audio"), InputMeter("/transcript"))
        status, words = inputs.why_nothing(last + SECOND, TIMEOUT, lambda _: 1)
        assert status is Status.STALE and words == "waiting for /camera, which sends every 2.0 s"

    def test_a_slow_camera_beside_a_microphone_is_no_excuse_for_the_model(self):
        camera, last = fed(10, 2 * SECOND)
        sound, _ = fed(20 * 31, 32 * MS, topic="/audio")
        inputs = Inputs(camera, sound, InputMeter("/transcript"))
        status, words = inputs.why_nothing(last + SECOND, TIMEOUT, lambda _: 1)
        assert status is Status.DEGRADED and "the model is too slow, or stuck" in words


def test_the_rate_is_taken_over_a_second_however_often_it_is_asked_for():
    meter, tick = InputMeter("/camera"), SECOND // 5
    for i in range(1, 101):
        meter.accept(i * 33 * MS, i)
        if i * 33 * MS // tick != (i - 1) * 33 * MS // tick:
            meter.tick(i * 33 * MS)
    assert meter.rate_hz == pytest.approx(1000 / 33, rel=0.01)

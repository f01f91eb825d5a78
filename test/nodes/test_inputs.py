"""Meters of the input topics: what is usual, what is silence, what is worth saying."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros import conditions
from emollama_ros.estimate import Status
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.inputs import InputMeter, Inputs
from emollama_ros.nodes.pace import INTERVALS
from emollama_ros.nodes.transport import VARIABLES

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
        assert 30 * MS <= meter.pace.interval_ns <= 37 * MS

    @pytest.mark.parametrize("outage", [5 * SECOND, 3600 * SECOND])
    def test_an_outage_does_not_change_it(self, outage):
        meter, now = fed(50, 33 * MS)
        meter.accept(now + outage, now + outage)
        assert meter.pace.interval_ns == 33 * MS

    def test_a_new_pace_is_learned(self):
        meter, now = fed(100, 33 * MS)
        for _ in range(INTERVALS // 2 + 1):
            meter.accept(now := now + 2 * SECOND, now)
        assert meter.pace.interval_ns == 2 * SECOND

    def test_refused_messages_count_too(self):
        meter = InputMeter("/camera")
        for i in range(10):
            meter.refuse(i * SECOND, "too dark")
        assert meter.pace.interval_ns == SECOND

    def test_the_first_pause_is_not_yet_usual(self):
        meter, _ = fed(3, 10 * SECOND)
        assert meter.pace.interval_ns == 0 and meter.allowed_ns(TIMEOUT) == TIMEOUT


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


class TestInputs:
    TIMEOUT = 2 * SECOND

    def inputs(self):
        return Inputs(InputMeter("/camera"), InputMeter("/audio"), InputMeter("/transcript"))

    def test_nothing_ever_is_stale_and_names_the_topics(self):
        status, words = self.inputs().why_nothing(
            SECOND, self.TIMEOUT, {"/camera": 0, "/audio": 1}.__getitem__
        )
        assert status is Status.STALE
        assert "/camera has no publisher" in words and "/audio has 1 publisher(s)" in words

    def test_lost_frames_bring_the_hint(self):
        inputs = self.inputs()
        inputs.image.lose(SECOND, 120)
        assert VARIABLES[0] in inputs.why_nothing(SECOND, self.TIMEOUT, lambda _: 1)[1]
        assert VARIABLES[0] in inputs.complaints(SECOND, self.TIMEOUT)[0]

    def test_an_absent_camera_is_no_complaint_but_a_stopped_one_is(self):
        inputs = self.inputs()
        inputs.audio.accept(SECOND, 77)
        assert inputs.complaints(2 * SECOND, self.TIMEOUT) == []
        inputs.image.accept(SECOND, 77)
        inputs.audio.accept(5 * SECOND, 78)
        assert inputs.complaints(5 * SECOND, self.TIMEOUT) == ["/camera: silent for 4.0 s"]

    def test_refused_input_is_degraded_with_its_reason(self):
        inputs = self.inputs()
        assert inputs.image.refuse(SECOND, "wrong step") is True
        assert inputs.image.refuse(SECOND + 1, "wrong step") is False
        status, words = inputs.why_nothing(2 * SECOND, self.TIMEOUT, lambda _: 1)
        assert status is Status.DEGRADED and "/camera: refused, wrong step" in words

    def test_input_that_just_began_is_given_time(self):
        inputs = self.inputs()
        inputs.audio.accept(10 * SECOND, 1)
        assert inputs.why_nothing(11 * SECOND, self.TIMEOUT, lambda _: 1) is None
        for ms in range(11_000, 14_000, 100):
            inputs.audio.accept(ms * 1_000_000, ms)
        status, words = inputs.why_nothing(14 * SECOND, self.TIMEOUT, lambda _: 1)
        assert status is Status.DEGRADED and "too slow, or stuck" in words

    def test_a_window_is_complete_when_the_last_stream_got_there(self):
        inputs = self.inputs()
        for stamp in range(5):
            inputs.image.accept(1000 + stamp, stamp * 100)
            inputs.audio.accept(2000 + stamp, stamp * 100)
        assert inputs.completed_ns(250) == 2003
        assert inputs.completed_ns(500) is None

    def test_sensor_time_goes_on_with_the_steady_clock(self):
        inputs = self.inputs()
        assert inputs.sensor_time_ns(5) is None
        inputs.image.accept(10 * SECOND, 500 * SECOND)
        assert inputs.sensor_time_ns(12 * SECOND) == 502 * SECOND

    def test_rate(self):
        meter = InputMeter("/camera")
        meter.tick(0)
        for i in range(30):
            meter.accept(i, i)
        meter.tick(SECOND)
        assert meter.rate_hz == 30.0

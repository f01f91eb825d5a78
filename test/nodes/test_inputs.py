"""Meters of the input topics: what is usual, what is silence, what is worth saying."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
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


def playing(camera, sound, seconds, shift=0, camera_stamp=lambda t: t, start=0):
    """Feed both sensors in real time; sound is stamped ``shift`` later. Returns the time of the end."""
    now = start
    for now in range(start, start + round(seconds * SECOND), 32 * MS):
        camera.accept(now, camera_stamp(now))
        sound.accept(now, now + shift, 32 * MS)
    return now


@pytest.fixture
def inputs():
    return Inputs(InputMeter("/camera"), InputMeter("/audio"), InputMeter("/transcript"))


class TestNoEstimate:
    def test_a_window_that_takes_long_is_said_to(self, inputs):
        now = playing(inputs.image, inputs.audio, 3)
        status, words = inputs.why_nothing(now, TIMEOUT, lambda _: 1, busy_ms=2500)
        assert status is Status.DEGRADED and words.endswith("stuck: a window has taken 2.5 s")

    def test_windows_that_fail_say_why(self, inputs):
        now = playing(inputs.image, inputs.audio, 3)
        status, words = inputs.why_nothing(now, TIMEOUT, lambda _: 1, busy_ms=1, fault="no memory")
        assert status is Status.DEGRADED and words == "input arrives but windows fail: no memory"

    def test_no_input_goes_before_what_the_model_does(self, inputs):
        now = playing(inputs.image, inputs.audio, 3) + 5 * SECOND
        assert inputs.why_nothing(now, TIMEOUT, lambda _: 1, busy_ms=9e9, fault="x")[0] is Status.STALE


class TestStamps:
    def test_a_frozen_camera_that_repeats_its_picture_is_found(self, inputs):
        now = playing(inputs.image, inputs.audio, 2)
        frozen = playing(inputs.image, inputs.audio, 1, camera_stamp=lambda _: now, start=now + 32 * MS)
        (found,) = inputs.findings(frozen, TIMEOUT)
        assert found.condition is conditions.STAMPS_STAND and found.text.startswith(
            "/camera: stamps have not"
        )
        back = frozen + 32 * MS
        inputs.image.accept(back, back)
        assert inputs.findings(back, TIMEOUT) == []

    def test_a_camera_alone_that_repeats_itself_is_why_there_is_no_estimate(self, inputs):
        for now in range(0, 2 * SECOND, 33 * MS):
            inputs.image.accept(now, 7)
        status, words = inputs.why_nothing(now, TIMEOUT, lambda _: 1)
        assert status is Status.DEGRADED and "stamps have not advanced" in words

    def test_leaping_back_and_forth_is_said_and_forgotten_at_once(self, inputs):
        hour = 3600 * SECOND
        now = playing(inputs.image, inputs.audio, 2)
        for i in range(4):
            now += 32 * MS
            inputs.image.accept(now, now + hour * (i % 2 == 0))
        found = inputs.image.finding(now, TIMEOUT)
        assert found.text == "/camera: stamps leap back and forth (4 times so far)"
        now = playing(inputs.image, inputs.audio, 1, start=now + 32 * MS)
        assert inputs.findings(now, TIMEOUT) == []

    def test_the_model_is_not_blamed_for_stamps_that_leap(self, inputs):
        for tick in range(40):
            now = tick * SECOND // 10
            for meter in inputs.sensors:
                meter.accept(now, now + (tick // 5 % 2) * 3600 * SECOND)
        status, words = inputs.why_nothing(now, TIMEOUT, lambda topic: 1)
        assert status is Status.DEGRADED and "stamps leap back and forth" in words

    def test_a_loop_that_leaps_back_alone_is_counted_and_not_said(self, inputs):
        for loop in range(3):
            for now in range(loop * 4 * SECOND, (loop + 1) * 4 * SECOND, 100 * MS):
                inputs.image.accept(now, now - loop * 4 * SECOND)
        assert inputs.image.finding(now, TIMEOUT) is None and inputs.image.stamps.leaps == 2

    def test_latency_is_not_measured_against_stamps_from_before_a_leap(self, inputs):
        playing(inputs.image, inputs.audio, 2)
        inputs.image.accept(10 * SECOND, 5)
        assert inputs.image.stamps.reached_ns(5) == 10 * SECOND

    @pytest.mark.parametrize(("shift", "ahead"), [(5 * SECOND, "/audio"), (-5 * SECOND, "/camera")])
    def test_sensors_on_different_clocks_are_named_in_order(self, inputs, shift, ahead):
        now = playing(inputs.image, inputs.audio, 2, shift)
        (found,) = inputs.findings(now, TIMEOUT)
        assert found.condition is conditions.STAMPS_APART
        assert found.text.startswith(f"stamps of {ahead} are 5.0 s ahead of those of ")

    @pytest.mark.parametrize(
        ("clock", "condition"),
        [
            (-SECOND // 2, None),
            (-3 * SECOND, conditions.STAMPS_AHEAD),
            (59 * SECOND, None),
            (3600 * SECOND, conditions.STAMPS_BEHIND),
        ],
    )
    def test_stamps_are_compared_with_the_clock_of_the_node(self, inputs, clock, condition):
        now = playing(inputs.image, inputs.audio, 2, start=100 * SECOND)
        inputs.image.tick(now, now + clock)
        found = inputs.warnings(now, TIMEOUT)
        assert [f.condition for f in found] == [condition] * (condition is not None)
        assert inputs.findings(now, TIMEOUT) == []

    def test_simulated_time_without_a_simulation_is_named_once(self, inputs):
        now = playing(inputs.image, inputs.audio, 2, start=100 * SECOND)
        for meter in inputs.sensors:
            meter.tick(now, 0)
        assert [f.condition for f in inputs.warnings(now, TIMEOUT)] == [conditions.CLOCK_STANDS]

    @pytest.mark.parametrize("speed", [0.5, 2, 4])
    def test_a_recording_played_fast_or_slow_is_said_to_be(self, inputs, speed):
        for now in range(0, 3 * SECOND, 33 * MS):
            inputs.image.accept(now, round(now * speed))
        (found,) = inputs.warnings(now, TIMEOUT)
        assert found.text == f"/camera: stamps advance {speed:.1f} times as fast as the time of this machine"
        assert inputs.findings(now, TIMEOUT) == []

    @given(st.lists(st.integers(0, 60), min_size=90, max_size=200))
    def test_jitter_is_no_speed(self, late_ms):
        camera = InputMeter("/camera")
        for i, late in enumerate(late_ms):
            camera.accept(max(i * 33 + late, (i - 1) * 33 + late_ms[i - 1]) * MS, i * 33 * MS)
        now = camera.pace.seen_ns
        assert camera.warnings(now, TIMEOUT) == [] and camera.finding(now, TIMEOUT) is None

    def test_double_messages_are_counted(self, inputs):
        for now in range(0, SECOND, 33 * MS):
            inputs.image.accept(now, now)
            inputs.image.accept(now + MS, now)
        (found,) = inputs.image.stamps.warnings("/camera", now, TIMEOUT)
        assert found.condition is conditions.DUPLICATES and inputs.image.stamps.duplicates == 31

    def test_older_messages_are_counted(self, inputs):
        for stamp in (1, 3, 2, 4):
            inputs.image.accept(stamp * 10 * MS, stamp * 10 * MS)
        assert inputs.image.stamps.reordered == 1


class TestSound:
    def heard(self, chunks, stated_ns=32 * MS):
        """A microphone whose chunks end at these times."""
        meter = InputMeter("/audio")
        for now in chunks:
            meter.accept(now, now, stated_ns)
        return meter, now

    def test_a_gap_is_said_once_and_counted(self):
        meter, now = self.heard([i * 32 * MS for i in range(100) if i not in (50, 51, 52)])
        assert meter.stamps.gaps == 1 and meter.stamps.missing_ns == 96 * MS
        assert meter.finding(now, TIMEOUT) is None
        words = "/audio: sound is missing between messages (1 gap(s) so far, 0.1 s)"
        assert meter.finding(53 * 32 * MS, TIMEOUT).text == words

    @given(st.lists(st.integers(-15, 15), min_size=100, max_size=300))
    def test_stamps_that_jitter_leave_no_gap(self, late_ms):
        meter, now = self.heard([(i * 32 + late) * MS for i, late in enumerate(late_ms)])
        assert meter.stamps.gaps == 0 and meter.finding(now, TIMEOUT) is None

    @pytest.mark.parametrize(("stated", "true"), [(44100, 48000), (48000, 44100), (16000, 8000)])
    def test_a_rate_that_is_stated_wrong_is_found_in_seconds(self, stated, true):
        each = SECOND * 512 // true
        meter, now = self.heard(range(0, 3 * SECOND, each), SECOND * 512 // stated)
        found = meter.finding(now, TIMEOUT)
        assert found.condition is conditions.WRONG_RATE
        assert found.text.startswith(f"/audio: {true / stated:.2f} s of sound per second of its stamps")

    @pytest.mark.parametrize("chunk_ms", [10, 32, 100])
    def test_a_rate_that_is_right_again_is_seen_within_half_a_second(self, chunk_ms):
        each = chunk_ms * MS
        meter, now = self.heard(range(0, 3 * SECOND, each), 3 * each)
        assert meter.finding(now, TIMEOUT).condition is conditions.WRONG_RATE
        for at in range(now + each, now + SECOND * 7 // 10, each):
            meter.accept(at, at, each)
        assert meter.finding(at, TIMEOUT) is None

    def test_double_chunks_are_no_wrong_rate(self):
        meter, now = self.heard([i // 2 * 32 * MS for i in range(200)])
        assert meter.finding(now, TIMEOUT) is None and meter.stamps.duplicates == 100

    def test_lost_sound_is_not_blamed_on_the_size_of_pictures(self, inputs):
        inputs.audio.lose(SECOND, 3)
        (found,) = inputs.findings(SECOND, TIMEOUT)
        assert found.condition is conditions.LOST_SOUND and "3 so far" in found.text
        assert VARIABLES[0] not in found.text


class TestRefusal:
    def test_an_event_is_said_for_as_long_as_it_is_recent(self, inputs):
        now = playing(inputs.image, inputs.audio, 2)
        inputs.image.refuse(now, "wrong step")
        playing(inputs.image, inputs.audio, 0.4, start=now + 32 * MS)
        later = now + 400 * MS
        assert inputs.complaints(later, TIMEOUT) == ["/camera: refused, wrong step"]
        assert inputs.complaints(later, TIMEOUT, recent_ns=300 * MS) == []

    def test_a_slow_camera_whose_messages_are_all_refused_does_not_seem_well_in_between(self, inputs):
        for now in range(0, 20 * SECOND, 2 * SECOND):
            inputs.image.refuse(now, "wrong step")
        assert inputs.complaints(now + SECOND, TIMEOUT) == ["/camera: refused, wrong step"]


class TestRate:
    def ticked(self, meter, hz, seconds, start=0):
        for i in range(seconds):
            for k in range(hz):
                meter.accept(at := start + i * SECOND + k * SECOND // hz, at)
            meter.tick(start + (i + 1) * SECOND)
        return start + seconds * SECOND

    @pytest.mark.parametrize("hz", [6, 60])
    def test_a_rate_far_from_the_usual_one_is_said(self, hz):
        meter = InputMeter("/camera")
        meter.tick(0)
        now = self.ticked(meter, 30, 20)
        assert meter.warnings(now, TIMEOUT) == []
        now = self.ticked(meter, hz, 2, now)
        words = f"/camera: {hz}.0 messages per second, usually 30.0"
        assert words in [f.text for f in meter.warnings(now, TIMEOUT)]

    def test_one_message_more_or_less_is_nothing(self):
        meter = InputMeter("/camera")
        meter.tick(0)
        now = self.ticked(meter, 2, 20)
        now = self.ticked(meter, 4, 1, now)
        assert meter.warnings(now, TIMEOUT) == []


class TestDrift:
    def test_drift_of_the_microphone_is_found_and_a_large_one_is_said(self, inputs):
        for now in range(0, 90 * SECOND, 32 * MS):
            inputs.image.accept(now, now)
            inputs.audio.accept(now, now + now // 1000, 32 * MS)  # 1000 ppm
        drift = inputs.drift()
        assert drift.ppm == pytest.approx(1000, abs=drift.error_ppm + 1)
        (found,) = inputs.warnings(now, TIMEOUT)
        assert (
            found.condition is conditions.DRIFT and "clock drift of microphone against camera" in found.text
        )

    def test_samples_are_counted_against_their_stamps(self, inputs):
        for now in range(0, 90 * SECOND, 32 * MS):
            inputs.audio.accept(now, now, 32 * MS - 1600)  # the sound card is 50 ppm slow
        drift = inputs.audio.stamps.count_drift()
        assert drift.ppm == pytest.approx(-50, abs=drift.error_ppm + 1) and inputs.drift() is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["accept", "refuse", "lose", "tick"]),
            st.integers(0, 5 * SECOND),
            st.integers(0, 2**62),
        ),
        max_size=80,
    )
)
def test_no_sequence_of_events_breaks_a_meter(events):
    meter, now = InputMeter("/camera"), 0
    inputs = Inputs(meter, InputMeter("/audio"), InputMeter("/transcript"))
    for what, step, value in events:
        now += step
        arguments = {"accept": (value,), "refuse": ("odd",), "lose": (value % 9,), "tick": (value,)}[what]
        getattr(meter, what)(now, *arguments)
        for finding in (*inputs.findings(now, TIMEOUT), *inputs.warnings(now, TIMEOUT)):
            assert finding.condition in conditions.recognise(finding.text)
        inputs.why_nothing(now, TIMEOUT, lambda _: 1)
        inputs.completed_ns(value)

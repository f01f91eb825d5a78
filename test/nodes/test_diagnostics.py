"""Entries of /diagnostics on plain data: levels, words, and every value explained."""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from types import SimpleNamespace

import pytest

from emollama_ros.adaptation import PersonReport
from emollama_ros.conditions import Level
from emollama_ros.estimate import Status
from emollama_ros.nodes import vitals
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.diagnostic_contents import CONTENTS
from emollama_ros.nodes.diagnostics import NodeView, Reporter, SourceView, to_message
from emollama_ros.nodes.inputs import InputMeter, Inputs
from emollama_ros.nodes.vitals import Vitals
from emollama_ros.speech.listener import SpeechHealth

MS = SECOND // 1000
TIMEOUT = 800 * MS
FACTS = {
    "bundle": "tiny 1.0 (/opt/tiny)",
    "bundle sha256": "abc",
    "engine": "cpu (onnxruntime 1.2)",
    "engine chosen because": "auto: no CUDA driver with a device",
    "reasoning": "on",
    "adaptation": "possible",
}
VITALS = Vitals(12.5, 7, 300 * 2**20, 310 * 2**20, 40, 2**30, 8 * 2**30)


def feed_health(**changes):
    health = {
        "windows": 20,
        "windows_skipped": 0,
        "faults": 0,
        "last_error": "",
        "restarts": 0,
        "frames_received": 300,
        "frames_kept": 40,
        "audio_samples": 160000,
        "audio_lost": 0,
        "fill": {"video": 1.0, "audio": 0.5},
        "buffered_s": {"video": 4.0, "audio": 4.1},
        "buffered_bytes": 5 * 2**20,
    }
    return SimpleNamespace(**{**health, **changes})


def health(**changes):
    whole = {
        "stage_ms": {"vision": {"p50": 20.0, "p95": 31.0}, "total": {"p50": 50.0, "p95": 80.0}},
        "busy_ms": 12.0,
        "queue_ms": 0.0,
        "reasonings": 3,
        "reasoning_faults": 0,
        "reasoning_error": "",
        "reasoning_busy_ms": 400.0,
    }
    return SimpleNamespace(**{**whole, **changes})


@pytest.fixture(scope="module")
def two_minutes():
    """Inputs that flowed for long enough that everything is known of them; and the time of the end."""
    inputs = Inputs(InputMeter("/camera/image_raw"), InputMeter("/audio"), InputMeter("/transcript"))
    for now in range(0, 120 * SECOND, 32 * MS):
        inputs.image.accept(now, now)
        inputs.audio.accept(now, now, 32 * MS)
        if now % SECOND < 32 * MS:
            for meter in inputs.all:
                meter.tick(now, now + 3 * MS)
    inputs.transcript.accept(now, now)
    return inputs, now


def view(now=0, source=None, **changes):
    source = source or SourceView("", Status.OK, "perceiving")
    return NodeView(now, TIMEOUT, (source,), **{"facts": FACTS, "health": health(), **changes})


def entries(*views, vitals=VITALS):
    """Entries of the last of some reports, by name."""
    reporter = Reporter(0)
    for one in views:
        made = reporter.entries(one, vitals)
    return {entry.name: entry for entry in made}


def test_every_value_is_explained_and_every_explanation_is_of_a_value(two_minutes):
    inputs, now = two_minutes
    feed, speech = feed_health(last_error="odd", faults=1), SpeechHealth(3, 1, 1, {"no voice": 1}, 1, "odd")
    person = PersonReport("allowing for the person", 12.0, {"audio": 0.5}, "not set")
    source = SourceView("", Status.OK, "perceiving", inputs, feed, speech, person)
    found = entries(view(now, source, health=health(reasoning_error="odd", reasoning_faults=1)))
    assert list(found) == list(CONTENTS)
    for name, (_, contents) in CONTENTS.items():
        patterns = {key: re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(key))) for key in contents}
        keys = list(found[name].values)
        assert all(any(p.fullmatch(key) for p in patterns.values()) for key in keys), (name, keys)
        assert all(any(p.fullmatch(key) for key in keys) for p in patterns.values()), (name, keys)
        assert all(found[name].values.values()), "a value that is not known is left out"


def test_sources_have_entries_of_their_own():
    sources = [SourceView(name, Status.OK, "perceiving", None, feed_health()) for name in ("left", "right")]
    made = Reporter(0).entries(dataclasses.replace(view(), sources=sources), VITALS)
    named = ["perception left", "inputs left", "perception right", "inputs right"]
    assert [e.name for e in made] == [*named, "pipeline", "reasoning", "model", "process"]


@pytest.mark.parametrize(
    ("status", "words", "level"),
    [
        (Status.OK, "perceiving", Level.OK),
        (Status.DEGRADED, "/camera: silent for 3.0 s", Level.WARN),
        (Status.STALE, "no input: /camera has no publisher", Level.STALE),
        (Status.STALE, "not active", Level.STALE),
        (Status.STALE, "paused by emotion/enable", Level.OK),
        (Status.DEGRADED, "input arrives but windows fail: no memory", Level.ERROR),
    ],
)
def test_the_level_is_that_of_what_the_state_says(status, words, level):
    entry = entries(view(source=SourceView("", status, words)))["perception"]
    assert (entry.level, entry.message) == (level, words)


def test_rates_are_those_of_the_last_seconds():
    def at(seconds, windows):
        source = SourceView("", Status.OK, "perceiving", None, feed_health(windows=windows))
        return view(seconds * SECOND, source)

    def rate(*views):
        return entries(*views)["perception"].values["window rate"]

    assert rate(*(at(s, 2 * s) for s in range(60))) == "2.00 Hz"
    assert rate(*(at(s, min(2 * s, 100)) for s in range(70))) == "0.00 Hz"
    assert rate(at(0, 500), at(1, 0), at(2, 2)) == "2.00 Hz", "a fresh pipeline counts from 0"


def test_windows_that_are_left_out_are_said_and_forgotten_when_it_is_over():
    def at(second):
        skipped = min(2 * second, 40)
        return view(
            second * SECOND,
            SourceView("", Status.OK, "", None, feed_health(windows=2 * second, windows_skipped=skipped)),
        )

    late = entries(*map(at, range(11)))["pipeline"]
    assert late.level is Level.WARN
    assert late.message == "20 of the last 40 windows were left out: one takes longer than a hop"
    assert entries(*map(at, range(40)))["pipeline"].message == "keeps pace"


def test_a_window_that_does_not_end_is_said():
    entry = entries(view(health=health(busy_ms=3210.0)))["pipeline"]
    assert entry.level is Level.WARN and "a window has taken 3.2 s" in entry.message


def test_the_age_of_an_error_is_that_of_its_latest_case():
    def at(seconds, faults):
        feed = feed_health(last_error="no memory" * bool(faults), faults=faults)
        return view(seconds * SECOND, SourceView("", Status.OK, "perceiving", None, feed))

    values = entries(at(0, 0), at(1, 1), at(31, 1))["perception"].values
    assert (values["last error"], values["last error age"]) == ("no memory", "30 s")
    assert entries(at(0, 1), at(30, 2))["perception"].values["last error age"] == "0 s"
    assert "last error" not in entries(at(0, 0))["perception"].values


def test_speech_that_fails_is_a_warning_for_half_a_minute():
    def at(seconds, faults):
        health = SpeechHealth(faults=faults, last_error="no memory" * bool(faults))
        return view(seconds * SECOND, SourceView("ann", Status.OK, "perceiving", speech=health))

    well, failing = entries(at(0, 0))["speech ann"], entries(at(0, 0), at(1, 1), at(30, 1))["speech ann"]
    assert (well.level, well.message) == (Level.OK, "listening")
    assert (failing.level, failing.message) == (Level.WARN, "speech-to-text failed: no memory")
    assert entries(at(1, 1), at(40, 1))["speech ann"].level is Level.OK
    assert "speech" not in entries(view())


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, Level.OK, "explaining"),
        ({"reasoning": False}, Level.OK, "switched off"),
        ({"facts": {}, "health": None}, Level.OK, "no model is loaded"),
        (
            {"facts": {"reasoning": "off"}, "notices": ("no reasoning: not assembled",)},
            Level.WARN,
            "no reasoning: not assembled",
        ),
        ({"health": None}, Level.OK, "not running"),
        ({"health": health(reasoning_error="no memory")}, Level.WARN, "reasoning failed: no memory"),
    ],
)
def test_reasoning(changes, level, words):
    entry = entries(view(**changes))["reasoning"]
    assert (entry.level, entry.message) == (level, words)


def test_inputs_say_what_is_wrong_and_what_flows(two_minutes):
    inputs, now = two_minutes
    flowing = entries(view(now, SourceView("", Status.OK, "perceiving", inputs)))["inputs"]
    assert (flowing.level, flowing.message) == (Level.OK, "camera and microphone flowing")
    assert flowing.values["clock drift"].startswith("no clock drift of microphone against camera beyond")
    assert flowing.values["camera ahead"] == "-3 ms" and flowing.values["microphone rate"].startswith("31.")
    silent = entries(view(now + 5 * SECOND, SourceView("", Status.STALE, "", inputs)))["inputs"]
    assert silent.level is Level.WARN
    assert silent.message == "/camera/image_raw: silent for 5.0 s; /audio: silent for 5.0 s"


def test_an_event_between_two_reports_is_in_the_next(two_minutes):
    inputs, now = two_minutes
    inputs = Inputs(InputMeter("/camera"), inputs.audio, inputs.transcript)
    inputs.image.accept(now - SECOND, now - SECOND)
    inputs.image.lose(now - SECOND, 2)
    entry = entries(view(now, SourceView("", Status.OK, "perceiving", inputs)))["inputs"]
    assert "/camera: messages are lost on the way (2 so far)" in entry.message


def test_nothing_runs_before_configuring():
    found = entries(view(source=SourceView("", Status.STALE, "not active"), facts={}, health=None))
    assert found["model"].message == "none is loaded" and found["inputs"].message == "not subscribed"
    assert {entry.level for entry in found.values()} == {Level.OK, Level.STALE}


def test_the_process_is_measured_between_reports():
    reporter = Reporter(0)
    reporter.entries(view(SECOND), Vitals(1.0, 5))
    (*_, process) = reporter.entries(view(3 * SECOND), Vitals(2.0, 5))
    assert process.values == {"uptime": "3 s", "processor": "50%", "threads": "5"}
    assert process.message == "memory not known"


class TestVitals:
    def test_they_are_those_of_this_process(self):
        found = vitals.look()
        assert found.threads >= threading.active_count() and found.cpu_s > 0
        assert 2**20 < found.memory_bytes <= found.peak_bytes
        assert found.gpu_used_bytes is None, "nobody asked"

    def test_files_and_threads_are_counted(self):
        before = vitals.look()
        release = threading.Event()
        worker = threading.Thread(target=release.wait)
        worker.start()
        handle = os.open(os.devnull, os.O_RDONLY)
        after = vitals.look()
        os.close(handle)
        release.set()
        worker.join()
        assert (after.threads, after.open_files) == (before.threads + 1, before.open_files + 1)

    def test_without_linux_what_python_knows_is_told(self, tmp_path):
        found = vitals.look(tmp_path)
        assert (found.memory_bytes, found.open_files) == (None, None)
        assert found.threads == threading.active_count()

    def test_a_gpu_is_asked_through_its_management_library(self, monkeypatch):
        class Library:
            """Answers as NVIDIA's does: status 0, and what was asked for in the last argument."""

            def nvmlDeviceGetHandleByIndex_v2(self, index, device):  # noqa: N802
                device._obj.value = 1000 + index
                return 0

            def nvmlDeviceGetMemoryInfo(self, device, memory):  # noqa: N802
                assert device.value == 1000
                memory._obj.total, memory._obj.used = 8 * 2**30, 2**30
                return 0

        monkeypatch.setattr(vitals, "_management_library", Library)
        found = vitals.look(gpu=True)
        assert (found.gpu_used_bytes, found.gpu_bytes) == (2**30, 8 * 2**30)
        monkeypatch.setattr(Library, "nvmlDeviceGetMemoryInfo", lambda *_: 3)
        assert vitals.look(gpu=True).gpu_bytes is None

    def test_a_machine_without_a_gpu_says_nothing_of_it(self, monkeypatch):
        monkeypatch.setattr(vitals, "_management_library", lambda: None)
        assert vitals.look(gpu=True).gpu_bytes is None


@pytest.mark.ros
def test_the_message_follows_the_conventions():
    pytest.importorskip("rclpy", reason="needs ROS 2")
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticStatus

    made = Reporter(0).entries(view(source=SourceView("left", Status.STALE, "not active")), VITALS)
    message = to_message(Time(sec=7), "/robot/perception_node", "robot7", made)
    assert message.header.stamp.sec == 7
    assert [s.name for s in message.status][:2] == [
        "robot/perception_node: perception left",
        "robot/perception_node: inputs left",
    ]
    assert {s.hardware_id for s in message.status} == {"robot7"}
    assert message.status[0].level == DiagnosticStatus.STALE and message.status[0].message == "not active"
    for level in Level:
        assert bytes([level]) == getattr(DiagnosticStatus, level.name)

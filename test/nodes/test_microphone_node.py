"""The microphone node with a PortAudio that does what the test wants."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from rclpy.parameter import Parameter

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.msg import AudioChunk
from emollama_ros.nodes import microphone_node as module
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, stamp_ns
from emollama_ros.nodes.microphone_node import Device, MicrophoneNode, choose

pytestmark = pytest.mark.ros
DEVICES = [
    Device(0, "HDA Intel PCH: ALC257", 2, 44100),
    Device(3, "ReSpeaker 4 Mic Array", 6, 16000),
    Device(5, "ReSpeaker Lite", 2, 16000),
]


class FakeAudio:
    """A sound card that gives a chunk for every ``give`` and can be pulled out."""

    def __init__(self, devices=DEVICES):
        self.devices = devices
        self.given = threading.Semaphore(0)
        self.lost = threading.Event()
        self.opened = []
        self.terminated = 0
        self.empty = False

    def give(self, chunks):
        self.given.release(chunks)

    def pull_out(self):
        self.lost.set()
        self.given.release()

    def PyAudio(self):  # noqa: N802
        return self

    def get_device_count(self):
        return 1 + len(self.devices)

    def get_device_info_by_index(self, i):
        if i == 0:
            return {"index": 9, "name": "HDMI out", "maxInputChannels": 0, "defaultSampleRate": 48000.0}
        d = self.devices[i - 1]
        return {
            "index": d.index,
            "name": d.name,
            "maxInputChannels": d.channels,
            "defaultSampleRate": float(d.rate),
        }

    def get_default_input_device_info(self):
        raise OSError("No Default Input Device Available")

    def open(self, **options):
        if options["rate"] > 48000:
            raise OSError(-9997, "Invalid sample rate")
        self.opened.append(options)
        self.channels = options["channels"]
        return self

    def get_input_latency(self):
        return 0.05

    def read(self, frames, exception_on_overflow):
        assert exception_on_overflow is False
        if not self.given.acquire(timeout=20):
            raise OSError("the test forgot the node")
        if self.lost.is_set():
            raise OSError(-9985, "Device unavailable")
        return np.arange(frames * self.channels, dtype=np.int16).tobytes()

    def close(self):
        raise OSError(-9988, "Stream closed")

    def terminate(self):
        self.terminated += 1


@pytest.fixture
def microphone(graph):
    def start(audio, **parameters):
        given = [Parameter(name, value=value) for name, value in {"retry_s": 0.05, **parameters}.items()]
        heard = graph.hear(AudioChunk, "audio", qos.AUDIO_OUT)
        node = graph.add(MicrophoneNode(audio, parameter_overrides=given))
        node.heard = heard
        graph.until(lambda: node._publisher.get_subscription_count() == 1, "matching")
        return node

    yield start
    for node in graph.nodes:
        if isinstance(node, MicrophoneNode):
            node._ending.set()
            node._pyaudio.given.release(1000)


def test_chunks_are_counted_and_stamped_with_the_time_of_capture(graph, microphone):
    audio = FakeAudio()
    before = graph.observer.get_clock().now().nanoseconds
    node = microphone(audio, device="4 mic", channels=2, chunk_ms=20, audio_latency_ms=100.0)
    audio.give(5)
    graph.until(lambda: len(node.heard) == 5, "five chunks")
    after = graph.observer.get_clock().now().nanoseconds
    assert audio.opened[0]["input_device_index"] == 3 and audio.opened[0]["frames_per_buffer"] == 320
    assert [m.sequence for m in node.heard] == [0, 1, 2, 3, 4]
    assert [m.first_sample for m in node.heard] == [0, 320, 640, 960, 1280]
    assert {(m.sample_rate, m.channels, len(m.samples)) for m in node.heard} == {(16000, 2, 640)}
    assert list(node.heard[0].samples[:3]) == [0, 1, 2]
    stamps = [stamp_ns(m.header.stamp) for m in node.heard]
    assert set(np.diff(stamps)) == {SECOND // 50}
    # The first sample is older than its arrival by its own length, PortAudio's 50 ms and ours of 100 ms.
    assert before <= stamps[0] + 170_000_000 <= after


def test_a_lost_device_is_tried_again(graph, microphone):
    audio = FakeAudio()
    node = microphone(audio)
    audio.give(2)
    graph.until(lambda: len(node.heard) == 2, "chunks")
    audio.pull_out()
    graph.until(lambda: len(audio.opened) >= 2, "opened again")
    audio.lost.clear()
    audio.give(2)
    graph.until(lambda: len(node.heard) >= 4, "chunks again")
    assert audio.terminated >= 1
    # A new recording: samples start at 0, but no chunk number is used twice.
    assert [m.sequence for m in node.heard] == list(range(len(node.heard)))
    assert sorted(m.first_sample for m in node.heard[:4]) == [0, 0, 512, 512]


def test_no_device_is_an_error_that_is_repeated_until_there_is_one(graph, microphone, capfd):
    audio = FakeAudio([])
    node = microphone(audio)
    graph.until(lambda: audio.terminated >= 2, "two attempts")
    assert "no microphone: PortAudio lists no input device" in capfd.readouterr().err
    audio.devices = DEVICES
    audio.give(1)
    graph.until(lambda: node.heard, "a chunk")


def test_closing_ends_the_thread(graph, microphone):
    audio = FakeAudio()
    node = microphone(audio)
    audio.give(1)
    graph.until(lambda: node.heard, "a chunk")
    audio.give(1000)
    node.close()
    assert not node._thread.is_alive()


@pytest.mark.parametrize(
    ("wanted", "index"), [("", 0), ("3", 3), ("lite", 5), ("RESPEAKER 4", 3), ("respeaker lite", 5)]
)
def test_choosing_by_index_or_name(wanted, index):
    assert choose(DEVICES, wanted, None).index == index


def test_the_default_device_is_the_default():
    assert choose(DEVICES, "", 5).index == 5


@pytest.mark.parametrize(
    ("wanted", "words"), [("respeaker", "several devices"), ("webcam", "no device"), ("7", "no device")]
)
def test_a_wrong_name_lists_what_there_is(wanted, words):
    with pytest.raises(InputError, match=words) as caught:
        choose(DEVICES, wanted, None)
    assert all(str(device) in str(caught.value) for device in DEVICES)


def test_a_format_that_the_device_refuses_names_its_own(graph, microphone, capfd):
    audio = FakeAudio()
    microphone(audio, rate=96000, device="4 Mic")
    errors = []
    graph.until(lambda: errors.append(capfd.readouterr().err) or "trying again" in errors[-1], "the error")
    error = "".join(errors)
    assert "[3] ReSpeaker 4 Mic Array" in error and "set rate to 16000" in error


def test_without_pyaudio_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyaudio", None)
    with pytest.raises(ConfigError, match=r"portaudio19-dev.*pip install pyaudio"):
        module.load_pyaudio()

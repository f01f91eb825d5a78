"""Sound of ros-drivers/audio_common, on a machine that has its messages. Run by test_foreign_messages.py."""

from __future__ import annotations

import numpy as np
import pytest
from audio_common_msgs.msg import AudioData, AudioDataStamped, AudioInfo
from rcl_interfaces.msg import Log
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensing import CHUNK, START_NS, Listening, as_array, stamp, tone

from emollama_ros.nodes.clock import SECOND

KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
WAVE = {"channels": 1, "sample_rate": 16000, "sample_format": "S16LE", "coding_format": "wave"}


def data(index, channels=1):
    return AudioData(data=as_array(tone(index, channels), "B"))


def stamped(index, rate=16000, channels=1):
    message = AudioDataStamped(audio=data(index, channels))
    message.header.stamp, message.header.frame_id = stamp(index, rate), "mic"
    return message


@pytest.mark.parametrize("profile", [KEPT, 1], ids=["kept for late subscribers", "repeated"])
def test_stamped_sound_in_the_form_that_audio_info_tells(graph, driver, profile):
    capture = driver(AudioDataStamped)
    info = capture.also(AudioInfo, "audio_info", profile)
    info.publish(AudioInfo(**{**WAVE, "channels": 2, "sample_rate": 48000}))
    here = Listening(graph, audio_latency_ms=100.0)

    def told():
        if profile == 1:
            info.publish(AudioInfo(**{**WAVE, "channels": 2, "sample_rate": 48000}))
        return here.sensors._info.form.told

    graph.until(lambda: here.audio.topic and told(), "AudioInfo")
    capture.play(graph, lambda i: stamped(i, 48000, 2), lambda: len(here.feed.sounds) >= 30, "sound")
    first, samples = here.feed.sounds[0][0], here.feed.samples
    offset = (first + SECOND // 10 - START_NS) * 48000 / SECOND / CHUNK
    assert offset == pytest.approx(round(offset), abs=1e-6), (
        "set back by the latency, otherwise the message's"
    )
    assert abs(len(samples) - len(here.feed.sounds) * CHUNK / 3) < 40
    assert 0.45 < np.abs(samples[200:]).max() < 0.55
    assert here.complaint == "" and here.sensors.frame_id == "mic"


def test_mp3_is_refused_with_the_fix(graph, driver):
    capture = driver(AudioData)
    capture.also(AudioInfo, "audio_info", KEPT).publish(AudioInfo(**{**WAVE, "coding_format": "mp3"}))
    here = Listening(graph)
    graph.until(lambda: here.sensors._info.form.told, "AudioInfo")
    capture.play(graph, data, lambda: here.audio.refused, "a refusal")
    assert "coding_format is 'mp3'" in here.complaint and "format:=wave" in here.complaint
    assert not here.feed.sounds


def test_without_audio_info_the_parameters_count_and_time_is_counted(graph, driver):
    here = Listening(graph, audio_rate=48000, audio_channels=2)
    logs = graph.hear(Log, "/rosout", 100)
    before = here.node.get_clock().now().nanoseconds
    driver(AudioData).play(graph, lambda i: data(i, 2), lambda: len(here.feed.sounds) >= 10, "sound")
    after = here.node.get_clock().now().nanoseconds
    stamps = [at for at, _ in here.feed.sounds[:10]]  # before the clock could follow: this is no real time
    assert before - SECOND < stamps[0] < after
    assert np.abs(np.diff(stamps) - CHUNK * SECOND / 48000).max() <= 1
    said = "/audio: no AudioInfo on /audio_info, so its bytes are taken for S16LE, 48000 Hz, 2 channel(s)"
    graph.until(lambda: any(log.msg.startswith(said) for log in logs), "a word about it in the log")


def test_the_type_is_followed_when_another_driver_takes_over(graph, driver):
    here = Listening(graph)
    first = driver(AudioData)
    first.play(graph, data, lambda: here.feed.sounds, "sound without a header")
    first.close()
    count = len(here.feed.sounds)
    second = driver(AudioDataStamped)
    second.play(graph, stamped, lambda: len(here.feed.sounds) > count + 3, "stamped sound")
    assert here.feed.sounds[-1][0] < START_NS + 10**6 * SECOND and here.complaint == ""


def test_the_other_package_of_this_name_is_told_apart(graph):
    here = Listening(graph, audio_type="audio_common_msgs/AudioStamped")
    assert "the audio_common_msgs installed here has no AudioStamped" in here.complaint
    assert "mgonzs13/audio_common" in here.complaint and "set audio_type to auto" in here.complaint

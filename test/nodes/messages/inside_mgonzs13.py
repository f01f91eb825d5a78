"""Sound of mgonzs13/audio_common, on a machine that has its messages. Run by test_foreign_messages.py."""

from __future__ import annotations

import numpy as np
import pytest
from audio_common_msgs.msg import AudioStamped
from rclpy.qos import qos_profile_sensor_data
from sensing import CHUNK, START_NS, Listening, as_array, stamp, tone

from emollama_ros.nodes.clock import SECOND

FORMATS = {"float32": (1, "f"), "int32": (2, "i"), "int16": (8, "h"), "int8": (16, "b"), "uint8": (32, "B")}


def captured(index, kind="int16"):
    values = tone(index).astype(np.float64) / 32768
    scaled = {
        "float32": values,
        "int32": values * 2**31,
        "int16": values * 2**15,
        "int8": values * 2**7,
        "uint8": values * 2**7 + 128,
    }[kind]
    flag, code = FORMATS[kind]
    message = AudioStamped()
    message.header.stamp, message.header.frame_id = stamp(index), "mic"
    setattr(message.audio.audio_data, f"{kind}_data", as_array(scaled.astype(kind), code))
    info = message.audio.info
    info.format, info.channels, info.rate, info.chunk = flag, 1, 16000, CHUNK
    return message


def test_sound_that_is_published_as_sensor_data_is_heard(graph, driver):
    """The capturer offers best effort; reliable was asked for."""
    here = Listening(graph)
    capture = driver(AudioStamped, profile=qos_profile_sensor_data, name="audio_capturer_node")
    capture.play(graph, captured, lambda: len(here.feed.sounds) >= 10, "sound")
    starts = [(at - START_NS) * 16000 / SECOND / CHUNK for at, _ in here.feed.sounds]
    assert starts == pytest.approx(np.round(starts), abs=1e-4)
    index = round(starts[-1])
    assert np.abs(here.feed.sounds[-1][1] - tone(index) / 32768).max() < 1e-4
    assert here.complaint == "" and here.sensors.frame_id == "mic"


def test_every_sample_type(graph, driver):
    here, capture = Listening(graph), driver(AudioStamped)
    graph.until(lambda: capture.publisher.get_subscription_count(), "a subscription")
    for kind in FORMATS:
        begun = len(here.feed.sounds)
        capture.play(
            graph, lambda i, k=kind: captured(i, k), lambda n=begun: len(here.feed.sounds) > n + 2, kind
        )
        assert 0.47 < np.abs(here.feed.sounds[-1][1]).max() < 0.51
    assert here.audio.refused == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("AudioDataStamped", "the audio_common_msgs installed here has no AudioDataStamped"),
        ("AudioData", "AudioData of the audio_common_msgs installed here has no data"),
    ],
)
def test_the_other_package_of_this_name_is_told_apart(graph, asked, words):
    here = Listening(graph, audio_type=f"audio_common_msgs/{asked}")
    assert words in here.complaint and "audio-common-msgs (of ros-drivers)" in here.complaint


def test_an_explicit_type_that_is_not_what_is_published(graph, driver):
    driver(AudioStamped, name="audio_capturer_node")
    here = Listening(graph, audio_type="emollama_ros/AudioChunk")
    graph.until(lambda: "/audio_capturer_node" in here.complaint, "a complaint")
    assert here.complaint == (
        "/audio is published as audio_common_msgs/AudioStamped by /audio_capturer_node, and heard as "
        "emollama_ros/AudioChunk here: set audio_type to audio_common_msgs/AudioStamped, or publish "
        "emollama_ros/AudioChunk"
    )

"""Subscriptions of a source: publishers of every kind that comes with ROS 2, in participants of their own."""

from __future__ import annotations

import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

import rclpy
from fake_model import load_fake
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensing import CHUNK, START_NS, Heard, Listening, as_array, stamp, tone
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Int16MultiArray, String

from emollama_ros.estimate import Status
from emollama_ros.msg import AudioChunk, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.audio_info import info_topic
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.perception_node import PerceptionNode
from emollama_ros.nodes.sensors import input_topics

pytestmark = pytest.mark.ros


def chunk(index, rate=16000, channels=1):
    message = AudioChunk(sample_rate=rate, channels=channels, sequence=index)
    message.header.stamp, message.header.frame_id = stamp(index, rate), "mic"
    message.samples = as_array(tone(index, channels), "h")
    return message


def picture(index, side=8):
    message = Image(height=side, width=side, encoding="rgb8", step=3 * side)
    message.header.stamp, message.header.frame_id = stamp(index), "camera"
    message.data = array.array("B", bytes(3 * side * side))
    return message


def multi(index):
    return Int16MultiArray(data=as_array(tone(index), "h"))


def words(text):
    return lambda index: String(data=text)


class TestSound:
    def test_every_sample_comes_with_its_stamp(self, graph, driver):
        here, mic = Listening(graph), driver(AudioChunk)
        graph.until(lambda: mic.publisher.get_subscription_count(), "a subscription")
        mic.play(graph, chunk, lambda: len(here.feed.sounds) >= 40, "sound")
        graph.until(lambda: len(here.feed.sounds) == mic.count, "the rest")
        assert [at for at, _ in here.feed.sounds] == [
            START_NS + i * CHUNK * SECOND // 16000 for i in range(mic.count)
        ]
        sent = np.concatenate([tone(i) for i in range(mic.count)]) / 32768
        assert np.abs(here.feed.samples - sent).max() < 1e-6
        assert (here.audio.lost, here.complaint, here.sensors.frame_id) == (0, "", "mic")

    def test_an_array_without_stamp_and_rate_is_timed_by_counting(self, graph, driver):
        here = Listening(graph, audio_rate=48000, audio_latency_ms=200.0)
        before = here.node.get_clock().now().nanoseconds
        driver(Int16MultiArray).play(graph, multi, lambda: len(here.feed.sounds) >= 10, "sound")
        stamps = [
            at for at, _ in here.feed.sounds[:10]
        ]  # before the clock could follow: this is no real time
        assert np.abs(np.diff(stamps) - CHUNK * SECOND / 48000).max() <= 1
        oldest = before - SECOND // 5 - CHUNK * SECOND // 48000
        assert oldest <= stamps[0] <= here.node.get_clock().now().nanoseconds - SECOND // 5

    def test_time_that_a_message_waits_for_the_executor_is_not_its_own(self, graph, driver):
        here, mic = Listening(graph), driver(Int16MultiArray)
        graph.until(lambda: mic.publisher.get_subscription_count(), "a subscription")
        sent_ns = here.node.get_clock().now().nanoseconds
        mic.publisher.publish(multi(0))
        # Nothing spins meanwhile: the middleware takes the message, the executor does not.
        while here.node.get_clock().now().nanoseconds < sent_ns + SECOND // 2:
            pass
        graph.until(lambda: here.feed.sounds, "sound")
        assert here.feed.sounds[0][0] + CHUNK * SECOND // 16000 < sent_ns + SECOND // 4

    def test_a_microphone_that_offers_best_effort_only_is_heard(self, graph, driver):
        here = Listening(graph)
        mic = driver(AudioChunk, profile=qos_profile_sensor_data)
        mic.play(graph, chunk, lambda: len(here.feed.sounds) >= 5, "sound")
        assert here.complaint == "" and not here.audio.mismatch

    def test_a_driver_that_starts_again_with_another_reliability_is_heard(self, graph, driver):
        """It had been heard before: what was received says nothing about the present publisher."""
        here, first = Listening(graph), driver(AudioChunk)
        first.play(graph, chunk, lambda: here.feed.sounds, "reliable sound")
        first.close()
        count = len(here.feed.sounds)
        second = driver(AudioChunk, profile=qos_profile_sensor_data)
        second.play(graph, chunk, lambda: len(here.feed.sounds) > count, "best-effort sound")

    def test_another_type_is_followed_and_back(self, graph, driver):
        here = Listening(graph)
        for kind, make in ((AudioChunk, chunk), (Int16MultiArray, multi), (AudioChunk, chunk)):
            mic, count = driver(kind), len(here.feed.sounds)
            mic.play(graph, make, lambda n=count: len(here.feed.sounds) > n + 2, kind.__name__)
            mic.close()
        assert here.audio.refused == 0

    def test_two_types_on_a_topic_are_said(self, graph, driver):
        here = Listening(graph)
        driver(AudioChunk, name="mic")
        driver(Int16MultiArray, name="listener")
        graph.until(lambda: "by /listener, /mic, only" in here.complaint, "a complaint with both names")
        assert here.complaint.startswith(
            "/audio is published as emollama_ros/AudioChunk and std_msgs/Int16MultiArray by /listener, /mic,"
        )
        assert "set audio_type to the type that is meant" in here.complaint

    def test_a_publisher_that_is_silent_does_not_drown_one_of_another_type(self, graph, driver):
        """One that was killed stays in the graph until its lease ends."""
        here = Listening(graph)
        driver(AudioChunk, name="killed")
        driver(Int16MultiArray).play(graph, multi, lambda: len(here.feed.sounds) > 3, "sound")
        assert here.sensors._listeners[1].adapter.type == "std_msgs/Int16MultiArray"

    def test_an_explicit_type_ends_the_doubt(self, graph, driver):
        here = Listening(graph, audio_type="std_msgs/Int16MultiArray")
        driver(AudioChunk, name="mic")
        listener = driver(Int16MultiArray, name="listener")
        listener.play(graph, multi, lambda: len(here.feed.sounds) > 3, "sound")
        graph.until(lambda: not here.complaint, "that nothing is wrong")

    def test_a_type_that_nothing_here_reads_names_both_sides(self, graph, driver):
        here = Listening(graph)
        driver(String, name="talker")
        graph.until(lambda: "/talker" in here.complaint, "a complaint")
        assert "/audio is published as std_msgs/String by /talker" in here.complaint
        assert (
            "heard as emollama_ros/AudioChunk here: publish emollama_ros/AudioChunk, audio" in here.complaint
        )

    def test_a_topic_that_this_process_uses_for_another_type_is_said(self, graph):
        """One participant cannot have a topic with two types: the middleware refuses."""
        publisher = graph.observer.create_publisher(String, "audio", 10)
        here = Listening(graph)
        assert "/audio" in here.complaint
        graph.observer.destroy_publisher(publisher)
        graph.until(lambda: not here.complaint, "that it is tried again")
        other = graph.observer.create_publisher(AudioChunk, "audio", 10)
        graph.until(lambda: other.publish(chunk(0)) or here.feed.sounds, "sound")


class TestAudioInfoTopic:
    @pytest.mark.parametrize(
        ("remaps", "prefix", "topic"),
        [
            ((), "", "/audio_info"),
            ((), "left/", "/left/audio_info"),
            (("audio:=/audio/audio",), "", "/audio/audio_info"),
            (("audio:=/mic/audio_stamped", "audio_info:=/elsewhere"), "", "/elsewhere"),
        ],
    )
    def test_it_is_beside_the_sound_unless_it_is_remapped(self, graph, remaps, prefix, topic):
        words = ["--ros-args", *(word for remap in remaps for word in ("-r", remap))]
        node = graph.add(rclpy.create_node("perception_node", cli_args=words))
        assert info_topic(node, prefix) == topic


class TestStates:
    """What a user reads in the state of a real node."""

    @pytest.fixture
    def perceive(self, graph):
        def start(**settings):
            given = [Parameter(name, value=value) for name, value in {"timeout_s": 2.0, **settings}.items()]
            node = graph.add(PerceptionNode(load_fake, parameter_overrides=given))
            states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
            assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
            return states

        return start

    def test_a_type_that_is_not_heard(self, graph, driver, perceive):
        states = perceive()
        driver(String, name="talker")
        said = "/audio is published as std_msgs/String by /talker, and heard as emollama_ros/AudioChunk"
        state = graph.until(lambda: next((s for s in states if said in s.status_text), None), "the complaint")
        assert (state.status, state.label) == (EmotionState.STALE, "unknown")

    def test_a_type_that_was_asked_for_and_is_not_installed(self, graph, perceive):
        states = perceive(audio_type="audio_common_msgs/AudioData")
        said = "/audio: audio_common_msgs/AudioData was asked for, but cannot be used here (ModuleNotFound"
        graph.until(lambda: any(said in s.status_text for s in states), "the complaint")

    def test_sound_of_another_type_is_perceived(self, graph, driver, perceive):
        states = perceive(window_s=1.0)
        heard = lambda: any(s.modalities == EmotionState.AUDIO for s in states)  # noqa: E731
        driver(Int16MultiArray).play(graph, multi, heard, "states with sound")


class TestPictures:
    def test_a_camera_that_offers_best_effort_only_is_seen_though_reliable_was_asked(self, graph, driver):
        here = Listening(graph, image_reliability="reliable")
        camera = driver(Image, "camera/image_raw", qos_profile_sensor_data)
        camera.play(graph, picture, lambda: len(here.feed.frames) >= 3, "pictures")
        assert here.sensors.frame_id == "camera"

    def test_a_compressed_picture_on_the_raw_topic_names_both_sides(self, graph, driver):
        here = Listening(graph)
        driver(CompressedImage, "camera/image_raw", name="webcam")
        graph.until(lambda: "/webcam" in str(here.sensors.inputs.image.obstacle), "a complaint")
        assert str(here.sensors.inputs.image.obstacle) == (
            "/camera/image_raw is published as sensor_msgs/CompressedImage by /webcam, and heard as "
            "sensor_msgs/Image here: set image_transport to compressed, or publish sensor_msgs/Image"
        )


class TestWords:
    def test_a_string_is_stamped_on_arrival(self, graph, driver):
        here, asr = Listening(graph), driver(String, "transcript")
        before = here.node.get_clock().now().nanoseconds
        asr.play(graph, words("hello"), lambda: here.feed.words, "words")
        at, text = here.feed.words[0]
        assert text == "hello" and before <= at <= here.node.get_clock().now().nanoseconds

    def test_a_speech_recogniser_of_another_type_degrades_the_state(self, graph, driver):
        here = Listening(graph)
        driver(AudioChunk, "transcript", name="asr")
        inputs = here.sensors.inputs
        graph.until(lambda: "/asr" in str(inputs.transcript.obstacle), "a finding")
        (finding,) = inputs.findings(0, SECOND)
        assert finding.condition.status == Status.DEGRADED
        assert "/transcript is published as emollama_ros/AudioChunk by /asr" in finding.text


class TestSources:
    def test_topics_of_a_named_source_have_its_prefix(self, graph, driver):
        here = Listening(graph, prefix="left/")
        others = [driver(AudioChunk, name) for name in ("audio", "right/audio")]
        left = driver(AudioChunk, "left/audio")
        left.play(
            graph,
            lambda i: [o.publisher.publish(chunk(i, 48000)) for o in others] and chunk(i),
            lambda: len(here.feed.sounds) >= 10,
            "sound",
        )
        assert {len(samples) for _, samples in here.feed.sounds} == {CHUNK}
        assert here.audio.topic == "/left/audio"

    def test_names(self):
        from emollama_ros.nodes.parameters import PerceptionParameters

        settings = PerceptionParameters(image_transport="compressed")
        assert input_topics(settings, "left/") == (
            "left/camera/image_raw/compressed",
            "left/audio",
            "left/transcript",
        )

    def test_after_closing_nothing_comes(self, graph, driver):
        here, mic = Listening(graph), driver(AudioChunk)
        mic.play(graph, chunk, lambda: here.feed.sounds, "sound")
        here.sensors.close()
        here.feed.sounds.clear()
        graph.until(lambda: mic.publisher.get_subscription_count() == 0, "that nobody listens")
        mic.publisher.publish(chunk(0))
        graph.spin_for(0.2)
        assert not here.feed.sounds and isinstance(here.feed, Heard)

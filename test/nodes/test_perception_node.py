"""The perception node with real rclpy and messages, the real pipeline, and a model that can be predicted."""

from __future__ import annotations

import array
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_model import load_fake
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rig import HOP, START, Rig, bright, chunk
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from emollama_ros.estimate import Status
from emollama_ros.msg import AudioChunk, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, ros_time, stamp_ns
from emollama_ros.nodes.perception_node import DONE, PerceptionNode

pytestmark = pytest.mark.ros


@pytest.fixture
def rig(graph):
    return partial(Rig, graph)


def test_states_carry_time_number_label_and_inputs(rig):
    rig = rig(source_id="ann").activate()
    rig.feed(0.7)
    for count in range(1, 5):  # a window that is not told before the next is due would be left out
        rig.feed(0.5)
        states = rig.until_states(count)
    ends = [stamp_ns(s.header.stamp) for s in states]
    assert ends[0] == START + SECOND and set(np.diff(ends)) == {HOP}
    assert [s.sequence for s in rig.states] == list(range(len(rig.states)))
    first = states[0]
    assert stamp_ns(first.window_start) == START
    assert (first.label, first.confidence, first.source_id) == ("happy", pytest.approx(0.7), "ann")
    assert first.header.frame_id == "eye"
    assert first.modalities == EmotionState.VIDEO | EmotionState.AUDIO
    assert len(first.scores) == len(first.labels) and sum(first.scores) == pytest.approx(1.0)
    assert (first.valence, first.arousal) == (0.25, -0.5)
    assert (first.status, first.status_text) == (EmotionState.OK, "")
    assert 0 < first.latency_ms < 5000


def test_reasoning_streams_and_joins_the_state_it_explains(rig):
    rig = rig().activate()
    rig.feed(1.2)
    rig.graph.until(lambda: any(r.final for r in rig.reasonings), "a finished reasoning")
    texts = [r.text for r in rig.reasonings if r.sequence == 0]
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))
    final = next(r for r in rig.reasonings if r.final)
    explained = next(s for s in rig.states if s.sequence == final.explains)
    assert final.header.stamp == explained.header.stamp and final.label == explained.label
    rig.feed(1.0)
    state = rig.graph.until(
        lambda: next((s for s in rig.states if s.reasoning), None), "a state with a reason"
    )
    assert state.reasoning == final.text
    assert (state.reasoning_stamp, state.reasoning_sequence) == (final.header.stamp, final.explains)


def test_one_modality_is_enough_and_a_stopped_one_is_named(rig):
    rig = rig(timeout_s=0.5).activate()
    rig.feed(1.3, video=False)
    state = rig.until_states(1)[-1]
    assert state.modalities == EmotionState.AUDIO and state.status == EmotionState.OK
    assert state.header.frame_id == "ear"
    rig.feed(1.5)
    rig.graph.until(lambda: rig.states[-1].modalities == 3, "a state of both")
    rig.graph.spin_for(0.6)
    rig.feed(6.0, video=False)
    state = rig.graph.until(
        lambda: next((s for s in rig.states[::-1] if s.modalities == EmotionState.AUDIO and s.status), None),
        "video gone",
    )
    assert state.status == EmotionState.DEGRADED and "/camera/image_raw: silent for" in state.status_text


def test_expected_but_absent_input_degrades(rig):
    rig = rig(expect="video+audio").activate()
    rig.feed(1.3, video=False)
    state = rig.until_states(1)[-1]
    assert state.status == EmotionState.DEGRADED and "video" in state.status_text


def test_words_are_heard(rig):
    rig = rig().activate()
    clock = rig.node.get_clock()
    rig.now = clock.now().nanoseconds
    rig.words.publish(String(data="what a lovely day"))
    rig.graph.until(lambda: rig.inputs().transcript.received, "words")
    rig.feed(2.0)
    rig.graph.until(lambda: any(s.modalities & EmotionState.TEXT for s in rig.states), "a state from words")


def test_silence_is_stale_within_the_timeout_and_names_the_topics(rig):
    rig = rig(timeout_s=0.5).activate()
    rig.feed(1.2)
    rig.until_states(1)
    state = rig.next_state(lambda s: s.status == EmotionState.STALE, "STALE")
    assert (state.label, state.confidence, list(state.scores)) == ("unknown", 0.0, [])
    assert "/camera/image_raw" in state.status_text and "/audio" in state.status_text
    # On the sensors' clock, carried on: neither the wall clock nor the past.
    assert 0 < stamp_ns(state.header.stamp) - rig.now + SECOND // 10 < 20 * SECOND
    again = rig.next_state()
    assert again.sequence == state.sequence + 1 and again.status == EmotionState.STALE
    rig.feed(1.5)
    after = rig.graph.until(
        lambda: [s for s in rig.states[again.sequence :] if s.status == EmotionState.OK], "recovery"
    )
    assert after[0].label == "happy"
    assert [s.sequence for s in rig.states] == list(range(len(rig.states)))


def test_nobody_publishing_is_said(graph):
    node = graph.add(PerceptionNode(load_fake, parameter_overrides=[Parameter("timeout_s", value=0.5)]))
    states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    assert node.trigger_configure() == DONE and node.trigger_activate() == DONE
    graph.until(lambda: states, "STALE")
    assert "/camera/image_raw has no publisher; /audio has no publisher" in states[0].status_text


def wrong_step(stamp):
    message = bright(stamp)
    message.step -= 1
    return message


def empty(stamp):
    message = Image(encoding="rgb8")
    message.header.stamp = ros_time(stamp)
    return message


def strange_encoding(stamp):
    message = bright(stamp)
    message.encoding = "hologram"
    return message


def no_stamp(stamp):
    return bright(0)


@pytest.mark.parametrize(
    ("image", "reason"),
    [(wrong_step, "step"), (empty, "empty"), (strange_encoding, "hologram"), (no_stamp, "header.stamp is 0")],
)
def test_images_that_cannot_be_used_degrade_with_the_reason(rig, image, reason):
    rig = rig(timeout_s=0.6).activate()
    rig.feed(1.3, image=image)
    state = rig.graph.until(lambda: rig.states[-1] if rig.states else None, "a state")
    assert (state.status, state.label) == (EmotionState.DEGRADED, "neutral")
    assert state.modalities == EmotionState.AUDIO
    assert state.status_text.startswith("/camera/image_raw: ") and reason in state.status_text


def test_only_refused_input_is_degraded_not_silent(rig):
    rig = rig(timeout_s=0.5).activate()
    rig.feed(0.5, audio=False, image=empty)
    sent = rig.graph.observer.create_timer(0.1, lambda: rig.images.publish(empty(START)))
    state = rig.next_state()
    sent.cancel()
    assert (state.status, state.label) == (EmotionState.DEGRADED, "unknown")
    assert "no usable input" in state.status_text and "empty" in state.status_text


def test_audio_that_cannot_be_used_degrades_with_the_reason(rig):
    rig = rig().activate()
    broken = chunk(START)
    broken.channels = 0
    rig._deliver(rig.sound, broken, rig.inputs().audio)
    rig.feed(1.3, audio=False)
    state = rig.until_states(1)[0]
    assert state.status == EmotionState.DEGRADED and "channels is 0" in state.status_text


def test_lost_chunks_are_counted_and_said(rig):
    rig = rig().activate()
    audio = rig.inputs().audio
    for sequence in (0, 1, 5):
        rig._deliver(rig.sound, chunk(START, sequence=sequence), audio)
    assert audio.lost == 3
    rig.feed(1.3, audio=False)
    assert "3 so far" in rig.until_states(1)[0].status_text


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 2), (44100, 6)])
def test_any_sample_rate_becomes_16_khz(rig, rate, channels):
    rig = rig(reasoning=False).activate()
    for i in range(14):
        message = chunk(START + i * SECOND // 10, rate // 10, rate, channels, i)
        rig._deliver(rig.sound, message, rig.inputs().audio)
    assert rig.until_states(1)[0].modalities == EmotionState.AUDIO
    assert rig.pipeline.health().audio_samples == pytest.approx(14 * 1600, abs=64)


def test_stamps_that_fall_back_start_afresh(rig):
    rig = rig().activate()
    rig.feed(2.2)
    count = len(rig.until_states(3))
    rig.now = START - 3600 * SECOND
    rig.feed(1.5)
    state = rig.until_states(count + 1)[-1]
    assert stamp_ns(state.header.stamp) == START - 3599 * SECOND
    assert state.sequence == count and state.status == EmotionState.OK
    assert rig.pipeline.health().restarts >= 1


def test_compressed_images(graph):
    import io

    from PIL import Image as Picture

    rig = Rig(graph, image_transport="compressed")
    pictures = graph.observer.create_publisher(CompressedImage, "camera/image_raw/compressed", qos.IMAGE_OUT)
    assert rig.node.trigger_configure() == DONE and rig.node.trigger_activate() == DONE
    graph.until(pictures.get_subscription_count, "subscription")
    buffer = io.BytesIO()
    Picture.new("RGB", (64, 48), (230, 230, 230)).save(buffer, "JPEG")
    meter = rig.inputs().image
    for i in range(13):
        message = CompressedImage(format="jpeg", data=array.array("B", buffer.getvalue()))
        message.header.stamp = ros_time(START + i * SECOND // 10)
        rig._deliver(pictures, message, meter)
    assert rig.until_states(1)[0].label == "happy"
    broken = CompressedImage(format="jpeg", data=array.array("B", b"no jpeg"))
    broken.header.stamp = ros_time(START + 2 * SECOND)
    rig._deliver(pictures, broken, meter)
    assert meter.refused == 1


def test_a_best_effort_microphone_is_met(graph):
    rig = Rig(graph)
    graph.observer.destroy_publisher(rig.sound)
    profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    rig.sound = graph.observer.create_publisher(AudioChunk, "audio", profile)
    assert rig.node.trigger_configure() == DONE and rig.node.trigger_activate() == DONE
    graph.until(lambda: rig.sound.get_subscription_count() == 1, "a second subscription, best effort")
    rig._deliver(rig.sound, chunk(START), rig.inputs().audio)


def test_diagnostics_tell_rates_and_model(rig):
    rig = rig().activate()
    reports = rig.graph.hear(DiagnosticArray, "/diagnostics")
    rig.feed(2.0)
    rig.until_states(2)
    seen = len(reports)
    report = rig.graph.until(lambda: reports[seen:] and reports[-1], "diagnostics")
    facts = {pair.key: pair.value for entry in report.status for pair in entry.values}
    assert facts["bundle"] == "fake 1.0" and facts["camera received"] == "20"
    assert facts["microphone lost"] == "0" and int(facts["windows"]) >= 2
    perception = next(entry for entry in report.status if entry.name == "perception_node: perception")
    assert (perception.level, perception.message) == (DiagnosticStatus.OK, "perceiving")
    assert int(Status.STALE) == EmotionState.STALE


def test_diagnostics_also_before_configuring(rig):
    rig = rig()
    reports = rig.graph.hear(DiagnosticArray, "/diagnostics")
    report = rig.graph.until(lambda: reports and reports[0], "diagnostics")
    assert report.status[0].level == DiagnosticStatus.STALE and report.status[0].message == "not active"


def test_a_late_joiner_gets_the_present_state(rig):
    rig = rig().activate()
    rig.feed(1.3)
    rig.until_states(1)
    late = rig.graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    rig.graph.until(lambda: late, "the latched state")

"""Nodes that only the benchmark has: the straightforward one, the bare one, and ours without an engine."""

import json

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from sensor_msgs.msg import Image

from benchmark import bare_subscriber, rival_node
from benchmark import graph as running_graph
from benchmark.null_engine import NullPerceiver, load_null, neutral
from benchmark.traced_node import TracedNode
from emollama_ros.estimate import Modality
from emollama_ros.msg import AudioChunk, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, ros_time, stamp_ns
from emollama_ros.nodes.media_player_node import image_message, pcm16
from emollama_ros.nodes.perception_node import DONE
from emollama_ros.streams import AudioSpan, FrameBatch, Window

pytestmark = pytest.mark.ros
START = 100_000 * SECOND


def matched():
    pairs = []
    return rival_node.ArrivalMatcher(lambda picture, sound: pairs.append((picture, sound))), pairs


def test_messages_are_paired_with_the_nearest():
    matcher, pairs = matched()
    matcher.sound(0.00, "a")
    matcher.sound(0.05, "b")
    matcher.picture(0.04, "p")
    matcher.picture(0.30, "alone")
    matcher.sound(0.201, "c")
    assert pairs == [("p", "b"), ("alone", "c")]


def test_what_has_no_partner_is_forgotten():
    matcher, pairs = matched()
    for number in range(rival_node.QUEUE + 1):
        matcher.sound(number / 1000, number)
    matcher.picture(0.0, "p")
    assert pairs == [("p", 1)], "the oldest of more than a queue is gone"


def test_buffers_hold_everything_and_choose_pictures_uniformly():
    buffers = rival_node.Buffers()
    frame = np.zeros((rival_node.SIZE, rival_node.SIZE, 3), np.uint8)
    for number in range(33):
        assert not buffers.full
        buffers.append(number * SECOND // 8, frame + number, np.full(1940, number / 100))
    window = buffers.window()
    assert buffers.full and buffers.frames.dtype == np.float64
    assert (window.start_ns, window.end_ns) == (0, 4 * SECOND)
    chosen = window.frames.images[:, 0, 0, 0]
    assert len(chosen) == 16 and (chosen[0], chosen[-1]) == (0, 32) and set(np.diff(chosen)) == {2, 3}
    assert window.audio.samples.shape == (33 * 1940,) and window.audio.samples[-1] == np.float32(0.32)


def send(graph, node, images, sounds, seconds=1):
    """Publish a picture and the sound beside it, and wait until a node that keeps one of each has both."""
    now = graph.observer.get_clock().now().nanoseconds
    had = dict(node.counts)
    images.publish(image_message(np.full((48, 64, 3), 99, np.uint8), now, "eye"))
    message = AudioChunk(sample_rate=16000, channels=1, samples=pcm16(np.full(seconds * 16_000, 0.25)))
    sounds.publish(message)
    graph.until(
        lambda: node.counts["frames"] > had["frames"] and node.counts["samples"] > had["samples"], "a pair"
    )
    return now


def test_straightforward_node_answers_when_a_window_is_full(graph, tmp_path):
    seen = []

    def perceive(window, sequence):
        seen.append(window)
        return neutral(window, sequence)

    node = graph.add(rival_node.RivalNode(tmp_path / "trace.json", lambda folder: perceive))
    images = graph.observer.create_publisher(Image, "camera/image_raw", qos.IMAGE_OUT)
    sounds = graph.observer.create_publisher(AudioChunk, "audio", qos.AUDIO_OUT)
    heard = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    graph.until(lambda: images.get_subscription_count() and sounds.get_subscription_count(), "subscriptions")
    graph.until(lambda: node.count_publishers("audio"), "the publisher")
    stamps = [send(graph, node, images, sounds) for _ in range(5)]
    (state,) = graph.until(lambda: heard, "a state")
    assert stamp_ns(state.header.stamp) == stamps[3] and stamp_ns(state.window_start) == stamps[0]
    assert (seen[0].frames.images == 99).all() and seen[0].audio.samples.tolist() == [0.25] * 64_000
    graph.remove(node)
    counts = json.loads((tmp_path / "trace.json").read_text())["counts"]
    assert counts == {
        "results": 1, "frames": 5, "samples": 80_000, "samples_used": 64_000, "samples_pending": 16_000
    }  # fmt: skip


def test_bare_subscriber_counts(graph, tmp_path):
    node = graph.add(bare_subscriber.BareSubscriber(tmp_path / "trace.json", raw=True))
    images = graph.observer.create_publisher(Image, "camera/image_raw", qos.IMAGE_OUT)
    graph.until(lambda: images.get_subscription_count() and node.count_publishers("camera/image_raw"), "each")
    images.publish(image_message(np.zeros((4, 4, 3), np.uint8), 1, "eye"))
    graph.until(lambda: node.counts["image"], "a picture")
    graph.remove(node)
    assert json.loads((tmp_path / "trace.json").read_text()) == {"counts": {"image": 1, "audio": 0}}


def test_traced_node_without_an_engine_notes_everything(graph, tmp_path):
    """Three seconds of stamps, as fast as they are taken: states come, and the trace has what ROS cost."""
    node = graph.add(TracedNode(tmp_path / "trace.json", load_null))
    sounds = graph.observer.create_publisher(AudioChunk, "audio", qos.AUDIO_OUT)
    images = graph.observer.create_publisher(Image, "camera/image_raw", qos.IMAGE_OUT)
    heard = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    assert node.trigger_configure() == DONE and node.trigger_activate() == DONE
    graph.until(lambda: images.get_subscription_count() and sounds.get_subscription_count(), "subscriptions")
    graph.until(lambda: node.count_publishers("audio") and node.count_publishers("camera/image_raw"), "both")
    for number in range(30):
        stamp = START + number * SECOND // 10
        images.publish(image_message(np.full((48, 64, 3), number, np.uint8), stamp, "eye"))
        message = AudioChunk(sample_rate=16000, channels=1, sequence=number, samples=pcm16(np.zeros(1600)))
        message.header.stamp = ros_time(stamp)
        sounds.publish(message)
        graph.until(lambda: node.taken >= 2 * number + 2, "both messages")  # noqa: B023  # waited for here
    graph.until(lambda: any(state.label == "neutral" for state in heard), "a state")
    graph.remove(node)
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert len(trace["messages"]["image"]) == len(trace["messages"]["audio"]) == 30
    assert trace["counts"]["audio_samples"] == 48_000 and trace["counts"]["frames_received"] == 30
    ends = [estimate["end_ns"] - START for estimate in trace["estimates"]]
    # Stamps run ahead of the clock here, so windows may be left out where the machine is busy.
    assert ends and set(ends) <= {half * SECOND // 2 for half in range(2, 7)} and ends == sorted(set(ends))
    found = running_graph.overhead(trace["messages"], [1.0])
    assert found["image"]["arrival_to_buffer_ms"]["min"] >= found["image"]["callback_ms"]["min"] > 0


def test_null_engine_answers_for_every_source():
    frames = FrameBatch(np.array([1]), np.zeros((1, 224, 224, 3), np.uint8))
    sound = AudioSpan(0, np.zeros(16_000, np.float32), 1.0)
    windows = [Window(0, SECOND, frames, sound), Window(0, SECOND), Window(0, SECOND, None, sound, "hello")]
    found = NullPerceiver().perceive(windows, [3, 4, 5], [0, 1, 2])
    assert [e.source for e in found] == [0, 1, 2] and [e.sequence for e in found] == [3, 4, 5]
    assert [e.label for e in found] == ["neutral", "unknown", "neutral"]
    assert found[0].modalities == Modality.VIDEO | Modality.AUDIO
    assert found[2].modalities == Modality.AUDIO | Modality.TEXT
    assert sum(found[0].scores) == 1 and sum(found[1].scores) == 0
    assert neutral(windows[0], 7).sequence == 7

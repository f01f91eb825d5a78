"""/diagnostics and /rosout of real nodes, read from another node over real Fast DDS."""

from __future__ import annotations

import logging
import platform

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_model import load_fake
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from emollama_ros.msg import AudioChunk
from emollama_ros.nodes import qos, ros_logs
from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.diagnostic_contents import CONTENTS
from emollama_ros.nodes.media_player_node import image_message, pcm16
from emollama_ros.nodes.perception_node import DONE, PerceptionNode

pytestmark = pytest.mark.ros
#: As rcl offers it: who joins late hears the last lines.
ROSOUT = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PERIOD_NS = SECOND // 25


class Robot:
    """A camera and a microphone at 25 Hz that count their time, so that a late timer leaves no gap in it."""

    def __init__(self, graph, ahead_s=0.0, **parameters):
        given = [Parameter(name, value=value) for name, value in parameters.items()]
        self.graph = graph
        self.node = graph.add(PerceptionNode(load_fake, parameter_overrides=given))
        self.reports = graph.hear(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self.now = self.node.get_clock().now().nanoseconds + round(ahead_s * SECOND)
        make = graph.observer.create_publisher
        self.images = make(Image, "camera/image_raw", qos.IMAGE_OUT)
        self.sound = make(AudioChunk, "audio", qos.AUDIO_OUT)
        self.timer = graph.observer.create_timer(PERIOD_NS / SECOND, self.publish)
        self.sent = 0

    def publish(self):
        before, self.now = self.now, self.now + PERIOD_NS
        noise = np.random.default_rng(self.sent).integers(0, 255, (48, 64, 3), np.uint8)
        self.images.publish(image_message(noise, self.now, "eye"))
        chunk = AudioChunk(sample_rate=16000, channels=1, sequence=self.sent)
        chunk.samples = pcm16(0.3 * np.sin(np.arange(16000 * PERIOD_NS // SECOND) / 5))
        chunk.header.stamp = ros_time(before)
        self.sound.publish(chunk)
        self.sent += 1

    def activate(self):
        assert self.node.trigger_configure() == DONE
        assert self.node.trigger_activate() == DONE
        return self

    def report(self, wanted, what):
        """Entries of the first report in which something holds, by name."""
        return self.graph.until(
            lambda: next((r for r in map(by_name, self.reports) if wanted(r)), None), what
        )


def by_name(array):
    assert all(status.name.startswith("perception_node: ") for status in array.status)
    return {status.name.removeprefix("perception_node: "): status for status in array.status}


def values(status):
    return {pair.key: pair.value for pair in status.values}


def test_a_running_node_reports_everything(graph):
    robot = Robot(graph).activate()
    report = robot.report(
        lambda r: (
            values(r["reasoning"]).get("reasonings", "0") != "0"
            and float(values(r["perception"])["window rate"].split()[0]) > 1
        ),
        "a report of perceiving and explaining",
    )
    absent = {"speech": "speech_to_text is false", "adaptation": "the bundle cannot"}
    assert list(report) == [entry for entry in CONTENTS if entry not in absent]
    assert {status.hardware_id for status in report.values()} == {platform.node()}
    assert report["perception"].message == "perceiving"
    assert report["inputs"].message == "camera and microphone flowing"
    assert values(report["model"])["bundle"] == "fake 1.0"
    inputs, perception = values(report["inputs"]), values(report["perception"])
    assert inputs["camera topic"] == "/camera/image_raw" and int(inputs["camera received"]) > 20
    assert inputs["microphone lost"] == "0" and float(inputs["camera ahead"].split()[0]) < 1000
    assert int(perception["frames received"]) >= int(perception["frames kept"]) > 3
    assert 0 < float(perception["fill audio"]) <= 1
    assert "p95" in values(report["pipeline"])["stage total"]
    assert int(values(report["process"])["threads"]) > 2
    assert float(values(report["process"])["memory"].split()[0]) > 10


def test_reports_come_once_a_second(graph):
    robot = Robot(graph)
    graph.until(lambda: len(robot.reports) >= 3, "three reports")
    stamps = [r.header.stamp.sec + r.header.stamp.nanosec * 1e-9 for r in robot.reports]
    assert stamps[2] - stamps[0] > 1.0, "at the pace of the node's tick"


def test_sensors_on_another_clock_are_a_warning_and_the_state_stays_well(graph):
    robot = Robot(graph, ahead_s=3600).activate()
    report = robot.report(lambda r: r["inputs"].level == DiagnosticStatus.WARN, "a warning")
    assert "/camera/image_raw: stamps are 3" in report["inputs"].message
    assert "ahead of this node's clock" in report["inputs"].message
    report = robot.report(lambda r: r["perception"].message == "perceiving", "perceiving")
    assert report["perception"].level == DiagnosticStatus.OK


def test_a_camera_that_stops_is_said_and_its_return_too(graph):
    robot = Robot(graph).activate()
    log = graph.hear(Log, "/rosout", ROSOUT)
    robot.report(lambda r: r["perception"].message == "perceiving", "perceiving")
    images, robot.images = robot.images, graph.observer.create_publisher(Image, "elsewhere", 1)
    robot.report(lambda r: "/camera/image_raw: silent for" in r["inputs"].message, "silence")
    robot.images = images
    robot.reports.clear()
    robot.report(
        lambda r: (
            r["inputs"].message == "camera and microphone flowing" and r["perception"].message == "perceiving"
        ),
        "all well again",
    )
    began = graph.until(
        lambda: next((i for i, m in enumerate(log) if "/camera/image_raw: silent" in m.msg), None), "it began"
    )
    assert log[began].msg.startswith("inputs level=WARN was=")
    graph.until(
        lambda: any(m.msg.startswith("inputs level=OK was=WARN after_s=") for m in log[began:]), "it was over"
    )


def test_before_configuring_it_says_so(graph):
    robot = Robot(graph)
    report = robot.report(lambda r: True, "a report")
    assert report["perception"].level == DiagnosticStatus.STALE
    assert report["perception"].message == "not active" and report["model"].message == "none is loaded"


def test_what_the_package_logs_is_on_rosout_once_and_with_its_severity(graph):
    node = graph.add(rclpy.create_node("talker"))
    heard = graph.hear(Log, "/rosout", 100)
    graph.until(lambda: node.count_subscribers("/rosout"), "somebody who listens")
    ros_logs.forward(node)
    logger = logging.getLogger("emollama_ros.pipeline")
    for i in range(50):
        logger.error("window %d failed", i)
        logger.warning("late")
    graph.until(lambda: sum(message.name == "talker" for message in heard) >= 2, "two lines")
    ros_logs.end()
    logger.error("nobody listens")
    graph.spin_for(0.3)
    lines = [(m.level, m.msg) for m in heard if m.name == "talker"]
    assert lines == [(40, "window 0 failed"), (30, "late")]


TALKER = """
import logging, rclpy
from emollama_ros.nodes.running import run_node

def run(node, executor):
    logging.getLogger("emollama_ros.engines").warning("slow graph")
    executor.spin()

raise SystemExit(run_node(lambda: rclpy.create_node("talker"), run))
"""


def test_every_node_that_runs_in_a_process_hands_its_logs_on(graph, processes):
    heard = graph.hear(Log, "/rosout", ROSOUT)
    processes("-c", TALKER)
    graph.until(lambda: ("talker", "slow graph") in {(m.name, m.msg) for m in heard}, "the line")

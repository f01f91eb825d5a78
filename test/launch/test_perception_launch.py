"""The launch file: read without launch, evaluated with it, and its lifecycle driven for real."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "launch" / "perception.launch.py"
SKIP = "needs launch and launch_ros, which are not on PyPI"


def declared():
    """Names of the launch arguments, read from the source."""
    calls = (node for node in ast.walk(ast.parse(FILE.read_text())) if isinstance(node, ast.Call))
    return [c.args[0].value for c in calls if getattr(c.func, "id", "") == "DeclareLaunchArgument"]


def test_arguments_are_those_of_nav2_and_ours():
    assert set(declared()) == {
        "namespace",
        "params_file",
        "use_sim_time",
        "autostart",
        "use_respawn",
        "log_level",
        "camera_topic",
        "audio_topic",
        "transcript_topic",
        "source",
        "sources",
        "bundle",
        "engine",
        "hop_s",
        "reasoning",
        "adaptation",
        "dashboard",
        "dashboard_host",
        "dashboard_port",
        "annotated",
        "ros4hri",
    }


def test_every_argument_is_documented():
    text = (ROOT / "docs" / "nodes.md").read_text()
    assert all(f"`{name}`" in text for name in declared())


@pytest.fixture
def evaluate(monkeypatch):
    """Evaluate the launch file with arguments; returns (its nodes by name, the context)."""
    pytest.importorskip("launch.actions", reason=SKIP)
    pytest.importorskip("launch_ros.actions", reason=SKIP)
    from launch.actions import SetEnvironmentVariable
    from launch.launch_description_sources import get_launch_description_from_python_launch_file
    from launch_ros.actions import Node

    from launch import LaunchContext

    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(profile="", **arguments):
        if profile:
            monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", profile)
        context = LaunchContext()
        context.launch_configurations.update(arguments)
        made = []
        for entity in get_launch_description_from_python_launch_file(str(FILE)).entities:
            if isinstance(entity, SetEnvironmentVariable) or not isinstance(entity, Node):
                made += entity.execute(context) or []
        return {n._Node__node_name: n for n in made if isinstance(n, Node)}, context, made

    return run


def test_without_a_source_only_perception_starts(evaluate):
    nodes, context, made = evaluate()
    assert list(nodes) == ["perception_node"] and len(made) == 1
    assert context.environment["FASTRTPS_DEFAULT_PROFILES_FILE"].endswith("config/fastdds.xml")


def test_a_file_is_played_and_live_records(evaluate):
    assert list(evaluate(source="a.mp4")[0]) == ["perception_node", "media_player"]
    assert list(evaluate(source="live")[0]) == ["perception_node", "microphone"]


def test_who_watches_is_started_where_it_was_asked_for(evaluate):
    asked = dict.fromkeys(("dashboard", "annotated", "ros4hri"), "true")
    nodes = evaluate(source="a.mp4", dashboard_port="9000", **asked)[0]
    assert list(nodes) == ["perception_node", "media_player", "annotator", "dashboard", "hri_mirror"]


def test_each_source_has_a_player_of_its_own(evaluate):
    with pytest.raises(ValueError, match="name one for each"):
        evaluate(sources="left,right", source="a.mp4")
    nodes, _, made = evaluate(sources="left, right", source="a.mp4,b.mp4", hop_s="1", reasoning="false")
    assert len(made) == 3 and set(nodes) == {"perception_node", "media_player"}
    assert nodes["media_player"]._Node__node_namespace.endswith("/right")


def test_a_profile_of_the_user_stays(evaluate):
    assert evaluate(profile="/mine.xml")[1].environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/mine.xml"


LAUNCH = """
import importlib.util, sys
from launch import LaunchService
from launch_ros.actions import LifecycleNode
spec = importlib.util.spec_from_file_location("perception_launch", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def fake(package, executable, **rest):
    return LifecycleNode(executable=sys.executable, arguments=[sys.argv[2]], **rest)
module.LifecycleNode = fake
service = LaunchService(noninteractive=True)
service.context.launch_configurations.update(namespace="robot", use_respawn="true")
service.include_launch_description(module.generate_launch_description())
sys.exit(service.run())
"""


@pytest.mark.ros
def test_launch_takes_the_node_to_active_also_after_a_crash():
    pytest.importorskip("launch_ros.actions", reason=SKIP)
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
    from emollama_ros.msg import EmotionState
    from emollama_ros.nodes import qos

    fake = ROOT / "test" / "nodes" / "fake_model.py"
    launched = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(FILE), str(fake)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    rclpy.init(args=[])
    node = rclpy.create_node("observer")
    states = []
    node.create_subscription(EmotionState, "/robot/emotion/state", states.append, qos.STATES_HEARD)
    try:
        silent = "/robot/camera/image_raw has no publisher"
        _spin_until(node, lambda: states and states[-1].sequence > 3 and silent in states[-1].status_text)
        _kill_child_of(launched.pid)
        # Numbers that begin again are another process: the first was killed, and the second is active too.
        begun = lambda: any(b.sequence <= a.sequence for a, b in zip(states, states[1:], strict=False))  # noqa: E731
        _spin_until(node, begun)
    finally:
        launched.send_signal(signal.SIGINT)  # at SIGTERM launch leaves its processes behind
        output = launched.communicate(timeout=20)[0]
        node.destroy_node()
        rclpy.shutdown()
    assert output.count("process started") == 2, output


def _spin_until(node, condition, timeout=30.0):
    import rclpy

    deadline = node.get_clock().now().nanoseconds + timeout * 1e9
    while not condition():
        assert node.get_clock().now().nanoseconds < deadline
        rclpy.spin_once(node, timeout_sec=0.1)


def _kill_child_of(pid):
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if "fake_model" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(int(child), 9)

"""Messages of packages that are not on PyPI: real type support, each package in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

import workspaces
from sensing import Listening

# The messages are compiled first, by the first test that ever runs: minutes on a busy machine.
pytestmark = [pytest.mark.ros, pytest.mark.timeout(900)]

#: A driver that ends with its input. Not killed: the middleware would take 20 s to notice that.
PUBLISH = """
import sys
import rclpy
from audio_common_msgs.msg import AudioStamped
rclpy.init()
node = rclpy.create_node("audio_capturer_node")
node.create_publisher(AudioStamped, "audio", 10)
sys.stdin.read()
node.destroy_node()
rclpy.shutdown()
"""


@pytest.fixture(scope="session")
def prefixes(ros_environment):
    return workspaces.built()


@pytest.fixture(scope="session")
def inside(prefixes):
    """Run the tests inside every workspace, at once, for they mostly wait."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    running = {
        name: subprocess.Popen(
            [*command, *sorted(workspaces.HERE.glob(f"inside_{name}*.py"))],
            env=workspaces.environment(prefixes / name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in workspaces.PACKAGES
    }
    try:
        yield {name: (process.communicate(timeout=240)[0], process) for name, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
            process.communicate()


@pytest.mark.parametrize("name", workspaces.PACKAGES)
def test_on_a_machine_that_has(name, inside):
    said, process = inside[name]
    assert process.returncode == 0, said
    assert " passed" in said and "skipped" not in said


def test_messages_that_are_not_installed_here_are_named_with_both_sides_and_the_fix(graph, prefixes):
    here = Listening(graph)
    talker = subprocess.Popen(
        [sys.executable, "-c", PUBLISH],
        env=workspaces.environment(prefixes / "mgonzs13"),
        stdin=subprocess.PIPE,
    )
    try:
        graph.until(lambda: "/audio_capturer_node" in here.complaint, "a complaint with the name")
        said = here.complaint
    finally:
        talker.communicate(timeout=20)
    assert said.startswith(
        "/audio is published as audio_common_msgs/AudioStamped by /audio_capturer_node, and heard as "
        "emollama_ros/AudioChunk here: build audio_common_msgs of mgonzs13/audio_common"
    )
    graph.until(lambda: not here.complaint, "that the complaint ends with its cause")

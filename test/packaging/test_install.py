"""The installed package: messages and modules are one package, seen from everywhere and across processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.ros

IMPORT = """
import emollama_ros, emollama_ros.labels
from emollama_ros.action import AskEmotion
from emollama_ros.msg import AudioChunk, EmotionReasoning, EmotionState
print(emollama_ros.__version__, emollama_ros.labels.__file__)
"""

PUBLISH = """
import sys, rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from emollama_ros.msg import EmotionState
rclpy.init()
node = rclpy.create_node("packaging_publisher")
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
publisher = node.create_publisher(EmotionState, "packaging/state", latched)
publisher.publish(EmotionState(label="happy", labels=["happy", "sad"], scores=[0.75, 0.25], sequence=7))
sys.stdin.read()  # stay until the other side has it
"""


def run_python(code: str, folder: Path, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def installed(bootstrap: ModuleType, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What CMake installs on a robot, in a folder of its own."""
    place = bootstrap.Place(root, Path(sys.prefix))
    if not (place.build / "CMakeCache.txt").exists():
        pytest.skip(
            f"{place.build.name} is not there: not an environment of make setup, or make clean was run"
        )
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", place.build, "--prefix", prefix], check=True, capture_output=True)
    return prefix


@pytest.mark.parametrize("folder", [".", "emollama_ros", "/"])
def test_modules_and_messages_are_one_package_from_everywhere(root: Path, folder: str) -> None:
    version, module = run_python(IMPORT, root / folder).split(maxsplit=1)
    assert version == "0.1.0"
    assert Path(module.strip()).resolve() == root / "emollama_ros" / "labels.py"


def test_installed_copy_is_complete_without_the_checkout(
    bootstrap: ModuleType, installed: Path, tmp_path: Path
) -> None:
    overlay = installed / bootstrap.OVERLAY
    module = run_python(IMPORT, tmp_path, PYTHONPATH=str(overlay)).split(maxsplit=1)[1]
    assert module.strip() == str(overlay / "emollama_ros" / "labels.py")


def test_every_module_is_installed(bootstrap: ModuleType, installed: Path, root: Path) -> None:
    source = root / "emollama_ros"
    modules = [path for path in source.rglob("*.py") if "__pycache__" not in path.parts]
    for path in modules:
        copy = installed / bootstrap.OVERLAY / "emollama_ros" / path.relative_to(source)
        assert copy.is_file(), f"{path} is not installed"
        assert copy.read_bytes() == path.read_bytes(), f"{copy} differs (rosidl's empty __init__.py?)"


def test_programs_and_share_are_installed(installed: Path) -> None:
    for name in (
        "annotator_node",
        "dashboard_node",
        "emollama",
        "media_player_node",
        "microphone_node",
        "perception_node",
    ):
        assert os.access(installed / "lib" / "emollama_ros" / name, os.X_OK)
    share = installed / "share" / "emollama_ros"
    for name in (
        "package.xml",
        "msg/EmotionState.msg",
        "action/AskEmotion.action",
        "launch/behaviours/greeter.launch.py",
        "launch/perception.launch.py",
        "config/perception.yaml",
        "config/foxglove.json",
        "config/emollama.rviz",
    ):
        assert (share / name).is_file(), name
    assert (installed / "share/ament_index/resource_index/packages/emollama_ros").exists()


def test_ament_finds_the_package() -> None:
    from ament_index_python.packages import get_package_share_directory

    assert (Path(get_package_share_directory("emollama_ros")) / "config").is_dir()


def test_state_crosses_a_process_border(ros_context: None) -> None:
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile

    from emollama_ros.msg import EmotionState

    node = rclpy.create_node("packaging_subscriber")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    received: Any = rclpy.task.Future()
    node.create_subscription(EmotionState, "packaging/state", received.set_result, latched)
    with subprocess.Popen([sys.executable, "-c", PUBLISH], stdin=subprocess.PIPE) as publisher:
        try:
            rclpy.spin_until_future_complete(node, received, timeout_sec=30)
        finally:
            publisher.communicate()
    node.destroy_node()
    state = received.result()
    assert state is not None, "nothing arrived in 30 s"
    assert (state.label, state.labels, list(state.scores), state.sequence) == (
        "happy",
        ["happy", "sad"],
        [0.75, 0.25],
        7,
    )

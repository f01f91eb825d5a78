"""The C++ example builds against the installed messages, and reads states as they are meant."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's build folder."""
    if shutil.which("cmake") is None or not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("needs cmake and a C++ compiler")
    prefixes = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    if not any((Path(p) / "share/emollama_ros/cmake").is_dir() for p in prefixes.split(os.pathsep)):
        pytest.skip("needs the built messages")
    folder = tmp_path_factory.mktemp("cpp")
    options = [
        f"-DCMAKE_PREFIX_PATH={prefixes.replace(os.pathsep, ';')}",
        f"-DPython3_EXECUTABLE={sys.executable}",
    ]
    for command in (
        ["cmake", "-S", root / "examples" / "cpp", "-B", folder, *options],
        ["cmake", "--build", folder],
    ):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "warning: " not in done.stderr
    return folder


def test_states_of_every_kind_read_as_they_are_meant(built: Path) -> None:
    done = subprocess.run([str(built / "describe_test")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 5


def test_the_subscriber_is_built(built: Path) -> None:
    if "rclcpp_DIR:PATH=rclcpp_DIR-NOTFOUND" in (built / "CMakeCache.txt").read_text():
        pytest.skip("needs rclcpp, which is not among the ROS 2 wheels")
    assert os.access(built / "emotion_subscriber", os.X_OK)

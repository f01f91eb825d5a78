"""Nothing leaves the robot: a graph with nothing but loopback, and every attempt to leave counted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: Where DDS takes its ports: 7400 and up, 250 for each domain.
FIRST_PORT, PER_DOMAIN = 7400, 250


def command():
    """What runs a program in a network namespace of its own, or the reason why that is impossible here."""
    tool = shutil.which("unshare")
    if tool is None:
        pytest.skip("needs unshare of util-linux")
    for options in (["--net"], ["--map-root-user", "--net"]):
        if subprocess.run([tool, *options, "true"], capture_output=True).returncode == 0:
            return [tool, *options]
    pytest.skip("this machine allows no network namespaces")


@pytest.fixture(scope="module")
def found(nodes, tmp_path_factory):
    """What a graph tried to reach while it perceived and explained."""
    pytest.importorskip("rclpy", reason="needs ROS 2")
    pytest.importorskip("emollama_ros.msg", reason="needs the built messages")
    clip = nodes.write_clip(tmp_path_factory.mktemp("cut_off") / "clip.mp4", seconds=3.0)
    home = tmp_path_factory.mktemp("home")
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [*command(), sys.executable, str(HERE / "cut_off.py"), str(clip)],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment | {"OMP_NUM_THREADS": "1", "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")},
    )
    assert done.returncode == 0, done.stderr
    files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    return {**json.loads(done.stdout.splitlines()[-1]), "files": files}


pytestmark = pytest.mark.ros


def test_it_perceives_and_explains_without_a_network(found):
    assert found["ended"] == []
    assert found["perceived"] > 0 and found["explained"] > 0


def test_nothing_tries_to_leave_the_machine(found):
    assert found["noticed"], "an attempt on purpose was not counted: this kernel says nothing"
    assert found["attempts"] == 0


def test_nobody_listens_and_only_dds_has_sockets(found):
    assert found["tcp"] == []
    assert found["udp"], "DDS has sockets"
    assert {int(remote, 16) for _, remote, _ in found["udp"]} == {0}, "none is tied to another machine"
    domain = int(os.environ.get("ROS_DOMAIN_ID", 0))
    least = FIRST_PORT + PER_DOMAIN * domain
    ports = {port for port, _, _ in found["udp"]}
    assert any(least <= port < least + PER_DOMAIN for port in ports)


def test_nothing_is_kept(found):
    """ONNX Runtime would begin with a device id and a data base of what to report, long before it does."""
    assert found["files"] == []

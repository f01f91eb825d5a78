"""Real rclpy, real messages, real Fast DDS; a clip with known content; waiting without sleeping."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from time import monotonic

import av
import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

#: Nothing in these tests takes this long; only a failure does.
DEADLINE_S = 20.0


@pytest.fixture(scope="session", autouse=True)
def always(ros_environment):
    """Every test of this folder uses the shipped transport."""


class Graph:
    """Nodes of this process and one executor, spun only by the test."""

    def __init__(self):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.executor = SingleThreadedExecutor()
        self.nodes = []
        self.observer = self.add(rclpy.create_node("observer"))

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def remove(self, node):
        self.nodes.remove(node)
        self.executor.remove_node(node)
        getattr(node, "close", lambda: None)()
        node.destroy_node()

    def until(self, condition, what, timeout=DEADLINE_S):
        """Spin until a condition holds; its value. Fails when it does not in time."""
        deadline = monotonic() + timeout
        while not (value := condition()):
            assert monotonic() < deadline, f"waited {timeout} s for: {what}"
            self.executor.spin_once(timeout_sec=0.05)
        return value

    def spin_for(self, seconds):
        """Spin for a time in which something must NOT happen."""
        deadline = monotonic() + seconds
        while (left := deadline - monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def hear(self, kind, topic, profile=10):
        """Subscribe; returns the growing list of messages."""
        heard = []
        self.observer.create_subscription(kind, topic, heard.append, profile)
        return heard

    def close(self):
        for node in list(self.nodes):
            self.remove(node)
        self.executor.shutdown()
        # What still refers to a node in a circle would end it during a later test, and with it what the node
        # of the same name there says on /rosout: rcl has one publisher of it per name.
        gc.collect()


def graphs():
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
    rclpy.init(args=[])
    graph = Graph()
    yield graph
    graph.close()
    rclpy.try_shutdown()


@pytest.fixture
def graph(ros_environment):
    yield from graphs()


@pytest.fixture(scope="module")
def shared_graph(ros_environment):
    """One graph for all tests of a module."""
    yield from graphs()


@pytest.fixture
def processes(ros_environment):
    """Start processes; all are ended with the test."""
    running = []

    def start(*command):
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def write_clip(path, seconds=4.0, video=True, audio=True, fps=15):
    """Write a clip: dark in its first half, bright in its second; a tone throughout."""
    with av.open(str(path), "w") as container:
        if video:
            stream = container.add_stream("mpeg4", rate=fps)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        if audio:
            sound = container.add_stream("aac", rate=16000, layout="mono")
        if video:
            for i in range(round(seconds * fps)):
                value = 40 if i < seconds * fps / 2 else 220
                frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), value, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if audio:
            times = np.arange(round(seconds * 16000)) / 16000
            tone = (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)
            for start in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(
                    tone[None, start : start + 1024], format="fltp", layout="mono"
                )
                frame.sample_rate, frame.pts = 16000, start
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory):
    """Twice as long, so that what is shown lasts."""
    return write_clip(tmp_path_factory.mktemp("clips") / "long.mp4", seconds=8.0)


@pytest.fixture
def driver(ros_environment):
    """Make publishers, each in a participant of its own."""
    from sensing import Driver

    made = []

    def start(*args, **options):
        made.append(Driver(*args, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()

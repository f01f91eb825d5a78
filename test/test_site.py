"""Site, tutorials and reference: built without a warning, made of the code, every command accounted for."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import shlex
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from emollama_ros.bundle import packaged_path

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
#: Documents that users follow: every command in them is accounted for below.
FOLLOWED = (ROOT / "README.md", *sorted(TUTORIALS.glob("*.md")))
PAGES = (*FOLLOWED, *sorted((ROOT / "docs").glob("*.md")))
FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```", flags=re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:    .*\n)+")
DEADLINE_S = 60.0

#: What users are told to type, as a pattern, and the test that does the same.
RUN = {
    r"make demo": "nodes/test_demo.py::test_a_clip_is_shown_compared_and_ends_by_itself",
    r"(EMOLLAMA_BUNDLE=BUNDLE )make demo": "test_site.py::test_the_walk_through_a_bundle",
    r"make demo SOURCE=path.mp4": "nodes/test_demo.py::test_a_clip_is_shown_compared_and_ends_by_itself",
    r"make demo SOURCE=live": "nodes/test_demo.py::test_live_without_devices_says_what_is_missing",
    r"make doctor": "test_cli.py::test_the_whole_examination",
    r"scripts/with_env bash": "test_site.py::test_the_environment_has_a_shell",
    r"scripts/with_env python react.py|python3 react.py": "test_site.py::test_the_first_behaviour_reacts",
    r"pip install 'src/emollama_ros\[cpu\]'( onnx)?": (
        "packaging/test_wheel.py::test_command_and_dependencies"
    ),
    r"ros2 launch emollama_ros perception.launch.py": (
        "launch/test_perception_launch.py::test_launch_takes_the_node_to_active_also_after_a_crash"
    ),
    r"ros2 launch emollama_ros perception.launch.py source:=.*": (
        "launch/test_perception_launch.py::test_a_file_is_played_and_live_records"
    ),
    r"ros2 launch emollama_ros perception.launch.py (bundle|engine|dashboard|annotated|ros4hri):=.*": (
        "launch/test_perception_launch.py::test_arguments_are_those_of_nav2_and_ours"
    ),
    r"ros2 launch emollama_ros greeter.launch.py .*": (
        "launch/test_behaviours_launch.py::test_parameters_are_arguments_and_perception_is_started"
    ),
    r"emollama bundle assemble": "test_cli.py::test_it_prints_every_file_made_and_is_then_in_use",
    r"emollama analyze CLIP( --json --transcript .*)?": "test_cli.py::test_one_clip_is_one_json_object",
    r"EMOLLAMA_BUNDLE=BUNDLE emollama analyze CLIP.mp4": "test_site.py::test_the_walk_through_a_bundle",
    r"emollama doctor": "test_cli.py::test_the_whole_examination",
    r"emollama bundle info": "test_site.py::test_the_walk_through_a_bundle",
    r"emollama bundle verify .*|DEFAULT=.*|cp -r .* BUNDLE": "test_site.py::test_the_walk_through_a_bundle",
    r"emollama bundle engines --fp16": "engines/test_tensorrt.py::test_every_graph_of_the_bundle_builds",
    r"emollama record SESSION .*": (
        "nodes/test_recorder.py"
        "::test_it_says_that_it_records_people_ends_cleanly_and_is_readable_after_a_kill"
    ),
    r"emollama replay SESSION .*": (
        "bags/test_replay.py::test_exit_status_is_3_when_something_changed_and_json_says_what"
    ),
    r"emollama compare SESSION OTHER": (
        "bags/test_replay.py::test_exit_status_is_3_when_something_changed_and_json_says_what"
    ),
    r"python -m training prepare .*": (
        "training/test_prepare.py::test_the_command_prepares_several_sources_and_ends_in_one_line"
    ),
    r"python -m training annotate .*": (
        "training/annotation/test_annotate_javanese.py"
        "::test_killed_three_times_over_real_clips_is_as_unbroken"
    ),
    r"python -m training review .*": (
        "training/annotation/test_review.py::test_marks_made_by_click_and_by_key_are_stored_and_resumed"
    ),
    r"python -m training benchmark .*": (
        "training/evaluation/test_runner.py::test_the_default_bundle_over_the_open_suite"
    ),
    r"python -m training score .*": "training/test_wheels.py::test_the_command_prints_scores_and_counts",
    r"python -m training predict .*": (
        "training/evaluation/test_adapters.py::test_a_peer_is_measured_by_the_same_commands"
    ),
    r"python -m training train --config tiny .*": (
        "training/test_train_command.py::test_the_report_says_what_was_done_and_the_last_line_which_weights"
    ),
    r"python -m training import-released .*": (
        "training/test_released.py::test_the_released_sizes_from_the_command_line"
    ),
    r"python -m training reproduce-default .* --plan": (
        "training/test_reproduce.py::test_a_plan_tells_all_steps_and_makes_nothing"
    ),
    r"python -m training.synthesis .*": (
        "synthesis/test_generate.py::test_the_command_writes_clips_and_says_what_is_wrong"
    ),
    r"python -m model_export bundle .*": (
        "model_export/test_trained_bundle.py::test_the_same_weights_give_the_same_bytes"
    ),
    r"python -m model_export verify .*": (
        "model_export/test_trained_bundle.py::test_verification_passes_and_fails_when_one_weight_is_another"
    ),
    r"bash benchmark/jetson.sh .*": "test_deployment.py::test_graphs_are_measured_on_the_engines_that_run",
}
#: What no test here types, and why.
NOT_HERE = {
    r"make test": "it is what runs this test",
    r"sudo .*": "it changes the machine",
    r"mkdir -p .*|cd ~/ws": "it needs the home of a user",
    r"rosdep install .*": (
        "rosdep asks the network, and installs with sudo; the keys are checked in packaging/test_metadata.py"
    ),
    r"source /opt/ros/jazzy/setup.bash": "it needs ROS 2 from apt",
    r"python3 -m venv --system-site-packages .*": (
        "the packages of the system that it is to see are ROS 2 from apt"
    ),
    r"colcon build .*": (
        "it needs ROS 2 from apt and colcon; the same CMakeLists.txt is built and "
        "installed by the bootstrap, see packaging/test_install.py"
    ),
    r"\. install/setup.bash": "colcon writes the file",
    r"ros2 topic echo --once /emotion/state": (
        "the command comes with ROS 2 from apt; a late subscriber gets the state in "
        "nodes/test_perception_node.py"
    ),
    r"emollama analyze --engine tensorrt CLIP.mp4": "it needs an NVIDIA GPU; see engines/test_tensorrt.py",
}
COMMANDS = (*RUN, *NOT_HERE)


def commands_in(text: str) -> Iterator[str]:
    """Every line that a user types: of blocks of bash, and of indented ones."""
    blocks = [found["code"] for found in FENCED.finditer(text) if found["language"] in ("bash", "sh")]
    blocks += [
        re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in INDENTED.findall(FENCED.sub("", text))
    ]
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = re.sub(r"(^|\s+)#.*", "", line).strip()
        if words:
            yield words


def path_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", FOLLOWED, ids=path_of)
def test_every_command_is_run_by_a_test_or_told_why_not(document: Path) -> None:
    typed = list(commands_in(document.read_text()))
    assert typed
    for words in typed:
        parts = [words, *words.split(" && ")] if " && " in words else [words]
        known = [part for part in parts if any(re.fullmatch(pattern, part) for pattern in COMMANDS)]
        assert known, f"{document.name}: `{words}` is neither in RUN nor in NOT_HERE"


def test_what_runs_each_command_is_there_and_no_entry_is_left_over() -> None:
    typed = [words for document in FOLLOWED for words in commands_in(document.read_text())]
    parts = [part for words in typed for part in (words, *words.split(" && "))]
    for pattern in COMMANDS:
        assert any(re.fullmatch(pattern, part) for part in parts), f"nothing says `{pattern}` any more"
    for pattern, runner in RUN.items():
        name, _, test = runner.partition("::")
        assert f"def {test}(" in (ROOT / "test" / name).read_text(), (
            f"`{pattern}` is said to be run by {runner}"
        )


@pytest.mark.parametrize("document", FOLLOWED, ids=path_of)
def test_commands_are_correct_bash(document: Path) -> None:
    script = "\n".join(commands_in(document.read_text()))
    found = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("document", PAGES, ids=path_of)
def test_blocks_of_python_are_python(document: Path) -> None:
    for found in FENCED.finditer(document.read_text()):
        if found["language"] == "python":
            compile(found["code"], document.name, "exec")


def test_the_environment_has_a_shell(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    told = subprocess.run(
        [ROOT / "scripts" / "with_env", "bash", "-c", "echo $VIRTUAL_ENV; type -P python"],
        capture_output=True,
        text=True,
        env=os.environ | {"VENV": str(tmp_path)},
    )
    assert told.stdout.splitlines() == [str(tmp_path), str(tmp_path / "bin" / "python")], told.stderr


def test_the_walk_through_a_bundle(tmp_path: Path) -> None:
    """Parts 1, 4 and 5 of the tutorial, as they stand there; then a changed file is named."""
    own = commands_in((TUTORIALS / "own_model.md").read_text())
    does = r"emollama bundle|DEFAULT=|cp|EMOLLAMA_BUNDLE=BUNDLE emollama"
    script = [words for words in own if re.match(does, words)]
    assert len(script) == 6
    command = tmp_path / "emollama"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m emollama_ros.cli "$@"\n')
    command.chmod(0o755)
    with wave.open(str(tmp_path / "CLIP.mp4"), "wb") as clip:  # what a file is, its content says
        clip.setparams((1, 2, 16000, 0, "NONE", ""))
        clip.writeframes(np.random.default_rng(0).integers(-9000, 9000, 24000, np.int16).tobytes())
    script[-1] += " --json --no-reasoning"
    settings = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "EMOLLAMA_BUNDLE": str(packaged_path()),  # without the language model, which takes long to be hashed
    }

    def run(lines: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", "\n".join(lines)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | settings,
        )

    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "fusion.onnx" in done.stdout
    analysis = json.loads(done.stdout[done.stdout.index("{") :])
    assert analysis["modalities"] == ["audio"] and len(analysis["windows"]) == 2
    with open(tmp_path / "BUNDLE" / "fusion.onnx", "ab") as file:
        file.write(b"x")
    damaged = run(["emollama bundle verify BUNDLE"])
    assert damaged.returncode == 1 and "fusion.onnx" in damaged.stdout + damaged.stderr


@pytest.mark.ros
def test_the_first_behaviour_reacts(tmp_path: Path) -> None:
    """The program of the tutorial hears a robot and says its word; Enter ends it."""
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
    messages = pytest.importorskip("emollama_ros.msg", reason="needs the built messages")
    from rclpy.context import Context

    from emollama_ros.nodes import qos

    (code,) = (
        f["code"]
        for f in FENCED.finditer((TUTORIALS / "first_behaviour.md").read_text())
        if f["language"] == "python"
    )
    (tmp_path / "react.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    context = Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("robot", context=context)
    states = node.create_publisher(messages.EmotionState, "emotion/state", qos.STATE)
    states.publish(messages.EmotionState(label="happy", confidence=0.8))
    with subprocess.Popen(
        [sys.executable, "react.py"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as behaviour:
        assert "How nice! (you seem happy, 80%)" in heard(behaviour, b"80%)")
        behaviour.communicate(b"\n", timeout=DEADLINE_S)
    node.destroy_node()
    context.shutdown()
    assert behaviour.returncode == 0


def heard(process: subprocess.Popen[bytes], until: bytes) -> str:
    """What a process has written by the time that it has written this."""
    deadline, text = monotonic() + DEADLINE_S, b""
    while until not in text:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - monotonic()))
        more = os.read(process.stdout.fileno(), 4096) if ready else b""
        assert more, f"waited for {until!r}, heard {text!r}"
        text += more
    return text.decode()


@pytest.mark.ros
def test_the_reference_is_what_the_code_says() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    pytest.importorskip("emollama_ros.msg", reason="needs the built messages")
    spec = importlib.util.spec_from_file_location("reference_docs", ROOT / "scripts" / "reference_docs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    for name, make in module.PAGES.items():
        assert (module.FOLDER / f"{name}.md").read_text() == make(), (
            f"{name}.md is out of date: {module.COMMAND}"
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="needs requirements/docs.txt")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert built.returncode == 0 and "WARNING" not in built.stderr, built.stderr
    return folder


def test_every_document_is_a_page_of_the_site(site: Path) -> None:
    for document in (ROOT / "docs").rglob("*.md"):
        page = site / document.relative_to(ROOT / "docs").with_suffix(".html")
        assert page.is_file() and "<h1" in page.read_text(), document.name


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["']?(?:https?:)?//[^\s"'>]+""")
    for page in site.rglob("*.html"):
        foreign = [found for found in loads.findall(page.read_text()) if 'rel="canonical"' not in found]
        assert foreign == [], page.name


def test_tables_and_lists_of_every_page_are_tables_and_lists(site: Path) -> None:
    """Python-Markdown is stricter than GitHub; what it does not take for a table stays text with bars."""
    for page in site.rglob("*.html"):
        paragraphs = re.findall(r"<p>(.*?)</p>", page.read_text(), flags=re.DOTALL)
        assert [
            text for text in paragraphs if re.search(r"^\| .* \|$|^- \S", text, flags=re.MULTILINE)
        ] == [], page.name

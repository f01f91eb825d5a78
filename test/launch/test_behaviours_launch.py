"""The launch files of the behaviours: perception with them, and every parameter an argument."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "launch" / "behaviours").glob("*.launch.py"))


def names(path):
    return path.name.partition(".")[0]


def test_each_behaviour_has_a_launch_file_and_an_installed_program():
    programs = re.findall(r"^  scripts/(\w+)_node$", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    assert [names(path) for path in FILES] == ["csv_logger", "greeter", "tutor"]
    for path in FILES:
        name = names(path)
        assert name in programs and (ROOT / "emollama_ros" / "behaviours" / f"{name}.py").is_file()
        assert f'with_perception("{name}"' in path.read_text()


@pytest.mark.ros
@pytest.mark.parametrize("path", FILES, ids=names)
def test_parameters_are_arguments_and_perception_is_started(path, monkeypatch):
    pytest.importorskip("launch_ros.actions", reason="needs launch and launch_ros, which are not on PyPI")
    from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
    from launch.launch_description_sources import get_launch_description_from_python_launch_file
    from launch_ros.actions import Node

    from launch import LaunchContext

    entities = get_launch_description_from_python_launch_file(str(path)).entities
    arguments = {e.name: e for e in entities if isinstance(e, DeclareLaunchArgument)}
    module = __import__(f"emollama_ros.behaviours.{names(path)}", fromlist=["x"])
    (table,) = (value for key, value in vars(module).items() if key.endswith("Parameters"))
    own = {"follow" if item.name == "source" else item.name for item in fields(table)}
    assert set(arguments) == own | {"namespace", "source", "perception"}
    context = LaunchContext()
    for argument in arguments.values():
        argument.execute(context)
    (include,) = (e for e in entities if isinstance(e, IncludeLaunchDescription))
    (node,) = (e for e in entities if isinstance(e, Node))
    assert include.condition.evaluate(context)
    context.launch_configurations["perception"] = "false"
    assert not include.condition.evaluate(context)
    assert node.node_executable == f"{names(path)}_node"

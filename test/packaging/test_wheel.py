"""`pip install .` gives the part without ROS, complete and under its own name only."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCES = ("emollama_ros", "training", "model_export", "launch", "test", "benchmark")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy, because building leaves traces in the source folder."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(root / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(out), "."]
    result = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_only_our_own_name_is_installed(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"emollama_ros"}


def test_nothing_of_the_package_is_missing(wheel: zipfile.ZipFile, root: Path) -> None:
    modules = {str(path.relative_to(root)) for path in (root / "emollama_ros").rglob("*.py")}
    data = {
        str(path.relative_to(root))
        for folder in ("bundles", "samples", "speech/tiny_en")
        for path in (root / "emollama_ros" / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert modules | data | {"emollama_ros/py.typed"} <= set(wheel.namelist())


def test_command_and_dependencies(wheel: zipfile.ZipFile) -> None:
    (entry,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "emollama = emollama_ros.cli:main" in wheel.read(entry).decode()
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    needs = [line for line in wheel.read(metadata).decode().splitlines() if line.startswith("Requires-Dist:")]
    base = [line for line in needs if "extra ==" not in line]
    assert len(base) == 8
    assert not any(word in line for line in base for word in ("torch", "onnxruntime", "ros-jazzy", "pyaudio"))

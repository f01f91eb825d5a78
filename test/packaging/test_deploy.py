"""deploy/: the unit is legal and may do little; the container runs no root and has all that it copies."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

#: Of 10; systemd calls up to 2 "OK", and most services are above 9.
WORST_EXPOSURE = 2.0
NODES = {"perception": [], "microphone": ["devices.conf"]}


@pytest.fixture(params=NODES)
def unit(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Path:
    """An instance of the unit, with its drop-ins."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    name = f"emollama@{request.param}.service"
    (tmp_path / name).write_text((root / "deploy" / "emollama@.service").read_text())
    for file in NODES[request.param]:
        (tmp_path / f"{name}.d").mkdir()
        shutil.copy(root / "deploy" / f"{name}.d" / file, tmp_path / f"{name}.d" / file)
    return tmp_path / name


def test_the_unit_is_legal(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert unit.name not in done.stderr, done.stderr
    assert done.returncode == 0


def test_the_unit_may_do_little(unit: Path) -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True)
    if "offline" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250")
    rated = re.search(r"exposure level for .*: (\d+\.\d)", done.stdout)
    assert rated and float(rated[1]) <= WORST_EXPOSURE, done.stdout


def test_programs_of_the_unit_and_the_container_exist(root: Path) -> None:
    for name in NODES:
        assert (root / "emollama_ros" / "nodes" / f"{name}_node.py").is_file()
    entry = root / "deploy" / "entrypoint.sh"
    assert entry.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", entry]).returncode == 0


def test_the_container_runs_no_root_and_gets_what_it_needs(root: Path) -> None:
    text = (root / "deploy" / "Containerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "10001:10001"
    let_in = {
        line[1:]
        for line in (root / "deploy" / "Containerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert all((root / name).exists() for name in let_in)
    assert {"emollama_ros", "action", "msg", "config", "launch", "scripts", "CMakeLists.txt"} <= let_in
    assert set(re.findall(r"-r (requirements/\w+\.txt)", text)) <= let_in

"""scripts/release: versions agree, nothing is made by the way, and what is made is the last commit."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "package.xml": '<package format="3"><name>emollama_ros</name><version>0.2.0</version></package>',
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    '[project]\nname = "emollama-ros"\ndynamic = ["version"]\n'
    '[tool.setuptools]\npackages = ["emollama_ros"]\n'
    '[tool.setuptools.dynamic]\nversion = { attr = "emollama_ros.__version__" }\n',
    "CHANGELOG.md": "# Changelog\n\n## 0.2.0 (2027-01-31)\n\n## 0.1.0 (2026-11-30)\n",
    "emollama_ros/__init__.py": '__version__ = "0.2.0"\n',
}
#: In the place of the real one, which needs the real bundle.
PACK = "import sys, pathlib; pathlib.Path(sys.argv[1], 'tiny.bundle.zip').write_bytes(b'bundle')"


@pytest.fixture(scope="module")
def release() -> ModuleType:
    loader = SourceFileLoader("release", str(ROOT / "scripts" / "release"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("release", loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    return module


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Any:
    """Make a small committed package; files given replace ours."""

    def build(**changed: str) -> Path:
        root = tmp_path / "checkout"
        for name, text in {**FILES, **changed}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(tmp_path, "init", "-q", str(root))
        git(root, "add", ".")
        git(root, "commit", "-q", "-m", "all")
        return root

    return build


def test_here_every_place_names_one_version(release: ModuleType) -> None:
    assert len(set(release.versions(ROOT).values())) == 1


def test_nothing_speaks_against_a_committed_and_dated_release(release: ModuleType, checkout: Any) -> None:
    assert list(release.problems(checkout())) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("package.xml", FILES["package.xml"].replace("0.2.0", "0.3.0"), "package.xml 0.3.0"),
        ("CHANGELOG.md", "## 0.1.0 (2026-11-30)\n", "CHANGELOG.md 0.1.0"),
        ("CHANGELOG.md", "## 0.2.0 (unreleased)\n", "has no date"),
        ("emollama_ros/__init__.py", "", "__init__.py none"),
        ("pyproject.toml", '[project]\nversion = "0.2.0"\n', "does not take its version"),
    ],
)
def test_what_speaks_against_it_is_named(
    release: ModuleType, checkout: Any, name: str, text: str, said: str
) -> None:
    (problem,) = release.problems(checkout(**{name: text}))
    assert said in problem


def test_uncommitted_changes_are_refused_and_nothing_is_made(
    release: ModuleType, checkout: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = checkout()
    (root / "new.py").write_text("")
    assert release.run(root, tmp_path / "dist") == 1
    assert "1 file(s) differ" in capsys.readouterr().out and not (tmp_path / "dist").exists()


def test_dry_by_default(release: ModuleType, checkout: Any, capsys: pytest.CaptureFixture) -> None:
    root = checkout()
    assert release.run(root, None) == 0
    assert "would make" in capsys.readouterr().out
    assert {path.name for path in root.iterdir()} == {
        ".git",
        "emollama_ros",
        *(n for n in FILES if "/" not in n),
    }


def test_files_are_made_of_the_last_commit(
    release: ModuleType, checkout: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_PACK", PACK)
    out = tmp_path / "dist"
    assert release.run(checkout(), out) == 0
    names = {path.name for path in out.iterdir()}
    wheel = "emollama_ros-0.2.0-py3-none-any.whl"
    assert names == {wheel, "emollama_ros-0.2.0.tar.gz", "tiny.bundle.zip", "SHA256SUMS"}
    assert "emollama_ros/__init__.py" in zipfile.ZipFile(out / wheel).namelist()
    for line in (out / "SHA256SUMS").read_text().splitlines():
        told, name = line.split("  ")
        assert told == hashlib.sha256((out / name).read_bytes()).hexdigest()

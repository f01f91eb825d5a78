"""Compiles the messages of test/nodes/messages, once, each package to a prefix of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "messages"
CACHE = Path(__file__).resolve().parents[2] / "build" / "test-messages"
#: Workspace: its package. Two of them share the name, as they do in the world.
PACKAGES = {"ros_drivers": "audio_common_msgs", "mgonzs13": "audio_common_msgs", "hri": "hri_msgs"}
PACKAGE_XML = """<?xml version="1.0"?>
<package format="3">
  <name>{}</name><version>0.0.0</version><description>Messages for tests</description>
  <maintainer email="somebody@example.org">somebody</maintainer><license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <depend>std_msgs</depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
</package>
"""


def built():
    """Return the folder that holds a prefix for each workspace; compile them if they are not there."""
    missing = [tool for tool in ("cmake", "make", "c++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} to compile messages")
    folder = CACHE / fingerprint()
    if not folder.is_dir():
        shutil.rmtree(CACHE, ignore_errors=True)
        draft = CACHE / f"draft-{os.getpid()}"
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: build(name, draft), PACKAGES))
        for rest in ("src", "build"):
            shutil.rmtree(draft / rest)
        os.replace(draft, folder)
    return folder


def fingerprint():
    """What the compiled messages depend on: definitions, interpreter, generators."""
    import rosidl_generator_py

    total = hashlib.sha256(f"{sys.prefix} {sys.version} {PACKAGE_XML}".encode())
    total.update(str(Path(rosidl_generator_py.__file__).stat().st_mtime_ns).encode())
    for path in sorted([*HERE.rglob("*.msg"), HERE / "CMakeLists.txt"]):
        total.update(f"{path.relative_to(HERE)} {path.read_text()}".encode())
    return total.hexdigest()[:16]


def build(name, draft):
    """Compile one workspace."""
    package, source, binary = PACKAGES[name], draft / "src" / name, draft / "build" / name
    shutil.copytree(HERE / name / package, source)
    shutil.copy(HERE / "CMakeLists.txt", source)
    (source / "package.xml").write_text(PACKAGE_XML.format(package))
    call(
        *("cmake", "-S", source, "-B", binary, f"-DPACKAGE={package}", "-DBUILD_TESTING=OFF"),
        *(f"-DPython3_EXECUTABLE={sys.executable}", "-DPYTHON_INSTALL_DIR=python"),
        f"-DCMAKE_INSTALL_PREFIX={draft / name}",
    )
    call("cmake", "--build", binary, "--target", "install")


def call(*command):
    prefix = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    env = {**os.environ, "AMENT_PREFIX_PATH": prefix, "CMAKE_PREFIX_PATH": prefix.replace(":", ";")}
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def environment(*prefixes):
    """Return the environment of a process that has these prefixes, as sourcing their set-up would make it."""
    env = dict(os.environ)
    env.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    for prefix in prefixes:
        for variable, part in (
            ("PYTHONPATH", "python"),
            ("LD_LIBRARY_PATH", "lib"),
            ("AMENT_PREFIX_PATH", ""),
        ):
            env[variable] = os.pathsep.join(filter(None, [str(prefix / part), env.get(variable)]))
    return env

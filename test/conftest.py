"""Shared by all tests: where things are, what is needed, and a ROS 2 graph that no other run can see."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
# On a machine that others use too, threads that wait for each other are many times slower than one. Before
# anything imports torch, which looks at this once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
#: Domain ids that keep their ports below the range that Linux gives to outgoing connections.
DOMAIN_IDS = range(1, 101)

# A loaded machine makes single examples slow now and then, which says nothing about the code under test.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "default")


def claim_domain() -> tuple[int, TextIO]:
    """Reserve a ROS 2 domain id on this machine for as long as the returned file stays open."""
    folder = Path(tempfile.gettempdir())
    for number in DOMAIN_IDS:
        try:
            handle = open(folder / f"emollama-test-domain-{number}.lock", "a")  # noqa: SIM115
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # in use, or the lock file belongs to another user
            continue
        return number, handle
    raise RuntimeError(f"all {len(DOMAIN_IDS)} ROS 2 domains for tests are in use on this machine")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the topics of this run apart from every other run and from the network."""
    # A shell gives its background jobs an ignored SIGINT, and processes started by tests would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    number, handle = claim_domain()
    config.stash[DOMAIN_LOCK] = handle
    os.environ["ROS_DOMAIN_ID"] = str(number)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.pop("ROS_LOCALHOST_ONLY", None)  # would override the line above
    os.environ.pop("ROS_STATIC_PEERS", None)
    os.environ["ROS_LOG_DIR"] = str(ROOT / "build" / "test-ros-log")


def pytest_collection_finish() -> None:
    """Have the collector of garbage pass over all that was imported: it is a lot, and it stays."""
    gc.collect()
    gc.freeze()


DOMAIN_LOCK = pytest.StashKey[TextIO]()


@pytest.fixture(scope="session")
def ros_environment() -> None:
    """Use the transport that the package ships. The domain is that of the whole run."""
    from emollama_ros.nodes.transport import with_profile

    os.environ.update(with_profile())


@cache
def ros_problem() -> str | None:
    """Return why tests with ROS 2 cannot run here, or None."""
    try:
        import rclpy  # noqa: F401

        from emollama_ros.msg import EmotionState  # noqa: F401
    except ImportError as error:
        return f"needs rclpy and the built messages (make setup): {error}"
    return None


@cache
def gpu_problem() -> str | None:
    """Return why tests on a GPU cannot run here, or None. Asks the driver only: provider lists lie."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "needs an NVIDIA GPU: there is no libcuda.so.1"
    count = ctypes.c_int()
    if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0:
        return None
    return "needs an NVIDIA GPU: the driver reports none"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, and say why."""
    for marker, problem in (("ros", ros_problem), ("gpu", gpu_problem)):
        if item.get_closest_marker(marker) and (reason := problem()):
            pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with data sets and conformance vectors that are not part of the repository."""
    folder = Path(os.environ.get("EMOLLAMA_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set EMOLLAMA_SHARED to the folder with data/ and conformance/")
    return folder


@pytest.fixture(scope="session")
def launch_available() -> None:
    """For tests that start launch files: `launch` and `launch_ros` are not among the wheels.

    The folder launch/ of the checkout passes for a package of that name, so only launch_ros is asked for.
    """
    if importlib.util.find_spec("launch_ros") is None:
        pytest.skip("needs launch_ros, which comes with ROS 2 from apt and not with the wheels")


@pytest.fixture
def ros_context() -> Iterator[None]:
    """An initialised rclpy for one test."""
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope="session")
def browser_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium, driven by selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (make test installs it)")
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if path is None]:
        pytest.skip(f"needs {missing[0]}: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    profile = tmp_path_factory.mktemp("chromium")
    for switch in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--autoplay-policy=no-user-gesture-required", "--window-size=1280,900", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=programs["chromedriver"])
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def browser(browser_session: Any) -> Iterator[Any]:
    """A headless Chromium with an empty page; a test fails that leaves errors in its console."""
    browser_session.get("about:blank")
    browser_session.delete_all_cookies()
    browser_session.get_log("browser")
    yield browser_session
    errors = [entry for entry in browser_session.get_log("browser") if entry["level"] == "SEVERE"]
    browser_session.get("about:blank")
    assert not errors, errors

"""The graph of the nodes' tests, and the programs of scripts/ as modules."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODES = ROOT / "test" / "nodes"
#: Runs of tests have domains from 1 to 100.
DOMAIN = "101"
# At the end: tests of other folders mean their own ``conftest`` when they import it by name.
sys.path += [str(NODES)] * (str(NODES) not in sys.path)


def load(name, path):
    """Import a file that is no module of the package."""
    loader = SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def enclaves():
    """scripts/sros2_enclave."""
    return load("sros2_enclave", ROOT / "scripts" / "sros2_enclave")


@pytest.fixture(scope="session")
def nodes():
    """conftest.py of the nodes' tests."""
    return load("conftest_of_nodes", NODES / "conftest.py")


@pytest.fixture(scope="module")
def graph(nodes):
    """Nodes of this process and one executor, spun only by the test.

    In a domain of their own: a node of another test that bears the same name would be taken for ours.
    """
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
    pytest.importorskip("emollama_ros.msg", reason="needs the built messages")
    from emollama_ros.nodes.transport import with_profile

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**with_profile(), "ROS_DOMAIN_ID": DOMAIN}.items():
            patch.setenv(name, value)
        rclpy.init(args=[])
        graph = nodes.Graph()
        yield graph
        graph.close()
        rclpy.try_shutdown()

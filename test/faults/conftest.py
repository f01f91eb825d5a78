"""The table of faults: filled by the tests, printed at the end of the run.

With ``EMOLLAMA_FAULT_TABLE=FOLDER`` it is also written, as ``FOLDER/faults-MACHINE.json``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODES = HERE.parent / "nodes"
# At the end: tests of other folders mean their own ``conftest`` when they import it by name.
sys.path += [str(folder) for folder in (HERE, NODES) if str(folder) not in sys.path]

ROWS = pytest.StashKey[dict]()
LOAD = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def fault_table(request):
    """Take the rows of the table; a fault that is told again replaces its row."""
    rows = request.config.stash.setdefault(ROWS, {})
    request.config.stash[LOAD] = round(os.getloadavg()[0], 2)

    def take(row):
        rows[row.fault] = row
        return row

    return take


def pytest_terminal_summary(terminalreporter, config):
    """Print the table, and write it where that is asked for."""
    from fault_table import document, plain

    rows = list(config.stash.get(ROWS, {}).values())
    if not rows:
        return
    terminalreporter.section("faults")
    for line in plain(rows):
        terminalreporter.write_line(line)
    if folder := os.environ.get("EMOLLAMA_FAULT_TABLE"):
        from benchmark.record import write

        found = document(rows)
        found["machine"]["load_average_before"] = config.stash[LOAD]
        terminalreporter.write_line(f"written: {write(found, Path(folder))}")


@pytest.fixture
def graph(ros_environment):
    """Nodes of this process and one executor, spun only by the test."""
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
    spec = importlib.util.spec_from_file_location("conftest_of_nodes", NODES / "conftest.py")
    nodes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nodes)
    rclpy.init(args=[])
    graph = nodes.Graph()
    yield graph
    graph.close()
    rclpy.try_shutdown()

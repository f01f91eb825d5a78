"""The watchdog bites when a window takes too long, also while the node waits for it, and never else."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from emollama_ros.nodes.watchdog import Watchdog


@pytest.fixture
def dog():
    said, ended = [], threading.Event()
    watchdog = Watchdog(said.append, ended.set)
    watchdog.said, watchdog.ended = said, ended
    return watchdog


@pytest.mark.parametrize(
    ("busy_ms", "limit_s", "bites"), [(0, 15, 0), (15000, 15, 0), (15001, 15, 1), (9e9, 0, 0)]
)
def test_it_bites_beyond_the_limit_only(dog, busy_ms, limit_s, bites):
    dog.look(busy_ms, limit_s)
    assert dog.ended.is_set() == bool(bites)
    assert not bites or "more than watchdog_s = 15 s" in dog.said[0]


def test_waiting_for_a_worker_that_hangs_is_ended_too(dog):
    with dog.waiting(0.05):
        assert dog.ended.wait(20)


@pytest.mark.parametrize("limit_s", [0.0, 3600.0])
def test_waiting_that_ends_leaves_no_thread(dog, limit_s):
    before = threading.active_count()
    with dog.waiting(limit_s):
        pass
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(20)
    assert threading.active_count() == before and not dog.ended.is_set()


def test_a_process_with_a_thread_that_hangs_ends_with_status_1_and_says_where():
    program = (
        "import threading\n"
        "from emollama_ros.nodes.watchdog import Watchdog\n"
        "def hang_here(): threading.Event().wait()\n"
        "threading.Thread(target=hang_here).start()\n"
        "Watchdog(print).look(2000.0, 1.0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "hang_here" in ended.stderr

"""Every fault of the catalogue, played once: what states said, how soon, and how soon all was well again."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

import play as plays
import workspaces
from catalogue import FALLEN, KILLED, SCENES, STORM
from fault_table import HOP_S, HOPS, LONGEST_SILENCE_S, Row, judge, seconds, silence
from play import good

from emollama_ros import conditions
from emollama_ros.estimate import Status
from emollama_ros.labels import UNKNOWN
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.transport import with_profile

pytestmark = [pytest.mark.ros, pytest.mark.slow]
#: What a machine that others load may add to any time, s.
LOAD_S = 3.0
#: Drivers that come so late were not run by the machine, s. So many plays at most.
STALL_S, PLAYS = 0.5, 3
PLAYED = [
    (scene, source, fault)
    for scene in ("inputs", "sounds", "model")
    for source, faults in SCENES[scene].items()
    for fault in faults
]
each_fault = pytest.mark.parametrize(("scene", "source", "fault"), PLAYED, ids=[f.name for *_, f in PLAYED])


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Play it; again where the machine stood still, which says nothing of the node."""
    environment = with_profile(workspaces.environment(workspaces.built() / "mgonzs13"))
    for _ in range(PLAYS):
        found = plays.run(environment, tmp_path_factory.mktemp("play"))
        if found.late_s < STALL_S:
            break
    return found


@pytest.fixture
def row(play, scene, source, fault, fault_table):
    on_ns, off_ns = (play.heard.when(event, fault) for event in ("on", "off"))
    if "hangs" in fault.name:
        off_ns = play.woke_ns
    states = play.heard.of(scene, source)
    return fault_table(judge(fault, on_ns, off_ns, states, play.heard.warnings(scene, source)))


@each_fault
def test_a_fault_is_told_soon_never_in_silence_and_is_over_when_it_is_over(row, play, scene, source, fault):
    if fault.says is not None or fault.warns is not None:
        assert row.notice_s is not None, f"not told; {row}"
        assert row.notice_s <= fault.within_s + LOAD_S
    assert row.recover_s is not None, "never well again"
    assert row.recover_s <= HOPS * HOP_S + LOAD_S
    assert row.silent_s is not None and row.silent_s <= LONGEST_SILENCE_S + LOAD_S


@each_fault
def test_status_and_label_fit_what_is_told(play, scene, source, fault):
    on_ns, off_ns = (play.heard.when(event, fault) for event in ("on", "off"))
    states = [s for s in play.heard.of(scene, source) if on_ns <= s.ns < off_ns]
    assert states
    if fault.says is None:  # a loaded machine has complaints of its own
        assert sum(s.status is Status.OK for s in states) > len(states) / 2
    else:
        assert {s.status for s in states if s.tells(fault.says)} == {fault.says.status}
    if fault.keeps_label is not None:
        assert (UNKNOWN not in {s.label for s in states}) == fault.keeps_label


def test_others_are_not_touched_by_it(play):
    began, ended = (next(n["ns"] for n in play.heard.notes if n["event"] == e) for e in ("began", "ended"))
    states = [s for s in play.heard.of("inputs", "steady") if began + 3 * SECOND <= s.ns <= ended]
    assert states and all(s.is_good for s in states)


def test_a_hang_for_good_ends_the_process_with_status_1_and_it_perceives_again(play, fault_table):
    (fault,) = FALLEN
    states, on_ns = play.heard.of("fallen", "person"), play.heard.when("on", fault)
    status, ended_ns = play.supervisor.ends[0]
    row = judge(fault, on_ns, ended_ns, [s for s in states if s.ns < play.killed_ns], [])
    fault_table(row)
    assert status == 1
    assert row.notice_s is not None and row.recover_s is not None
    ended = next(s for s in states if s.tells(conditions.MODEL_STUCK))
    assert ended.status is Status.DEGRADED and ended.ns < ended_ns
    assert (ended_ns - on_ns) / SECOND <= plays.WATCHDOG_S + 1 + LOAD_S


def test_a_process_that_is_killed_is_started_again_and_perceives(play, fault_table):
    states, killed_ns = play.heard.of("fallen", "person"), play.killed_ns
    first = next(s for s in states if s.ns > killed_ns + SECOND // 10)
    well = good(states, killed_ns + SECOND // 10)
    gone = silence(killed_ns, first.ns, states)
    observed = f"{first.status.name}: {first.text}"
    fault_table(Row(KILLED, "none; then a state", observed, None, seconds(well.ns - killed_ns), gone))
    assert [status for status, _ in play.supervisor.ends] == [1, -9]


def test_a_storm_of_subscribers_disturbs_nobody_and_each_gets_the_present_state(play, fault_table):
    storm, states = play.storm, play.heard.of("inputs", "steady")
    silent = silence(storm.on_ns, storm.off_ns, states)
    during = [s for s in states if storm.on_ns <= s.ns <= storm.off_ns]
    fine = during and all(s.is_good for s in during)
    fault_table(Row(STORM, "OK", "OK" if fine else str(during), None, 0.0 if fine else None, silent))
    assert fine and storm.heard == [50] * 4
    assert silent is not None and silent <= LONGEST_SILENCE_S + LOAD_S
    (threads, files), (threads_after, files_after) = play.held
    assert threads_after <= threads + 1 and files_after <= files + 5

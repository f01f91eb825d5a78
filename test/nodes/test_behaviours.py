"""The example behaviours: their rules on made-up states, and all three on a clip played to a real node."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from asking_rig import AskedRig, Typist
from rclpy.parameter import Parameter
from std_msgs.msg import Float32, String

from emollama_ros.behaviours.csv_logger import COLUMNS, CsvLogger, CsvLoggerNode, CsvLoggerParameters
from emollama_ros.behaviours.greeter import HELLO, REMARKS, Greeter, GreeterNode, GreeterParameters
from emollama_ros.behaviours.tree import EmotionCondition, Status, as_py_trees
from emollama_ros.behaviours.tutor import FASTER, SLOWER, Tutor, TutorNode, TutorParameters
from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.msg import EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.parameters import table_rows

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]


def state(at_s, label, confidence=0.7):
    """A state as the node would publish it: one label, or none."""
    message = EmotionState(label=label)
    message.header.stamp = ros_time(round((1000 + at_s) * SECOND))
    if label != "unknown":
        rest = (1.0 - confidence) / (len(DEFAULT_LABELS) - 1)
        message.labels, message.confidence = list(DEFAULT_LABELS), confidence
        message.scores = [confidence if name == label else rest for name in DEFAULT_LABELS]
    return message


def all_equal(at_s):
    message = state(at_s, "uncertain", 1 / 7)
    message.scores = [1 / 7] * 7
    return message


def lasting(label, start_s, end_s, confidence=0.7):
    """States every half second."""
    return [state(start_s + n / 2, label, confidence) for n in range(round(2 * (end_s - start_s)))]


def said_by(greeter, states):
    return [sentence for s in states if (sentence := greeter.see(s))]


class TestGreeter:
    @pytest.fixture
    def greeter(self):
        return Greeter(GreeterParameters())

    def test_it_greets_once_and_remarks_on_what_lasts(self, greeter):
        states = lasting("neutral", 0, 4) + lasting("happy", 4, 8) + lasting("sad", 8, 12)
        assert said_by(greeter, states) == [HELLO, REMARKS["happy"], REMARKS["sad"]]

    def test_who_comes_smiling_is_told_so_with_the_greeting(self, greeter):
        assert said_by(greeter, lasting("happy", 0, 3)) == [f"{HELLO} {REMARKS['happy']}"]

    def test_flicker_is_not_reacted_to(self, greeter):
        flicker = [state(n / 2, ("happy", "angry", "sad")[n // 2 % 3]) for n in range(60)]
        assert said_by(greeter, flicker) == []

    @pytest.mark.parametrize(("label", "confidence"), [("uncertain", 0.9), ("unknown", 0.0), ("happy", 0.45)])
    def test_where_nothing_is_known_nothing_is_said(self, greeter, label, confidence):
        assert said_by(greeter, lasting(label, 0, 30, confidence)) == []

    def test_the_same_is_not_said_again_soon(self, greeter):
        turns = [lasting(("happy", "neutral")[n % 2], 4 * n, 4 * n + 4) for n in range(4)]
        assert said_by(greeter, sum(turns, [])) == [f"{HELLO} {REMARKS['happy']}"]
        assert said_by(greeter, lasting("neutral", 16, 60) + lasting("happy", 62, 65)) == [REMARKS["happy"]]

    def test_after_an_empty_room_somebody_new_is_greeted(self, greeter):
        said_by(greeter, lasting("happy", 0, 4))
        room = lasting("uncertain", 4, 12) + lasting("unknown", 12, 20)
        assert said_by(greeter, room + lasting("neutral", 20, 23)) == [HELLO]

    def test_a_bag_that_loops_begins_anew(self, greeter):
        said_by(greeter, lasting("happy", 100, 104))
        assert said_by(greeter, lasting("happy", 0, 4)) == [f"{HELLO} {REMARKS['happy']}"]


class TestTutor:
    @pytest.fixture
    def tutor(self):
        return Tutor(TutorParameters())

    def paces(self, tutor, states):
        return [tutor.pace for s in states if tutor.see(s)]

    @pytest.mark.parametrize("label", ["surprised", "scared", "sad"])
    def test_it_slows_down_when_trouble_lasts_and_goes_on_when_it_is_over(self, tutor, label):
        assert self.paces(tutor, lasting(label, 0, 2, 0.9)) == []
        assert self.paces(tutor, lasting(label, 2, 10, 0.9)) == [0.6]
        assert self.paces(tutor, lasting("neutral", 10, 20)) == [1.0]

    @pytest.mark.parametrize("label", ["neutral", "happy", "angry", "disgusted"])
    def test_other_feelings_are_no_reason(self, tutor, label):
        assert self.paces(tutor, lasting(label, 0, 20)) == []

    def test_who_perceives_nothing_certain_changes_nothing(self, tutor):
        assert self.paces(tutor, [all_equal(n / 2) for n in range(60)]) == []
        assert self.paces(tutor, lasting("sad", 30, 40, 0.9)) == [0.6]
        assert self.paces(tutor, [all_equal(40 + n / 2) for n in range(60)]) == []

    def test_the_pace_is_normal_again_when_nobody_is_there(self, tutor):
        assert self.paces(tutor, lasting("sad", 0, 10, 0.9)) == [0.6]
        assert self.paces(tutor, lasting("unknown", 10, 19)) == []
        assert self.paces(tutor, lasting("unknown", 19, 21)) == [1.0]

    def test_thresholds_that_would_flicker_are_refused(self):
        with pytest.raises(ConfigError, match="normal_at: 0.5 must be below slow_at, 0.5"):
            Tutor(TutorParameters(normal_at=0.5, slow_at=0.5))


class TestCsvLogger:
    def read(self, path):
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def test_a_state_is_a_line_that_is_there_at_once(self, tmp_path):
        log, path = CsvLogger(tmp_path / "states.csv"), tmp_path / "states.csv"
        assert not log.write(state(0, "unknown")) and self.read(path) == []
        assert log.write(state(1, "happy", 0.7)) and log.write(state(2, "unknown"))
        first, second = self.read(path)  # before it is closed
        assert (first["label"], first["stamp_s"], first["p_happy"]) == ("happy", "1001.000", "0.7000")
        assert (second["label"], second["p_happy"]) == ("unknown", "")
        assert list(first) == [*COLUMNS, *(f"p_{name}" for name in DEFAULT_LABELS)]
        log.close()

    def test_only_the_owner_reads_it_and_nothing_is_written_over(self, tmp_path):
        path = tmp_path / "states.csv"
        CsvLogger(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ConfigError, match="is there already; name another, or set append"):
            CsvLogger(path)
        with pytest.raises(ConfigError, match="No such file or directory"):
            CsvLogger(tmp_path / "no" / "states.csv")

    def test_it_appends_to_its_own_files_only(self, tmp_path):
        path = tmp_path / "states.csv"
        for second in (1, 2):
            log = CsvLogger(path, append=True)
            log.write(state(second, "sad"))
            log.close()
        assert [row["stamp_s"] for row in self.read(path)] == ["1001.000", "1002.000"]
        other = state(3, "sad")
        other.labels = [*DEFAULT_LABELS[:-1], "bored"]
        log = CsvLogger(path, append=True)
        with pytest.raises(ConfigError, match="has other labels than the states"):
            log.write(other)
        log.close()
        (tmp_path / "mine.csv").write_text("name,marks\n")
        with pytest.raises(ConfigError, match="is not a file of this logger"):
            CsvLogger(tmp_path / "mine.csv", append=True)

    def test_it_is_off_without_a_path(self, graph):
        with pytest.raises(ConfigError, match="no file; give one with --ros-args -p path:="):
            CsvLoggerNode()


class Latest:
    """A listener that has heard one state."""

    def __init__(self):
        self.state = None

    def latest(self, max_age):
        return self.state


class TestCondition:
    @pytest.fixture
    def ticks(self):
        listener = Latest()
        condition = EmotionCondition(listener, ["angry", "scared"], least_confidence=0.5, hold_s=1.0)

        def tick(now):
            listener.state = now
            return condition.tick()

        tick.condition = condition
        return tick

    def test_it_succeeds_when_one_of_its_labels_has_lasted(self, ticks):
        found = [ticks(state(at, label)) for at, label in ((0, "angry"), (0.5, "scared"), (1.0, "angry"))]
        assert found == [Status.RUNNING, Status.RUNNING, Status.SUCCESS]
        assert ticks(state(1.5, "happy")) is Status.FAILURE
        assert ticks(state(2.0, "angry")) is Status.RUNNING

    @pytest.mark.parametrize("label", ["uncertain", "unknown", "happy"])
    def test_it_fails_where_it_is_not_so_or_not_known(self, ticks, label):
        assert ticks(None) is Status.FAILURE
        assert ticks(state(0, label)) is Status.FAILURE
        assert ticks(state(1, "angry", 0.4)) is Status.FAILURE

    def test_it_is_a_leaf_of_py_trees(self, ticks):
        py_trees = pytest.importorskip("py_trees", reason="needs py_trees")
        leaf = as_py_trees(ticks.condition, "seems upset")
        seen = []
        for at in (0, 1):
            ticks.condition._listener.state = state(at, "angry")
            leaf.tick_once()
            seen.append(leaf.status)
        assert seen == [py_trees.common.Status.RUNNING, py_trees.common.Status.SUCCESS]


def test_each_behaviour_does_on_a_clip_what_it_says(graph, processes, long_clip, tmp_path):
    """Dark for 4 s, bright for 4 s: the made-up model calls that sad, then happy."""
    typist = Typist()
    typist.free.set()
    said, why = graph.hear(String, "greeter/say"), graph.hear(String, "greeter/why")
    paces, told = graph.hear(Float32, "tutor/pace", qos.STATE), graph.hear(String, "tutor/say")
    path = tmp_path / "states.csv"

    def given(**parameters):
        return {"parameter_overrides": [Parameter(name, value=value) for name, value in parameters.items()]}

    graph.add(GreeterNode(**given(why=True)))
    graph.add(TutorNode(**given(over_s=1.0)))
    logger = graph.add(CsvLoggerNode(**given(path=str(path))))
    rig = AskedRig(graph, typist)
    rig.node.trigger_configure()
    rig.node.trigger_activate()
    graph.until(lambda: paces, "the first pace")
    options = {"path": long_clip, "rate": 2.0, "wait_for_subscribers": 20.0, "settle_s": 0.5}
    words = [word for name, value in options.items() for word in ("-p", f"{name}:={value}")]
    processes(ROOT / "scripts" / "media_player_node", "--ros-args", *words)
    graph.until(
        lambda: len(why) == 2 and len(told) == 2, "two remarks with reasons, and two paces", timeout=60.0
    )
    assert [m.data for m in said] == [f"{HELLO} {REMARKS['sad']}", REMARKS["happy"]]
    assert [m.data.split(" . ")[0] for m in why] == ["Seems sad", "Seems happy"]
    assert [round(m.data, 1) for m in paces] == [1.0, 0.6, 1.0]
    assert [m.data for m in told] == [SLOWER, FASTER]
    rows = TestCsvLogger().read(path)
    assert len(rows) == logger._log.rows >= 4
    published = {str(s.sequence): s.label for s in rig.states}
    assert all(published[row["sequence"]] == row["label"] for row in rows)
    assert [row["label"] for row in rows if row["label"] == "sad"]


@pytest.mark.parametrize("table", [GreeterParameters, TutorParameters, CsvLoggerParameters])
def test_every_parameter_is_documented_as_it_is(table):
    text = (ROOT / "docs" / "behaviours.md").read_text()
    for name, default, legal, meaning in table_rows(table):
        assert f"| `{name}` | `{default}` | {legal} | {meaning} |\n" in text

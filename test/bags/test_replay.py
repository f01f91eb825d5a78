"""A recording perceived once more, without ROS: the same windows, and everything odd told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bagged import COMPRESSED, IMAGE, SECOND, START, Bright, Scene, Words, loader

from emollama_ros.bags import cli as bags_cli
from emollama_ros.bags.cli import parsed, play
from emollama_ros.bags.comparing import KINDS, compare
from emollama_ros.bags.contents import Source
from emollama_ros.bags.definitions import CHUNK, EVENT, INSTALL, REASONING, STATE, typestore
from emollama_ros.bags.reading import Recording
from emollama_ros.bags.replay import ReplayOptions, replay
from emollama_ros.bags.results import Results, put_parameters
from emollama_ros.bags.told import ToldState, read_run, told_in
from emollama_ros.cli import main
from emollama_ros.errors import ConfigError, InputError
from emollama_ros.estimate import Modality
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.nodes.parameters import PerceptionParameters

OTHER = {"bundle": "other 2"}
PLAIN = {"smoothing_s": 0.0, "label_margin": 0.0}


@pytest.fixture
def scene(tmp_path):
    """Dark for three seconds, then bright for three."""
    with Scene(tmp_path / "scene") as scene:
        scene.play(6.0, bright=lambda second: second >= 3)
    return tmp_path / "scene"


def perceived(path, **options):
    with Recording(path) as bag:
        return replay(bag, ReplayOptions(**{"settings": PLAIN, "load": loader(), **options}))


class TestWithoutResults:
    def test_every_window_of_a_robot_that_is_never_late(self, scene):
        run = perceived(scene).run
        ends = [(s.end_ns - START) / SECOND for s in run.states]
        assert ends == [1 + k / 2 for k in range(10)]  # the last tenth of a second completes 5.5 s
        assert [s.label for s in run.states] == ["sad"] * 5 + ["happy"] * 5
        assert all(s.modalities == 3 for s in run.states)
        assert [r.text for r in run.reasonings] == [f"Seems sad, window {0}", "Seems happy, window 5"]

    def test_words_count_when_they_arrived(self, tmp_path):
        with Scene(tmp_path / "b") as scene:
            scene.play(2.0)
            scene.words(START + 2 * SECOND, "well done")
            scene.play(2.0, start=START + 2 * SECOND)
        run = perceived(tmp_path / "b").run
        assert [bool(s.modalities & Modality.TEXT) for s in run.states] == [False] * 3 + [True] * 3

    def test_parameters_are_those_of_the_node(self, scene):
        run = perceived(scene, settings=parsed(["window_s=1", "hop_s=0.25", "reasoning=off"])).run
        assert len(run.states) == 20 and not run.reasonings
        assert all(s.end_ns - s.start_ns <= SECOND for s in run.states)
        with pytest.raises(ConfigError, match="hop_s: 0.0 is not within"):
            perceived(scene, settings={"hop_s": 0})
        with pytest.raises(ConfigError, match="NAME=VALUE"):
            parsed(["hop=1"])

    def test_that_the_bag_does_not_say_how_it_was_set_is_told(self, scene):
        assert any("does not say how perception was set" in note for note in perceived(scene).run.notes)

    def test_topics_of_other_names_are_found_by_their_type_or_chosen(self, tmp_path):
        with Scene(tmp_path / "b", camera="/cam", audio="/mic") as scene:
            scene.play(2.0)
            scene.bag.add("/other", COMPRESSED)
            scene.bag.put_raw("/other", START + 3 * SECOND, b"\0\1\0\0")
        with pytest.raises(InputError, match="/cam, /other may each be the camera; choose one with --camera"):
            perceived(tmp_path / "b")
        assert len(perceived(tmp_path / "b", topics={"camera": "/cam"}).run.states) == 2
        with pytest.raises(InputError, match="/mic cannot be the camera: it is none of the topics"):
            perceived(tmp_path / "b", topics={"camera": "/mic"})


class TestAsItWasSet:
    def test_paused_nothing_is_perceived_and_after_it_all_begins_anew(self, tmp_path):
        told, name = PerceptionParameters(**PLAIN, window_s=2.0), "/robot/perception_node"
        with Scene(tmp_path / "b", camera="/robot/camera/image_raw", audio="/robot/audio") as scene:
            put_parameters(scene.bag, name, told, START)
            scene.play(2.0)
            put_parameters(scene.bag, name, replace(told, enabled=False), START + 2 * SECOND)
            scene.play(2.0, start=START + 2 * SECOND)
            put_parameters(scene.bag, name, told, START + 4 * SECOND)
            put_parameters(scene.bag, "/perception_node", replace(told, enabled=False), START + 4 * SECOND)
            scene.play(2.0, start=START + 4 * SECOND, bright=lambda second: False)
        run = perceived(tmp_path / "b", settings={}).run
        ends = [(s.end_ns - START) / SECOND for s in run.states]
        assert ends == [1, 1.5, 5, 5.5] and not run.notes
        assert [s.label for s in run.states] == ["happy", "happy", "sad", "sad"]

    def test_another_hop_in_the_middle(self, tmp_path):
        told = PerceptionParameters(**PLAIN)
        with Scene(tmp_path / "b") as scene:
            put_parameters(scene.bag, "/perception_node", told, START)
            scene.play(3.0)
            put_parameters(scene.bag, "/perception_node", replace(told, hop_s=1.0), START + 3 * SECOND)
            scene.play(3.0, start=START + 3 * SECOND)
        run = perceived(tmp_path / "b", settings={}).run
        assert [(s.end_ns - START) / SECOND for s in run.states] == [1, 1.5, 2, 2.5, 3, 4, 5]

    def test_several_sources_keep_apart(self, tmp_path):
        """Two of a robot in a namespace, with results of each; the second sees only the dark."""
        with Scene(tmp_path / "b", camera="", audio="") as scene:
            results = {home: Results(scene.bag, Source(home), "") for home in ("/r/left/", "/r/right/")}
            for step in range(30):
                stamp = START + step * SECOND // 10
                for home, value in (("/r/left/", 220), ("/r/right/", 30)):
                    scene.camera = f"{home}camera/image_raw"
                    scene.bag.add(scene.camera, IMAGE)
                    scene.picture(stamp, value)
                    if step in (15, 25):
                        label = "happy" if value > 127 else "sad"
                        state = ToldState(
                            home, 0, START, stamp, label, dict.fromkeys(DEFAULT_LABELS, 0), 0, 0, 1
                        )
                        results[home].state(_estimate(state, step), stamp + SECOND // 20, "eye")
        done = perceived(tmp_path / "b")
        assert {s.home: s.label for s in done.run.states} == {"/r/left/": "happy", "/r/right/": "sad"}
        found = compare(done.recorded, done.run, ignored=["scores"])
        assert found.is_same and found.windows == 4
        with pytest.raises(InputError, match="2 sources; topics can be chosen only for one"):
            perceived(tmp_path / "b", topics={"camera": "/r/left/camera/image_raw"})


class TestOdd:
    def test_a_clock_that_jumps_back_is_told_and_perception_begins_anew(self, tmp_path):
        with Scene(tmp_path / "b") as scene:
            scene.play(3.0)
            for step in range(30):  # recorded later, stamped before
                stamp = START + step * SECOND // 10 - 60 * SECOND
                scene.picture(stamp, log=START + 4 * SECOND + step * SECOND // 10)
        perceiver = Bright()
        run = perceived(tmp_path / "b", load=loader(perceiver)).run
        assert any("the stamps leapt 1 time(s)" in note for note in run.notes)
        assert [s.lap for s in run.states].count(1) >= 3 and perceiver.resets == 2
        assert not compare(run, run).differences

    def test_an_unknown_encoding_is_told_with_its_count(self, tmp_path):
        with Scene(tmp_path / "b") as scene:
            scene.play(2.0, encoding="klingon8")
        run = perceived(tmp_path / "b").run
        assert any(
            n.startswith("20 message(s) of /camera/image_raw refused:") and "klingon8" in n for n in run.notes
        )
        assert {s.modalities for s in run.states} == {2}

    def test_only_refused_messages_are_an_error_with_the_reason(self, tmp_path):
        with Scene(tmp_path / "b", audio="") as scene:
            scene.play(2.0, encoding="klingon8")
        with pytest.raises(InputError, match="nothing could be perceived.*klingon8"):
            perceived(tmp_path / "b")

    def test_a_bag_without_our_topics_says_what_it_has(self, tmp_path):
        with Scene(tmp_path / "b", camera="", audio="") as scene:
            scene.bag.add("/chatter", "std_msgs/msg/Bool")
            scene.bag.put("/chatter", START, scene.bag.make("std_msgs/msg/Bool", data=True))
        with pytest.raises(InputError, match=r"neither a camera nor a microphone; it has /chatter"):
            perceived(tmp_path / "b")

    def test_a_bag_that_was_cut_off_is_replayed_as_far_as_it_is_whole(self, tmp_path):
        """As when the recorder was killed: no end, no index, no metadata.yaml."""
        with Scene(tmp_path / "b") as scene:
            scene.play(3.0)
            scene.bag.flush()
            scene.play(3.0, start=START + 3 * SECOND)
        (tmp_path / "b" / "metadata.yaml").unlink()
        file = tmp_path / "b" / "b.mcap"
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) * 6 // 10])
        run = perceived(tmp_path / "b").run
        assert any("b.mcap was not finished" in note and "are left out" in note for note in run.notes)
        assert [(s.end_ns - START) / SECOND for s in run.states] == [1, 1.5, 2, 2.5]
        for size in (0, 8, 30):
            file.write_bytes(whole[:size])
            with pytest.raises(InputError, match="b"):
                perceived(tmp_path / "b")

    def test_a_bag_that_is_damaged_inside_is_refused_with_how_much_was_read(self, scene):
        file = scene / "scene.mcap"
        data = bytearray(file.read_bytes())
        at = data.index(b"eye", len(data) // 2) - 8  # the length of a string in the middle
        data[at : at + 12] = b"\xff" * 12
        file.write_bytes(data)
        with pytest.raises(InputError, match=r"scene: damaged after \d+ messages"):
            perceived(scene)

    @pytest.mark.parametrize("name", ["nowhere", "empty", "text.mcap"])
    def test_what_is_no_bag_is_refused_by_name(self, tmp_path, name):
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.mcap").write_text("not a bag at all, and long enough to have an end of 37 bytes")
        with pytest.raises(InputError, match=name):
            Recording(tmp_path / name)


class TestAgain:
    """A bag with results: made by a replay into the same topics, with the sensors copied beside."""

    @pytest.fixture
    def robot(self, tmp_path):
        """What a robot recorded that left windows out, was set differently, and paused for a second."""
        path = tmp_path / "robot"
        told = PerceptionParameters(hop_s=0.5, window_s=2.0, **PLAIN, source_id="ann")
        with Scene(path) as scene:
            put_parameters(scene.bag, "/perception_node", told, START)
            scene.play(6.0, bright=lambda second: int(second) % 2 == 0)
        first = perceived(path, settings={})
        with Scene(tmp_path / "with") as scene:
            put_parameters(scene.bag, "/perception_node", told, START)
            results = Results(scene.bag, Source("/"), "ann")
            due = {s.end_ns: s for i, s in enumerate(first.run.states) if i % 3}  # one in three left out
            late = SECOND // 20
            for step in range(60):
                stamp = START + step * SECOND // 10
                scene.picture(stamp, 220 if int(step / 10) % 2 == 0 else 30)
                scene.sound(stamp)
                if stamp in due:
                    state = due[stamp]
                    estimate = _estimate(state, len(results._numbers))
                    results.state(estimate, stamp + late, "eye")
                    if len(results._numbers) in (2, 5):
                        told = Words().explain(estimate, "", on_text=None, should_stop=None)
                        results.reasoning(told, stamp + 2 * late, "eye")
        return tmp_path / "with"

    def test_the_same_windows_are_perceived_and_nothing_is_changed(self, robot):
        done = perceived(robot, settings={})
        found = compare(done.recorded, done.run)
        assert found.is_same and found.windows == len(done.recorded.states) == 6 and found.reasonings == 2
        assert found.verdict == "SAME" and found.distances[1] < 1e-6

    def test_another_model_is_reported_kind_by_kind(self, robot):
        done = perceived(robot, settings={}, load=loader(Bright("surprised", 0.5), facts=OTHER))
        found = compare(done.recorded, done.run)
        labels = [d for d in found.differences if d.kind == "labels"]
        assert labels and {(d.before, d.after) for d in labels} == {("happy", "surprised")}
        assert all(
            d.distance == pytest.approx((0.7 - 0.5 / 6 + 0.5 - 0.05 + 5 * (0.5 / 6 - 0.05)) / 2)
            for d in labels
        )
        assert found.counts["scores"] == found.windows - len(labels) and found.counts["windows"] == 0
        assert found.verdict.startswith("CHANGED: labels, scores") and not found.is_same
        text = "\n".join(found.lines())
        assert "other 2" in text and "happy -> surprised" in text
        assert compare(done.recorded, done.run, ignored=KINDS).is_same
        assert compare(done.recorded, done.run, 1.0, ["labels", "reasoning"]).is_same

    def test_a_recording_that_began_in_the_middle_says_what_it_cannot_judge(self, robot, tmp_path):
        cut = START + 5 * SECOND // 2
        with Recording(robot) as bag, Scene(tmp_path / "late") as scene:
            names = [topic.name for topic in bag.topics]
            for topic in bag.topics:
                scene.bag.add(topic.name, topic.type)
            for item in bag.read(names):
                if item.log_ns >= cut or item.type.endswith("ParameterEvent"):
                    scene.bag.put(item.topic, item.log_ns, item.message)
        done = perceived(tmp_path / "late", settings={})
        found = compare(done.recorded, done.run)
        assert found.partial == 2 and found.counts["labels"] == found.counts["scores"] == 0 and found.windows
        assert any("began before the recording" in note for note in found.notes)

    def test_missing_windows_are_told(self, robot):
        run = read_run(robot)
        found = compare(run, replace(run, states=run.states[:-1]))
        assert found.counts["windows"] == 1 and found.verdict == "CHANGED: windows"
        assert not compare(run, replace(run, states=())).is_same

    def test_results_are_written_as_the_node_publishes_them(self, robot, tmp_path):
        done = play(robot, ReplayOptions({}, load=loader()), tmp_path / "again")
        with Recording(tmp_path / "again") as bag:
            items = list(bag.read([topic.name for topic in bag.topics]))
            run = told_in(bag)
        assert {topic.name for topic in bag.topics} == {
            *("/emotion/state", "/emotion/event", "/emotion/reasoning", "/parameter_events", "/diagnostics")
        }
        assert compare(done.run, run, 0.0).distances[1] < 1e-6 and run.model["bundle"] == "fake 1"
        states = [i.message for i in items if i.topic == "/emotion/state"]
        assert [s.sequence for s in states] == list(range(len(states)))
        assert {s.source_id for s in states} == {"ann"} and {s.header.frame_id for s in states} == {"eye"}
        events = [i.message for i in items if i.topic == "/emotion/event"]
        assert events[0].previous == "unknown" and all(e.previous != e.label for e in events)
        words = [i.message for i in items if i.topic == "/emotion/reasoning"]
        assert states[words[0].explains].header.stamp == words[0].header.stamp
        assert states[-1].reasoning == words[-1].text and states[-1].reasoning_sequence == words[-1].explains


def _estimate(state, sequence):
    (estimate,) = Bright().perceive([_Window(state)], [sequence], [0])
    scores, used = tuple(state.scores.values()), Modality.VIDEO | Modality.AUDIO
    return replace(estimate, label=state.label, scores=scores, modalities=used)


class _Window:
    frames = audio = None
    transcript = ""

    def __init__(self, state):
        self.start_ns, self.end_ns = state.start_ns, state.end_ns


class TestCommand:
    def test_exit_status_is_3_when_something_changed_and_json_says_what(
        self, tmp_path, scene, monkeypatch, capsys
    ):
        for name, perceiver in (("one", Bright()), ("two", Bright("surprised"))):
            play(scene, ReplayOptions(PLAIN, load=loader(perceiver)), tmp_path / name)
        one, two = str(tmp_path / "one"), str(tmp_path / "two")
        assert main(["compare", one, one]) == 0 and "SAME" in capsys.readouterr().out
        assert main(["compare", one, two, "--json"]) == 3
        found = json.loads(capsys.readouterr().out)
        assert not found["same"] and found["changed"]["labels"] == 5 and found["windows"] == 10
        assert found["differences"][0]["before"] == "happy"
        assert main(["compare", one, two, "--ignore", "labels", "--ignore", "reasoning"]) == 0
        assert main(["compare", one, two, "--ignore", "words"]) == 2
        assert "use labels, scores, reasoning, windows" in capsys.readouterr().err
        assert main(["compare", one, str(scene)]) == 2
        assert "emollama replay" in capsys.readouterr().err

    def test_nothing_is_overwritten(self, scene, tmp_path, capsys):
        assert main(["replay", str(scene), "--out", str(scene)]) == 2
        assert "exists already, and nothing is overwritten" in capsys.readouterr().err

    def test_without_the_library_the_command_says_how_to_get_it(self, scene, monkeypatch, capsys):
        import sys

        monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
        for arguments in (["replay", str(scene)], ["compare", str(scene), str(scene)], ["record", "new"]):
            assert main(arguments) == 2
            assert INSTALL in capsys.readouterr().err

    def test_a_replay_that_is_refused_leaves_no_folder(self, tmp_path, capsys):
        with Scene(tmp_path / "b", audio="") as scene:
            scene.play(0.5)
        with pytest.raises(InputError, match="shorter than the first window"):
            play(tmp_path / "b", ReplayOptions({"reasoning": False}, load=loader()), tmp_path / "new")

    def test_values_are_read_as_in_a_parameter_file(self):
        found = parsed(["hop_s=1", "adaptation=off", "reasoning=false", "smoothing_s=0.5"])
        assert found == {"hop_s": 1, "adaptation": "off", "reasoning": False, "smoothing_s": 0.5}
        assert bags_cli.CHANGED == 3


def test_a_bag_of_the_older_storage_is_read_too(scene, tmp_path):
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer

    with (
        Reader(scene) as bag,
        Writer(tmp_path / "old", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer,
    ):
        made = {
            c.id: writer.add_connection(c.topic, c.msgtype, typestore=typestore()) for c in bag.connections
        }
        for connection, stamp, data in bag.messages():
            writer.write(made[connection.id], stamp, data)
    (tmp_path / "old" / "metadata.yaml").unlink()
    assert compare(perceived(scene).run, perceived(tmp_path / "old").run).is_same


def test_the_line_that_is_told_is_the_extra():
    extra = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert f'bags = ["{INSTALL.split(chr(39))[1]}"]' in extra


def test_our_messages_are_those_that_ros_knows():
    """The hash of a type is what two ends of a topic, and `ros2 bag`, know it by (REP-2011)."""
    get = pytest.importorskip("ament_index_python.packages", reason="needs ROS 2").get_package_share_directory
    try:
        folder = Path(get("emollama_ros")) / "msg"
    except LookupError:
        pytest.skip("needs the built messages")
    for kind in (STATE, EVENT, REASONING, CHUNK):
        described = json.loads((folder / f"{kind.rpartition('/')[2]}.json").read_text())
        hashes = {entry["type_name"]: entry["hash_string"] for entry in described["type_hashes"]}
        assert typestore().hash_rihs01(kind) == hashes[kind], kind


def test_pictures_and_sound_come_out_of_a_bag_as_they_went_in(tmp_path):
    rng = np.random.default_rng(3)
    picture, sound = rng.integers(0, 255, (20, 30, 3), np.uint8), rng.uniform(-1, 1, 1600)
    with Scene(tmp_path / "b") as scene:
        scene.picture(START, rgb=picture)
        scene.sound(START, sound)
    with Recording(tmp_path / "b") as bag:
        image, chunk = (item.message for item in bag.read(["/camera/image_raw", "/audio"]))
    assert (image.data.reshape(20, 30, 3) == picture).all()
    assert np.abs(chunk.samples / 32768 - sound).max() < 1e-4
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0

"""Recording a running node, and replaying that without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")
pytest.importorskip("rosbags", reason="needs the extra `bags`")

from fake_model import FakeExplainer, FakePerceiver
from rclpy.parameter import Parameter
from rig import Far, Rig, bright
from std_msgs.msg import String

from emollama_ros.bags.comparing import compare
from emollama_ros.bags.reading import Recording
from emollama_ros.bags.replay import ReplayOptions, replay
from emollama_ros.bags.writing import BagWriter
from emollama_ros.errors import ConfigError, InputError
from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.loading import Parts, load_model
from emollama_ros.nodes.media_player_node import image_message, pcm16
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.nodes.recorder import RecorderNode, run
from emollama_ros.nodes.recording_options import RecordOptions
from emollama_ros.streams import VideoEvent, read_media

pytestmark = pytest.mark.ros
SAMPLE = os.path.join(os.path.dirname(__import__("emollama_ros").__file__), "samples", "sample.mp4")
#: Everything that a rig sends and tells.
SENSED = ("/camera/image_raw", "/audio")


class Recorded:
    """A recorder in the test's graph, and what it printed."""

    def __init__(self, graph, folder, **options):
        self.graph, self.path, self.said = graph, folder, []
        bag = BagWriter(folder)
        self.node = graph.add(RecorderNode(RecordOptions(folder, **options), bag, self.said.append))

    def ready(self, *topics):
        """Wait until it hears everything, and knows how the node is set."""
        self.graph.until(lambda: self.node.knows_parameters, "parameters")
        self.graph.until(lambda: set(topics) <= set(self.node._heard), f"{topics} heard")
        for topic in topics:
            self.graph.until(lambda t=topic: self.graph.observer.count_subscribers(t) >= 2, f"{topic} twice")

    def count(self, topic):
        return self.node.heard[topic]

    def until(self, topic, count):
        self.graph.until(lambda: self.count(topic) >= count, f"{count} messages of {topic} recorded")

    def end(self):
        self.graph.remove(self.node)
        return self.path


def fake(settings):
    facts = {"bundle": "fake 1.0", "bundle sha256": "0"}
    return Parts(FakePerceiver(), FakeExplainer(), facts)


def replayed(path, load=fake, **settings):
    chosen = {} if load is None else {"load": load}
    with Recording(path) as bag:
        done = replay(bag, ReplayOptions(settings, **chosen))
    return done, compare(done.recorded, done.run)


@pytest.fixture
def rig(graph):
    """A node that is configured and does not hear yet, so that a recorder can be there first."""
    rig = Rig(graph, hop_s=0.5, window_s=2.0)
    rig.node.trigger_configure()
    return rig


def activate(rig, recorder):
    rig.node.trigger_activate()
    rig.heard(2)
    recorder.ready(*SENSED)


class TestRecordAndReplay:
    def test_nothing_is_changed_by_the_same_model(self, graph, rig, tmp_path):
        recorder = Recorded(graph, tmp_path / "run")
        recorder.graph.until(lambda: set(SENSED) <= set(recorder.node._heard), "sensors heard")
        activate(rig, recorder)
        rig.feed(2.0, image=lambda stamp: bright(stamp, 30))
        rig.feed(2.5)
        states = rig.until_states(7)
        rig.node.set_parameters([Parameter("source_id", value="ann")])
        graph.until(lambda: any(r.final and r.label == "happy" for r in rig.reasonings), "a reasoning")
        recorder.until("/audio", 45)
        recorder.until("/camera/image_raw", 45)
        recorder.until("/emotion/state", len(states))
        recorder.end()

        done, found = replayed(tmp_path / "run")
        assert found.is_same and found.partial == 0 and found.windows >= 7, found.lines()
        assert found.reasonings >= 2 and found.distances[1] < 1e-6
        assert {s.label for s in done.run.states} >= {"sad", "happy"}
        said = "\n".join(recorder.said)
        assert f"delete it with: rm -r {tmp_path / 'run'}" in said and "warning" not in said

        _, longer = replayed(tmp_path / "run", window_s=3.0)
        assert longer.partial >= 3 and "not judged" in longer.verdict  # other windows are not compared

    def test_paused_and_restarted_the_pipeline_begins_anew_as_on_the_robot(self, graph, rig, tmp_path):
        recorder = Recorded(graph, tmp_path / "run")
        activate(rig, recorder)
        rig.feed(2.0)
        rig.until_states(3)
        rig.node.trigger_deactivate()
        rig.heard(1)  # the recorder stays
        rig.now += SECOND // 2
        rig.node.trigger_activate()
        rig.heard(2)
        rig.feed(2.0, image=lambda stamp: bright(stamp, 30))
        states = rig.until_states(6)
        recorder.until("/emotion/state", len(states))
        recorder.end()
        done, found = replayed(tmp_path / "run")
        assert found.is_same and found.windows >= 4 and found.partial == 0, found.lines()
        short = [s for s in done.run.states if s.end_ns - s.start_ns < 2 * SECOND]
        assert {s.label for s in short} == {"happy", "sad"}  # each activation begins with short windows

    def test_two_sources_are_recorded_and_replayed_apart(self, graph, tmp_path):
        rig = Rig(graph, sources=["left", "right"], hop_s=0.5, window_s=2.0)
        far = [Far(graph, "left/"), Far(graph, "right/")]
        rig.node.trigger_configure()
        recorder = Recorded(graph, tmp_path / "run")
        rig.node.trigger_activate()
        recorder.ready("/left/camera/image_raw", "/left/audio", "/right/camera/image_raw", "/right/audio")
        for _ in range(25):
            for source, value in enumerate((220, 30)):
                rig.feed_one(far[source], rig.inputs(source), image=partial(bright, value=value))
            rig.now += SECOND // 10
        for one, home in zip(far, ("/left/", "/right/"), strict=True):
            graph.until(lambda one=one: len(one.perceived) >= 3, "states")
            recorder.until(f"{home}emotion/state", len(one.states))
        recorder.end()
        done, found = replayed(tmp_path / "run")
        assert found.is_same and found.windows >= 6 and not found.partial, found.lines()
        assert {s.home: s.label for s in done.run.states} == {"/left/": "happy", "/right/": "sad"}

    def test_results_only_holds_nothing_of_what_was_seen_and_heard(self, graph, rig, tmp_path):
        recorder = Recorded(graph, tmp_path / "run", video=False, audio=False)
        rig.node.trigger_activate()
        rig.heard(1)
        recorder.ready()
        rig.feed(2.0)
        rig.until_states(2)
        recorder.until("/emotion/state", 2)
        recorder.end()
        with Recording(tmp_path / "run") as bag:
            names = {topic.name for topic in bag.topics}
            with pytest.raises(InputError, match="results-only"):
                replay(bag)
        assert not names & {*SENSED, "/transcript"} and "/emotion/state" in names

    def test_it_ends_at_the_limit_and_the_file_is_finished(self, graph, rig, tmp_path):
        recorder = Recorded(graph, tmp_path / "run", limit_mb=0.05)
        activate(rig, recorder)
        rig.feed(1.5)
        graph.until(lambda: recorder.node.done, "the limit")
        recorder.end()
        assert any("0.05 MB, the limit" in line for line in recorder.said)
        assert (tmp_path / "run" / "metadata.yaml").is_file()


@pytest.mark.slow
def test_the_sample_by_the_model_that_ships_changes_no_label(graph, tmp_path):
    """Five seconds of the bundled clip, live and then from the recording: the acceptance of bags."""
    rig = Rig(graph, load_model, reasoning=False, engine="cpu", timeout_s=20.0, watchdog_s=0.0)
    rig.node.trigger_configure()
    recorder = Recorded(graph, tmp_path / "run")
    activate(rig, recorder)
    play(rig, recorder, SAMPLE, seconds=5.0)
    states = rig.until_states(3)
    recorder.until("/emotion/state", len(states))
    recorder.end()
    done, found = replayed(tmp_path / "run", load=None, engine="cpu")
    assert found.windows >= 3 and found.partial == 0
    assert found.counts == {"labels": 0, "scores": 0, "reasoning": 0, "windows": 0}, found.lines()
    assert found.models[0]["bundle sha256"] == found.models[1]["bundle sha256"]


def play(rig, recorder, clip, seconds):
    """Send a clip's pictures and sound; each is heard by the node and by the recorder before the next."""
    inputs = rig.inputs()
    for event in read_media(clip):
        if event.stamp_ns > seconds * SECOND:
            return
        stamp = rig.now + event.stamp_ns
        if isinstance(event, VideoEvent):
            far, message, meter = rig.images, image_message(event.rgb[::4, ::4], stamp, "eye"), inputs.image
        else:
            far, message, meter = rig.sound, sound_message(event.samples, stamp), inputs.audio
        before, recorded = meter.received, recorder.count(far.topic_name)
        far.publish(message)
        rig.graph.until(lambda m=meter, b=before: m.received > b, "heard")
        rig.graph.until(lambda t=far.topic_name, r=recorded: recorder.count(t) > r, "recorded")


def sound_message(samples, stamp):
    from emollama_ros.msg import AudioChunk

    message = AudioChunk(sample_rate=16000, channels=1, samples=pcm16(samples))
    message.header.stamp = ros_time(stamp)
    return message


class TestCommand:
    def start(self, folder, *options):
        command = [sys.executable, "-m", "emollama_ros.cli", "record", str(folder), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_it_says_that_it_records_people_ends_cleanly_and_is_readable_after_a_kill(self, graph, tmp_path):
        """Two recorders of the same run: one is interrupted, one is killed."""
        clean, killed = tmp_path / "clean", tmp_path / "killed"
        processes = [self.start(clean), self.start(killed)]
        try:
            state = graph.observer.create_publisher(String, "transcript", 10)
            graph.until(lambda: state.get_subscription_count() >= 2, "both record", timeout=60)
            for n in range(3):
                state.publish(String(data=f"word {n}"))
            graph.until(lambda: len(words_in(killed)) == len(words_in(clean)) == 3, "on the disk", timeout=60)
            processes[0].send_signal(signal.SIGINT)
            processes[1].kill()
            said = [process.communicate(timeout=60)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert processes[0].returncode == 0, said[0]
        assert said[0].startswith(f"RECORDING PEOPLE to {clean}: the pictures and the sound and the words")
        assert "3  /transcript" in said[0] and f"rm -r {clean}" in said[0]
        with Recording(clean) as whole, Recording(killed) as part:
            texts = [[i.message.data for i in bag.read(["/transcript"])] for bag in (whole, part)]
            assert not whole.problem and "was not finished" in part.problem
        assert texts[0] == texts[1] == ["word 0", "word 1", "word 2"]

    def test_it_never_overwrites(self, tmp_path):
        with pytest.raises(InputError, match="exists already"):
            run(RecordOptions(tmp_path), lambda line: None)

    @pytest.mark.parametrize("wrong", [{"duration_s": -1}, {"limit_mb": 0}, {"node": "a/b"}, {"node": ""}])
    def test_options_that_make_no_sense_are_refused(self, tmp_path, wrong):
        with pytest.raises(ConfigError):
            RecordOptions(tmp_path, **wrong)

    def test_recording_is_off_by_default_everywhere(self):
        """No parameter, launch argument or node begins a recording: only the command does."""
        assert not [name for name in PerceptionParameters.__dataclass_fields__ if "record" in name]
        assert SimpleNamespace(**vars(RecordOptions("x"))).duration_s == 0


def words_in(folder):
    """What a recording that goes on has on the disk by now."""
    try:
        with Recording(folder) as bag:
            return [item.message.data for item in bag.read(["/transcript"])]
    except InputError:
        return []

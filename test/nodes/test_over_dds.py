"""Player, perception and subscriber in three processes, over DDS, as on a robot."""

from __future__ import annotations

import re
import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from conftest import HERE, write_clip

from emollama_ros.msg import EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, stamp_ns
from emollama_ros.nodes.media_player_node import STARTED

pytestmark = pytest.mark.ros
BOTH = EmotionState.VIDEO | EmotionState.AUDIO


@pytest.fixture
def perception(processes):
    def start(**parameters):
        given = {"autostart": "true", "timeout_s": "1.0", **parameters}
        words = [w for name, value in given.items() for w in ("-p", f"{name}:={value}")]
        return processes(HERE / "fake_model.py", "--ros-args", *words)

    return start


@pytest.fixture
def player(processes):
    def start(path, **parameters):
        given = {"path": f'"{path}"', "wait_for_subscribers": "20.0", **parameters}
        words = [w for name, value in given.items() for w in ("-p", f"{name}:={value}")]
        return processes("-m", "emollama_ros.nodes.media_player_node", "--ros-args", *words)

    return start


def end(graph, process):
    """Wait for a process to end by itself; (status, what it wrote)."""
    graph.until(lambda: process.poll() is not None, "the end of the process")
    return process.returncode, process.communicate()[0]


def test_the_states_of_a_clip(graph, clip, perception, player):
    states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    reasonings = graph.hear(EmotionReasoning, "emotion/reasoning", qos.REASONING)
    perception()
    graph.until(lambda: states, "the first state: whoever says that nothing is there is heard")
    status, said = end(graph, player(clip))
    assert status == 0 and "end of file" in said
    start_ns = int(re.search(rf"{STARTED} (\d+)", said).group(1))
    graph.until(lambda: states[-1].status == EmotionState.STALE, "STALE after the end")

    # The last estimate is told again until it is known that nothing comes any more.
    perceived = list({stamp_ns(s.header.stamp): s for s in reversed(states) if s.modalities}.values())[::-1]
    assert [s.sequence for s in states] == list(range(states[0].sequence, states[0].sequence + len(states)))
    ends = [(stamp_ns(s.header.stamp) - start_ns) / SECOND for s in perceived]
    # On the grid of hops; on a busy machine a window may be skipped, never repeated or out of order.
    hops = [round(2 * end) for end in ends]
    assert ends == pytest.approx([hop / 2 for hop in hops], abs=0.06)
    assert hops == sorted(set(hops)) and hops[0] >= 2 and len(hops) >= 4
    assert all(stamp_ns(s.window_start) < stamp_ns(s.header.stamp) for s in perceived)
    assert {s.modalities for s in perceived} == {BOTH}
    assert {s.status for s in perceived} == {EmotionState.OK}, [s.status_text for s in perceived]
    assert perceived[0].label == "sad" and perceived[-1].label == "happy"
    assert 0 < np.median([s.latency_ms for s in perceived]) < 1000
    assert any(r.final for r in reasonings)
    assert perceived[-1].header.frame_id == "media"


def test_a_player_that_is_killed_and_started_again(graph, clip, perception, player):
    states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    perception()
    first = player(clip, loop="true")
    graph.until(lambda: any(s.modalities == BOTH for s in states), "states")
    first.send_signal(signal.SIGKILL)
    killed = len(states)
    silent = graph.until(
        lambda: next((s for s in states[killed:] if s.status == EmotionState.STALE), None), "STALE"
    )
    assert silent.label == "unknown" and "/camera/image_raw" in silent.status_text
    count = len(states)
    player(clip)
    # The first window after the pause may still lack what one of the two inputs is late with.
    whole = lambda s: s.modalities == BOTH and s.status == EmotionState.OK  # noqa: E731
    again = graph.until(lambda: next(filter(whole, states[count:]), None), "recovery")
    assert stamp_ns(again.header.stamp) > stamp_ns(silent.header.stamp)
    assert [s.sequence for s in states] == list(range(states[0].sequence, states[0].sequence + len(states)))


@pytest.mark.parametrize(
    ("kept", "modality", "gone"),
    [("video", EmotionState.VIDEO, "/audio"), ("audio", EmotionState.AUDIO, "/camera/image_raw")],
)
def test_an_input_is_removed_while_the_other_goes_on(
    graph, clip, tmp_path, perception, player, kept, modality, gone
):
    states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    half = write_clip(tmp_path / "half.mp4", seconds=8.0, video=kept == "video", audio=kept == "audio")
    perception(window_s="1.0")
    both = player(clip, loop="true")
    graph.until(lambda: any(s.modalities == BOTH for s in states), "states of both")
    both.send_signal(signal.SIGKILL)
    player(half)
    state = graph.until(
        lambda: next((s for s in states if s.modalities == modality and gone in s.status_text), None),
        f"a state of {kept} alone",
    )
    assert state.status == EmotionState.DEGRADED and f"{gone}: silent" in state.status_text


def test_a_clip_without_sound_is_all_right(graph, tmp_path, perception, player):
    states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    perception()
    status, _ = end(graph, player(write_clip(tmp_path / "mute.mp4", 2.0, audio=False)))
    assert status == 0
    state = graph.until(lambda: next((s for s in states if s.modalities), None), "a state")
    assert (state.modalities, state.status) == (EmotionState.VIDEO, EmotionState.OK)


def test_playing_faster_keeps_media_time(graph, clip, perception, player):
    states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    perception()
    status, said = end(graph, player(clip, rate="4.0"))
    start_ns = int(re.search(rf"{STARTED} (\d+)", said).group(1))
    assert status == 0
    graph.until(
        lambda: any(stamp_ns(s.header.stamp) - start_ns > 3.4 * SECOND for s in states), "the last window"
    )
    for state in (s for s in states if s.modalities):
        assert (stamp_ns(state.header.stamp) - start_ns) / SECOND % 0.5 == pytest.approx(0, abs=0.07) or (
            stamp_ns(state.header.stamp) - start_ns
        ) / SECOND % 0.5 == pytest.approx(0.5, abs=0.07)


def test_what_cannot_be_played_ends_with_one_clear_line(graph, tmp_path, player):
    status, said = end(graph, player(tmp_path / "absent.mp4"))
    assert status == 1 and "absent.mp4: does not exist" in said and "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nodes_end_cleanly_when_asked(graph, clip, perception, player, number):
    states = graph.hear(EmotionState, "emotion/state", qos.STATES_HEARD)
    nodes = [perception(), player(clip, loop="true")]
    graph.until(lambda: any(s.modalities for s in states), "states")
    for node in nodes:
        node.send_signal(number)
        node.send_signal(signal.SIGINT)  # as launch does, after the terminal did
    for node in nodes:
        status, said = end(graph, node)
        assert status == 0 and "Traceback" not in said, said


def test_a_node_alone_that_cannot_load_ends_with_the_reason(graph, perception):
    status, said = end(graph, perception(bundle="missing"))
    assert status == 1 and "cannot configure: missing: no manifest.json there" in said


def test_a_wrong_parameter_ends_with_the_reason(graph, perception):
    status, said = end(graph, perception(engine="gpu"))
    assert status == 1 and "'gpu' is not one of auto" in said and "Traceback" not in said

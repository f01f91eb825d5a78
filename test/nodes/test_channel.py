"""A channel is never silent, whatever its sensors and its model do: a fake clock, the real meters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from emollama_ros.estimate import EmotionEstimate, Modality, Status
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.nodes import channel as channels
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.inputs import InputMeter, Inputs
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.pipeline import FeedHealth, Health

TICK = SECOND // 5
BOOT = 1000 * SECOND


class FakeSensors:
    def __init__(self, *_):
        self.inputs = Inputs(InputMeter("/camera"), InputMeter("/audio"), InputMeter("/transcript"))
        self.frame_id = "eye"

    def tick(self):
        pass

    def close(self):
        pass


class FakeFeed:
    def __init__(self):
        self.faults, self.last_error = 0, ""

    def health(self):
        return FeedHealth(faults=self.faults, last_error=self.last_error)


class FakeNode:
    """A node whose publishers note what is published, and when."""

    def __init__(self):
        self.now, self.said = BOOT, []

    def create_lifecycle_publisher(self, kind, topic, profile):
        node = self

        class Publisher:
            def publish(self, message):
                node.said.append((topic, node.now, message))

        return Publisher()

    def create_service(self, kind, name, answer):
        return None

    def count_publishers(self, topic):
        return 1

    def get_clock(self):
        raise AssertionError("the sensors' clock is known")

    def states(self):
        return [(when, message) for topic, when, message in self.said if topic == "emotion/state"]


class World:
    """A camera, a model and a channel, advanced by hand."""

    def __init__(self, monkeypatch, **parameters):
        monkeypatch.setattr(channels, "Sensors", FakeSensors)
        self.node, self.feed, self.health = FakeNode(), FakeFeed(), Health()
        monkeypatch.setattr(FakeNode, "get_clock", lambda node: _Clock(node.now))
        self.channel = channels.Channel(self.node, "", lambda: self.node.now)
        asked = replace(PerceptionParameters(), **parameters)
        self.channel.begin(asked)
        self.channel.open(asked, self.feed)
        self.image = self.channel._sensors.inputs.image
        self.sequence = 0

    def step(self, camera=True, estimate=False, busy_ms=0.0):
        """Let a fifth of a second pass."""
        self.node.now += TICK
        if camera:
            self.image.accept(self.node.now, self.node.now)
        self.health = replace(self.health, busy_ms=busy_ms)
        if estimate:
            self.tell()
        self.channel.tick(self.health)

    def tell(self):
        scores = (0.4,) + (0.1,) * 6
        self.channel.tell(
            EmotionEstimate(
                start_ns=self.node.now - 4 * SECOND,
                end_ns=self.node.now,
                sequence=self.sequence,
                label="neutral",
                labels=DEFAULT_LABELS,
                scores=scores,
                valence=0.0,
                arousal=0.0,
                confidence=0.4,
                modalities=Modality.VIDEO,
            ),
            self.health,
        )
        self.sequence += 1

    @property
    def last(self):
        return self.node.states()[-1][1]

    def perceive(self, seconds):
        for i in range(round(seconds * 5)):
            self.step(estimate=i % 3 == 2)


class _Clock:
    def __init__(self, now):
        self.nanoseconds = now

    def now(self):
        return self


@pytest.fixture
def world(monkeypatch):
    return lambda **parameters: World(monkeypatch, **parameters)


steps = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.0, 500.0, 3000.0]), st.integers(1, 20)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([0.2, 0.8, 5.0]), st.sampled_from([0.5, 3.0]))
def test_never_a_second_without_a_state(story, timeout_s, hop_s):
    with pytest.MonkeyPatch.context() as patch:
        world = World(patch, timeout_s=timeout_s, hop_s=hop_s)
        for camera, estimate, busy_ms, count in story:
            for _ in range(count):
                world.step(camera, estimate, busy_ms)
        times = [BOOT, *(when for when, _ in world.node.states()), world.node.now]
        assert max(b - a for a, b in zip(times, times[1:], strict=False)) <= SECOND
        numbers = [message.sequence for _, message in world.node.states()]
        assert numbers == list(range(len(numbers)))


def test_silence_is_said_within_a_second_of_the_last_message(world):
    world = world()
    world.perceive(3)
    began = world.node.now
    while world.last.status == Status.OK:
        world.step(camera=False)
    assert world.node.now - began <= SECOND
    assert "no input: /camera" in world.last.status_text and world.last.label == "unknown"


def test_a_pause_between_two_windows_is_no_fault(world):
    world = world(hop_s=3.0)
    world.perceive(3)
    count = len(world.node.states())
    end = world.last.header.stamp
    for _ in range(14):
        world.step()
    told = [message for _, message in world.node.states()[count:]]
    assert told and {(m.label, m.status, m.status_text) for m in told} == {("neutral", 0, "")}
    assert {(m.header.stamp.sec, m.header.stamp.nanosec) for m in told} == {(end.sec, end.nanosec)}


def test_a_model_that_hangs_is_said_and_its_last_label_gets_old(world):
    world = world()
    world.perceive(3)
    began = world.node.now
    while world.last.status == Status.OK:
        world.step(busy_ms=(world.node.now - began) / 1e6)
    assert world.node.now - began <= 1.2 * SECOND
    assert (
        world.last.label == "neutral" and "too slow, or stuck: a window has taken" in world.last.status_text
    )
    for _ in range(10):
        world.step(busy_ms=(world.node.now - began) / 1e6)
    assert (world.last.label, world.last.status) == ("unknown", Status.DEGRADED)
    world.step(estimate=True)
    assert (world.last.label, world.last.status) == ("neutral", Status.OK)


def test_windows_that_fail_are_said_until_one_does_not(world):
    world = world()
    world.perceive(3)
    world.feed.faults, world.feed.last_error = 1, "no memory"
    for _ in range(5):
        world.step()
    assert world.last.status == Status.DEGRADED and "no memory" in world.last.status_text
    world.step(estimate=True)
    assert world.last.status == Status.OK
    for _ in range(5):
        world.step()
    assert "no memory" not in world.last.status_text


def test_a_language_model_that_fails_degrades_and_touches_no_label(world):
    world = world()
    world.perceive(3)
    world.health = replace(world.health, reasoning_error="MemoryError: no room")
    world.step(estimate=True)
    assert world.last.label == "neutral" and world.last.status == Status.DEGRADED
    assert world.last.status_text == "reasoning failed: MemoryError: no room"
    world.health = replace(world.health, reasoning_error="")
    world.step(estimate=True)
    assert (world.last.status, world.last.status_text) == (Status.OK, "")


def test_input_that_begins_is_waited_for(world):
    world = world()
    for _ in range(4):
        world.step(camera=False)
    assert world.last.status_text.startswith(("waiting for input", "no input"))
    for _ in range(6):
        world.step()
    assert world.last.status_text == "input has just begun, the first window is filling"


def test_input_that_comes_back_is_waited_for_before_the_model_is_blamed(world):
    world = world()
    world.perceive(3)
    for _ in range(20):
        world.step(camera=False)
    count = len(world.node.states())
    for _ in range(9):
        world.step()
    told = {message.status_text for _, message in world.node.states()[count:]}
    assert told == {"input has just begun, the first window is filling"}
    for _ in range(10):
        world.step()
    assert "the model is too slow, or stuck" in world.last.status_text


def test_paused_is_said_at_once_and_once_a_second_at_least(world):
    world = world()
    world.perceive(2)
    world.channel.close()
    world.channel.tick_paused()
    count = len(world.node.states())
    assert (world.last.label, world.last.status_text) == ("unknown", "paused by emotion/enable")
    for _ in range(20):
        world.node.now += TICK
        world.channel.tick_paused()
    assert 4 <= len(world.node.states()) - count <= 7  # in four seconds


@pytest.mark.parametrize("hop_s", [0.6, 3.0])
def test_an_event_is_in_the_next_estimate_and_in_no_other(world, hop_s):
    """However long a hop is: not missed, and over at once."""
    world = world(hop_s=hop_s)
    world.perceive(3 * hop_s)
    world.image.lose(world.node.now + 1, 2)
    texts = []
    for _ in range(3):
        for i in range(round(hop_s * 5)):
            world.step(estimate=i == round(hop_s * 5) - 1)
        texts.append(world.last.status_text)
    assert ["lost on the way" in text for text in texts] == [True, False, False]
    assert texts[1:] == ["", ""]

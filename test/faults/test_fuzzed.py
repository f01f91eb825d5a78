"""Messages and parameters that nobody would send, over real topics: refused with a reason, never the end."""

from __future__ import annotations

import array
import dataclasses

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from fault_table import Row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.parameter import Parameter
from rig import START, Rig, bright, chunk
from sensor_msgs.msg import Image
from std_msgs.msg import String

from emollama_ros.conditions import REFUSED, recognise
from emollama_ros.labels import DEFAULT_LABELS, UNKNOWN
from emollama_ros.msg import AudioChunk, EmotionState
from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.parameters import PerceptionParameters, checked, effects

pytestmark = [pytest.mark.ros, pytest.mark.slow]
EXAMPLES = 60
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
ITEMS = {item.name: item for item in dataclasses.fields(PerceptionParameters)}
EFFECTS = effects(PerceptionParameters)
#: A busy machine is not silence.
#: The model of these tests knows no people, so nobody can be followed.
GIVEN = {"reasoning": False, "timeout_s": 2.0, "adaptation": "off"}
#: Changing these in earnest would load a model, wait for a server, or end the process.
LEFT_ALONE = {"watchdog_s", "speech_to_text", "audio_type", "transcript_type", "image_transport"}

stamps = st.integers(0, 2**31 * 10**9 - 1) | st.integers(START, START + 20 * SECOND)
samples = st.integers(-(2**15), 2**15 - 1)
ENCODINGS = {
    "rgb8": 3,
    "bgr8": 3,
    "mono8": 1,
    "mono16": 2,
    "rgba8": 4,
    "uyvy": 2,
    "bayer_rggb8": 1,
    "32FC1": 4,
}


@st.composite
def pictures(draw):
    """A picture that could be, of which mostly one thing cannot."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    step = width * ENCODINGS[encoding]
    made = {
        "height": height,
        "width": width,
        "step": step,
        "encoding": encoding,
        "is_bigendian": 0,
        "data": array.array("B", draw(st.binary(min_size=1, max_size=9)) * (step * height))[: step * height],
    }
    wrong = {
        "height": st.integers(0, 2**32 - 1),
        "width": st.integers(0, 2**32 - 1),
        "step": st.integers(0, 2**32 - 1) | st.integers(0, 300),
        "encoding": st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12),
        "is_bigendian": st.integers(0, 255),
        "data": st.binary(max_size=4000).map(lambda data: array.array("B", data)),
    }
    for field in draw(st.lists(st.sampled_from(sorted(wrong)), max_size=2)):
        made[field] = draw(wrong[field])
    message = Image(**made)
    message.header.stamp = ros_time(draw(stamps))
    return message


@st.composite
def chunks(draw):
    """A chunk of sound that could be, of which mostly one thing cannot."""
    channels = draw(st.integers(1, 3))
    made = {
        "sample_rate": draw(st.sampled_from([8000, 16000, 22050, 44100, 48000])),
        "channels": channels,
        "sequence": draw(st.integers(0, 2**32 - 1)),
        "first_sample": draw(st.integers(0, 2**64 - 1)),
        "samples": array.array("h", draw(st.lists(samples, min_size=1, max_size=9)) * 50 * channels),
    }
    wrong = {
        "sample_rate": st.integers(0, 2**32 - 1),
        "channels": st.integers(0, 255),
        "samples": st.lists(samples, max_size=100).map(lambda data: array.array("h", data)),
    }
    for field in draw(st.lists(st.sampled_from(sorted(wrong)), max_size=2)):
        made[field] = draw(wrong[field])
    message = AudioChunk(**made)
    message.header.stamp = ros_time(draw(stamps))
    return message


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
anything = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
    | st.lists(st.text("ab/_ 1", max_size=5), max_size=4)
    | st.lists(st.integers(-5, 5), max_size=3)
)


def values(name):
    """Values of a parameter: legal ones, and any."""
    item = ITEMS[name]
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if choices:
        return st.sampled_from(choices) | anything
    if isinstance(item.default, bool):
        return st.booleans() | anything
    if isinstance(item.default, int):
        return st.integers(int(low), int(high)) | anything
    return (anything if low is None else st.floats(low, high)) | anything


assignments = st.sampled_from(sorted(set(ITEMS) - LEFT_ALONE)).flatmap(
    lambda name: st.tuples(st.just(name), values(name))
)


@pytest.fixture
def rig(graph):
    return Rig(graph, **GIVEN).activate()


def still_works(rig):
    """Send healthy input; states of it must come as if nothing had happened."""
    count, both = len(rig.perceived), EmotionState.VIDEO | EmotionState.AUDIO

    def send():
        rig.images.publish(bright(rig.now))
        rig.sound.publish(chunk(rig.now))
        rig.now += SECOND // 10
        return any(s.label == "happy" and s.modalities == both for s in rig.perceived[count:])

    rig.graph.until(send, "a state of health")
    assert rig.pipeline.health().faults == 0
    well_formed(rig.states)


def well_formed(states):
    for state in states:
        assert state.label in (*DEFAULT_LABELS, UNKNOWN)
        assert np.isfinite([state.confidence, state.valence, state.arousal, *state.scores]).all()


def note(fault_table, what, state, refused):
    told = f"DEGRADED: {REFUSED.name}" if REFUSED in recognise(state.status_text) else "OK"
    words = f"{told}; {refused} of {EXAMPLES} refused, states go on"
    fault_table(Row(what, "the reason, where refused; states go on", words, None, None, None))


def refusing(rig, publisher, message, meter):
    """Send what cannot be used until a state says why."""
    seen = len(rig.states)

    def told():
        rig._deliver(publisher, message, meter)
        return next((s for s in rig.states[seen:] if REFUSED in recognise(s.status_text)), None)

    return rig.graph.until(told, "a state that says why")


def test_pictures(rig, fault_table):
    @fuzz
    @given(pictures())
    def each(message):
        rig._deliver(rig.images, message, rig.inputs().image)

    each()
    refused = rig.inputs().image.refused
    state = refusing(rig, rig.images, Image(), rig.inputs().image)
    note(fault_table, "pictures nobody would send", state, refused)
    still_works(rig)


def test_sound(rig, fault_table):
    @fuzz
    @given(chunks())
    def each(message):
        rig._deliver(rig.sound, message, rig.inputs().audio)

    each()
    refused = rig.inputs().audio.refused
    state = refusing(rig, rig.sound, AudioChunk(), rig.inputs().audio)
    note(fault_table, "sound nobody would send", state, refused)
    still_works(rig)


def test_words(rig, fault_table):
    @fuzz
    @given(words)
    def each(text):
        rig._deliver(rig.words, String(data=text), rig.inputs().transcript)

    each()
    note(fault_table, "words nobody would say", rig.next_state(), rig.inputs().transcript.refused)
    still_works(rig)


def test_parameters(rig, fault_table):
    refused = 0

    @fuzz
    @given(assignments)
    def each(assignment):
        nonlocal refused
        name, value = assignment
        before = rig.node.get_parameter(name).value
        try:
            parameter = Parameter(name, value=value)
        except (TypeError, ValueError, OverflowError):  # rclpy itself cannot hold it
            return
        (result,) = rig.node.set_parameters([parameter])
        after = rig.node.get_parameter(name).value
        if result.successful:
            assert checked(ITEMS[name], after) == checked(ITEMS[name], value)
        else:
            refused += 1
            assert result.reason and after == before
        rig.graph.executor.spin_once(timeout_sec=0)

    each()
    rig.graph.spin_for(0.1)
    usual = [
        Parameter(name, value=GIVEN.get(name, item.default))
        for name, item in ITEMS.items()
        if EFFECTS[name] in ("live", "restart")
    ]
    assert not [result.reason for result in rig.node.set_parameters(usual) if not result.successful]
    rig.heard()
    still_works(rig)
    note(fault_table, "parameters nobody would set", rig.perceived[-1], refused)

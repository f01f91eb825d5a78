"""The SROS 2 policy: what running nodes have is what it allows; without plug-ins nothing runs open."""

from __future__ import annotations

import stat
import xml.etree.ElementTree as ElementTree
from http.client import HTTPConnection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "config" / "sros2" / "policy.xml"
#: Allowed to everybody: time of a simulation, subscribed to only with `use_sim_time`.
SIMULATED = {("subscribe", "/clock")}
#: Allowed, and used only with other settings or drivers: compressed pictures, the format of raw sound.
SOMETIMES = {
    "perception_node": {("subscribe", "/camera/image_raw/compressed"), ("subscribe", "/audio_info")},
    "dashboard": {("subscribe", "/camera/image_raw/compressed"), ("subscribe", "/audio_info")},
    "annotator": {("subscribe", "/camera/image_raw/compressed")},
    "microphone": {("publish", "/audio_info")},
}
#: What an action is made of, seen as topics and services.
ACTION = {
    "execute": {"publish": ("feedback", "status"), "reply": ("send_goal", "cancel_goal", "get_result")},
    "call": {"subscribe": ("feedback", "status"), "request": ("send_goal", "cancel_goal", "get_result")},
}


def profiles(text=None):
    """Profiles of the policy by the names of their enclaves."""
    tree = ElementTree.fromstring(text or POLICY.read_text())
    return {e.get("path").rpartition("/")[2]: e.find("profiles/profile") for e in tree.iter("enclave")}


def full_name(name, namespace, node):
    if name.startswith("/"):
        return name
    home = namespace.rstrip("/")
    return f"{home}/{node}{name[1:]}" if name.startswith("~") else f"{home}/{name}"


def allowed(profile):
    """What a profile allows: (what, full name), actions taken apart."""
    found = set()
    for group in profile:
        for what, word in group.attrib.items():
            assert word == "ALLOW"
            names = {full_name(item.text, profile.get("ns"), profile.get("node")) for item in group}
            for part, ends in ACTION.get(what, {what: ("",)}).items():
                found |= {
                    (part, f"{name}/_action/{end}" if what in ACTION else name)
                    for name in names
                    for end in ends
                }
    return found


def used(observer, node, namespace="/"):
    """What a running node has."""
    asked = {
        "publish": observer.get_publisher_names_and_types_by_node,
        "subscribe": observer.get_subscriber_names_and_types_by_node,
        "reply": observer.get_service_names_and_types_by_node,
        "request": observer.get_client_names_and_types_by_node,
    }
    return {(what, name) for what, ask in asked.items() for name, _ in ask(node, namespace)}


def parameters(**values):
    from rclpy.parameter import Parameter

    return {"parameter_overrides": [Parameter(name, value=value) for name, value in values.items()]}


@pytest.fixture(scope="module")
def running(graph, tmp_path_factory):
    """One of each node, perceiving, drawing, and looked at; nothing is sent."""
    from fake_model import load_fake
    from std_msgs.msg import String
    from test_microphone_node import FakeAudio

    from emollama_ros.behaviours.csv_logger import CsvLoggerNode
    from emollama_ros.behaviours.greeter import GreeterNode
    from emollama_ros.behaviours.tutor import TutorNode
    from emollama_ros.nodes.annotator_node import AnnotatorNode, Image
    from emollama_ros.nodes.dashboard_node import DashboardNode
    from emollama_ros.nodes.media_player_node import MediaPlayerNode
    from emollama_ros.nodes.microphone_node import MicrophoneNode
    from emollama_ros.nodes.perception_node import DONE, PerceptionNode

    folder, card = tmp_path_factory.mktemp("policy"), FakeAudio()
    sample = str(ROOT / "emollama_ros" / "samples" / "sample.mp4")
    graph.observer.create_publisher(String, "transcript", 10)
    graph.hear(Image, "emotion/annotated")
    perception, dashboard = PerceptionNode(load_fake), DashboardNode(**parameters(port=0))
    for node in (
        perception,
        dashboard,
        MediaPlayerNode(**parameters(path=sample)),
        MicrophoneNode(card),
        AnnotatorNode(),
        GreeterNode(),
        TutorNode(),
        CsvLoggerNode(**parameters(path=str(folder / "log.csv"))),
    ):
        graph.add(node)
    assert perception.trigger_configure() == DONE and perception.trigger_activate() == DONE
    page = HTTPConnection("127.0.0.1", dashboard._web.port, timeout=20)
    page.request("GET", "/events", headers={"Origin": f"http://127.0.0.1:{dashboard._web.port}"})
    events = page.getresponse()
    assert events.status == 200
    yield
    events.close()
    page.close()
    card.lost.set()
    card.give(1000)


@pytest.mark.ros
@pytest.mark.parametrize(
    "name",
    [
        "perception_node",
        "media_player",
        "microphone",
        "dashboard",
        "annotator",
        "greeter",
        "tutor",
        "csv_logger",
    ],
)
def test_a_node_has_what_the_policy_allows_and_no_more(graph, running, name):
    profile = profiles()[name]
    assert profile.get("node") == name
    optional = SIMULATED | SOMETIMES.get(name, set())
    expected = allowed(profile) - optional

    def found():
        return used(graph.observer, name) - optional

    try:
        graph.until(lambda: found() == expected, "what the policy says")
    except AssertionError:
        assert sorted(found()) == sorted(expected)


@pytest.mark.ros
def test_what_only_runs_elsewhere_is_allowed_what_its_code_names():
    from emollama_ros.bags.contents import DIAGNOSTICS_TOPIC, PARAMETER_TOPIC, RESULTS
    from emollama_ros.nodes.hri_mirror_node import FOLDERS

    mirror, recorder = allowed(profiles()["hri_mirror"]), allowed(profiles()["recorder"])
    assert {("subscribe", f"/humans/{name}/tracked") for name in FOLDERS.values()} <= mirror
    assert {("publish", f"/humans/{name}/*/expression") for name in FOLDERS.values()} <= mirror
    heard = {f"/{name}" for name in RESULTS} | {DIAGNOSTICS_TOPIC, PARAMETER_TOPIC}
    assert {("subscribe", name) for name in heard} <= recorder


def test_who_may_say_and_who_may_read_what_is_felt():
    may = {name: allowed(profile) for name, profile in profiles().items()}
    for name in ("state", "event", "reasoning"):
        topic = f"/emotion/{name}"
        assert [n for n in may if ("publish", topic) in may[n]] == ["perception_node"]
        assert not {"camera", "microphone", "transcriber", "media_player"} & {
            n for n in may if ("subscribe", topic) in may[n]
        }
    assert [n for n in may if ("request", "/perception_node/set_parameters") in may[n]] == ["operator"]
    assert [n for n in may if ("request", "/perception_node/change_state") in may[n]] == ["operator"]


def test_no_rule_allows_everything():
    names = [item.text for profile in profiles().values() for item in profile.iter() if len(item) == 0]
    assert names and all("*" not in name or name.startswith("/humans/") for name in names)


def test_a_namespace_moves_enclaves_and_relative_names(enclaves):
    text = enclaves.placed(POLICY.read_text(), namespace="r1/")
    assert "/r1/emollama/perception_node" in enclaves.enclaves_in(text)
    perception = allowed(profiles(text)["perception_node"])
    assert {("publish", "/r1/emotion/state"), ("publish", "/diagnostics")} <= perception
    assert ("reply", "/r1/perception_node/set_parameters") in perception
    assert ("publish", "/emotion/state") not in perception


def test_sources_multiply_what_each_has_and_nothing_else(enclaves):
    text = enclaves.placed(POLICY.read_text(), sources=("left", "right"))
    perception = allowed(profiles(text)["perception_node"])
    for source in ("left", "right"):
        assert {
            ("publish", f"/{source}/emotion/state"),
            ("subscribe", f"/{source}/camera/image_raw"),
            ("reply", f"/{source}/emotion/set_neutral"),
        } <= perception
    assert ("publish", "/emotion/state") not in perception
    assert {("publish", "/emotion/paused"), ("reply", "/emotion/enable")} <= perception


FAKE_ROS2 = """#!/bin/sh
[ "$2" = -h ] && exit 0
echo "$@" > "$(dirname "$0")/called"
mkdir -p "$4/private" && cp "$6" "$4/policy.xml"
"""


def test_keys_are_made_of_the_placed_policy(enclaves, tmp_path, monkeypatch):
    tool = tmp_path / "ros2"
    tool.write_text(FAKE_ROS2)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    keystore = tmp_path / "keys"
    enclaves.make(keystore, enclaves.placed(POLICY.read_text(), namespace="r1"))
    assert (tmp_path / "called").read_text().startswith(f"security generate_artifacts -k {keystore} -p ")
    assert "/r1/emollama/greeter" in enclaves.enclaves_in((keystore / "policy.xml").read_text())
    assert stat.S_IMODE((keystore / "private").stat().st_mode) == 0o700


def test_without_the_tool_it_says_what_to_install(enclaves, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(enclaves.SecurityError, match="apt install ros-.*-sros2"):
        enclaves.make(tmp_path / "keys", POLICY.read_text())


@pytest.mark.ros
def test_secured_nodes_never_run_open(enclaves):
    """With plug-ins an enclave without keys is refused, without plug-ins every enclave."""
    pytest.importorskip("rclpy", reason="needs ROS 2")
    problem = enclaves.plugin_problem()
    assert problem == "" or "built without its security plug-ins" in problem


@pytest.mark.ros
def test_the_proof_notices_a_reader(enclaves):
    """Without security a stranger does read, so that the proof can fail."""
    pytest.importorskip("emollama_ros.msg", reason="needs the built messages")
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile

    from emollama_ros.msg import EmotionState

    context = rclpy.context.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("open_writer", context=context, namespace="/open")
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_publisher(EmotionState, "emotion/state", kept).publish(EmotionState(label="sad"))
    try:
        assert enclaves.can_read({"ROS_SECURITY_ENABLE": "false"}, "stranger", "open")
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    assert enclaves.told([("a stranger", False, True)]) == 1
    assert enclaves.told([("a stranger", False, False), ("a friend", True, True)]) == 0


@pytest.mark.ros
def test_an_unlisted_node_cannot_read_states(enclaves, tmp_path):
    pytest.importorskip("rclpy", reason="needs ROS 2")
    if problem := enclaves.plugin_problem():
        pytest.skip(problem)
    pytest.importorskip("sros2", reason="needs sros2, which is not on PyPI")
    enclaves.make(tmp_path / "keys", POLICY.read_text())
    assert enclaves.told(enclaves.prove(tmp_path / "keys")) == 0

"""The mirror to ROS4HRI with real type support of its messages. Run by test_foreign_messages.py."""

from __future__ import annotations

import pytest
import rclpy
from hri_msgs.msg import Expression, IdsList
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from emollama_ros.labels import DEFAULT_LABELS, HRI_EXPRESSIONS
from emollama_ros.msg import EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.clock import SECOND, ros_time
from emollama_ros.nodes.hri_mirror_node import HriMirrorNode

KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Scene:
    """Who is tracked, what is perceived, and what the mirror says."""

    def __init__(self, graph, **settings):
        given = [Parameter(name, value=value) for name, value in settings.items()]
        self.graph = graph
        self.mirror = graph.add(HriMirrorNode(parameter_overrides=given))
        self.sources = settings.get("sources", [""])
        make = graph.observer.create_publisher
        self.tracked = {k: make(IdsList, f"/humans/{k}/tracked", 10) for k in ("faces", "voices", "persons")}
        self.states = {
            name: make(EmotionState, f"{name}/emotion/state" if name else "emotion/state", qos.STATE)
            for name in self.sources
        }
        for publisher in (*self.tracked.values(), *self.states.values()):
            graph.until(lambda p=publisher: p.get_subscription_count(), publisher.topic_name)

    def track(self, **ids):
        for kind, names in ids.items():
            self.tracked[kind].publish(IdsList(ids=names))
            key = {"faces": "face", "voices": "voice", "persons": "person"}[kind]
            self.graph.until(
                lambda k=key, n=names: self.mirror._humans.tracked[k] == tuple(n), f"{kind} {names}"
            )

    def introduce(self, person, **ids):
        """Say which face and voice a person has, once and latched."""
        for kind, name in ids.items():
            topic = f"/humans/persons/{person}/{kind}_id"
            self.graph.observer.create_publisher(String, topic, KEPT).publish(String(data=name))
        known = self.mirror._humans
        for kind, name in ids.items():
            self.graph.until(
                lambda k=f"{kind}s", n=name: getattr(known, k).get(person) == n, f"{kind} of {person}"
            )

    def hear(self, place):
        return self.graph.hear(Expression, f"/humans/{place}/expression")

    def tell(self, label="happy", source="", source_id="", second=1, **values):
        scale = {"valence": 0.5, "arousal": -0.25, "confidence": 0.75, **values}
        message = EmotionState(label=label, labels=list(DEFAULT_LABELS), source_id=source_id, **scale)
        message.header.stamp, message.header.frame_id = ros_time(second * SECOND), "eye"
        self.states[source].publish(message)

    def told(self, heard, label="happy", **options):
        """Tell the same again until it is heard: a topic is only there once something was said."""
        count = len(heard)

        def arrives():
            self.tell(label, **options)
            self.graph.spin_for(0.05)
            return len(heard) > count

        self.graph.until(arrives, f"{label} mirrored")
        return heard[-1]


def test_the_constants_of_the_message_are_the_words_this_package_knows():
    names = [
        name for name in dir(Expression) if name.isupper() and isinstance(getattr(Expression, name), str)
    ]
    assert {getattr(Expression, name) for name in names} == HRI_EXPRESSIONS


def test_a_state_goes_to_its_face_while_that_is_tracked(graph):
    scene = Scene(graph)
    heard, other = scene.hear("faces/f3a1b"), scene.hear("faces/other")
    scene.track(faces=["f3a1b", "other"])
    said = scene.told(heard, "scared", source_id="f3a1b", second=7)
    assert (said.expression, said.valence, said.arousal, said.confidence) == ("scared", 0.5, -0.25, 0.75)
    assert (said.header.stamp.sec, said.header.frame_id) == (7, "eye") and not other
    scene.track(faces=["other"])
    graph.until(
        lambda: not graph.observer.count_publishers("/humans/faces/f3a1b/expression"), "the topic to go"
    )
    scene.tell("sad", source_id="f3a1b")
    graph.until(lambda: scene.mirror._whys.get("", "") == "the face f3a1b is not tracked", "the reason")


def test_without_an_id_the_only_face_is_meant_and_of_two_none(graph):
    scene = Scene(graph)
    one, two = scene.hear("faces/one"), scene.hear("faces/two")
    scene.track(faces=["one"])
    assert scene.told(one).expression == "happy"
    scene.track(faces=["one", "two"])
    scene.tell("sad")
    graph.until(lambda: "2 faces are tracked" in scene.mirror._whys.get("", ""), "the reason")
    assert not two and one[-1].expression == "happy"


def test_a_word_is_taken_back_when_nothing_is_sure_or_perceived_any_more(graph):
    scene = Scene(graph)
    heard = scene.hear("faces/f")
    scene.track(faces=["f"])
    scene.told(heard)
    taken_back = scene.told(heard, "uncertain", confidence=0.3)
    assert taken_back.expression == "" and taken_back.confidence == pytest.approx(0.3)
    count = len(heard)
    scene.tell("uncertain")
    scene.told(heard, "angry")
    assert [m.expression for m in heard[count:]][0] == "angry"  # "once": not said again
    assert scene.told(heard, "unknown").valence == 0.0


def test_a_voice_is_mirrored_to_the_face_of_its_person(graph):
    scene = Scene(
        graph,
        sources=["left", "right"],
        kind="voice",
        ids="right=v2",
        publish_persons=True,
        publish_voices=True,
    )
    face, person, voice = scene.hear("faces/f2"), scene.hear("persons/ann"), scene.hear("voices/v2")
    scene.track(faces=["f2"], voices=["v2", "left"], persons=["ann"])
    scene.introduce("ann", face="f2", voice="v2")
    assert scene.told(face, "angry", source="right").expression == "angry"
    graph.until(lambda: person and voice, "person and voice")
    assert person[-1].expression == voice[-1].expression == "angry"
    scene.tell("sad", source="left")
    graph.until(
        lambda: "no face is known of the voice left" in scene.mirror._whys.get("left", ""), "the reason"
    )
    scene.track(persons=[])
    assert not scene.mirror._humans.faces and not scene.mirror._persons


def test_nothing_is_published_where_nobody_tracks_faces(graph):
    scene = Scene(graph)
    scene.tell("happy", source_id="f")
    graph.until(lambda: "nobody publishes" in scene.mirror._whys.get("", ""), "the reason")
    topics = [name for name, _ in graph.observer.get_topic_names_and_types() if name.endswith("/expression")]
    assert not topics and rclpy.ok()

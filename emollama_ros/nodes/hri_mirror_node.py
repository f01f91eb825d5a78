"""Mirrors emotion/state to ROS4HRI: ``/humans/faces/<id>/expression`` (docs/ros4hri.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from emollama_ros.errors import ConfigError
from emollama_ros.msg import EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.hri_mapping import HriMirrorParameters, Humans, Words, ids_by_source, words_of
from emollama_ros.nodes.parameters import declare
from emollama_ros.nodes.running import main_of

#: Folder of each kind in REP-155.
FOLDERS = {"face": "faces", "voice": "voices", "person": "persons"}
#: Who is who is published once and kept for those who join late.
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PROFILE = 10


def messages() -> tuple[Any, Any]:
    """Return the classes of ``hri_msgs/Expression`` and ``hri_msgs/IdsList``.

    Raises:
        ConfigError: They are not installed, or those of ROS 1 times.
    """
    try:
        from hri_msgs.msg import Expression, IdsList
    except ImportError as error:
        raise ConfigError(
            f"hri_mirror_node needs hri_msgs ({error}); sudo apt install ros-$ROS_DISTRO-hri-msgs"
        ) from error
    if Expression.get_fields_and_field_types().get("expression") != "string":
        raise ConfigError(
            "the hri_msgs installed here is too old (expression is a number); install 2.0 or newer"
        )
    return Expression, IdsList


class HriMirrorNode(Node):
    """Says what is perceived in the words and at the places of ROS4HRI, of those who are tracked."""

    def __init__(self, **node_options: Any) -> None:
        """Subscribe.

        Raises:
            ConfigError: hri_msgs is not installed, or a parameter is not legal.
        """
        super().__init__("hri_mirror", **node_options)
        self._settings = declare(self, HriMirrorParameters)
        self._expression, ids_list = messages()
        self._ids = ids_by_source(self._settings.ids, self._settings.sources)
        self._humans = Humans()
        self._outputs: dict[tuple[str, str], Any] = {}
        self._said: dict[tuple[str, str], str] = {}
        self._whys: dict[str, str] = {}
        self._persons: dict[str, list[Any]] = {}
        for kind in FOLDERS:
            topic = f"{self._home(kind)}/tracked"
            self.create_subscription(ids_list, topic, partial(self._on_tracked, kind), PROFILE)
        for source in self._settings.sources or ("",):
            topic = f"{source}/emotion/state" if source else "emotion/state"
            self.create_subscription(EmotionState, topic, partial(self._on_state, source), qos.STATES_HEARD)

    def _home(self, kind: str) -> str:
        return f"{self._settings.humans.rstrip('/')}/{FOLDERS[kind]}"

    # --- who is there

    def _on_tracked(self, kind: str, message: Any) -> None:
        self._humans.tracked[kind] = tuple(message.ids)
        for key in [key for key in self._outputs if key[0] == kind and key[1] not in message.ids]:
            self.destroy_publisher(self._outputs.pop(key))
            self._said.pop(key, None)
        if kind == "person":
            self._follow(set(message.ids))

    def _follow(self, persons: set[str]) -> None:
        """Learn which face and voice belong to each person, and forget those who left."""
        for person in self._persons.keys() - persons:
            for subscription in self._persons.pop(person):
                self.destroy_subscription(subscription)
        for person in persons - self._persons.keys():
            home = f"{self._home('person')}/{person}"
            hear = partial(self.create_subscription, String, qos_profile=KEPT)
            self._persons[person] = [
                hear(topic=f"{home}/{name}_id", callback=partial(self._on_id, known, person))
                for name, known in (("face", "faces"), ("voice", "voices"))
            ]
        self._humans.forget_absent(persons)

    def _on_id(self, known: str, person: str, message: String) -> None:
        getattr(self._humans, known)[person] = message.data

    # --- what they feel

    def _on_state(self, source: str, state: EmotionState) -> None:
        name = self._ids.get(source, source or state.source_id)
        target = self._humans.target(self._settings.kind, name)
        self._explain(source, target.why)
        words = words_of(state)
        self._tell("face", target.face, state, words)
        if self._settings.publish_persons:
            self._tell("person", target.person, state, words)
        if self._settings.publish_voices:
            self._tell("voice", target.voice, state, words)

    def _explain(self, source: str, why: str) -> None:
        """Log why nothing is mirrored, when that changes."""
        if self._whys.get(source) != why:
            self._whys[source] = why
            of = f"{source}: " if source else ""
            self.get_logger().info(f"{of}{f'not mirrored: {why}' if why else 'mirrored'}")

    def _tell(self, kind: str, name: str, state: EmotionState, words: Words) -> None:
        if not name or not self._is_due((kind, name), words.expression):
            return
        key = (kind, name)
        if key not in self._outputs:
            topic = f"{self._home(kind)}/{name}/expression"
            if self.count_publishers(topic):
                self.get_logger().warning(f"{topic} is published by another node too: its readers hear both")
            self._outputs[key] = self.create_publisher(self._expression, topic, PROFILE)
        self._said[key] = words.expression
        message = self._expression(
            header=state.header,
            expression=words.expression,
            valence=words.valence,
            arousal=words.arousal,
            confidence=words.confidence,
        )
        self._outputs[key].publish(message)

    def _is_due(self, key: tuple[str, str], expression: str) -> bool:
        """Whether to publish: always with a word; without one as ``withheld`` says, to take a word back."""
        if expression or self._settings.withheld == "always":
            return True
        return self._settings.withheld == "once" and bool(self._said.get(key))


main = main_of(HriMirrorNode)

if __name__ == "__main__":
    main()

"""Which topic of a bag is whose camera, microphone, words and results, and what the node was set to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from emollama_ros.bags.definitions import CHUNK, EVENT, REASONING, STATE
from emollama_ros.bags.reading import Item, Recording
from emollama_ros.errors import InputError
from emollama_ros.nodes.adapters.sound import SOUNDS
from emollama_ros.nodes.adapters.words import WORDS
from emollama_ros.nodes.parameters import PerceptionParameters

PARAMETERS, TRANSITION, DIAGNOSTICS = (
    "rcl_interfaces/msg/ParameterEvent",
    "lifecycle_msgs/msg/TransitionEvent",
    "diagnostic_msgs/msg/DiagnosticArray",
)
PARAMETER_TOPIC, DIAGNOSTICS_TOPIC = "/parameter_events", "/diagnostics"
INFO = "audio_common_msgs/msg/AudioInfo"
PICTURES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}
STATE_NAME, EVENT_NAME, REASONING_NAME = "emotion/state", "emotion/event", "emotion/reasoning"
#: Field of a ParameterValue that counts, by its ``type`` (rcl_interfaces/ParameterType).
_VALUES = {
    1: "bool_value",
    2: "integer_value",
    3: "double_value",
    4: "string_value",
    6: "bool_array_value",
    7: "integer_array_value",
    8: "double_array_value",
    9: "string_array_value",
}


def full(kind: str) -> str:
    """Return ``package/msg/Name`` of ``package/Name``."""
    package, _, name = kind.partition("/")
    return f"{package}/msg/{name}"


#: What may be asked for as camera, microphone and words: the types that the node reads.
SENSED: Mapping[str, tuple[str, ...]] = {
    "camera": tuple(PICTURES.values()),
    "audio": tuple(full(adapter.type) for adapter in SOUNDS),
    "transcript": tuple(full(adapter.type) for adapter in WORDS),
}
#: How the topics are called where nobody remapped them; both, for a camera may send either.
NAMES: Mapping[str, tuple[str, ...]] = {
    "camera": ("camera/image_raw", "camera/image_raw/compressed"),
    "audio": ("audio",),
    "transcript": ("transcript",),
}


@dataclass(frozen=True)
class Source:
    """The topics of one source; empty where the bag has none.

    Attributes:
        home: What its topics begin with, such as ``/`` or ``/robot/left/``.
        camera: Pictures.
        audio: Sound.
        transcript: Words.
        info: What the bytes of the sound are.
    """

    home: str
    camera: str = ""
    audio: str = ""
    transcript: str = ""
    info: str = ""

    @property
    def state(self) -> str:
        """Topic of its states."""
        return self.home + STATE_NAME

    @property
    def event(self) -> str:
        """Topic of its events."""
        return self.home + EVENT_NAME

    @property
    def reasoning(self) -> str:
        """Topic of its reasonings."""
        return self.home + REASONING_NAME

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it perceives by."""
        return tuple(filter(None, (self.camera, self.audio, self.transcript, self.info)))


def sources_of(bag: Recording, chosen: Mapping[str, str] | None = None) -> tuple[Source, ...]:
    """Return the sources of a bag: one for each topic of states, or one where nothing was perceived.

    Args:
        bag: Open.
        chosen: Topics to take as ``camera``, ``audio`` and ``transcript``, where the names do not tell.

    Raises:
        InputError: There is nothing to perceive, a topic that was chosen is not there, or several could be
            meant.
    """
    given = {role: topic for role, topic in (chosen or {}).items() if topic}
    homes = [name[: -len(STATE_NAME)] for name in bag.of_type(STATE) if name.endswith(STATE_NAME)]
    if len(homes) > 1 and given:
        raise InputError(f"{bag.path}: it has {len(homes)} sources; topics can be chosen only for one")
    alone = len(homes) < 2
    found = [_source(bag, home, given, alone) for home in homes or [_common_home(bag)]]
    if not any(source.camera or source.audio for source in found):
        raise InputError(
            f"{bag.path}: nothing to perceive in it, neither a camera nor a microphone; it has"
            f" {_listed(bag)}; was it recorded with --results-only?"
        )
    return tuple(found)


def _common_home(bag: Recording) -> str:
    """Return the namespace that a topic with one of the usual names is in, else none."""
    for usual in (name for names in NAMES.values() for name in names):
        for topic in bag.topics:
            if topic.count and topic.name.endswith(f"/{usual}"):
                return topic.name[: -len(usual)]
    return "/"


def _source(bag: Recording, home: str, given: Mapping[str, str], alone: bool) -> Source:
    topics = {role: _topic(bag, home, role, given.get(role, ""), alone) for role in SENSED}
    info = bag.of_type(INFO)
    beside = topics["audio"].rpartition("/")[0] + "/audio_info"
    return Source(home, **topics, info=beside if beside in info else info[0] if info and alone else "")


def _topic(bag: Recording, home: str, role: str, given: str, alone: bool) -> str:
    candidates = bag.of_type(*SENSED[role])
    if given:
        if given not in candidates:
            raise InputError(
                f"{bag.path}: {given} cannot be the {role}: "
                f"{'it is none of the topics that can be' if candidates else 'no topic can be'}"
                f" ({', '.join(candidates) or _listed(bag)})"
            )
        return given
    for name in NAMES[role]:
        if home + name in candidates:
            return home + name
    if not alone or not candidates:
        return ""
    if len(candidates) > 1 and role != "transcript":
        raise InputError(
            f"{bag.path}: {', '.join(candidates)} may each be the {role}; choose one with --{role} TOPIC"
        )
    return candidates[0] if len(candidates) == 1 else ""


def _listed(bag: Recording) -> str:
    return ", ".join(f"{topic.name} ({topic.type})" for topic in bag.topics if topic.count) or "no messages"


def node_of(items: Sequence[Item], home: str) -> str:
    """Return which node's parameters are those of the perception, by name; empty if the bag does not say.

    Args:
        items: Messages of the topic of parameters.
        home: Of a source; the node's namespace is a part of it.
    """
    needed = {"window_s", "hop_s", "smoothing_s"}
    named = [i.message.node for i in items if needed <= set(_changed(i.message))]
    near = [node for node in named if home.startswith(node.rpartition("/")[0] + "/")]
    return max(near, key=lambda node: len(node.rpartition("/")[0])) if near else (named or [""])[0]


def parameters_of(message: Any) -> dict[str, Any]:
    """Return the parameters of a perception node that a ParameterEvent sets, by name."""
    ours = {item.name for item in fields(PerceptionParameters)}
    return {name: value for name, value in _changed(message).items() if name in ours}


def _changed(message: Any) -> dict[str, Any]:
    return {p.name: _value(p.value) for p in [*message.new_parameters, *message.changed_parameters]}


def _value(value: Any) -> Any:
    found = getattr(value, _VALUES.get(int(value.type), ""), None)
    if found is None:
        return ()  # an array that is empty has no type
    return found if isinstance(found, (bool, int, float, str)) else list(found)


def model_of(items: Sequence[Item]) -> dict[str, str]:
    """Return which model perceived, as diagnostics said it: ``bundle``, ``bundle sha256``, ``engine``."""
    wanted, found = ("bundle", "bundle sha256", "engine"), dict[str, str]()
    for item in items:
        for status in item.message.status:
            values = {entry.key: entry.value for entry in status.values}
            if "bundle sha256" in values:
                found = {key: values[key] for key in wanted if key in values}
    return found


#: Everything that is written where the results of a source go.
RESULTS: Mapping[str, str] = {STATE_NAME: STATE, EVENT_NAME: EVENT, REASONING_NAME: REASONING}
__all__ = ["CHUNK", "RESULTS", "SENSED", "Source", "model_of", "node_of", "parameters_of", "sources_of"]

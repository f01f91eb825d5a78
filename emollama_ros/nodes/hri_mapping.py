"""From a state to what ROS4HRI can say, and from a source to whose face that is. No ROS in it.

REP-155 has one place for an emotion: ``/humans/faces/<id>/expression``, of ``hri_msgs/Expression``. It knows
25 words, valence, arousal and a confidence. What it has no place for stays on ``emotion/state``, which has
the same stamp: the distribution over the labels, the inputs used, the reasoning, what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emollama_ros.errors import ConfigError
from emollama_ros.labels import HRI_EXPRESSIONS, UNKNOWN, canonical
from emollama_ros.nodes.parameters import option

KINDS = ("face", "voice", "person")


@dataclass(frozen=True)
class HriMirrorParameters:
    """Parameters of ``hri_mirror_node``; read when the node starts."""

    sources: tuple[str, ...] = option(
        (), "names of the sources, as of perception_node; empty = one source without a name"
    )
    kind: str = option(
        "face",
        "what a source_id, or the name of a source, is the id of; a voice's and a person's face is looked up",
        choices=KINDS,
    )
    ids: str = option(
        "", "SOURCE=ID of sources whose name is no id of ROS4HRI, separated by commas: left=f3a1b,right=f77c0"
    )
    withheld: str = option(
        "once",
        "an expression without a word (the label is uncertain, or ROS4HRI lacks it): once = sent when that"
        " begins, so that no old word stays; always = with every state; never",
        choices=("once", "always", "never"),
    )
    publish_persons: bool = option(False, "also on HUMANS/persons/<id>/expression, which is not in REP-155")
    publish_voices: bool = option(False, "also on HUMANS/voices/<id>/expression, which is not in REP-155")
    humans: str = option("/humans", "where the topics of ROS4HRI are")


@dataclass(frozen=True)
class Words:
    """What is said of one state in terms of ``hri_msgs/Expression``.

    Attributes:
        expression: One of the 25 words; empty where none says it.
        valence: -1 to 1.
        arousal: -1 to 1.
        confidence: 0 to 1.
    """

    expression: str
    valence: float = 0.0
    arousal: float = 0.0
    confidence: float = 0.0


def expressions(labels: Sequence[str]) -> dict[str, str]:
    """Return the word of ROS4HRI for each label of a model that has one; no two labels get the same.

    A label that is such a word stays it; one that is another name of such a word (``fear``, ``joy``) becomes
    it, unless the model has that word, too, for something else.
    """
    found = {label: label for label in labels if label in HRI_EXPRESSIONS}
    for label in labels:
        word = _canonical(label)
        if label not in found and word in HRI_EXPRESSIONS and word not in found.values():
            found[label] = word
    return found


def _canonical(label: str) -> str:
    try:
        return canonical(label)
    except KeyError:
        return ""


def words_of(state: Any) -> Words:
    """Return what ROS4HRI can be told of an ``EmotionState``.

    Both scales run the same way in the two messages: unpleasant to pleasant and calm to excited, -1 to 1;
    and both confidences are probabilities. What is not finite is 0, what lies beyond is the end of the scale.
    """
    if state.label == UNKNOWN:
        return Words("")
    word = expressions(state.labels).get(state.label, "")
    return Words(
        word, _within(state.valence, -1.0), _within(state.arousal, -1.0), _within(state.confidence, 0.0)
    )


def _within(value: float, low: float) -> float:
    return min(1.0, max(low, float(value))) if value == value else 0.0  # noqa: PLR0124  # NaN is not itself


@dataclass(frozen=True)
class Target:
    """Whose expression it is; an id is empty where there is none to publish for.

    Attributes:
        face: Id of a tracked face.
        person: Of a tracked person.
        voice: Of a tracked voice.
        why: Why there is no face, in words; empty when there is one.
    """

    face: str = ""
    person: str = ""
    voice: str = ""
    why: str = ""


@dataclass
class Humans:
    """Who is there, as ROS4HRI says it.

    Attributes:
        tracked: Ids by kind; ``None``: nobody has said who is tracked.
        faces: Id of the face of a person.
        voices: Id of the voice of a person.
    """

    tracked: dict[str, tuple[str, ...] | None] = field(default_factory=lambda: dict.fromkeys(KINDS))
    faces: dict[str, str] = field(default_factory=dict)
    voices: dict[str, str] = field(default_factory=dict)

    def is_tracked(self, kind: str, name: str) -> bool:
        """Whether somebody is tracked now."""
        return bool(name) and name in (self.tracked[kind] or ())

    def forget_absent(self, persons: Iterable[str]) -> None:
        """Keep what is known of some persons only."""
        there = set(persons)
        self.faces = {person: face for person, face in self.faces.items() if person in there}
        self.voices = {person: voice for person, voice in self.voices.items() if person in there}

    def target(self, kind: str, name: str) -> Target:
        """Return whose expression a state is.

        Args:
            kind: What the name is the id of.
            name: Empty: whoever the sensors show, which is clear while exactly one face is tracked.
        """
        if self.tracked["face"] is None:
            return Target(why="nobody publishes which faces are tracked (faces/tracked)")
        if not name:
            return self._only()
        person = name if kind == "person" else self._person(kind, name)
        face = name if kind == "face" else self.faces.get(person, "")
        voice = name if kind == "voice" else self.voices.get(person, "")
        return Target(
            face if self.is_tracked("face", face) else "",
            person if self.is_tracked("person", person) else "",
            voice if self.is_tracked("voice", voice) else "",
            self._why(kind, name, face),
        )

    def _only(self) -> Target:
        faces = self.tracked["face"] or ()
        if len(faces) == 1:
            return self.target("face", faces[0])
        return Target(
            why=f"{len(faces)} faces are tracked and the states do not say whose they are; set source_id"
            if faces
            else "no face is tracked"
        )

    def _person(self, kind: str, name: str) -> str:
        known: Mapping[str, str] = self.faces if kind == "face" else self.voices
        return next((person for person, found in known.items() if found == name), "")

    def _why(self, kind: str, name: str, face: str) -> str:
        if not face:
            return f"no face is known of the {kind} {name}"
        return "" if self.is_tracked("face", face) else f"the face {face} is not tracked"


def ids_by_source(entries: str, sources: Sequence[str]) -> dict[str, str]:
    """Return the id of each source that has an entry SOURCE=ID.

    Raises:
        ConfigError: An entry has another form, or names no source.
    """
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in entries.split(","))):
        source, sign, name = entry.partition("=")
        if not sign or not name or source not in (sources or ("",)):
            legal = ", ".join(sources) or "nothing, for the only source"
            raise ConfigError(f"parameter ids: {entry!r} must be SOURCE=ID, with SOURCE one of: {legal}")
        found[source] = name
    return found

"""What the node was set to when a bag was recorded, and what is asked for instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emollama_ros.bags.contents import PARAMETERS, TRANSITION, node_of, parameters_of
from emollama_ros.bags.reading import Item
from emollama_ros.errors import ConfigError
from emollama_ros.nodes.parameters import PerceptionParameters, check

#: Parameters that a replay never takes from a bag: they are about the machine that recorded it.
OF_THE_MACHINE = ("bundle", "engine", "threads", "reasoning_url", "sources", "enabled", "speech_to_text")
#: States of a node that hears: it subscribes while it is being activated, and says so a moment later.
ACTIVE = ("activating", "active")


@dataclass
class Settled:
    """What the node was set to, and what is asked for instead.

    Attributes:
        settings: As they are at the moment of the bag that is played.
        node: Full name of the perception node; empty if the bag does not say it.
        asked: What a user wants to be other than recorded.
        is_active: Whether the node was active when the recording began.
        is_enabled: Whether it was not paused then.
        notes: What a reader should know.
    """

    settings: PerceptionParameters
    node: str
    asked: Mapping[str, Any]
    is_active: bool
    is_enabled: bool
    notes: list[str]

    @staticmethod
    def of(items: Sequence[Item], home: str, asked: Mapping[str, Any]) -> Settled:
        """Look through a bag before it is played.

        Args:
            items: Messages that say how and when was perceived.
            home: Of a source of the node.
            asked: Parameters that a user wants to be other than recorded.

        Raises:
            ConfigError: One of these is not legal.
        """
        events = [item for item in items if item.type == PARAMETERS]
        node, notes = node_of(events, home), []
        told: dict[str, Any] = {}
        if node:
            told = max((parameters_of(i.message) for i in events if i.message.node == node), key=len)
        else:
            notes.append("the bag does not say how perception was set: defaults are used (others with --set)")
        transitions = [i for i in items if i.type == TRANSITION and is_of(node, i.topic)]
        is_active = not transitions or transitions[0].message.start_state.label in ACTIVE
        settled = Settled(
            PerceptionParameters(), node, asked, is_active, bool(told.get("enabled", True)), notes
        )
        if told.get("speech_to_text"):
            notes.append("the node wrote the words down itself (speech_to_text), and they are not recorded")
        settled.update({**told, **asked})
        return settled

    def update(self, told: Mapping[str, Any]) -> set[str]:
        """Take parameters as they are recorded; return which changed."""
        before = asdict(self.settings)
        kept = {name: value for name, value in told.items() if name not in OF_THE_MACHINE}
        wanted = {**before, **kept, **self.asked}
        try:
            self.settings = check(PerceptionParameters, wanted)
        except ConfigError:
            check(PerceptionParameters, {**before, **self.asked})  # what a user asks for is refused
            self.notes.append("parameters of another version of emollama_ros in the bag are left out")
        return {name for name, value in asdict(self.settings).items() if value != before[name]}


def is_of(node: str, topic: str) -> bool:
    """Whether a topic of transitions is that of a node; of any, where it is not known which."""
    return topic == f"{node}/transition_event" if node else topic.endswith("/transition_event")

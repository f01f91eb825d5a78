"""Messages of speech recognisers to one plain value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emollama_ros.nodes.adapters.choice import Adapter
from emollama_ros.nodes.clock import stamp_ns


@dataclass(frozen=True)
class Words:
    """One recognised piece of speech.

    Attributes:
        stamp_ns: When it was said; ``None`` if the message does not say it.
        text: What was said; blank while it is only guessed.
    """

    stamp_ns: int | None
    text: str


def from_string(message: Any) -> Words:
    """Read a plain String."""
    return Words(None, message.data)


def from_live_speech(message: Any) -> Words:
    """Read LiveSpeech of ROS4HRI: the final text; incremental guesses change, so they are left out.

    Both its older form (with ``language``) and the present one (with ``locale``) are read.
    """
    return Words(stamp_ns(message.header.stamp) or None, message.final)


#: Every message type that a speech recogniser may send, the most preferred first.
WORDS = (
    Adapter(
        "std_msgs/String",
        from_string,
        ("data",),
        install="install ros-$ROS_DISTRO-std-msgs",
        time="arrival",
        stamped=False,
    ),
    Adapter(
        "hri_msgs/LiveSpeech",
        from_live_speech,
        ("header", "final"),
        install="install ros-$ROS_DISTRO-hri-msgs",
        time="its stamp, or arrival where that is 0; `final` only",
    ),
)

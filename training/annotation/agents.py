"""What an agent of the annotation pipeline is: it looks at one clip and adds what it found.

The roles, in the order they work: ``transcript``, ``face`` (peak frame and action units), ``audio`` and
``visual`` (what speaks for the label, in words), ``fusion`` (why, in words). An agent may be a model behind
an endpoint, or measurements and a grammar on this machine; the pipeline does not know which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from emollama_ros.errors import EmollamaError
from training.mmeverse.schema import Record

Role = Literal["transcript", "face", "audio", "visual", "fusion"]
ROLES: tuple[Role, ...] = ("transcript", "face", "audio", "visual", "fusion")


class AgentError(EmollamaError):
    """An agent could not do its part for this clip; the text becomes the reason in the rejects."""


@dataclass(frozen=True)
class Usage:
    """What an answer cost."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    @property
    def tokens(self) -> int:
        """Both kinds together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Request:
    """What an agent is asked.

    Attributes:
        record: The clip, with everything that the agents before have found.
        root: Folder its media lie in.
        is_guided: Whether the agent may be told the label (label-guided mode of the paper).
    """

    record: Record
    root: Path
    is_guided: bool = True


@dataclass(frozen=True)
class Finding:
    """What an agent adds.

    Attributes:
        fields: By the names that `Record.provenance` uses (``clues.audio``, ``reasoning``, ...): the values.
        flags: What a person should look at, for example that the answer contradicts the label.
        usage: What it cost.
        date: Day the answer was given, ISO 8601, where that may have been before now; None for today.
    """

    fields: Mapping[str, Any]
    flags: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    date: str | None = None


class Agent(Protocol):
    """One role, done by one model."""

    @property
    def role(self) -> Role:
        """Its part in the pipeline; becomes `Provenance.agent`."""

    @property
    def model(self) -> str:
        """Name and version of what does it; becomes `Provenance.model`."""

    @property
    def prompt(self) -> str:
        """Version of its prompt; empty where it has none."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything else its answer depends on (temperature, thresholds), as plain data."""

    def annotate(self, request: Request) -> Finding:
        """Look at the clip.

        Raises:
            AgentError: It could not be done.
        """

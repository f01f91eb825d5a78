"""Which agents a backend has. A factory makes those of one worker, and travels to it as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from emollama_ros.errors import ConfigError
from training.annotation.agents import Agent, Role
from training.annotation.backends.chat import Endpoint
from training.annotation.backends.openai_compatible import Models, Sight, endpoint_agents
from training.annotation.limits import Ledger

#: Measured on this machine even where models behind an endpoint find the words: nobody has to be asked.
_MEASURED: frozenset[Role] = frozenset({"transcript", "face"})


@dataclass(frozen=True)
class LocalFactory:
    """Measurements and a grammar; asks nobody.

    Attributes:
        is_guided: Whether they may use the label.
    """

    is_guided: bool = True

    def __call__(self, ledger: Ledger) -> Sequence[Agent]:
        """Make the agents; the ledger is not needed.

        Raises:
            ConfigError: A package or file that measuring needs is missing.
        """
        try:
            from training.annotation.measuring import local_agents
        except ImportError as error:
            raise ConfigError(
                f"measuring is not possible here ({error}): pip install 'emollama-ros[annotation]'"
            ) from None
        return local_agents(self.is_guided)


@dataclass(frozen=True)
class EndpointFactory:
    """Models behind an endpoint, after face and words were measured here.

    Attributes:
        endpoint: Where.
        models: Which.
        sight: How frames are shown.
        prompt: Name of the prompts' version.
        is_guided: Whether agents may use the label.
        is_measuring: Whether face and words are measured.
    """

    endpoint: Endpoint
    models: Models
    sight: Sight = field(default_factory=Sight)
    prompt: str = "v1"
    is_guided: bool = True
    is_measuring: bool = True

    def __call__(self, ledger: Ledger) -> Sequence[Agent]:
        """Make the agents.

        Raises:
            ConfigError: See `endpoint_agents` and `LocalFactory`.
        """
        asked = endpoint_agents(self.endpoint, self.models, ledger, self.sight, self.prompt)
        if not self.is_measuring:
            return asked
        measured = [agent for agent in LocalFactory(self.is_guided)(ledger) if agent.role in _MEASURED]
        return [*measured, *asked]

"""Makes the measuring agents of one worker; travels to it as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emollama_ros.errors import ConfigError
from training.annotation.agents import Agent
from training.annotation.limits import Ledger


@dataclass(frozen=True)
class LocalFactory:
    """Measurements and a grammar; asks nobody.

    Attributes:
        is_guided: Whether they may use the label.
        people: File that says what is usual for each person; None for what is usual for all.
        transcribe: Whether clips without words are transcribed.
    """

    is_guided: bool = True
    people: Path | None = None
    transcribe: bool = True

    def __call__(self, ledger: Ledger) -> Sequence[Agent]:
        """Make the agents; the ledger is not needed.

        Raises:
            ConfigError: A package that measuring needs is missing.
            InputError: ``people`` cannot be read.
        """
        try:
            from training.annotation.measuring import local_agents
        except ImportError as error:
            raise ConfigError(
                f"measuring is not possible here ({error}): pip install 'emollama-ros[annotation]'"
            ) from None
        return local_agents(self.is_guided, people=self.people, transcribe=self.transcribe)

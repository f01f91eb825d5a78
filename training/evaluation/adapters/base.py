"""What every adapter is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emollama_ros.errors import EmollamaError
from training.evaluation.predictions import Prediction
from training.mmeverse.schema import Record


class CannotTellError(EmollamaError):
    """This clip cannot be predicted; the text says why. Other clips go on."""


@dataclass(frozen=True)
class Claim:
    """What a model was trained on, as far as it tells.

    Attributes:
        source: Name of a source.
        split: Split of it; empty for all of it.
    """

    source: str
    split: str = ""


class Model(Protocol):
    """Anything that can be measured."""

    @property
    def name(self) -> str:
        """Name and version; two models never share it."""

    @property
    def trained_on(self) -> Sequence[Claim] | None:
        """What it says it was trained on; None where it does not tell."""

    @property
    def rules(self) -> tuple[str, ...]:
        """How its output becomes words of a set, a sentence each; for the report."""

    def unsayable(self, record: Record) -> tuple[str, ...]:
        """Labels of the record's space that the model has no word for."""

    def cannot_do(self, record: Record) -> str:
        """Why the record's whole task is beyond the model; empty where it is not."""

    def predict(self, record: Record, root: Path) -> Prediction:
        """Look at a clip.

        Args:
            record: The clip. Its labels, clues and reasoning must not be looked at.
            root: Folder its media lie in.

        Raises:
            CannotTellError: It could not be predicted.
            InputError: Its media cannot be read.
            ConfigError: No clip can be predicted, for example because an endpoint refuses the key.
        """

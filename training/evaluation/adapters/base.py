"""What every adapter is made of, and how one is named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emollama_ros.errors import ConfigError, EmollamaError
from training.evaluation.predictions import Prediction
from training.mmeverse.schema import Record

KINDS = ("bundle:PATH", "hf-audio:PATH", "hf-video:PATH", "openai:MODEL@URL")


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


def load_model(spec: str) -> Model:
    """Load a model.

    Args:
        spec: ``bundle:PATH`` (``bundle:`` for the default one), ``hf-audio:PATH``, ``hf-video:PATH`` (a
            folder or a name on the Hugging Face hub) or ``openai:MODEL@URL``.

    Raises:
        ConfigError: Of another form.
        EmollamaError: It cannot be loaded.
    """
    kind, colon, place = spec.partition(":")
    if not colon:
        raise ConfigError(f"--model {spec!r}: expected one of {', '.join(KINDS)}")
    if kind == "bundle":
        from training.evaluation.adapters.bundle import BundleModel

        return BundleModel.load(Path(place) if place else None)
    if kind in ("hf-audio", "hf-video"):
        from training.evaluation.adapters.hugging_face import AudioClassifier, VideoClassifier

        return (AudioClassifier if kind == "hf-audio" else VideoClassifier).load(place)
    if kind == "openai":
        from training.evaluation.adapters.openai_compatible import EndpointModel

        return EndpointModel.load(place)
    raise ConfigError(f"--model {spec!r}: no kind {kind!r}; expected one of {', '.join(KINDS)}")

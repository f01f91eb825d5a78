"""Models by the names of the command line."""

from __future__ import annotations

from pathlib import Path

from emollama_ros.errors import ConfigError
from training.evaluation.adapters.base import Model

KINDS = ("bundle:PATH", "hf-audio:PATH", "hf-video:PATH", "openai:MODEL@URL")


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

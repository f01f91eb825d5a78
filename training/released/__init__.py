"""What the authors of Emotion-LLaMAv2 released, in our form."""

from __future__ import annotations

from typing import Any

__all__ = ["load_conv_attention", "load_released"]


def __getattr__(name: str) -> Any:
    """Look public names up when they are first used: the commands' help need not wait for torch."""
    if name not in __all__:
        raise AttributeError(name)
    from training.released import weights

    return getattr(weights, name)

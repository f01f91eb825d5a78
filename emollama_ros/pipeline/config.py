"""Times and expectations of a pipeline: plain data, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from emollama_ros.errors import ConfigError
from emollama_ros.estimate import Modality
from emollama_ros.smoothing import Smoothing
from emollama_ros.uncertainty import NEVER, Uncertainty

#: Longest patience, s. Rings are long enough for it, so that it can be changed while a pipeline runs.
MOST_PATIENCE_S = 5.0
#: What rings are made for; another value needs other rings, and so another pipeline.
FIXED = ("window_s", "frame_size", "frame_hz")


@dataclass(frozen=True)
class PipelineConfig:
    """Times and expectations.

    Attributes:
        window_s: Length of a window, 1..30 s.
        hop_s: Time between windows, 0.1..10 s.
        patience_s: How far a stream may lag behind the newest before a window goes on without it, 0..5 s.
        frame_size: Side of the square frames of the model, pixels.
        frame_hz: Frames taken from the camera, per second.
        expected: Inputs that are connected; one of them missing from a window degrades the state.
        reasoning_interval_s: Least time between the starts of two reasonings, unless the label changes, s.
        reasoning: Whether to say why in words, where there is a reasoner.
        smoothing: How steady labels shall be; off by default.
        uncertainty: When a label is not likely enough to be told; never by default.
    """

    window_s: float = 4.0
    hop_s: float = 0.5
    patience_s: float = 0.3
    frame_size: int = 224
    frame_hz: float = 4.0
    expected: Modality = Modality.VIDEO | Modality.AUDIO
    reasoning_interval_s: float = 3.0
    reasoning: bool = True
    smoothing: Smoothing = Smoothing()
    uncertainty: Uncertainty = NEVER

    def __post_init__(self) -> None:
        _require("window_s", self.window_s, 1.0, 30.0)
        _require("hop_s", self.hop_s, 0.1, 10.0)
        _require("patience_s", self.patience_s, 0.0, MOST_PATIENCE_S)

    def require_same_rings(self, other: PipelineConfig) -> None:
        """Refuse another configuration that this one's rings cannot serve.

        Raises:
            ConfigError: It differs in one of ``FIXED``; names it.
        """
        for name in FIXED:
            if getattr(self, name) != getattr(other, name):
                raise ConfigError(
                    f"{name} is {getattr(self, name)} and cannot become {getattr(other, name)} while the "
                    "pipeline lives; make a new one"
                )


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; use {low:g} to {high:g} seconds")

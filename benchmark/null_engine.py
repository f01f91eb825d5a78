"""A model without an engine: the real pipeline around a perceiver that answers at once.

What a node does with it is ROS, conversion, rings and windows, and nothing else. Run as a script it is a
perception node in a process of its own:

    python -m benchmark.null_engine --ros-args -p autostart:=true
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.labels import DEFAULT_LABELS, UNKNOWN
from emollama_ros.nodes.loading import Model, OnEstimate, OnReasoning, Pipeline, pipeline_config
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.pipeline import EmotionPipeline
from emollama_ros.streams import Window


class NullPerceiver:
    """Finds everybody neutral, without looking."""

    def perceive(
        self, windows: Sequence[Window], sequences: Sequence[int], sources: Sequence[int]
    ) -> list[EmotionEstimate]:
        """Say so of each window; ``unknown`` of one with nothing in it."""
        return [neutral(*each) for each in zip(windows, sequences, sources, strict=True)]

    def reset(self, source: int | None = None) -> None:
        """Nothing is remembered, so there is nothing to forget."""


def neutral(window: Window, sequence: int, source: int = 0) -> EmotionEstimate:
    """An estimate of the inputs that a window has; it names no emotion and takes no time."""
    used = Modality.VIDEO if window.frames is not None else Modality.NONE
    used |= Modality.AUDIO if window.audio is not None else Modality.NONE
    used |= Modality.TEXT if window.transcript else Modality.NONE
    label = "neutral" if used else UNKNOWN
    return EmotionEstimate(
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        sequence=sequence,
        label=label,
        labels=DEFAULT_LABELS,
        scores=tuple(float(name == label) for name in DEFAULT_LABELS),
        valence=0.0,
        arousal=0.0,
        confidence=float(bool(used)),
        modalities=used,
        stage_ms={"total": 0.0},
        source=source,
    )


def load_null(parameters: PerceptionParameters) -> Model:
    """Stand in for ``loading.load_model``: nothing is loaded, all other settings mean what they always do."""

    def make_pipeline(
        on_estimate: OnEstimate, on_reasoning: OnReasoning, parameters: PerceptionParameters = parameters
    ) -> Pipeline:
        config, sources = pipeline_config(parameters), max(1, len(parameters.sources))
        return EmotionPipeline(NullPerceiver(), None, config, on_estimate, on_reasoning, sources)

    return Model(make_pipeline, {"bundle": "none", "engine": "null", "reasoning": "off"})


def main() -> int:
    """Run a perception node with it; returns the exit status."""
    from emollama_ros.nodes.perception_node import PerceptionNode
    from emollama_ros.nodes.running import run_node

    return run_node(lambda: PerceptionNode(load=load_null))


if __name__ == "__main__":
    sys.exit(main())

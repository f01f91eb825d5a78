"""The model that a replay perceives with: loaded as the node loads it, driven step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emollama_ros.adaptation import People
from emollama_ros.nodes.loading import pipeline_config
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.pipeline import Explainer, Perceiver, PipelineConfig


@dataclass(frozen=True)
class ReplayModel:
    """A loaded, warmed-up model.

    Attributes:
        perceiver: Fast path.
        explainer: Slow path; ``None`` where there are labels only.
        facts: Which model it is: ``bundle``, ``bundle sha256``, ``engine``.
        notices: What a user should know, such as that it cannot reason.
        config: What parameters ask of a pipeline over this model.
        people: Whom it follows; ``None`` where the bundle cannot.
    """

    perceiver: Perceiver
    explainer: Explainer | None
    facts: Mapping[str, str]
    notices: tuple[str, ...] = ()
    config: Callable[[PerceptionParameters], PipelineConfig] = pipeline_config
    people: People | None = None


def load(parameters: PerceptionParameters) -> ReplayModel:
    """Load the bundle that the parameters name.

    Raises:
        EmollamaError: The bundle is missing or damaged, or the engine cannot run.
    """
    from emollama_ros.bundle import Bundle
    from emollama_ros.engines import EngineOptions
    from emollama_ros.perception import Perception
    from emollama_ros.reasoning import load_reasoner

    bundle = Bundle.load(parameters.bundle or None)
    perception = Perception(bundle, EngineOptions(kind=parameters.engine, threads=parameters.threads))
    perception.warm_up()
    explainer, notices = load_reasoner(bundle, parameters.threads) if parameters.reasoning else (None, ())
    manifest = bundle.manifest
    facts = {
        "bundle": f"{manifest.name} {manifest.version} ({bundle.path})",
        "bundle sha256": bundle.sha256,
        "engine": perception.device,
    }

    def config(now: PerceptionParameters) -> PipelineConfig:
        frames, below = manifest.preprocessing, manifest.calibration.uncertain_below
        return pipeline_config(now, frames.frame_size, frames.frame_hz, below)

    return ReplayModel(perception, explainer, facts, notices, config, perception.people)

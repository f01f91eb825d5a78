"""What a perception node runs: the model behind a small interface, so that tests can put in another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emollama_ros.adaptation import Following, People
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.pipeline import (
    Answer,
    EmotionPipeline,
    Explainer,
    Feed,
    Health,
    Inquiry,
    Perceiver,
    PipelineConfig,
    Question,
)
from emollama_ros.smoothing import Smoothing
from emollama_ros.uncertainty import uncertainty_of

OnEstimate = Callable[[EmotionEstimate], None]
OnReasoning = Callable[[Reasoning], None]
#: Said of a bundle whose people cannot be followed.
NOT_POSSIBLE = "with this bundle, its manifest has no calibration.adaptation"


class Pipeline(Protocol):
    """What the node uses of ``pipeline.EmotionPipeline``. Feeding it never waits for inference."""

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Where the input of each source goes in."""

    def start(self) -> None:
        """Start the worker threads."""

    def stop(self) -> None:
        """Stop them and forget all input."""

    @property
    def intake(self) -> Any:
        """``intake.wants_frame(stamp_ns)`` says whether a frame would be kept; ask before converting one."""

    def skip_frame(self, stamp_ns: int) -> None:
        """Note a picture that need not be converted."""

    def push_frame(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        """Take a picture, uint8 ``[h, w, 3]`` RGB, of any size."""

    def push_audio(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        """Take sound, float32 ``[n]``, mono, 16 kHz."""

    def push_transcript(self, stamp_ns: int, text: str) -> None:
        """Take what was said."""

    def ask(
        self,
        inquiry: Inquiry,
        on_text: Callable[[Reasoning], None] = ...,
        on_answer: Callable[[Answer], None] = ...,
    ) -> Question:
        """Have a question answered; the callbacks come in the pipeline's threads."""

    def reconfigure(self, config: PipelineConfig) -> None:
        """Take other times and expectations at once; ``ConfigError`` where that needs a fresh pipeline."""

    def health(self) -> Health:
        """Return counters, times and queues."""


#: With ``auto`` the node itself says which input stopped; see ``inputs.InputMeter.complaint``.
_EXPECTED = {
    "auto": Modality.NONE,
    "video": Modality.VIDEO,
    "audio": Modality.AUDIO,
    "video+audio": Modality.VIDEO | Modality.AUDIO,
}


def pipeline_config(
    parameters: PerceptionParameters,
    frame_size: int = 224,
    frame_hz: float = 4.0,
    uncertain_below: float = 0.0,
) -> PipelineConfig:
    """What the parameters ask of a pipeline over a model that takes such frames.

    Args:
        parameters: As they are now.
        frame_size: Side of the square frames, pixels.
        frame_hz: Frames taken a second.
        uncertain_below: What the model's calibration says of it; used where the parameters leave it open.
    """
    return PipelineConfig(
        window_s=parameters.window_s,
        hop_s=parameters.hop_s,
        patience_s=parameters.patience_s,
        frame_size=frame_size,
        frame_hz=frame_hz,
        expected=_EXPECTED[parameters.expect],
        reasoning_interval_s=parameters.reasoning_interval_s,
        reasoning=parameters.reasoning,
        smoothing=Smoothing(parameters.smoothing_s, parameters.label_margin, parameters.min_dwell_s),
        uncertainty=uncertainty_of(parameters.least_confidence, uncertain_below),
    )


def following(parameters: PerceptionParameters) -> Following:
    """What the parameters ask of following the people in front of the robot."""
    return Following(
        is_on=parameters.adaptation == "person",
        after_s=parameters.adaptation_after_s,
        forget_s=parameters.adaptation_forget_s,
    )


class PipelineMaker(Protocol):
    """Makes a fresh pipeline over a loaded model; results come in the pipeline's threads."""

    def __call__(
        self,
        on_estimate: OnEstimate,
        on_reasoning: OnReasoning,
        parameters: PerceptionParameters = ...,
    ) -> Pipeline:
        """Make one for the parameters as they are now; without any, as they were when the model was loaded.

        Times, smoothing and the number of sources are taken from them.
        """


@dataclass(frozen=True)
class Model:
    """A loaded, warmed-up model.

    Attributes:
        make_pipeline: Makes a fresh pipeline over the model.
        facts: What it is, for diagnostics and logs.
        notices: What a user should know, such as that it cannot reason.
        config: What parameters ask of a pipeline over this model, for ``Pipeline.reconfigure``.
        people: Whom it follows; ``None`` where the bundle cannot.
    """

    make_pipeline: PipelineMaker
    facts: Mapping[str, str]
    notices: tuple[str, ...] = ()
    config: Callable[[PerceptionParameters], PipelineConfig] = pipeline_config
    people: People | None = None


@dataclass(frozen=True)
class Parts:
    """What a model is made of, for those who drive it step by step.

    Attributes:
        perceiver: Fast path, warmed up.
        explainer: Slow path; ``None`` where there are labels only.
        facts: As of ``Model``.
        notices: As of ``Model``.
        config: As of ``Model``.
        people: As of ``Model``.
    """

    perceiver: Perceiver
    explainer: Explainer | None
    facts: Mapping[str, str]
    notices: tuple[str, ...] = ()
    config: Callable[[PerceptionParameters], PipelineConfig] = pipeline_config
    people: People | None = None


ModelLoader = Callable[[PerceptionParameters], Model]


def load_parts(parameters: PerceptionParameters, language_threads: int = 1) -> Parts:
    """Load and warm up the bundle that the parameters name.

    Args:
        parameters: Bundle, engine, and who writes the reasonings.
        language_threads: CPU threads of the language model. One where it shares the cores with the labels,
            which must not wait for it.

    Raises:
        EmollamaError: The bundle is missing or damaged, or the engine cannot run.
    """
    # Imported here: a node that is only being listed or parsed need not load an inference engine.
    from emollama_ros.bundle import Bundle
    from emollama_ros.engines import EngineOptions
    from emollama_ros.engines.loading import choose
    from emollama_ros.perception import Perception
    from emollama_ros.reasoning import load_reasoner

    bundle = Bundle.load(parameters.bundle or None)
    options = EngineOptions(kind=parameters.engine, threads=parameters.threads)
    perception = Perception(bundle, options)
    perception.warm_up()
    reasoner, notices = (
        load_reasoner(bundle, language_threads, parameters.reasoning_url, parameters.reasoning_timeout_s)
        if parameters.reasoning
        else (None, ())
    )
    facts = {
        "bundle": f"{bundle.manifest.name} {bundle.manifest.version} ({bundle.path})",
        "bundle sha256": bundle.sha256,
        "engine": perception.device,
        "engine chosen because": choose(options).why,
        "reasoning": "on" if reasoner else "off",
        "adaptation": "possible" if perception.people else f"not {NOT_POSSIBLE}",
    }
    frames, below = bundle.manifest.preprocessing, bundle.manifest.calibration.uncertain_below

    def config(now: PerceptionParameters) -> PipelineConfig:
        return pipeline_config(now, frames.frame_size, frames.frame_hz, below)

    return Parts(perception, reasoner, facts, notices, config, perception.people)


def load_model(parameters: PerceptionParameters) -> Model:
    """Load what a node runs; see ``load_parts``.

    Raises:
        EmollamaError: The bundle is missing or damaged, or the engine cannot run.
    """
    parts = load_parts(parameters)

    def make_pipeline(
        on_estimate: OnEstimate, on_reasoning: OnReasoning, parameters: PerceptionParameters = parameters
    ) -> Pipeline:
        sources, config = max(1, len(parameters.sources)), parts.config(parameters)
        return EmotionPipeline(parts.perceiver, parts.explainer, config, on_estimate, on_reasoning, sources)

    return Model(make_pipeline, parts.facts, parts.notices, parts.config, parts.people)

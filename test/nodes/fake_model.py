"""A model that needs no weights: the real pipeline around a perceiver whose answer can be predicted.

Bright pictures are happy, dark ones sad. Run as a script it is a perception node in its own process.
"""

from __future__ import annotations

from emollama_ros.errors import BundleError
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning, Status
from emollama_ros.labels import DEFAULT_LABELS, UNKNOWN
from emollama_ros.nodes.loading import Model, pipeline_config
from emollama_ros.pipeline import EmotionPipeline


def label_of(window):
    if window.frames is None:
        return "neutral"
    return "happy" if window.frames.images[-1].mean() > 127 else "sad"


class FakePerceiver:
    def __init__(self):
        self.windows = []
        self.resets = 0

    def reset(self, source=None):
        self.resets += 1

    def perceive(self, windows, sequences, sources):
        return [self.perceive_one(*each) for each in zip(windows, sequences, sources, strict=True)]

    def perceive_one(self, window, sequence, source):
        self.windows.append(window)
        used = Modality.NONE
        used |= Modality.VIDEO if window.frames is not None else Modality.NONE
        used |= Modality.AUDIO if window.audio is not None else Modality.NONE
        used |= Modality.TEXT if window.transcript else Modality.NONE
        label = label_of(window) if used else UNKNOWN
        scores = tuple(0.7 if name == label else 0.05 for name in DEFAULT_LABELS)
        return EmotionEstimate(
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            sequence=sequence,
            label=label,
            labels=DEFAULT_LABELS,
            scores=scores,
            valence=0.25,
            arousal=-0.5,
            confidence=0.7,
            modalities=used,
            status=Status.OK,
            stage_ms={"total": 1.0},
            source=source,
        )


class FakeExplainer:
    def __init__(self):
        self.count = 0

    def explain(self, estimate, transcript, *, on_text, should_stop):
        words = f"Looks {estimate.label} because of the picture".split()
        for n in range(1, len(words) + 1):
            reasoning = Reasoning(
                sequence=self.count,
                estimate_sequence=estimate.sequence,
                start_ns=estimate.start_ns,
                end_ns=estimate.end_ns,
                label=estimate.label,
                text=" ".join(words[:n]),
                final=n == len(words),
                tokens=n,
            )
            on_text(reasoning)
        self.count += 1
        return reasoning


def load_fake(parameters):
    """Stand in for ``loading.load_model``; the bundle's name chooses how it misbehaves."""
    if parameters.bundle == "missing":
        raise BundleError("missing: no manifest.json there")
    if parameters.bundle == "defect":
        raise RuntimeError("something nobody thought of")
    perceiver, explainer = FakePerceiver(), FakeExplainer()
    facts = {"bundle": "fake 1.0", "engine": "none", "reasoning": "on" if parameters.reasoning else "off"}

    def make_pipeline(on_estimate, on_reasoning, parameters=parameters):
        sources = max(1, len(parameters.sources))
        return EmotionPipeline(
            perceiver, explainer, pipeline_config(parameters), on_estimate, on_reasoning, sources
        )

    return Model(make_pipeline, facts)


if __name__ == "__main__":
    from emollama_ros.nodes.perception_node import PerceptionNode
    from emollama_ros.nodes.running import main_of

    main_of(lambda: PerceptionNode(load=load_fake))()

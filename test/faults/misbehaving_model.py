"""A model that does what pictures of a certain brightness make it do: be slow, raise, hang, lack memory.

Run as a script it is a perception node in its own process.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "nodes"))

from catalogue import HANG, HANG_A_WHILE, NO_MEMORY, RAISE, SLOW
from fake_model import FakeExplainer, FakePerceiver

from emollama_ros.estimate import Modality, Status
from emollama_ros.labels import UNKNOWN
from emollama_ros.nodes.loading import Model, pipeline_config
from emollama_ros.pipeline import EmotionPipeline
from emollama_ros.usable import usable_modalities

#: How long a slow window takes at a hop of 0.5 s, and a hang that ends, s.
SLOW_S, HANGING_S = 0.7, 2.5
#: What is written when a hang has ended, before the time.
WOKE = "the engine goes on at"
#: How far the mean of a picture may be off after scaling.
NEAR = 4


class ForgetfulExplainer(FakeExplainer):
    """Finds no memory when told so."""

    has_memory = True

    def explain(self, estimate, transcript, **options):
        if not self.has_memory:
            raise MemoryError("no memory for the cache of 40 tokens")
        return super().explain(estimate, transcript, **options)


class MisbehavingPerceiver(FakePerceiver):
    """Looks at the newest picture, and suffers it."""

    def __init__(self, explainer):
        super().__init__()
        self._explainer = explainer

    def perceive_one(self, window, sequence, source):
        self._suffer(None if window.frames is None else window.frames.images[-1].mean())
        used, faults = usable_modalities(window)
        estimate = super().perceive_one(window, sequence, source)
        self.windows.clear()
        return replace(
            estimate,
            label=estimate.label if used else UNKNOWN,
            modalities=used,
            status=Status.DEGRADED if faults or used == Modality.NONE else Status.OK,
            status_text="; ".join(faults),
        )

    def _suffer(self, mean):
        def shows(kind):
            return mean is not None and abs(mean - kind) < NEAR

        self._explainer.has_memory = not shows(NO_MEMORY)
        if shows(SLOW):
            time.sleep(SLOW_S)
        elif shows(RAISE):
            raise RuntimeError("device-side assert triggered")
        elif shows(HANG_A_WHILE):
            time.sleep(HANGING_S)
            print(f"{WOKE} {time.time_ns()}", flush=True)
        elif shows(HANG):
            threading.Event().wait()


def load_misbehaving(parameters):
    """Stand in for ``loading.load_model``."""
    explainer = ForgetfulExplainer()
    perceiver = MisbehavingPerceiver(explainer)
    facts = {"bundle": "misbehaving 1.0", "engine": "none", "reasoning": "on"}

    def make_pipeline(on_estimate, on_reasoning, parameters=parameters):
        sources = max(1, len(parameters.sources))
        config = pipeline_config(parameters)
        return EmotionPipeline(perceiver, explainer, config, on_estimate, on_reasoning, sources)

    return Model(make_pipeline, facts)


if __name__ == "__main__":
    from emollama_ros.nodes.perception_node import PerceptionNode
    from emollama_ros.nodes.running import main_of

    main_of(lambda: PerceptionNode(load=load_misbehaving))()

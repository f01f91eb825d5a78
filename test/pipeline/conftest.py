"""Started pipelines that end with their test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_workers import CONFIG, FakeExplainer, FakePerceiver, Run  # noqa: E402

from emollama_ros.pipeline import PipelineConfig  # noqa: E402


@pytest.fixture
def start() -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(
        perceiver: FakePerceiver | None = None,
        explainer: FakeExplainer | None = None,
        config: PipelineConfig = CONFIG,
        sources: int = 1,
    ) -> Run:
        runs.append(Run(perceiver or FakePerceiver(), explainer, config, sources))
        return runs[-1]

    yield begin
    for run in runs:
        run.perceiver.held = False
        run.perceiver.gate.release()
        if isinstance(run.explainer, FakeExplainer):
            run.explainer.go.set()
        run.pipeline.stop()

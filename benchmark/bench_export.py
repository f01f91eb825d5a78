"""Compare exported graphs with torch on the same weights: milliseconds of each stage of the fast path.

    python -m benchmark export [--quick] [--out DIR]        # make bench-export

Both sides get the same arrays of one window of the ``tiny`` preset, have the same number of threads, and take
turns run by run, so that both meet the same disturbances. Torch runs as it is (eager, in inference mode).
Frozen encoders have their packaged weights; the fusion's are random, which changes no time. How far apart the
outputs are is noted beside.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.record import document, significant, summary, write

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        runs: Timed runs of each side and stage.
        warm_up: Untimed runs before them.
        frames: Pictures that are new in a hop of 0.5 s at 4 Hz.
        sound_s: Length of the sound of a window.
        threads: Of both sides.
        quick: Figures are for nothing but to see that everything runs.
    """

    runs: int = 60
    warm_up: int = 5
    frames: int = 2
    sound_s: float = 4.0
    threads: int = 2
    quick: bool = False


QUICK = Plan(runs=2, warm_up=1, frames=1, sound_s=1.0, threads=1, quick=True)


def measure(plan: Plan) -> dict[str, Any]:
    """Time every stage on both sides.

    Returns:
        By stage: ``torch_ms`` and ``graph_ms`` (summaries), ``ratio`` of their medians (more than 1: the
        graph is faster), and ``difference``, the largest of any output as a share of that output's largest.
    """
    import torch

    threads_before = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return {
                name: _compared(module, graph, inputs, plan)
                for name, (module, graph, inputs) in _stages(plan, Path(scratch)).items()
            }
    finally:
        torch.set_num_threads(threads_before)


def _stages(plan: Plan, folder: Path) -> dict[str, tuple[Any, Path, Arrays]]:
    """Torch module, exported graph, and inputs of each stage."""
    import torch

    from model_export.trained_graphs import (
        FrameGraph,
        FusionGraph,
        export_frames,
        export_network,
        export_sound,
    )
    from training.curriculum.encoders import Encoders
    from training.curriculum.network import config_of
    from training.networks.emotion_llama import EmotionLlama
    from training.networks.language import smollm2_config
    from training.presets import load_preset

    preset = load_preset("tiny")
    encoders = Encoders(preset)
    torch.manual_seed(0)
    shapes = encoders.shapes
    net = EmotionLlama(config_of(preset, shapes, smollm2_config().hidden_size)).eval()
    vision, audio, fusion = (folder / f"{name}.onnx" for name in ("vision", "audio", "fusion"))
    export_frames(encoders.vision, preset, vision, half=False)
    export_sound(encoders.audio, audio, half=False)
    export_network(net, shapes.audio[1], shapes.video[0], fusion, half=False)
    inputs = _inputs(plan, shapes, preset.vision.video_size)
    return {
        "vision": (FrameGraph(encoders.vision, preset).eval(), vision, inputs["vision"]),
        "audio": (encoders.audio.encoder.eval(), audio, inputs["audio"]),  # type: ignore[union-attr]
        "fusion": (FusionGraph(net).eval(), fusion, inputs["fusion"]),
    }


def _inputs(plan: Plan, shapes: Any, side: int) -> dict[str, Arrays]:
    random = np.random.default_rng(0)
    sizes = {"audio": shapes.audio, "image": shapes.image, "glance": shapes.video[1:], "video": shapes.video}
    features: Arrays = {
        name: random.normal(size=(1, *size)).astype(np.float32) for name, size in sizes.items()
    }
    return {
        "vision": {"frames": random.integers(0, 256, (plan.frames, side, side, 3), np.uint8)},
        "audio": {"mel": random.uniform(-1, 1.5, (1, 80, round(100 * plan.sound_s))).astype(np.float32)},
        "fusion": {**features, "present": np.ones((1, 3), np.float32)},
    }


def _compared(module: Any, graph: Path, inputs: Arrays, plan: Plan) -> dict[str, Any]:
    import torch

    from emollama_ros.engines import EngineOptions, load_engine
    from model_export.differences import worst

    engine = load_engine(graph, EngineOptions("cpu", plan.threads))
    tensors = [torch.from_numpy(value) for value in inputs.values()]

    def eager() -> None:
        with torch.inference_mode():
            module(*tensors)

    sides: dict[str, Callable[[], Any]] = {"torch": eager, "graph": lambda: engine.run(inputs)}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(plan.warm_up + plan.runs):
        for name, work in sides.items():
            began = time.perf_counter()
            work()
            if run >= plan.warm_up:
                taken[name].append(1e3 * (time.perf_counter() - began))
    times = {name: summary(ms) for name, ms in taken.items()}
    return {
        "torch_ms": times["torch"],
        "graph_ms": times["graph"],
        "ratio": significant(times["torch"]["p50"] / times["graph"]["p50"], 3),
        "difference": significant(worst(graph, module, inputs, plan.threads).relative, 2),
    }


def run(plan: Plan, out: Path) -> Path:
    """Measure, print, and write one JSON; returns its path."""
    found = document("export", asdict(plan) | {"seed": 0}, [], {})  # first: it notes how busy the machine is
    found["results"] = results = measure(plan)
    for name, stage in results.items():
        torch_ms, graph_ms = stage["torch_ms"]["p50"], stage["graph_ms"]["p50"]
        print(f"{name}: torch {torch_ms} ms, graph {graph_ms} ms: {stage['ratio']} times as fast")
    return write(found, out)

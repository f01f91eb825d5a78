"""Whether what runs equals what was trained: PyTorch against the graphs of a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emollama_ros.bundle import Bundle
from model_export.bundle import TOLERANCE, Weights, load_encoder, load_text
from model_export.differences import worst
from model_export.perception_graphs import FusionGraph
from training.networks.whisper import load_ctranslate2
from training.packaged_weights import WHISPER_TINY_EN, locate, read_ctranslate2

__all__ = ["TOLERANCE", "compare"]


def compare(folder: Path, weights: Path, seed: int = 0) -> dict[str, float]:
    """Largest difference of each graph's outputs on random inputs, relative to the largest output.

    Args:
        folder: The bundle.
        weights: Folder that ``python -m training fit`` wrote.
        seed: Of the inputs.
    """
    bundle, rng = Bundle.load(folder), np.random.default_rng(seed)
    whisper = load_ctranslate2(read_ctranslate2(locate(WHISPER_TINY_EN)))
    specs = bundle.graph("fusion").inputs
    fusion = {name: rng.normal(size=(3, *s.shape[1:])).astype(np.float32) for name, s in specs.items()}
    fusion["present"] = np.array([[1, 1], [1, 0], [0, 1]], np.float32)
    cases = {
        "vision": (
            load_encoder(weights / "vision.safetensors"),
            {"frames": rng.integers(0, 256, (2, 224, 224, 3), np.uint8)},
        ),
        "audio": (whisper, {"mel": rng.normal(size=(1, 80, 333)).astype(np.float32)}),
        "fusion": (FusionGraph(*Weights(weights).fusion()), fusion),
        "text": (load_text(weights / "text.safetensors"), {"ngrams": rng.integers(0, 65536, 17)}),
    }
    return {
        name: worst(bundle.file(f"{name}.onnx"), module.eval(), inputs).relative
        for name, (module, inputs) in cases.items()
    }

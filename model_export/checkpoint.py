"""What the curriculum left behind, as torch modules in single precision: what a bundle is held to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from emollama_ros.errors import BundleError
from emollama_ros.language.tokenizer import tokenizer_json
from training.curriculum.encoders import Encoders
from training.curriculum.network import build, load_trained
from training.networks.emotion_llama import EmotionLlama
from training.networks.language import LanguageModel, load_language_model
from training.packaged_weights import SMOLLM2, locate
from training.presets import Preset, load_preset


@dataclass(frozen=True)
class Trained:
    """A trained system.

    Attributes:
        preset: It was trained by.
        encoders: Frozen.
        net: With its language model, in evaluation mode and single precision.
        language: The same language model with its tokens.
        tokenizer: Content of its ``tokenizer.json``.
    """

    preset: Preset
    encoders: Encoders
    net: EmotionLlama
    language: LanguageModel
    tokenizer: bytes


def load_checkpoint(config: str | Path, folder: Path) -> Trained:
    """Load what ``python -m training train --out FOLDER`` wrote.

    Frozen weights are rounded as the preset says, as they were in training, and computed in single precision.

    Args:
        config: The preset: a yaml file, or the name of one.
        folder: With ``weights.safetensors``, or ``checkpoint`` of a run that was not finished.

    Raises:
        BundleError: Weights are missing, damaged, or of another network.
        ConfigError: The preset is wrong.
    """
    preset, weights = load_preset(config), weights_of(folder)
    encoders = Encoders(preset)
    torch.manual_seed(preset.seed)
    language = load_language_model(preset.language)
    net = build(preset, encoders.shapes, language)
    load_trained(net, weights)
    for module in (net, encoders.vision, encoders.audio):
        module.eval().requires_grad_(False).float()
    return Trained(preset, encoders, net, language, _tokenizer(preset, language))


def weights_of(folder: Path) -> Path:
    """The trained weights in a folder of a run.

    Raises:
        BundleError: There are none.
    """
    for path in (folder / "weights.safetensors", folder / "checkpoint" / "weights.safetensors"):
        if path.is_file():
            return path
    raise BundleError(f"{folder}: no weights.safetensors there; give the --out of `python -m training train`")


def _tokenizer(preset: Preset, language: LanguageModel) -> bytes:
    if preset.language.model == "smollm2-135m":
        return tokenizer_json(locate(SMOLLM2))
    backend = language.codec._tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    return json.dumps(json.loads(backend.to_str()), ensure_ascii=False).encode()

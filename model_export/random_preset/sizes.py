"""Sizes of a preset whose weights are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emollama_ros.errors import ConfigError
from model_export.language_model import shape_of
from model_export.llama_graph import LlamaShape
from training.presets import Preset

#: Sizes of Whispers (Radford et al. 2022): width, blocks, heads, bands.
_WHISPER = {
    "tiny": (384, 4, 6, 80),
    "base": (512, 6, 8, 80),
    "small": (768, 12, 12, 80),
    "medium": (1024, 24, 16, 80),
    "large-v3": (1280, 32, 20, 128),
}


@dataclass(frozen=True)
class WhisperSize:
    """Sizes of a Whisper's encoder."""

    width: int
    layers: int
    heads: int
    bands: int


@dataclass(frozen=True)
class Sizes:
    """What a preset is made of.

    Attributes:
        preset: The preset.
        eva: Fields of `training.networks.eva_vit.EvaConfig`.
        whisper: The sound encoder.
        llama: The language model.
        is_tied: Its head is its embedding table.
    """

    preset: Preset
    eva: Mapping[str, Any]
    whisper: WhisperSize
    llama: LlamaShape
    is_tied: bool = False


def sizes_of(preset: Preset) -> Sizes:
    """Sizes of a preset with EVA-ViT-G, a Whisper and a LLaMA.

    Raises:
        ConfigError: A part is something else, or its sizes are not known.
    """
    from training.curriculum.memory import llama_config

    name = preset.audio.backbone.rsplit("whisper-", 1)[-1].removesuffix(".en")
    if preset.vision.backbone != "eva-vit-g" or name not in _WHISPER:
        raise ConfigError(
            f"preset {preset.name}: random weights are made for eva-vit-g with a Whisper "
            f"({', '.join(_WHISPER)}), not {preset.vision.backbone} with {preset.audio.backbone}; "
            "export the others from their weights"
        )
    config = llama_config(preset.language)
    is_whole = preset.vision.video_depth == "last"
    whisper = WhisperSize(*_WHISPER[name])
    return Sizes(preset, {"is_whole": is_whole}, whisper, shape_of(config), bool(config.tie_word_embeddings))

"""From a preset to the network, and its trained weights to a file and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from emollama_ros.errors import BundleError, InputError
from training.curriculum.encoders import Shapes
from training.networks.conv_attention import ConvAttentionConfig
from training.networks.emotion_llama import EmotionLlama, EmotionLlamaConfig
from training.networks.fusion import FusionConfig
from training.networks.language import LanguageModel
from training.presets import Preset
from training.released.importing import WEIGHTS as RELEASED_WEIGHTS
from training.released.weights import load_released


def config_of(preset: Preset, shapes: Shapes, language: int) -> EmotionLlamaConfig:
    """Sizes of the network.

    Args:
        preset: Of the system.
        shapes: Of the encoders' features.
        language: Width of the language model.
    """
    fusion, tokens = preset.fusion, preset.tokens
    inputs = (shapes.audio[2], shapes.video[1], shapes.video[1])
    sizes = ConvAttentionConfig(
        inputs, fusion.hidden, fusion.width, fusion.output, fusion.blocks, fusion.dropout
    )
    return EmotionLlamaConfig(
        fusion=FusionConfig(fusion.kind, sizes, tokens.fusion, fusion.layers),
        audio=shapes.audio[2],
        image=shapes.image[1],
        video=shapes.video[1],
        image_tokens=tokens.image,
        video_tokens=tokens.video,
        audio_tokens=tokens.audio,
        audio_layers=shapes.audio[0],
        normalise=fusion.normalise,
        language=language,
        labels=len(preset.head.labels),
    )


#: What `train` calls the trained weights.
WEIGHTS = "weights.safetensors"


def build(preset: Preset, shapes: Shapes, language: LanguageModel) -> EmotionLlama:
    """The network of a preset, newly initialised by its seed."""
    torch.manual_seed(preset.seed)
    return EmotionLlama(config_of(preset, shapes, language.width), language.model)


def trained_state(net: nn.Module) -> dict[str, Tensor]:
    """Weights that are trained, by name."""
    return {name: value.detach() for name, value in net.named_parameters() if value.requires_grad}


def save_trained(state: Mapping[str, Tensor], path: Path, **about: str) -> None:
    """Write trained weights, complete or not at all; ``about`` goes into the file's metadata."""
    part = path.with_suffix(".part")
    save_file({name: value.cpu().contiguous() for name, value in state.items()}, part, metadata=about)
    part.replace(path)


def load_trained(net: nn.Module, path: Path) -> None:
    """Load trained weights.

    Raises:
        BundleError: The file is missing or damaged, or not of this network; names what does not fit.
    """
    try:
        state = load_file(path)
    except Exception as error:  # whatever safetensors finds wrong
        raise BundleError(f"{path}: cannot be read as safetensors ({error})") from None
    wanted = trained_state(net)
    wrong = [
        *(f"no {name}" for name in wanted if name not in state),
        *(f"unknown {name}" for name in state if name not in wanted),
        *(
            f"{name} is {tuple(state[name].shape)}, not {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in state and state[name].shape != value.shape
        ),
    ]
    if wrong:
        raise BundleError(
            f"{path}: not the weights of this network: {wrong[0]} (of {len(wrong)} differences)"
        )
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(state[name])


def start_file(path: Path) -> Path:
    """The file of weights that a preset's ``start`` means.

    Args:
        path: Such a file, or the folder that `train` or `import-released` wrote it into.

    Raises:
        InputError: There is none.
    """
    files = [path] if path.is_file() else [path / WEIGHTS, path / RELEASED_WEIGHTS]
    found = [file for file in files if file.is_file()]
    if len(found) == 1:
        return found[0]
    said = f"holds {' and '.join(file.name for file in found)}; name one" if found else "no weights are there"
    raise InputError(
        f"start: {path}: {said}; give a file of trained weights, the folder of an earlier run "
        f"(with {WEIGHTS}), or what import-released wrote (with {RELEASED_WEIGHTS})"
    )


def load_start(net: EmotionLlama, path: Path) -> tuple[str, ...]:
    """Load the weights that a preset starts from.

    Args:
        net: As built.
        path: As for `start_file`.

    Returns:
        Names of parameters that stay as built: of a released checkpoint's, what it never had.

    Raises:
        InputError: No such file, or a released one that does not fit.
        BundleError: Not all of the trained weights of this network; names what differs.
    """
    file = start_file(path)
    if file.name == RELEASED_WEIGHTS:
        return load_released(net, file)
    load_trained(net, file)
    return ()

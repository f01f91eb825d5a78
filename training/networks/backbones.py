"""Frozen encoders by name: the packaged small ones, EVA-ViT-G, and whatever transformers or timm load."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from emollama_ros.errors import BundleError, ConfigError
from emollama_ros.preprocess.audio import SAMPLE_RATE, log_mel
from training.networks.efficientnet import FEATURES, PIXEL_MEAN, PIXEL_SCALE, EfficientNetLite0, load_imagenet
from training.networks.eva_vit import EvaViT, config_of, without_last
from training.networks.whisper import WhisperEncoder, packaged_whisper
from training.packaged_weights import read_efficientnet
from training.presets import AudioPreset, VisionPreset

#: (mean, deviation) of the channels, of pixels between 0 and 1.
STATISTICS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "own": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}


class Lite0Backbone(nn.Module):
    """EfficientNet-lite0 as a backbone: pixels 0 to 255 in, 49 patches and their mean out."""

    width = FEATURES

    def __init__(self, trunk: EfficientNetLite0) -> None:
        super().__init__()
        self.trunk = trunk.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B, 3, 224, 224)."""
        # Depthwise convolutions run twice as fast on CPUs with the channels last.
        images = images.contiguous(memory_format=torch.channels_last)
        patches = self.trunk((images - PIXEL_MEAN) / PIXEL_SCALE).flatten(2).transpose(1, 2)
        return patches.mean(1), patches


class EvaBackbone(nn.Module):
    """EVA-ViT-G with BLIP-2's LayerNorm (``ln_vision``) for the image, and EVA's own end for frames.

    Where EVA is not whole, frames go where the image goes.
    """

    def __init__(self, vit: EvaViT) -> None:
        super().__init__()
        self.vit = vit
        self.ln_vision = nn.LayerNorm(vit.config.width)
        self.width = vit.config.width

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B, 3, H, W), H and W divisible by 14."""
        whole, patches = self.vit(images)
        return self.ln_vision(whole), self.ln_vision(patches)

    def frames(self, images: Tensor) -> Tensor:
        """Encode frames (B, 3, H, W) into patches (B, P, width)."""
        return self.vit.last(images)[1] if self.vit.config.is_whole else self(images)[1]


class TransformersVision(nn.Module):
    """A vision transformer of the transformers library: CLIP, SigLIP, DINOv2, ViT."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = getattr(model, "vision_model", model)
        self.width: int = self.model.config.hidden_size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B, 3, H, W) of the size that the model was made for."""
        out = self.model(pixel_values=images)
        tokens = out.last_hidden_state
        side = int(tokens.shape[1] ** 0.5)
        patches = tokens[:, tokens.shape[1] - side**2 :]
        pooled = getattr(out, "pooler_output", None)
        return (patches.mean(1) if pooled is None else pooled), patches


class TimmVision(nn.Module):
    """A vision transformer of the timm library."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.width = model, model.num_features

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B, 3, H, W) of the size that the model was made for."""
        tokens = self.model.forward_features(images)
        patches = tokens[:, self.model.num_prefix_tokens :]
        return (tokens[:, 0] if self.model.num_prefix_tokens else patches.mean(1)), patches


class WhisperBackbone(nn.Module):
    """Our Whisper encoder on the sound as long as it is; all blocks."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.encoder, self.width = encoder, encoder.norm.normalized_shape[0]

    def forward(self, samples: Tensor) -> Tensor:
        """Encode samples (B, n) into (B, L, T, width)."""
        mels = np.stack([log_mel(row) for row in samples.float().cpu().numpy()])
        return self.encoder(torch.from_numpy(mels).to(samples.device, self.encoder.positions.dtype))


class TransformersAudio(nn.Module):
    """The encoder of a Whisper, or a model of raw samples (HuBERT, wav2vec 2.0), through transformers."""

    def __init__(self, model: nn.Module, extractor: Any) -> None:
        super().__init__()
        self.is_spectral = hasattr(model, "encoder") and hasattr(model, "decoder")
        self.model = model.encoder if self.is_spectral else model
        self.extractor = extractor
        self.width: int = model.config.d_model if self.is_spectral else model.config.hidden_size

    def forward(self, samples: Tensor) -> Tensor:
        """Encode samples (B, n) into (B, L, T, width); a Whisper pads to 30 s, as it was made to."""
        heard = self.extractor(
            list(samples.float().cpu().numpy()), sampling_rate=SAMPLE_RATE, return_tensors="pt"
        )
        inputs = next(iter(heard.values())).to(samples.device, next(self.model.parameters()).dtype)
        out = self.model(inputs, output_hidden_states=True)
        return torch.stack([*out.hidden_states[1:-1], out.last_hidden_state], dim=1)


def vision_backbone(preset: VisionPreset) -> nn.Module:
    """Build a picture encoder with its weights, frozen.

    Raises:
        BundleError: Its weights are not there, or not what they should be.
        ConfigError: The library that loads it is not installed or does not know it.
    """
    name = preset.backbone
    if name == "efficientnet-lite0":
        return _frozen(Lite0Backbone(load_imagenet(read_efficientnet())))
    if name == "eva-vit-g":
        return _frozen(load_eva(Path(str(preset.weights)), preset.video_depth))
    if name.startswith("timm:"):
        timm = _library("timm")
        return _frozen(TimmVision(timm.create_model(name[5:], pretrained=True, num_classes=0)))
    return _frozen(TransformersVision(_pretrained("AutoModel", name[3:])))


def load_eva(path: Path, video_depth: Literal["image", "last"] = "image") -> EvaBackbone:
    """EVA-ViT-G from safetensors (``python -m training import-released`` writes them).

    Args:
        path: The file, with EVA's last block and norm or without.
        video_depth: ``last`` sends frames through those two as well; for ``image`` they are not loaded.

    Raises:
        BundleError: No such file, or not these weights; names what does not fit or is not there.
    """
    try:
        state = load_file(path)
        state = state if video_depth == "last" else without_last(state)
        config = config_of(state)
        backbone = EvaBackbone(EvaViT(config))
        backbone.vit.load_state_dict(state, strict=True)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise BundleError(f"{path}: not the weights of EVA-ViT-G ({error})") from None
    if video_depth == "last" and not config.is_whole:
        raise BundleError(
            f"{path}: has no blocks.{config.depth}.* and norm.*, through which vision.video_depth: last "
            "sends frames; import a file that has them, or set video_depth: image"
        )
    return backbone


def audio_backbone(preset: AudioPreset) -> nn.Module:
    """Build a sound encoder with its weights, frozen.

    Raises:
        BundleError: Its weights are not there, or not what they should be.
        ConfigError: The transformers library does not know it.
    """
    if preset.backbone == "whisper-tiny.en":
        return _frozen(WhisperBackbone(packaged_whisper()))
    name = preset.backbone[3:]
    return _frozen(
        TransformersAudio(_pretrained("AutoModel", name), _pretrained("AutoFeatureExtractor", name))
    )


def _frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def _pretrained(kind: str, name: str) -> Any:
    transformers = _library("transformers")
    try:
        return getattr(transformers, kind).from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"hf:{name} cannot be loaded: {str(error).splitlines()[0]}") from None


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"this backbone needs {name}: pip install {name}") from None

"""The stages of a whole preset on a GPU in bf16: pictures and sound to features, and these to soft tokens.

Shapes are those of ``training/configs/v2_7b.yaml``; weights are random and made on the device itself, because
they change neither time nor rounding. The language model behind them is measured by `benchmark.gpu_language`.
Log-mel and the resizing of pictures are done by the CPU and are not in these times.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.gpu_timing import Ceilings, Repeats, latencies, precision_of, relative
from benchmark.record import significant

#: Frames that are compared with the CPU: each goes through the network by itself, so a few tell of all.
_COMPARED_FRAMES = 2


#: Stages of a preset: the picture of 448 x 448, 16 frames of 224 x 224, 30 s of sound, and what follows.
NAMES = ("eva_image", "eva_frames", "whisper", "fusion_adapters_head")


@dataclass(frozen=True)
class PresetPlan:
    """What is measured.

    Attributes:
        preset: Its name.
        is_small: Cut the encoders to a few numbers, only to try the code.
    """

    preset: str = "v2_7b"
    is_small: bool = False


@dataclass(frozen=True)
class PresetStage:
    """A network that is built on the default device, and the shapes of what it is given.

    Attributes:
        build: Makes it, with random weights.
        shapes: Of its inputs, single precision.
        compared: The same, for the comparison with the CPU.
    """

    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    compared: tuple[tuple[int, ...], ...]


class Picture(nn.Module):
    """One large picture to its glance and tokens, as `training.curriculum.encoders` has it."""

    def __init__(self, views: Any) -> None:
        super().__init__()
        self.views = views

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (1, 3, H, W)."""
        return self.views.image(image)


class Frames(nn.Module):
    """Small frames to their tokens."""

    def __init__(self, views: Any) -> None:
        super().__init__()
        self.views = views

    def forward(self, frames: Tensor) -> Tensor:
        """Encode (1, N, 3, H, W)."""
        return self.views.video(frames)


class Sound(nn.Module):
    """Log-mel through the Whisper encoder of the transformers library to tokens."""

    def __init__(self, encoder: nn.Module, tokens: int) -> None:
        super().__init__()
        self.encoder, self.tokens = encoder, tokens

    def forward(self, mel: Tensor) -> Tensor:
        """Encode (1, mels, T)."""
        blocks = self.encoder(mel).last_hidden_state
        return F.adaptive_avg_pool1d(blocks.transpose(1, 2), self.tokens).transpose(1, 2)


class SoftTokenMaker(nn.Module):
    """Features to label scores, valence and arousal, and soft tokens: fusion, adapters and head."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("present", torch.ones(1, 3, dtype=torch.bool))

    def forward(self, audio: Tensor, image: Tensor, glance: Tensor, video: Tensor) -> tuple[Tensor, ...]:
        """Perceive one clip."""
        from training.networks.emotion_llama import Features

        perceived, soft = self.net.perceive(Features(audio, image, glance, video, self.present))
        return perceived.logits, perceived.affect, soft.tokens


def measure(plan: PresetPlan, name: str, repeats: Repeats, ceilings: Ceilings, seed: int) -> dict[str, Any]:
    """Measure one stage by its name.

    Raises:
        RuntimeError: A package that its shapes come from is not installed, or it does not fit.
    """
    try:
        stage = stages(plan)[name]
        return measure_stage(stage, repeats, ceilings, seed)
    except ImportError as error:
        raise RuntimeError(f"the stages of a preset need {error.name} (pip install {error.name})") from None


def stages(plan: PresetPlan) -> dict[str, PresetStage]:
    """The stages of a preset."""
    from training.curriculum.memory import encoder_shapes, llama_config
    from training.curriculum.network import config_of
    from training.networks.emotion_llama import EmotionLlama
    from training.presets import load_preset

    preset = load_preset(plan.preset)
    shapes, width = encoder_shapes(preset), llama_config(preset.language).hidden_size
    config = config_of(preset, shapes, width)
    features = ((1, *shapes.audio), (1, *shapes.image), (1, *shapes.video[1:]), (1, *shapes.video))
    large = (1, 3, *2 * [56 if plan.is_small else preset.vision.image_size])
    side = 28 if plan.is_small else preset.vision.video_size
    count = 2 if plan.is_small else preset.vision.frames
    mel = (1, 80 if plan.is_small else 128, 3000)
    return {
        "eva_image": PresetStage(lambda: Picture(_views(plan, preset)), (large,), (large,)),
        "eva_frames": PresetStage(
            lambda: Frames(_views(plan, preset)),
            ((1, count, 3, side, side),),
            ((1, min(count, _COMPARED_FRAMES), 3, side, side),),
        ),
        "whisper": PresetStage(lambda: Sound(_whisper(plan), preset.tokens.audio), (mel,), (mel,)),
        "fusion_adapters_head": PresetStage(lambda: SoftTokenMaker(EmotionLlama(config)), features, features),
    }


def _views(plan: PresetPlan, preset: Any) -> nn.Module:
    from training.networks.backbones import EvaBackbone
    from training.networks.eva_vit import EvaConfig, EvaViT
    from training.networks.views import MultiviewEncoder

    small = EvaConfig(width=32, heads=2, depth=2, hidden=64, is_whole=True)
    vit = EvaViT(small if plan.is_small else EvaConfig(is_whole=preset.vision.video_depth == "last"))
    for table in (vit.cls_token, vit.pos_embed):
        nn.init.normal_(table, 0, 0.02)
    return MultiviewEncoder(EvaBackbone(vit), preset.vision.joined, preset.vision.cells)


def _whisper(plan: PresetPlan) -> nn.Module:
    """The encoder of Whisper-large-v3 (Radford et al., arXiv 2212.04356)."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    large = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
    small = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    sizes = small if plan.is_small else large
    return WhisperEncoder(WhisperConfig(**sizes, num_mel_bins=80 if plan.is_small else 128))


def measure_stage(stage: PresetStage, repeats: Repeats, ceilings: Ceilings, seed: int) -> dict[str, Any]:
    """Parity, latency in bf16, and memory of one stage."""
    device = repeats.device
    with torch.device(device):
        torch.manual_seed(seed)
        module = stage.build().eval()
    shapes = {"inputs": [list(shape) for shape in stage.shapes]}
    found: dict[str, Any] = shapes | {"parameters": sum(p.numel() for p in module.parameters())}
    found["relative_error"] = parity(module, stage, device, seed)
    module, inputs = module.to(torch.bfloat16), drawn(stage.shapes, device, torch.bfloat16, seed)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    found["flops"] = count_flops(stage)
    found["bytes"] = bytes_moved(module, inputs)
    found |= latencies(lambda: module(*inputs), repeats)
    if device == "cuda":
        found["peak_gb"] = significant(torch.cuda.max_memory_allocated() / 1e9)
    floor = ceilings.floor_ms(found["bytes"], found["flops"], "bf16")
    gap = significant(found["graph_ms"]["p50"] / floor["floor_ms"], 3)
    return found | floor | {"graph_over_floor": gap}


def drawn(
    shapes: tuple[tuple[int, ...], ...], device: str, dtype: torch.dtype, seed: int
) -> tuple[Tensor, ...]:
    """Random inputs, the same on every device."""
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, generator=random).to(device, dtype) for shape in shapes)


def parity(module: nn.Module, stage: PresetStage, device: str, seed: int) -> dict[str, Any]:
    """Relative error of every precision against float64 on the device, and of the device against the CPU."""
    outputs: dict[str, Tensor] = {}
    for name, where, dtype, tf32 in _precisions(device):
        with precision_of("tf32" if tf32 else "fp32"):
            other = copy.deepcopy(module).to(where, dtype)
            outputs[name] = _flat(other(*drawn(stage.compared, where, dtype, seed + 1)))
        del other
        if device == "cuda":
            torch.cuda.empty_cache()
    truth = outputs.pop("device_fp64")
    errors = {name: significant(relative(out, truth), 3) for name, out in outputs.items()}
    between = significant(relative(outputs["device_fp32"], outputs["cpu_fp32"]), 3)
    return errors | {"device_fp32_to_cpu_fp32": between, "reference": "float64 on the device", "n": 1}


def _precisions(device: str) -> Iterator[tuple[str, str, torch.dtype, bool]]:
    yield "device_fp64", device, torch.float64, False
    yield "device_fp32", device, torch.float32, False
    yield "device_tf32", device, torch.float32, True
    yield "device_bf16", device, torch.bfloat16, False
    yield "cpu_fp32", "cpu", torch.float32, False


def _flat(out: Tensor | tuple[Tensor, ...]) -> Tensor:
    parts = out if isinstance(out, tuple) else (out,)
    return torch.cat([part.double().cpu().flatten() for part in parts])


def count_flops(stage: PresetStage) -> int:
    """Operations of a forward pass in its products and convolutions, counted without computing anything."""
    with torch.device("meta"):
        module = stage.build().eval()
        inputs = tuple(torch.empty(shape) for shape in stage.shapes)
    # The counter knows no formula for the fused attention of the CPU and would leave it out.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        module(*inputs)
    return int(counter.get_total_flops())


def bytes_moved(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Fewest bytes: every weight and input read once, every output written once."""
    out = module(*inputs)
    outputs = out if isinstance(out, tuple) else (out,)
    weights = [*module.parameters(), *module.buffers()]
    return sum(t.numel() * t.element_size() for t in (*weights, *inputs, *outputs))

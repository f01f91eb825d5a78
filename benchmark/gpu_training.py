"""One training step of the whole network on a GPU: time, peak memory, and how much of the device is used.

The shapes are those of the ``v2_7b`` preset, the language model LLaMA-2-7B with LoRA. Its frozen weights
are random and in bfloat16, and made on the device itself, so that the host needs none of their 13.5 GB.
Blocks are computed twice (gradient checkpointing), as the preset says. AdamW trains fusion, adapters, head
and LoRA.

Model FLOPs utilisation (Chowdhery et al., PaLM, arXiv 2204.02311) counts what the model needs and nothing
that is computed twice. For a token, a frozen weight costs 4 operations (forward, and the gradient of what
was before it; none for itself), a trained weight 6, and attention 12 * layers * width * length. The
vocabulary is paid for by the tokens of the answer alone, because only these are computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.record import significant, summary

#: Dense bfloat16, operations a second, from NVIDIA's data sheets.
_DATA_SHEET = {"H100 80GB": 989.4e12, "H200": 989.4e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}


@dataclass(frozen=True)
class StepPlan:
    """A training step.

    Attributes:
        preset: Its name.
        batch: Clips.
        text: Tokens of words and answer, besides the soft tokens.
        answer: Tokens of the answer.
        steps: Timed.
        warm_up: Not timed before them.
        layers: Blocks of the language model; None for all. Fewer only to try the code.
    """

    preset: str = "v2_7b"
    batch: int = 1
    text: int = 192
    answer: int = 64
    steps: int = 10
    warm_up: int = 2
    layers: int | None = None


TINY = StepPlan(preset="tiny", batch=2, text=24, answer=8, steps=2, warm_up=1, layers=2)


def measure_step(plan: StepPlan, device: str, flops_s: float) -> dict[str, Any]:
    """Train for some steps on random clips.

    Args:
        plan: What is trained.
        device: ``cuda`` or ``cpu``.
        flops_s: Measured rate of a bfloat16 matrix product, operations a second.

    Raises:
        RuntimeError: It does not fit into the memory that is free, or transformers or peft are missing.
    """
    try:
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise RuntimeError(f"a training step needs {error.name} (pip install peft transformers)") from None
    from training.curriculum.memory import needed, sizes_of_network, skeleton
    from training.presets import load_preset

    preset = load_preset(plan.preset)
    language = preset.language.model_copy(update={"longest": plan.text, "precision": "bfloat16"})
    if plan.layers is None:
        sizes = sizes_of_network(skeleton(preset), preset)
        _refuse_what_does_not_fit(needed(sizes, language, plan.batch, answers=plan.answer).total, device)
    # Tensors made in inference mode, which the other parts of the benchmark run in, cannot be trained.
    with torch.inference_mode(False), torch.enable_grad():
        return _measured(plan, preset.model_copy(update={"language": language}), device, flops_s)


def _refuse_what_does_not_fit(needs: int, device: str) -> None:
    if device == "cuda" and needs > (free := torch.cuda.mem_get_info()[0]):
        raise RuntimeError(f"does not fit: needs about {needs / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def _measured(plan: StepPlan, preset: Any, device: str, flops_s: float) -> dict[str, Any]:
    from training.curriculum.memory import needed, sizes_of_network

    net = build(plan, preset, device)
    sizes = sizes_of_network(net, preset)
    step = stepper(net, plan, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    losses: list[Tensor] = []
    times = [_timed(lambda: losses.append(step()), device) for _ in range(plan.warm_up + plan.steps)]
    taken = summary(times[plan.warm_up :])
    flops = flops_a_step(net, plan, sizes)
    achieved = flops / (taken["p50"] / 1e3)
    sheet = next((rate for name, rate in _DATA_SHEET.items() if name in _name(device)), None)
    return {
        "preset": plan.preset,
        "batch": plan.batch,
        "tokens": plan.text + net.config.soft_tokens,
        "trained": sizes.trained,
        "frozen": sizes.frozen,
        "step_ms": taken,
        "samples_s": significant(1e3 * plan.batch / taken["p50"]),
        "peak_gb": significant(torch.cuda.max_memory_allocated() / 1e9) if device == "cuda" else None,
        "worked_out_gb": significant(
            needed(sizes, preset.language, plan.batch, answers=plan.answer).total / 1e9
        ),
        "model_flops": flops,
        "utilisation_of_measured": significant(achieved / flops_s, 3),
        "utilisation_of_data_sheet": significant(achieved / sheet, 3) if sheet else None,
        "losses": [significant(float(loss)) for loss in (losses[0], losses[-1])],
    }


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def build(plan: StepPlan, preset: Any, device: str) -> Any:
    """The network of a preset with random weights, made on the device: frozen ones in bfloat16."""
    from transformers import LlamaForCausalLM

    from training.curriculum.memory import encoder_shapes, llama_config
    from training.curriculum.network import config_of
    from training.networks.emotion_llama import EmotionLlama
    from training.networks.language import with_lora

    config = llama_config(preset.language)
    config.num_hidden_layers = plan.layers or config.num_hidden_layers
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device(device):
        language = with_lora(model, preset.language.lora, checkpointing=preset.language.checkpointing)
        net = EmotionLlama(config_of(preset, encoder_shapes(preset), config.hidden_size), language)
    return net.train()


def stepper(net: Any, plan: StepPlan, device: str) -> Callable[[], Tensor]:
    """What trains one step on a batch of random clips; gives the loss."""
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-4)
    features, ids, mask, targets = _batch(net, plan, device)

    def step() -> Tensor:
        perceived, answer = net(features, ids, mask, targets)
        loss = answer + perceived.logits.float().square().mean() + perceived.affect.float().square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return loss.detach()

    return step


def _batch(net: Any, plan: StepPlan, device: str) -> tuple[Any, Tensor, Tensor, Tensor]:
    from training.networks.emotion_llama import IGNORED, SOFT, Features

    config, count = net.config, plan.batch
    shapes = {
        "audio": (config.audio_layers, config.audio_tokens, config.audio),
        "image": (config.image_tokens, config.image),
        "glance": (config.video,),
        "video": (config.video_tokens, config.video),
    }
    random = torch.Generator(device).manual_seed(0)
    drawn = {k: torch.randn(count, *v, generator=random, device=device) for k, v in shapes.items()}
    words = net.llama_model.get_input_embeddings().weight.shape[0]
    length = config.soft_tokens + plan.text
    ids = torch.randint(0, words, (count, length), generator=random, device=device)
    targets = torch.full_like(ids, IGNORED)
    targets[:, -plan.answer :] = ids[:, -plan.answer :]
    ids[:, 8 : 8 + config.soft_tokens] = SOFT
    present = torch.ones(count, 3, dtype=torch.bool, device=device)
    return Features(**drawn, present=present), ids, torch.ones_like(ids, dtype=torch.bool), targets


def flops_a_step(net: Any, plan: StepPlan, sizes: Any) -> int:
    """Operations that a step needs, by the formula above; fusion and adapters by the tokens they see."""
    length = net.config.soft_tokens + plan.text
    lora = sum(p.numel() for name, p in net.named_parameters() if "lora_" in name)
    vocabulary = sizes.vocabulary * sizes.width
    inner = net.llama_model.get_base_model().model.layers
    blocks = sum(p.numel() for p in inner.parameters() if not p.requires_grad)
    attention = 12 * sizes.layers * sizes.width * length
    language = length * (4 * blocks + 6 * lora + attention) + 4 * plan.answer * vocabulary
    per_token = {
        "fusion": (net.config.fusion.tokens, net.fusion),
        "image": (net.config.image_tokens, net.llama_proj),
        "video": (net.config.video_tokens, net.llama_proj_video),
        "audio": (net.config.audio_tokens, net.llama_proj_audio),
    }
    ours = sum(6 * n * sum(p.numel() for p in module.parameters()) for n, module in per_token.values())
    return int(plan.batch * (language + ours))


def _timed(work: Callable[[], Any], device: str) -> float:
    """Wall time of a step, ms, until the device has done it."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)

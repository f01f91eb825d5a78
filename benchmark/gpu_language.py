"""The language model on a GPU: reading a prompt of embeddings, then writing token by token, in bf16."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmark.gpu_timing import Ceilings, Repeats, captured, latencies, precision_of, relative, timed
from benchmark.llama_step import LlamaStep, Shape
from benchmark.record import significant, summary


@dataclass(frozen=True)
class LanguagePlan:
    """A language model and what it is given.

    Attributes:
        shape: Its sizes.
        prompt: Tokens of the prompt; decoding starts behind them.
        steps: Tokens written.
    """

    shape: Shape
    prompt: int = 290
    steps: int = 128


def measure_language(plan: LanguagePlan, repeats: Repeats, ceilings: Ceilings, seed: int) -> dict[str, Any]:
    """Parity and latency of prompt and decoding, weights random and in bf16.

    Args:
        plan: The model.
        repeats: How often the prompt is read; decoding is timed once a token.
        ceilings: Measured rates.
        seed: Of weights and prompt.
    """
    device = repeats.device
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    capacity = plan.prompt + plan.steps + repeats.warm_up + 8
    model = LlamaStep(plan.shape, capacity, torch.bfloat16, device, seed)
    embedded = prompt_of(plan, device, seed)
    found: dict[str, Any] = {
        "context": plan.prompt,
        "weights_gb": significant(plan.shape.bytes_a_step(0) / 1e9),
    }
    found["prefill"] = measure_prompt(model, embedded, repeats, ceilings)
    found |= measure_decode(model, plan, repeats, ceilings)
    if device == "cuda":
        found["peak_gb"] = significant(torch.cuda.max_memory_allocated() / 1e9)
    return found | {"relative_error": parity(model, embedded)}


def prompt_of(plan: LanguagePlan, device: str, seed: int) -> Tensor:
    """Random embeddings (prompt, width), as large as those of words."""
    random = torch.Generator(device).manual_seed(seed + 1)
    drawn = torch.randn(plan.prompt, plan.shape.width, generator=random, device=device)
    return (drawn * plan.shape.width**-0.5).bfloat16()


def measure_prompt(
    model: LlamaStep, embedded: Tensor, repeats: Repeats, ceilings: Ceilings
) -> dict[str, Any]:
    """Time reading the prompt, up to the logits of what comes first."""
    latency = latencies(lambda: model.prefill(embedded), repeats)
    count, shape = len(embedded), model.shape
    moved, flops = shape.bytes_a_prompt(count), shape.flops_a_prompt(count)
    floor = ceilings.floor_ms(moved, flops, "bf16")
    gap = significant(latency["graph_ms"]["p50"] / floor["floor_ms"], 3)
    rate = significant(count / latency["graph_ms"]["p50"] * 1e3)
    sizes = {"tokens": count, "bytes": moved, "flops": flops}
    return sizes | latency | floor | {"graph_over_floor": gap, "graph_tokens_s": rate}


def measure_decode(
    model: LlamaStep, plan: LanguagePlan, repeats: Repeats, ceilings: Ceilings
) -> dict[str, Any]:
    """Time greedy decoding token by token, from the end of the prompt on."""
    device = repeats.device
    model.begin(plan.prompt)
    eager = summary(timed(model.step, device, plan.steps, min(repeats.warm_up, 5)))
    graph = captured(model.step) if device == "cuda" else None
    model.begin(plan.prompt)
    step = graph.replay if graph else model.step
    replayed = summary(timed(step, device, plan.steps, repeats.warm_up))
    moved, flops = plan.shape.bytes_a_step(plan.prompt), plan.shape.flops_a_step(plan.prompt)
    floor = ceilings.floor_ms(moved, flops, "bf16")
    return {
        "bytes": moved,
        "flops": flops,
        "eager_ms": eager,
        "graph_ms": replayed,
        "eager_tokens_s": significant(1e3 / eager["p50"]),
        "graph_tokens_s": significant(1e3 / replayed["p50"]),
        "floor_tokens_s": significant(1e3 / floor["floor_ms"]),
        "graph_over_floor": significant(replayed["p50"] / floor["floor_ms"], 3),
        **floor,
    }


def parity(model: LlamaStep, embedded: Tensor) -> dict[str, Any]:
    """Relative error of the logits behind a prompt, and of one more step, with the same weights.

    Against float64 on the device; where twice the weights in float64 do not fit, against float32 on the CPU.
    """
    device = str(embedded.device)
    found = {"device_bf16": _logits(model, embedded)}
    wide = torch.float64 if _fits(model, torch.float64) else torch.float32
    for name, where, dtype in _references(device, wide):
        try:
            with precision_of("fp32"):
                found[name] = _logits(converted(model, where, dtype), embedded.to(where, dtype))
        except torch.OutOfMemoryError:
            print(f"no parity with {name}: it does not fit")
        if device != "cpu":
            torch.cuda.empty_cache()
    truth = found.pop("device_fp64", found["cpu_fp32"])
    errors = {name: _errors(logits, truth) for name, logits in found.items()}
    if "device_fp32" in found:
        errors["device_fp32_to_cpu_fp32"] = _errors(found["device_fp32"], found["cpu_fp32"])
    return errors | {"reference": "float64 on the device" if wide == torch.float64 else "float32 on the CPU"}


def _references(device: str, wide: torch.dtype) -> Iterator[tuple[str, str, torch.dtype]]:
    if wide == torch.float64:
        yield "device_fp64", device, torch.float64
    yield "device_fp32", device, torch.float32
    yield "cpu_fp32", "cpu", torch.float32


def _fits(model: LlamaStep, dtype: torch.dtype) -> bool:
    device = model.embedding.device
    if device.type != "cuda":
        return True
    torch.cuda.empty_cache()
    needs = model.shape.bytes_a_step(0, dtype.itemsize) * 1.05
    return needs < torch.cuda.mem_get_info(device)[0]


def _logits(model: LlamaStep, embedded: Tensor) -> tuple[Tensor, Tensor]:
    """Logits behind the prompt, and behind one more token, the same for every precision."""
    model.prefill(embedded)
    behind_prompt = model.logits.double().cpu().clone()  # the step writes into the same memory
    model.begin(len(embedded))
    model.step()
    return behind_prompt, model.logits.double().cpu()


def _errors(logits: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> dict[str, float]:
    pairs = zip(("prefill", "step"), logits, truth, strict=True)
    return {name: significant(relative(ours, theirs), 3) for name, ours, theirs in pairs}


def converted(model: LlamaStep, device: str, dtype: torch.dtype) -> LlamaStep:
    """A copy of a model, elsewhere or in another precision."""
    other = copy.copy(model)

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        # Copied before it is widened: half as much has to cross the bus.
        return value.to(device, copy=True).to(dtype if value.is_floating_point() else value.dtype)

    for name, value in vars(model).items():
        setattr(other, name, moved(value))
    other.set_rotary(device, dtype)
    if model.shape.tied:
        other.head = other.embedding
    other.blocks = [
        replace(block, **{field: moved(value) for field, value in vars(block).items()})
        for block in model.blocks
    ]
    return other

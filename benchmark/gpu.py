"""What an NVIDIA GPU makes of the networks: parity with the CPU, latency, and the gap to the floor.

    bash benchmark/gpu.sh OUTDIR [--only preset]     # or: python -m benchmark.gpu --out OUTDIR [--smoke]

Weights are random, because they change neither time nor rounding; normalisation layers are set from data, so
that activations have the size they have in a trained network. Parity is the relative error
||out - ref|| / ||ref|| against float64 on the CPU, the worst of several fresh inputs. The floor of a stage
is the larger of bytes over measured copy bandwidth and operations over measured matrix rate.
The stages of ``v2_7b`` (`benchmark.gpu_preset`) and the language models (`benchmark.gpu_language`) run in
bfloat16, and their float64 reference on the GPU itself, where it takes a moment instead of minutes.
``--smoke`` runs the same code with few repeats and small sizes on the CPU; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark import gpu_preset
from benchmark.gpu_language import LanguagePlan, measure_language
from benchmark.gpu_preset import PresetPlan, bytes_moved
from benchmark.gpu_timing import PRECISIONS, Ceilings, Repeats, latencies, precision_of, relative, timed
from benchmark.gpu_training import TINY, StepPlan, measure_step
from benchmark.llama_step import LLAMA2_7B, SMOLLM2_135M, Shape
from benchmark.record import ROOT, document, significant, summary, write
from training.networks.glimpse import FrameEncoder
from training.networks.perception_net import PerceptionNet
from training.networks.whisper import WhisperEncoder

SEED = 0
PARTS = ("stages", "preset", "decode", "training")
NETWORK_FILES = (
    "conv_attention",
    "efficientnet",
    "emotion_llama",
    "eva_vit",
    "face_expression",
    "fusion",
    "glimpse",
    "perception_net",
    "whisper",
)


@dataclass(frozen=True)
class Plan:
    """Sizes and repeats.

    Attributes:
        device: Where to measure.
        runs: Timed runs of each stage.
        warm_up: Untimed runs before them.
        long_runs: Timed runs of each stage of a preset, and of a prompt.
        checks: Fresh inputs of each parity check.
        copy_bytes: Size of the copied buffer.
        matmul: Side of the matrices.
        deadline_s: After so many seconds no further part is begun; it is then listed as skipped.
        preset: The preset whose stages are measured.
        models: Language models measured. The prompt of ``v2_7b`` has 448 soft tokens and 128 of words.
        training: Training steps measured.
    """

    device: str = "cuda"
    runs: int = 200
    warm_up: int = 30
    long_runs: int = 50
    checks: int = 3
    copy_bytes: int = 4 << 30
    matmul: int = 8192
    deadline_s: float = 240.0
    preset: PresetPlan = PresetPlan()
    models: tuple[tuple[str, LanguagePlan], ...] = (
        ("smollm2_135m", LanguagePlan(SMOLLM2_135M)),
        ("llama2_7b", LanguagePlan(LLAMA2_7B, prompt=448 + 128)),
    )
    training: tuple[StepPlan, ...] = (StepPlan(), StepPlan(batch=8))

    @property
    def repeats(self) -> Repeats:
        """Of a stage."""
        return Repeats(self.device, self.runs, self.warm_up)

    @property
    def long_repeats(self) -> Repeats:
        """Of what takes long."""
        return Repeats(self.device, self.long_runs, min(self.warm_up, 10))


_SMALL = LanguagePlan(Shape(2, 64, 4, 2, 128, 256), prompt=8, steps=3)
SMOKE = Plan("cpu", 2, 1, 2, 1, 1 << 24, 256, 600.0, PresetPlan(is_small=True), (("tiny", _SMALL),), (TINY,))


@dataclass(frozen=True)
class Stage:
    """A network with a way to draw inputs for it."""

    module: nn.Module
    draw: Callable[[torch.Generator], tuple[Tensor, ...]]


def main(arguments: list[str] | None = None) -> Path:
    """Measure everything and write one JSON; returns its path."""
    parser = argparse.ArgumentParser(description="Measure the networks on an NVIDIA GPU.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON")
    parser.add_argument(
        "--smoke", "--tiny", action="store_true", help="few repeats, small shapes, on the CPU"
    )
    parser.add_argument("--only", choices=PARTS, help="this part alone, besides the ceilings")
    given = parser.parse_args(arguments)
    plan = SMOKE if given.smoke else Plan()
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "error: torch sees no CUDA device; run on a machine with one, or try the code with --smoke"
        )
    if given.smoke:
        torch.set_num_threads(1)  # on cores that others use, threads that wait for each other take seconds
    began = time.perf_counter()
    with torch.inference_mode():
        results = measure(plan, began, given.only)
    results["seconds"] = round(time.perf_counter() - began, 1)
    settings = asdict(plan) | {"seed": SEED}
    files = [ROOT / "training" / "networks" / f"{name}.py" for name in NETWORK_FILES]
    device = torch.cuda.get_device_name() if plan.device == "cuda" else ""
    found = document("gpu" if device else "gpu_smoke", settings, files, results, device)
    found["versions"] |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    path = write(found, given.out)
    print(f"{path.name} written after {results['seconds']} s")
    return path


def measure(plan: Plan, began: float, only: str | None = None) -> dict[str, Any]:
    """Run every part that still fits into the time, or those of one group."""
    torch.manual_seed(SEED)
    results: dict[str, Any] = {"skipped": []}
    ceilings, results["ceilings"] = measure_ceilings(plan)
    print("ceilings", results["ceilings"])
    parts = [*_stage_parts(plan, ceilings), *_preset_parts(plan, ceilings), *_language_parts(plan, ceilings)]
    parts += _training_parts(plan, ceilings)
    for group, name, part in parts:
        if only not in (None, group):
            continue
        if time.perf_counter() - began > plan.deadline_s:
            results["skipped"].append(f"{group}.{name}: out of time")
            continue
        try:
            results.setdefault(group, {})[name] = part()
            print(line(name, results[group][name]))
            if plan.device == "cuda":
                torch.cuda.empty_cache()
        except RuntimeError as error:  # out of memory, say: the other parts are still worth having
            results["skipped"].append(f"{group}.{name}: {str(error).splitlines()[0]}")
            print(results["skipped"][-1])
    return results


Part = tuple[str, str, Callable[[], Any]]


def _stage_parts(plan: Plan, ceilings: Ceilings) -> list[Part]:
    return [
        ("stages", name, lambda stage=stage: measure_stage(stage, plan, ceilings))
        for name, stage in stages().items()
    ]


def _preset_parts(plan: Plan, ceilings: Ceilings) -> list[Part]:
    repeats = plan.long_repeats
    return [
        ("preset", name, lambda name=name: gpu_preset.measure(plan.preset, name, repeats, ceilings, SEED))
        for name in gpu_preset.NAMES
    ]


def _language_parts(plan: Plan, ceilings: Ceilings) -> list[Part]:
    return [
        ("decode", name, lambda model=model: measure_language(model, plan.long_repeats, ceilings, SEED))
        for name, model in plan.models
    ]


def _training_parts(plan: Plan, ceilings: Ceilings) -> list[Part]:
    rate = ceilings.flops_s["bf16"]
    return [
        ("training", f"{step.preset}_batch_{step.batch}", lambda s=step: measure_step(s, plan.device, rate))
        for step in plan.training
    ]


def line(name: str, found: dict[str, Any]) -> str:
    """The gist of a part for the terminal."""
    if "utilisation_of_measured" in found:
        return f"{name}: {found['samples_s']} samples/s, peak {found['peak_gb']} GB, " + (
            f"utilisation {found['utilisation_of_measured']} of what a matrix product reaches"
        )
    if "prefill" in found:
        told = ", ".join(f"{k} {v}" for k, v in found.items() if "tokens_s" in k or "over" in k)
        return f"{name}: prompt {found['prefill']['graph_ms']['p50']} ms, {told}; {found['relative_error']}"
    if "graph_ms" in found:
        graph = f"graph p50 {found['graph_ms']['p50']} ms (x{found['graph_over_floor']})"
        return f"{name}: {graph}; {found['relative_error']}"
    times = (f"{p} {found[p]['graph_ms']['p50']} ms (x{found[p]['graph_over_floor']})" for p in PRECISIONS)
    return f"{name}: graph p50 {', '.join(times)}; {found['relative_error']}"


def stages() -> dict[str, Stage]:
    """The networks of the fast path with inputs of a 4 s window."""

    def frames(count: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
        return lambda random: (
            torch.randint(0, 256, (count, 224, 224, 3), generator=random, dtype=torch.uint8),
        )

    def mel(random: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.empty(1, 80, 400).uniform_(-1, 1.5, generator=random),)

    def windows(random: torch.Generator) -> tuple[Tensor, ...]:
        shapes = ((1, 4, 16, 384), (1, 256), (1, 16, 256))
        return (*(torch.randn(*shape, generator=random) for shape in shapes), torch.ones(1, 2))

    frame_encoder = settled(FrameEncoder())
    whisper, perception = WhisperEncoder().eval(), PerceptionNet().eval()
    nn.init.normal_(whisper.positions, 0, 0.1)
    nn.init.normal_(perception.absent, 0, 0.1)
    return {
        "frame_encoder_1": Stage(frame_encoder, frames(1)),
        "frame_encoder_8": Stage(frame_encoder, frames(8)),
        "whisper_tiny_4s": Stage(whisper, mel),
        "perception_net": Stage(perception, windows),
    }


def settled(encoder: FrameEncoder) -> FrameEncoder:
    """Set every normalisation from a batch of noise, one forward pass; else activations fade to nothing."""
    random = torch.Generator().manual_seed(SEED)
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.weight.uniform_(0.5, 1.5, generator=random)
        norm.bias.normal_(0, 0.2, generator=random)
    encoder.train()(torch.randint(0, 256, (4, 224, 224, 3), generator=random, dtype=torch.uint8))
    return encoder.eval()


def measure_ceilings(plan: Plan) -> tuple[Ceilings, dict[str, Any]]:
    """Measure what memory and matrix units reach, on random data."""
    source = torch.randint(0, 255, (plan.copy_bytes,), dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(source)
    copying = timed(lambda: target.copy_(source), plan.device, runs=20, warm_up=3)
    rate = 2 * plan.copy_bytes / (summary(copying)["p50"] / 1e3)
    flops, found = {}, {"copy_gb_s": significant(rate / 1e9), "copy_ms": summary(copying)}
    for precision, dtype in PRECISIONS.items():
        with precision_of(precision):
            a, b = (torch.randn(plan.matmul, plan.matmul, device=plan.device).to(dtype) for _ in range(2))
            taken = timed(lambda a=a, b=b: a @ b, plan.device, runs=20, warm_up=3)
        flops[precision] = 2 * plan.matmul**3 / (summary(taken)["p50"] / 1e3)
        found[f"matmul_{precision}_tflop_s"] = significant(flops[precision] / 1e12)
        found[f"matmul_{precision}_ms"] = summary(taken)
    return Ceilings(rate, flops), found


def measure_stage(stage: Stage, plan: Plan, ceilings: Ceilings) -> dict[str, Any]:
    """Parity and latency of a network in every precision."""
    random = torch.Generator().manual_seed(SEED)
    example = stage.draw(random)
    flops, parameters = count_flops(stage, example), sum(p.numel() for p in stage.module.parameters())
    found: dict[str, Any] = {"parameters": parameters, "flops": flops}
    found["relative_error"] = parity(stage, plan)
    for precision, dtype in PRECISIONS.items():
        module, inputs = placed(stage.module, example, plan.device, dtype)
        moved = bytes_moved(module, inputs)
        with precision_of(precision):
            latency = latencies(lambda m=module, i=inputs: m(*i), plan.repeats)
        floor = ceilings.floor_ms(moved, flops, precision)
        gap = significant(latency["graph_ms"]["p50"] / floor["floor_ms"], 3)
        found[precision] = latency | {"bytes": moved} | floor | {"graph_over_floor": gap}
    return found


def parity(stage: Stage, plan: Plan) -> dict[str, float]:
    """Worst relative error against float64 on the CPU, over fresh inputs."""
    references = {"cpu_fp32": ("cpu", "fp32")} | {f"device_{p}": (plan.device, p) for p in PRECISIONS}
    worst = dict.fromkeys([*references, "device_fp32_to_cpu_fp32"], 0.0)
    for check in range(plan.checks):
        inputs = stage.draw(torch.Generator().manual_seed(1000 + check))
        truth = flat(stage.module, inputs, "cpu", torch.float64)
        found = {}
        for name, (device, precision) in references.items():
            with precision_of(precision):
                found[name] = flat(stage.module, inputs, device, PRECISIONS[precision])
            worst[name] = max(worst[name], relative(found[name], truth))
        between = relative(found["device_fp32"], found["cpu_fp32"])
        worst["device_fp32_to_cpu_fp32"] = max(worst["device_fp32_to_cpu_fp32"], between)
    return {name: significant(error, 3) for name, error in worst.items()} | {"n": plan.checks}


def flat(module: nn.Module, inputs: tuple[Tensor, ...], device: str, dtype: torch.dtype) -> Tensor:
    """All outputs in one float64 vector on the CPU."""
    module, inputs = placed(module, inputs, device, dtype)
    out = module(*inputs)
    return torch.cat([part.double().cpu().flatten() for part in (out if isinstance(out, tuple) else (out,))])


def placed(
    module: nn.Module, inputs: tuple[Tensor, ...], device: str, dtype: torch.dtype
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Copy a network and its inputs to a device; bytes stay bytes."""
    module = copy.deepcopy(module).to(device, dtype)
    if isinstance(module, FrameEncoder) and dtype != torch.float32:
        # Pixels are cut out in float32 in any case; what looks at them runs in the precision asked for.
        for part in (module.front, module.face.blocks[0]):
            part.register_forward_pre_hook(lambda _, given: (given[0].to(dtype),))
    return module, tuple(i.to(device, dtype if i.is_floating_point() else None) for i in inputs)


def count_flops(stage: Stage, inputs: tuple[Tensor, ...]) -> int:
    """Operations of a forward pass in its products and convolutions, a multiply-add counted as two."""
    # The counter knows no formula for the fused attention of the CPU and would leave it out.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        stage.module(*inputs)
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()

"""What an NVIDIA GPU makes of the networks: parity with the CPU, latency, and the gap to the floor.

    bash benchmark/gpu.sh OUTDIR [--only training]   # or: python -m benchmark.gpu --out OUTDIR [--smoke]

Weights are random, because they change neither time nor rounding; normalisation layers are set from data, so
that activations have the size they have in a trained network. Parity is the relative error
||out - ref|| / ||ref|| against float64 on the CPU, the worst of several fresh inputs. The floor of a stage
is the larger of bytes over measured copy bandwidth and operations over measured matrix rate.
``--smoke`` runs the same code with few repeats and small sizes on the CPU; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.gpu_training import TINY, StepPlan, measure_step
from benchmark.llama_step import LLAMA2_7B, SMOLLM2_135M, LlamaStep, Shape
from benchmark.record import ROOT, document, significant, summary, write
from training.networks.efficientnet import EfficientNetLite0, FrameEncoder
from training.networks.perception_net import PerceptionNet
from training.networks.whisper import WhisperEncoder

SEED = 0
PARTS = ("stages", "decode", "training")
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
NETWORK_FILES = ("conv_attention", "efficientnet", "perception_net", "whisper")


@dataclass(frozen=True)
class Plan:
    """Sizes and repeats.

    Attributes:
        device: Where to measure.
        runs: Timed runs of each stage.
        warm_up: Untimed runs before them.
        checks: Fresh inputs of each parity check.
        copy_bytes: Size of the copied buffer.
        matmul: Side of the matrices.
        steps: Decoding steps timed, in each of eager and graph.
        context: Position at which decoding starts.
        deadline_s: After so many seconds no further part is begun; it is then listed as skipped.
        models: Language models measured.
        training: Training steps measured.
    """

    device: str = "cuda"
    runs: int = 200
    warm_up: int = 30
    checks: int = 3
    copy_bytes: int = 4 << 30
    matmul: int = 8192
    steps: int = 128
    context: int = 290
    deadline_s: float = 150.0
    models: tuple[str, ...] = ("smollm2_135m", "llama2_7b")
    training: tuple[StepPlan, ...] = (StepPlan(), StepPlan(batch=8))


SMOKE = Plan("cpu", 2, 1, 1, 1 << 24, 256, 3, 8, 600.0, ("tiny",), (TINY,))
SHAPES = {"smollm2_135m": SMOLLM2_135M, "llama2_7b": LLAMA2_7B, "tiny": Shape(2, 64, 4, 2, 128, 256)}


@dataclass(frozen=True)
class Stage:
    """A network with a way to draw inputs for it."""

    module: nn.Module
    draw: Callable[[torch.Generator], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Ceilings:
    """Measured rates: bytes per second of a copy (read plus written), operations per second by precision."""

    bytes_s: float
    flops_s: dict[str, float]

    def floor_ms(self, moved: float, flops: float, precision: str) -> dict[str, Any]:
        """Least time for so many bytes and operations, and which of the two sets it."""
        memory, arithmetic = moved / self.bytes_s * 1e3, flops / self.flops_s[precision] * 1e3
        bound = "memory" if memory >= arithmetic else "arithmetic"
        return {"floor_ms": significant(max(memory, arithmetic)), "bound": bound}


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
    parts: list[tuple[str, str, Callable[[], Any]]] = []
    for name, stage in stages().items():
        parts.append(("stages", name, lambda stage=stage: measure_stage(stage, plan, ceilings)))
    for name in plan.models:
        parts.append(("decode", name, lambda name=name: measure_decode(SHAPES[name], plan, ceilings)))
    for step in plan.training:
        rate = ceilings.flops_s["bf16"]
        name = f"{step.preset}_batch_{step.batch}"
        parts.append(("training", name, lambda s=step, r=rate: measure_step(s, plan.device, r)))
    for group, name, part in parts:
        if only not in (None, group):
            continue
        if time.perf_counter() - began > plan.deadline_s:
            results["skipped"].append(f"{group}.{name}: out of time")
            continue
        try:
            results.setdefault(group, {})[name] = part()
            print(line(name, results[group][name]))
        except RuntimeError as error:  # out of memory, say: the other parts are still worth having
            results["skipped"].append(f"{group}.{name}: {str(error).splitlines()[0]}")
            print(results["skipped"][-1])
    return results


def line(name: str, found: dict[str, Any]) -> str:
    """The gist of a part for the terminal."""
    if "utilisation_of_measured" in found:
        return f"{name}: {found['samples_s']} samples/s, peak {found['peak_gb']} GB, " + (
            f"utilisation {found['utilisation_of_measured']} of what a matrix product reaches"
        )
    if "tokens_s" in str(found):
        return f"{name}: " + ", ".join(f"{k} {v}" for k, v in found.items() if "tokens_s" in k or "over" in k)
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
        shapes = ((1, 4, 16, 384), (1, 1280), (1, 16, 1280))
        return (*(torch.randn(*shape, generator=random) for shape in shapes), torch.ones(1, 2))

    frame_encoder = FrameEncoder(settled(EfficientNetLite0()))
    whisper, perception = WhisperEncoder().eval(), PerceptionNet().eval()
    nn.init.normal_(whisper.positions, 0, 0.1)
    nn.init.normal_(perception.absent, 0, 0.1)
    return {
        "frame_encoder_1": Stage(frame_encoder, frames(1)),
        "frame_encoder_8": Stage(frame_encoder, frames(8)),
        "whisper_tiny_4s": Stage(whisper, mel),
        "perception_net": Stage(perception, windows),
    }


def settled(trunk: EfficientNetLite0) -> EfficientNetLite0:
    """Set every normalisation from a batch of noise, one forward pass; else activations fade to nothing."""
    random = torch.Generator().manual_seed(SEED)
    norms = [m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.weight.uniform_(0.5, 1.5, generator=random)
        norm.bias.normal_(0, 0.2, generator=random)
    trunk.train()(torch.empty(4, 3, 224, 224).uniform_(-1, 1, generator=random))
    return trunk.eval()


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
            latency = latencies(lambda m=module, i=inputs: m(*i), plan)
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


def relative(out: Tensor, reference: Tensor) -> float:
    """||out - reference|| / ||reference||; NaN anywhere gives NaN, which is refused."""
    error = float((out - reference).norm() / reference.norm())
    if error != error:
        raise ValueError("an output is not a number")
    return error


def placed(
    module: nn.Module, inputs: tuple[Tensor, ...], device: str, dtype: torch.dtype
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Copy a network and its inputs to a device; bytes stay bytes."""
    module = copy.deepcopy(module).to(device, dtype)
    if isinstance(module, FrameEncoder) and dtype != torch.float32:
        # Pixels are normalised in float32 in any case; what comes after runs in the precision asked for.
        module.trunk.register_forward_pre_hook(lambda _, given: (given[0].to(dtype),))
    return module, tuple(i.to(device, dtype if i.is_floating_point() else None) for i in inputs)


def count_flops(stage: Stage, inputs: tuple[Tensor, ...]) -> int:
    """Operations of a forward pass in its products and convolutions, a multiply-add counted as two."""
    # The counter knows no formula for the fused attention of the CPU and would leave it out.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        stage.module(*inputs)
    return int(counter.get_total_flops())


def bytes_moved(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Fewest bytes: every weight and input read once, every output written once."""
    out = module(*inputs)
    outputs = out if isinstance(out, tuple) else (out,)
    weights = [*module.parameters(), *module.buffers()]
    return sum(t.numel() * t.element_size() for t in (*weights, *inputs, *outputs))


def latencies(work: Callable[[], Any], plan: Plan) -> dict[str, Any]:
    """Milliseconds called from Python and as a replayed CUDA graph, and how many kernels that is."""
    eager = summary(timed(work, plan.device, plan.runs, plan.warm_up))
    if plan.device != "cuda":
        return {"eager_ms": eager, "graph_ms": eager, "kernels": 0}
    graph = captured(work)
    replayed = summary(timed(graph.replay, plan.device, plan.runs, plan.warm_up))
    return {"eager_ms": eager, "graph_ms": replayed, "kernels": count_kernels(work)}


def timed(work: Callable[[], Any], device: str, runs: int, warm_up: int) -> list[float]:
    """Time each run by itself, ms, from the start of its first kernel to the end of its last."""
    for _ in range(warm_up):
        work()
    if device != "cuda":
        return [timed_on_host(work) for _ in range(runs)]
    torch.cuda.synchronize()
    pairs = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(runs)]
    for before, after in pairs:
        before.record()
        work()
        after.record()
        torch.cuda.synchronize()  # a robot gets one window at a time: no run may hide behind another
    return [before.elapsed_time(after) for before, after in pairs]


def timed_on_host(work: Callable[[], Any]) -> float:
    """Time one run by the host's clock, ms."""
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e6


def captured(work: Callable[[], Any]) -> Any:
    """Capture the kernels of a call in a CUDA graph, warmed up on a side stream as PyTorch asks for."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


def count_kernels(work: Callable[[], Any]) -> int | None:
    """Kernels, copies and fills that one call launches; ``None`` where the profiler may not look."""
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            work()
            torch.cuda.synchronize()
    except RuntimeError as error:
        print(f"kernels are not counted: {error}")
        return None
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events())


@contextlib.contextmanager
def precision_of(name: str) -> Iterator[None]:
    """Allow or forbid TF32 in products and convolutions of float32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def measure_decode(shape: Shape, plan: Plan, ceilings: Ceilings) -> dict[str, Any]:
    """Time greedy decoding in bf16, token by token, from ``plan.context`` on."""
    capacity = plan.context + plan.steps + plan.warm_up + 8
    model = LlamaStep(shape, capacity, torch.bfloat16, plan.device, SEED)
    found: dict[str, Any] = {"context": plan.context}
    if shape.width <= SMOLLM2_135M.width:
        found["relative_error_bf16"] = step_error(model, plan)
    model.begin(plan.context)
    eager = summary(timed(model.step, plan.device, plan.steps, min(plan.warm_up, 5)))
    graph = captured(model.step) if plan.device == "cuda" else None
    model.begin(plan.context)
    replayed = summary(timed(graph.replay if graph else model.step, plan.device, plan.steps, plan.warm_up))
    moved, flops = shape.bytes_a_step(plan.context), shape.flops_a_step(plan.context)
    floor = ceilings.floor_ms(moved, flops, "bf16")
    return found | {
        "weights_gb": significant(shape.bytes_a_step(0) / 1e9),
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


def step_error(model: LlamaStep, plan: Plan) -> float:
    """Relative error of the logits of one step against float64 on the CPU with the same weights and cache."""
    reference = widened(model)
    for decoder in (model, reference):
        decoder.begin(plan.context)
        decoder.step()
    return significant(relative(model.logits.double().cpu(), reference.logits), 3)


def widened(model: LlamaStep) -> LlamaStep:
    """The same model in float64 on the CPU."""
    wide = copy.copy(model)

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.detach().cpu().double() if value.is_floating_point() else value.detach().cpu().clone()

    for name, value in vars(model).items():
        setattr(wide, name, moved(value))
    wide.blocks = [
        replace(block, **{field: moved(value) for field, value in vars(block).items()})
        for block in model.blocks
    ]
    return wide


if __name__ == "__main__":
    main()

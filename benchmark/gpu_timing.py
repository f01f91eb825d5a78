"""Timing on a GPU, and the floor that memory and matrix units set; shared by the parts of `benchmark.gpu`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.record import significant, summary

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Repeats:
    """How often something is measured.

    Attributes:
        device: Where.
        runs: Timed runs.
        warm_up: Untimed runs before them.
    """

    device: str
    runs: int
    warm_up: int


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


def relative(out: Tensor, reference: Tensor) -> float:
    """||out - reference|| / ||reference||; NaN anywhere gives NaN, which is refused."""
    error = float((out - reference).norm() / reference.norm())
    if error != error:
        raise ValueError("an output is not a number")
    return error


def latencies(work: Callable[[], Any], plan: Repeats) -> dict[str, Any]:
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

"""Time and memory a preset needs at least on machines that were not at hand: computed, never measured.

The roofline model (Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009): a stage takes at
least as long as its bytes take to be read, and as its operations take to be done. Bytes are the weights,
once; operations are counted in the networks themselves. Rates are those of data sheets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmark.record import ROOT
from benchmark.tables import inserted, shown

DOCUMENT = ROOT / "docs" / "deployment.md"
MARKS = "<!-- python -m benchmark roofline --write -->", "<!-- end of the roofline -->"
#: Tokens of the prompt besides soft ones, and tokens of a short answer.
WORDS, ANSWER = 128, 24
#: Bytes a weight: half precision, 8 bits and 4 bits with a scale for 32 and for 128 weights.
WEIGHT = {"fp16": 2.0, "int8": 1 + 2 / 32, "int4": 0.5 + 2 / 128}
#: Share of a machine's memory that weights and cache may take: the rest is for ROS, pictures and buffers.
ROOM = 0.8


@dataclass(frozen=True)
class Machine:
    """A machine by its data sheet.

    Attributes:
        name: What it is sold as.
        bytes_s: Memory bandwidth, bytes a second.
        flops_s: Dense half-precision operations a second.
        memory: Bytes; on a Jetson shared with the CPU.
    """

    name: str
    bytes_s: float
    flops_s: float
    memory: float


MACHINES = (
    Machine("Jetson Orin Nano Super 8 GB", 102e9, 16.7e12, 8e9),
    Machine("Jetson AGX Orin 64 GB", 204.8e9, 42.5e12, 64e9),
    Machine("GeForce RTX 4090", 1008e9, 165e12, 24e9),
    Machine("H100 SXM", 3350e9, 989e12, 80e9),
)


@dataclass(frozen=True)
class Work:
    """What a stage costs: bytes read and operations."""

    moved: float
    flops: float

    def seconds(self, machine: Machine) -> float:
        """Least time on a machine."""
        return max(self.moved / machine.bytes_s, self.flops / machine.flops_s)


@dataclass(frozen=True)
class System:
    """A preset with weights of one kind.

    Attributes:
        name: Of the preset.
        weights: Kind of the language model's weights, a key of ``WEIGHT``.
        encoders: Stages before a label.
        prompt: Reading the prompt.
        token: Writing one token.
        memory: Weights of all parts, and the cache of keys and values, bytes.
    """

    name: str
    weights: str
    encoders: tuple[Work, ...]
    prompt: Work
    token: Work
    memory: float


def systems() -> Iterator[System]:
    """The presets, counted in their networks; needs torch."""
    import torch

    from benchmark.llama_step import LLAMA2_7B, SMOLLM2_135M

    with torch.inference_mode():
        tiny, large = tuple(_tiny()), tuple(_v2_7b())
    yield _system("tiny", "int8", tiny, SMOLLM2_135M, 21)
    for weights in ("fp16", "int4"):
        yield _system("v2_7b", weights, large, LLAMA2_7B, 448)


def _tiny() -> Iterator[Work]:
    """Two new frames a window, 4 s of sound, and the fusion."""
    import torch

    from benchmark import gpu

    for stage in gpu.stages().values():
        parameters = sum(p.numel() for p in stage.module.parameters())
        frames = stage.draw(torch.Generator().manual_seed(0))[0]
        if frames.dtype == torch.uint8 and len(frames) > 1:
            continue  # the same network again, with more frames
        flops = gpu.count_flops(stage, stage.draw(torch.Generator().manual_seed(0)))
        times = 2 if frames.dtype == torch.uint8 else 1
        yield Work(2.0 * parameters, float(times * flops))


def _v2_7b() -> Iterator[Work]:
    import torch

    from benchmark import gpu_preset

    for stage in gpu_preset.stages(gpu_preset.PresetPlan()).values():
        with torch.device("meta"):
            parameters = sum(p.numel() for p in stage.build().parameters())
        yield Work(2.0 * parameters, float(gpu_preset.count_flops(stage)))


def _system(name: str, weights: str, encoders: tuple[Work, ...], shape: object, soft: int) -> System:
    from benchmark.llama_step import Shape

    assert isinstance(shape, Shape)
    count = soft + WORDS
    model = shape.bytes_a_step(0, 1) * WEIGHT[weights]
    cache = 2 * shape.layers * shape.kv_heads * shape.head * 2
    # A table of embeddings of its own is kept, but of it a prompt reads only its own rows.
    embedding = 0 if shape.tied else shape.vocabulary * shape.width * 2
    # The picture encoder is one network for both views: its weights are held once.
    held = sum({work.moved for work in encoders})
    return System(
        name,
        weights,
        encoders,
        prompt=Work(model, float(shape.flops_a_prompt(count))),
        token=Work(model + cache * (count + ANSWER / 2), float(shape.flops_a_step(count))),
        memory=held + model + embedding + cache * (count + ANSWER),
    )


def table() -> str:
    """The table of docs/deployment.md."""
    head = "| preset, language model | machine | weights and cache, GB | label, ms | prompt, ms | tokens/s"
    lines = [f"{head} | label and {ANSWER} tokens, s |", "|---" * 7 + "|"]
    for system in systems():
        for machine in MACHINES:
            lines.append(f"| {row(system, machine)} |")
    return "\n".join(lines) + "\n"


def row(system: System, machine: Machine) -> str:
    """One line of the table."""
    cells = [f"`{system.name}`, {system.weights}", machine.name, shown(system.memory / 1e9)]
    if system.memory > ROOM * machine.memory:
        return " | ".join([*cells, *["no room"] * 4])
    label = sum(work.seconds(machine) for work in system.encoders)
    prompt, token = system.prompt.seconds(machine), system.token.seconds(machine)
    whole = label + prompt + ANSWER * token
    return " | ".join([*cells, *(shown(v) for v in (1e3 * label, 1e3 * prompt, 1 / token, whole))])


def run(write: bool) -> int:
    """Print the table, or put it into the document; returns the exit status."""
    made = table()
    if write:
        DOCUMENT.write_text(inserted(DOCUMENT.read_text(), made, MARKS))
    else:
        print(made)
    return 0

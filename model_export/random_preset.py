"""A preset of any size to graphs with random weights: what it takes to export, check, run and build it.

    python -m model_export random --config v2_7b --out DIR --report model_export/reports/v2_7b

Weights of LLaMA-2-7B, EVA-ViT-G and Whisper-large-v3 cannot be had everywhere; their sizes can. Everything
is written in half precision, the language model also with 4-bit weights, for TensorRT (standard operators)
and for ONNX Runtime. Weights of the language model are drawn and written matrix by matrix. Each step is a
process of its own, so that its memory can be told; a step that would need more than it may have is killed,
and the report says so.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError
from model_export.language_model import RoundedSource, shape_of, write_llama
from model_export.llama_graph import LlamaShape
from model_export.llama_standard import StandardFormat, hidden_name, part_of, write_standard
from training.presets import Preset, load_preset

#: Words around the soft tokens in the window that is run.
_WORDS = 60
_STANDARD = {"decoder_fp16": StandardFormat("float16"), "decoder_int4": StandardFormat("int4")}
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


class RandomSource(RoundedSource):
    """Weights of a LLaMA that are drawn when they are asked for, the same ones each time."""

    def __init__(self, shape: LlamaShape, seed: int = 0) -> None:
        self._shape, self._seed = shape, seed

    def floats(self, name: str) -> NDArray[np.float32]:
        """Uniform numbers that keep the size of what flows; norms are ones."""
        size = self._size(name.removesuffix(".weight").rsplit(".", 1)[-1])
        if len(size) == 1:
            return np.ones(size, np.float32)
        digest = hashlib.sha256(f"{self._seed}/{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        values = rng.random(size, dtype=np.float32)
        values -= np.float32(0.5)
        values *= np.float32(2 / math.sqrt(size[1]))
        return values

    def _size(self, part: str) -> tuple[int, ...]:
        s = self._shape
        queries, keys = s.heads * s.head_dim, s.kv_heads * s.head_dim
        return {
            "token_embd": (s.vocab, s.hidden),
            "output": (s.vocab, s.hidden),
            "attn_q": (queries, s.hidden),
            "attn_k": (keys, s.hidden),
            "attn_v": (keys, s.hidden),
            "attn_output": (s.hidden, queries),
            "ffn_gate": (s.ffn, s.hidden),
            "ffn_up": (s.ffn, s.hidden),
            "ffn_down": (s.hidden, s.ffn),
        }.get(part, (s.hidden,))


def scatter(module: Any, seed: int = 0) -> Any:
    """Give a module on the meta device random weights in half precision that keep the size of what flows."""
    import torch

    module = module.half().to_empty(device="cpu")
    drawn = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        if weight.dim() > 1:
            bound = math.sqrt(3 / weight[0].numel()) if "pos" not in name else 0.02
            weight.data.uniform_(-bound, bound, generator=drawn)
        else:
            weight.data.fill_(float("norm" in name and name.endswith("weight")))
    return module.eval().requires_grad_(False)


def write_vision(sizes: Sizes, out: Path) -> None:
    """Write both views of a clip, ``image.onnx`` and ``frames.onnx``, over one data file."""
    import torch

    from model_export.encoder_graphs import SharedData, export_frames, export_image
    from training.networks.backbones import EvaBackbone
    from training.networks.eva_vit import EvaConfig, EvaViT
    from training.networks.views import MultiviewEncoder

    preset = sizes.preset.vision
    with torch.device("meta"):
        backbone = EvaBackbone(EvaViT(EvaConfig(**sizes.eva)))
    views, data = MultiviewEncoder(scatter(backbone), preset.joined, preset.cells), out / "vision.onnx.data"
    shared = SharedData(data)
    export_frames(views, preset, out / "frames.onnx", shared)
    export_image(views, preset, sizes.preset.tokens.image, out / "image.onnx", shared)


def write_audio(sizes: Sizes, out: Path) -> None:
    """Write ``audio.onnx``: 30 s of log-mel through a Whisper's encoder."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from model_export.encoder_graphs import SpectralView, export_spectral

    size = sizes.whisper
    config = WhisperConfig(
        d_model=size.width,
        encoder_layers=size.layers,
        encoder_attention_heads=size.heads,
        encoder_ffn_dim=4 * size.width,
        num_mel_bins=size.bands,
    )
    with torch.device("meta"):
        encoder = WhisperEncoder(config)
    view = SpectralView(scatter(encoder), sizes.preset.audio.layers)
    export_spectral(view, size.bands, out / "audio.onnx", free_time=False)


def write_fusion(sizes: Sizes, out: Path) -> None:
    """Write ``fusion.onnx``: features to scores and soft tokens."""
    import torch

    from model_export.encoder_graphs import export_soft_tokens
    from training.curriculum.encoders import Shapes
    from training.curriculum.network import config_of
    from training.networks.emotion_llama import EmotionLlama
    from training.networks.eva_vit import EvaConfig

    preset, tokens = sizes.preset, sizes.preset.tokens
    width = EvaConfig(**sizes.eva).width
    frames = preset.vision.frames * preset.vision.cells**2
    shapes = Shapes(
        (preset.audio.layers, max(tokens.audio, tokens.fusion), sizes.whisper.width),
        (tokens.image, width * preset.vision.joined),
        (frames, width),
    )
    with torch.device("meta"):
        net = EmotionLlama(config_of(preset, shapes, sizes.llama.hidden))
    export_soft_tokens(scatter(net), frames, out / "fusion.onnx")


def write_decoder(sizes: Sizes, out: Path, name: str) -> None:
    """Write a decoder of standard operators, in half precision or with 4-bit weights."""
    write_standard(RandomSource(sizes.llama), sizes.llama, out / f"{name}.onnx", _STANDARD[name])


def write_language(sizes: Sizes, out: Path) -> None:
    """Write the language model for ONNX Runtime, with 4-bit weights, into ``language``."""
    weights = "int4_symmetric"
    write_llama(RandomSource(sizes.llama), sizes.llama, out / "language", weights, sizes.is_tied)


def check(graph: Path) -> dict[str, Any]:
    """Check a graph by its path with ONNX's checker, shapes included; it knows standard operators alone."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    is_standard = {opset.domain for opset in model.opset_import} <= {"", "ai.onnx"}
    if is_standard:
        onnx.checker.check_model(str(graph), full_check=True)
    return {"operators": len(model.graph.node), "checked": is_standard}


def run_encoders(sizes: Sizes, out: Path, name: str) -> dict[str, Any]:
    """Run an encoder on one window and keep its features for the fusion."""
    preset, rng = sizes.preset, np.random.default_rng(1)
    small, large = preset.vision.video_size, preset.vision.image_size
    feeds: dict[str, NDArray[Any]] = {
        "image": rng.integers(0, 256, (1, large, large, 3), np.uint8),
        "frames": rng.integers(0, 256, (preset.vision.frames, small, small, 3), np.uint8),
        "audio": rng.normal(size=(1, sizes.whisper.bands, 3000)).astype(np.float32),
    }
    session = _session(out / f"{name}.onnx")
    found = session.run(None, {session.get_inputs()[0].name: feeds[name]})
    names = [value.name for value in session.get_outputs()]
    np.savez(out / f"{name}.npz", **dict(zip(names, found, strict=True)))
    return _described(dict(zip(names, found, strict=True)))


def run_fusion(sizes: Sizes, out: Path) -> dict[str, Any]:
    """Run the fusion on the encoders' features and keep its soft tokens."""
    image, frames, audio = (np.load(out / f"{name}.npz") for name in ("image", "frames", "audio"))
    tokens = sizes.preset.tokens
    heard = audio["layers"]
    count = max(tokens.audio, tokens.fusion)
    ends = np.linspace(0, heard.shape[2], count + 1).astype(int)
    pooled = [heard[:, :, a:b].astype(np.float32).mean(2) for a, b in zip(ends, ends[1:], strict=False)]
    feeds = {
        "audio": np.stack(pooled, 2).astype(np.float16),
        "image": image["image"],
        "glance": image["glance"],
        "video": frames["video"].reshape(1, -1, frames["video"].shape[-1]),
        "present": np.ones((1, 3), bool),
    }
    session = _session(out / "fusion.onnx")
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
    np.savez(out / "fusion.npz", **found)
    return _described(found)


def _prompt(sizes: Sizes, out: Path) -> NDArray[np.float32]:
    """Soft tokens of the window with random words around them, (1, S, hidden)."""
    soft = np.load(out / "fusion.npz")["tokens"].astype(np.float32)
    rng = np.random.default_rng(2)
    words = rng.normal(size=(1, _WORDS, sizes.llama.hidden)).astype(np.float32) * 0.02
    return np.concatenate([words[:, : _WORDS // 2], soft, words[:, _WORDS // 2 :]], axis=1)


def run_blocks(sizes: Sizes, out: Path, name: str) -> dict[str, Any]:
    """Read the prompt with a decoder of standard operators, one block in memory at a time."""
    import onnx

    shape, whole = sizes.llama, onnx.load(out / f"{name}.onnx", load_external_data=False)
    prompt = _prompt(sizes, out).astype(np.float16)
    length = prompt.shape[1]
    empty = np.zeros((1, shape.kv_heads, 0, shape.head_dim), np.float16)
    values: dict[str, NDArray[Any]] = {
        "inputs_embeds": prompt,
        "attention_mask": np.ones((1, length), np.int64),
        "position_ids": np.arange(length)[None],
    }
    dims = {"bias": 4 + (shape.heads > shape.kv_heads), "cos": 4, "sin": 4}
    steps: list[tuple[dict[str, int], list[str]]] = [({}, [hidden_name(0), *dims])]
    steps += [({hidden_name(i): 3, **dims}, [hidden_name(i + 1)]) for i in range(shape.layers)]
    steps += [({hidden_name(shape.layers): 3}, ["logits"])]
    part = out / f"{name}.part.onnx"
    for begins, outputs in steps:
        part.write_bytes(part_of(whole, begins, outputs, onnx.TensorProto.FLOAT16).SerializeToString())
        session = _session(part)
        feeds = {value.name: values.get(value.name, empty) for value in session.get_inputs()}
        values |= dict(zip(outputs, session.run(outputs, feeds), strict=True))
        del session
    part.unlink()
    return {"parts": len(steps), "positions": length} | _described({"logits": values["logits"]})


def run_language(sizes: Sizes, out: Path) -> dict[str, Any]:
    """Read the prompt and eight more tokens with the whole language model in ONNX Runtime."""
    from emollama_ros.language.decoder import Decoder

    prompt = _prompt(sizes, out)[0]
    decoder = Decoder.load(out / "language", threads=2, capacity=len(prompt) + 16)
    began = time.perf_counter()
    hidden = decoder.prefill(prompt)
    read = time.perf_counter()
    for token in range(8):
        decoder.step(token)
    told = time.perf_counter()
    return {
        "positions": len(prompt),
        "prefill_s": round(read - began, 2),
        "step_s": round((told - read) / 8, 3),
    } | _described({"hidden": hidden, "logits": decoder.logits()})


def build(graph: Path, sizes: Sizes, part: str = "whole") -> dict[str, Any]:
    """Parse a graph with TensorRT-RTX by its path, and build an engine; needs no GPU.

    Args:
        graph: The graph.
        sizes: Of the preset, for the ranges of free dimensions.
        part: ``whole``; ``block``, the first block of a decoder, which all others are like; or ``parse``.
    """
    import onnx
    import tensorrt_rtx as trt

    whole = onnx.load(graph, load_external_data=False)
    if part == "block":
        shape = sizes.llama
        dims = {hidden_name(0): 3, "bias": 4 + (shape.heads > shape.kv_heads), "cos": 4, "sin": 4}
        outputs = [hidden_name(1), "present.0.key", "present.0.value"]
        whole = part_of(whole, dims, outputs, onnx.TensorProto.FLOAT16)
        graph = graph.with_name(f"{graph.stem}.block.onnx")
        graph.write_bytes(_named(whole, sizes).SerializeToString())
        whole = onnx.load(graph, load_external_data=False)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise RuntimeError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    found = {"part": part, "layers": network.num_layers, "parsed_gb": round(_peak_gb(), 2)}
    if part == "parse":
        return found
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, whole))
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RuntimeError("TensorRT-RTX built nothing")
    return {**found, "engine_bytes": int(engine.nbytes), "version": trt.__version__}


def _named(part: Any, sizes: Sizes) -> Any:
    """Name the free dimensions of a block, so that a profile can be made."""
    axes = {
        hidden_name(0): ["batch", "sequence", sizes.llama.hidden],
        "bias": ["batch", 1, "sequence", "total"],
        "cos": ["batch", "sequence", 1, sizes.llama.head_dim // 2],
        "sin": ["batch", "sequence", 1, sizes.llama.head_dim // 2],
    }
    if sizes.llama.heads > sizes.llama.kv_heads:
        axes["bias"].insert(2, 1)
    for value in part.graph.input:
        for dim, axis in zip(value.type.tensor_type.shape.dim, axes.get(value.name, ()), strict=False):
            dim.Clear()
            if isinstance(axis, int):
                dim.dim_value = axis
            else:
                dim.dim_param = axis
    return part


def _profile(builder: Any, model: Any) -> Any:
    """Ranges of the free dimensions: least, usual, most."""
    ranges = {
        "batch": (1, 1, 2),
        "sequence": (1, 1, 640),
        "past": (0, 512, 1024),
        "total": (1, 513, 1664),
    }
    profile = builder.create_optimization_profile()
    for value in model.graph.input:
        dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        limits = [
            [ranges.get(dim, (1, 1, 2))[step] if isinstance(dim, str) else dim for dim in dims]
            for step in range(3)
        ]
        profile.set_shape(value.name, *limits)
    return profile


def _session(graph: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _described(values: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Shapes, and whether every number is finite."""
    finite = all(bool(np.isfinite(value.astype(np.float32)).all()) for value in values.values())
    return {"outputs": {name: list(value.shape) for name, value in values.items()}, "finite": finite}


def steps(sizes: Sizes, out: Path) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is done with each graph, in order: graph -> what -> function."""
    graphs = ["image", "frames", "audio", "fusion", *_STANDARD]
    found: dict[str, dict[str, Callable[[], Any]]] = {
        "frames": {"write": lambda: write_vision(sizes, out)},
        "image": {},
        "audio": {"write": lambda: write_audio(sizes, out)},
        "fusion": {"write": lambda: write_fusion(sizes, out)},
        **{name: {"write": lambda name=name: write_decoder(sizes, out, name)} for name in _STANDARD},
        "language": {"write": lambda: write_language(sizes, out)},
    }
    for name in graphs:
        found[name]["check"] = lambda name=name: check(out / f"{name}.onnx")
    found["language"]["check"] = lambda: check(out / "language" / "decoder.onnx")
    for name in ("frames", "image", "audio"):
        found[name]["run"] = lambda name=name: run_encoders(sizes, out, name)
    found["fusion"]["run"] = lambda: run_fusion(sizes, out)
    for name in _STANDARD:
        found[name]["run"] = lambda name=name: run_blocks(sizes, out, name)
        found[name]["build_block"] = lambda name=name: build(out / f"{name}.onnx", sizes, "block")
        found[name]["parse"] = lambda name=name: build(out / f"{name}.onnx", sizes, "parse")
    found["language"]["run"] = lambda: run_language(sizes, out)
    for name in ("frames", "image", "audio", "fusion", *_STANDARD):
        found[name]["build"] = lambda name=name: build(out / f"{name}.onnx", sizes)
    return found


def export_random(
    config: str, out: Path, limit_gb: float = 10.0, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Write, check, run and build every graph of a preset, each step in a process of its own.

    Args:
        config: The preset: a yaml file, or a name.
        out: Folder of the graphs; steps that succeeded in an earlier run are not done again.
        limit_gb: Most memory of a step; one that takes more is killed.
        tell: Called with a line after each step.

    Returns:
        The report: the machine, and for each graph its bytes and what every step found.
    """
    sizes = sizes_of(load_preset(config))
    out.mkdir(parents=True, exist_ok=True)
    record = out / "report.json"
    report: dict[str, Any] = json.loads(record.read_text()) if record.is_file() else {"graphs": {}}
    report |= {"preset": sizes.preset.name, "limit_gb": limit_gb, "machine": _machine()}
    for graph, todo in steps(sizes, out).items():
        done = report["graphs"].setdefault(graph, {})
        for step in todo:
            if not done.get(step, {}).get("ok"):
                done[step] = _measured(config, out, graph, step, limit_gb)
                done["bytes"] = _bytes(out, graph)
                record.write_text(json.dumps(report, indent=1) + "\n")
                tell(f"{graph} {step}: {json.dumps(done[step])}")
    return report


def _measured(config: str, out: Path, graph: str, step: str, limit_gb: float) -> dict[str, Any]:
    """Run one step as a process, and watch its memory."""
    command = [sys.executable, "-m", "model_export.random_preset", config, str(out), graph, step]
    began, own, resident = time.perf_counter(), 0.0, 0.0
    with (out / "step.log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            now_own, now_resident = _memory_gb(process.pid)
            own, resident = max(own, now_own), max(resident, now_resident)
            if own > limit_gb:
                process.kill()
            time.sleep(0.05)
        log.seek(0)
        lines = [line for line in log.read().splitlines() if line.strip()]
    seconds = round(time.perf_counter() - began, 1)
    found = {"seconds": seconds, "own_gb": round(own, 2), "peak_gb": round(resident, 2)}
    if process.returncode == 0:
        return {"ok": True, **found, **json.loads(lines[-1])}
    why = f"needs more than {limit_gb:g} GB" if own > limit_gb else _error(lines)
    return {"ok": False, **found, "why": why}


def _error(lines: Sequence[str]) -> str:
    """The exception in the output of a step; libraries may have written behind it."""
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Fail)\w*: ", line)]
    return [*lines, *errors][-1][:300] if lines else "killed"


def _memory_gb(process: int) -> tuple[float, float]:
    """What a process has for itself, and all it has, with pages of files that are only mapped."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
        kilobytes = {
            k: int(v.split()[0])
            for k, v in (line.split(":", 1) for line in text.splitlines() if " kB" in line)
        }
        return (kilobytes["RssAnon"] + kilobytes["RssShmem"]) * 1.024e-6, kilobytes["VmHWM"] * 1.024e-6
    except (OSError, KeyError, ValueError):
        return 0.0, 0.0  # it has just ended


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _bytes(out: Path, graph: str) -> int:
    """Size of a graph and its weights; the two views share theirs, which count for the frames."""
    if graph == "language":
        return sum(file.stat().st_size for file in (out / "language").iterdir())
    data = out / ("vision.onnx.data" if graph == "frames" else f"{graph}.onnx.data")
    return sum(file.stat().st_size for file in (out / f"{graph}.onnx", data) if file.is_file())


def _machine() -> dict[str, Any]:
    import os

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {"processor": platform.machine(), "cores": os.cpu_count(), "memory_gb": round(memory, 1)}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a page."""
    machine, limit = report["machine"], f"{report['limit_gb']:g}"
    lines = [
        f"# `{report['preset']}` with random weights, from export to engine",
        "",
        f"    python -m model_export random --config {report['preset']} --out DIR --limit-gb {limit}",
        "",
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']:g} GB of memory, no GPU. "
        "Other work was on the machine: seconds are an upper bound. Each step is a process. Peak is all its "
        "memory; own is what remains of that without pages of files that are mapped and can be had back. "
        f"A step that takes more than {limit} GB of its own is stopped.",
        "",
        "| graph | GB | operators | step | result | s | peak GB | own GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for graph, done in report["graphs"].items():
        size = f"{done.get('bytes', 0) / 1e9:.2f}"
        operators = done.get("check", {}).get("operators", "")
        for step, found in done.items():
            if step == "bytes":
                continue
            lines.append(
                f"| {graph} | {size} | {operators} | {step} | {_result(step, found)} "
                f"| {found['seconds']:g} | {found['peak_gb']:.1f} | {found['own_gb']:.1f} |"
            )
    return "\n".join([*lines, "", *_NOTES, ""])


def _result(step: str, found: Mapping[str, Any]) -> str:
    if not found["ok"]:
        return f"**not done**: {found['why']}"
    if step == "check":
        return "checker passes, shapes inferred" if found["checked"] else "operators of ONNX Runtime"
    if step == "run":
        shapes = ", ".join(f"{name} {tuple(shape)}" for name, shape in found["outputs"].items())
        extra = "".join(
            f", {name} {found[name]:g}" for name in ("positions", "prefill_s", "step_s") if name in found
        )
        return f"ONNX Runtime: {shapes}, {'finite' if found['finite'] else '**not finite**'}{extra}"
    if step.startswith(("build", "parse")):
        engine = f", engine {found['engine_bytes'] / 1e9:.2f} GB" if "engine_bytes" in found else ""
        what = "one block" if found["part"] == "block" else "the whole"
        return f"TensorRT-RTX parses {what}: {found['layers']} layers{engine}"
    return "written"


_NOTES = (
    "`frames` and `image` share one data file, counted once. `decoder_*` are in standard operators, for",
    "TensorRT: `run` reads one window (soft tokens and 60 words) with one block in memory at a time;",
    "`build_block` builds the first block, which all others are like; `parse` reads the whole graph; `build`",
    "builds the whole. `language` is for ONNX Runtime, 4-bit weights, one scale for 32, run whole;",
    "ONNX's checker knows nothing about its operators, and TensorRT does not have them.",
)


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the report as ``path`` with .json and with .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(report))


def main() -> None:
    """One step of one graph; what it found as the last line."""
    config, out, graph, step = sys.argv[1:]
    sizes = sizes_of(load_preset(config))
    found = steps(sizes, Path(out))[graph][step]()
    sys.stdout.write("\n" + json.dumps(found or {}) + "\n")


if __name__ == "__main__":
    main()

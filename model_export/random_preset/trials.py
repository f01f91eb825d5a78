"""A graph that was written, tried: by the checker, on a window in ONNX Runtime, in TensorRT's builder."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export.llama_standard import hidden_name, part_of
from model_export.random_preset.sizes import Sizes

#: Words around the soft tokens in the window that is run.
_WORDS = 60


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


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9

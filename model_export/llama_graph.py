"""The LLaMA decoder as an ONNX graph for ONNX Runtime, written operator by operator.

    python -m model_export.llama_graph --gguf MODEL.gguf --wheel PACKAGE.whl --out BUNDLE

One graph serves prefill, forced tokens and single steps. It reads embeddings, not token ids, so that soft
tokens can stand in the prompt; its caches are buffers of fixed capacity that GroupQueryAttention extends in
place, so that a token costs no copy of the cache; it gives the hidden state of the LAST position only. The
vocabulary's logits come from a second graph (``head.onnx``) that reads the embedding table (the two are
tied), because text bound to a grammar needs the scores of a handful of words, not of 49,152.

Weights stay outside: every initializer points into ``decoder.onnx.data`` or ``embed_tokens.bin``, and the
layout file says what each is made of, for ``emollama_ros.language.assemble`` to fill in without torch.

Weight formats (figures in docs/language.md):
    int8     8-bit codes, one scale for 32 weights; the default.
    int4     GGUF Q4_1 codes with zero point 8, plus a float product that adds each block's offset: exact.
    int4_zero  GGUF Q4_1 codes with float zero points: exact, but ONNX Runtime unpacks them on every call.
    float32  plain matrices, for parity tests and any checkpoint.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from emollama_ros.bundle import file_sha256
from emollama_ros.language.assemble import (
    DECODER_DATA,
    EMBEDDINGS,
    LAYOUT,
    SCHEMA_VERSION,
    TOKENIZER,
    write_tensors,
)
from emollama_ros.language.packing import BLOCK, GgufSource, Packed, WeightSource
from emollama_ros.language.tokenizer import tokenizer_json

WeightFormat = Literal["int8", "int4", "int4_zero", "float32"]

_ORT = "com.microsoft"
#: MatMulNBits: quantise activations to 8 bits as well, so that integer dot products do the work.
_ACCURACY_LEVEL = 4
#: Arrays from this size on begin at a page, so that they can be mapped.
_PAGE, _WORD = 4096, 64
_OPSET, _IR = 20, 10
_ELEMENT = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


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


class _DataFile:
    """Initializers of one external file, in order of offset."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: list[Packed] = []

    def add(self, tensor: Packed) -> TensorProto:
        """Place a tensor at the end of the file and return the initializer that points to it."""
        end = self.tensors[-1].offset + self.tensors[-1].bytes if self.tensors else 0
        align = _PAGE if tensor.bytes >= _PAGE else _WORD
        placed = replace(tensor, offset=-(-end // align) * align)
        self.tensors.append(placed)
        return external(placed, self.name)


def external(tensor: Packed, location: str) -> TensorProto:
    """Return an initializer whose data lies in the file ``location`` beside the graph."""
    proto = TensorProto(
        name=tensor.name,
        data_type=_ELEMENT[tensor.dtype],
        dims=tensor.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", tensor.offset), ("length", tensor.bytes)):
        proto.external_data.add(key=key, value=str(value))
    return proto


class _DecoderBuilder:
    """Adds nodes and initializers layer by layer."""

    def __init__(self, shape: LlamaShape, weights: WeightFormat) -> None:
        self.shape = shape
        self.weights = weights
        self.data = _DataFile(DECODER_DATA)
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []
        self._sums: dict[str, str] = {}

    def build(self) -> onnx.ModelProto:
        """Return the graph."""
        s = self.shape
        self._io(self.inputs, "inputs_embeds", TensorProto.FLOAT, [1, "sequence", s.hidden])
        self._io(self.inputs, "seqlens_k", TensorProto.INT32, [1])
        self._io(self.inputs, "total_sequence_length", TensorProto.INT32, [])
        self._io(self.outputs, "hidden", TensorProto.FLOAT, [1, 1, s.hidden])
        for table in ("cos", "sin"):
            self._stored(
                table,
                "float32",
                (s.positions, s.head_dim // 2),
                f"rope.{table}",
                options={"theta": s.rope_theta, "dim": s.head_dim, "positions": s.positions},
            )
        self._constant("last", np.array([-1], np.int64))
        normed, residual = self._norm("inputs_embeds", "blk.0.attn_norm.weight"), "inputs_embeds"
        for layer in range(s.layers):
            normed, residual = self._block(layer, normed, residual)
        self.nodes.append(helper.make_node("Identity", [normed], ["hidden"]))
        graph = helper.make_graph(self.nodes, "llama_decoder", self.inputs, self.outputs, self.initializers)
        return _model(graph)

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
            # Only the last position is asked for: what follows need not be done for the others.
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
            self._io(
                self.inputs, f"{past}.{part}", TensorProto.FLOAT, [1, s.kv_heads, "capacity", s.head_dim]
            )
            self._io(
                self.outputs, f"{present}.{part}", TensorProto.FLOAT, [1, s.kv_heads, "capacity", s.head_dim]
            )
        self.nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [
                    qkv,
                    "",
                    "",
                    f"{past}.key",
                    f"{past}.value",
                    "seqlens_k",
                    "total_sequence_length",
                    "cos",
                    "sin",
                ],
                [out, f"{present}.key", f"{present}.value"],
                domain=_ORT,
                num_heads=s.heads,
                kv_num_heads=s.kv_heads,
                do_rotary=1,
                rotary_interleaved=int(s.interleaved),
                scale=s.head_dim**-0.5,
            )
        )
        return out

    def _feed_forward(self, prefix: str, x: str) -> str:
        s = self.shape
        both = self._linear(
            x, [f"{prefix}ffn_gate.weight", f"{prefix}ffn_up.weight"], f"{prefix}gate_up", 2 * s.ffn, s.hidden
        )
        gate, up, silu, product = (f"{prefix}{name}" for name in ("gate", "up", "silu", "product"))
        self.nodes += [
            helper.make_node("Split", [both], [gate, up], axis=-1, num_outputs=2),
            # With alpha 1 this is x * sigmoid(x), in one kernel instead of two.
            helper.make_node("QuickGelu", [gate], [silu], domain=_ORT, alpha=1.0),
            helper.make_node("Mul", [silu, up], [product]),
        ]
        return self._linear(product, [f"{prefix}ffn_down.weight"], f"{prefix}down", s.hidden, s.ffn)

    def _linear(self, x: str, sources: Sequence[str], out: str, rows: int, columns: int) -> str:
        if self.weights == "float32":
            weight = self._stored(f"{out}.weight", "float32", (columns, rows), "float32_in_out", sources)
            self.nodes.append(helper.make_node("MatMul", [x, weight], [out]))
            return out
        bits = 8 if self.weights == "int8" else 4
        kind = "int8" if bits == 8 else "q4_1"
        blocks = columns // BLOCK
        codes = self._stored(
            f"{out}.codes", "uint8", (rows, blocks, BLOCK * bits // 8), f"{kind}.codes", sources
        )
        scale = self._stored(f"{out}.scale", "float32", (rows, blocks), f"{kind}.scale", sources)
        inputs = [x, codes, scale]
        if self.weights == "int4_zero":
            inputs.append(self._stored(f"{out}.zero", "float32", (rows, blocks), "q4_1.zero", sources))
        product = f"{out}.product" if self.weights == "int4" else out
        self.nodes.append(n_bits(inputs, product, rows, columns, bits))
        if self.weights == "int4":
            self._add_rest(x, sources, product, out, rows, blocks)
        return out

    def _add_rest(
        self, x: str, sources: Sequence[str], product: str, out: str, rows: int, blocks: int
    ) -> None:
        """Add the blocks' offsets: their product with the sums of x over each block of 32."""
        rest = self._stored(f"{out}.rest", "float32", (blocks, rows), "q4_1.rest", sources)
        self.nodes += [
            helper.make_node("MatMul", [self._block_sums(x, blocks), rest], [f"{out}.offset"]),
            helper.make_node("Add", [product, f"{out}.offset"], [out]),
        ]

    def _block_sums(self, x: str, blocks: int) -> str:
        shape = self._constant(f"blocks.{blocks}", np.array([1, -1, blocks, BLOCK], np.int64))
        axis = self._constant("blocks.axis", np.array([3], np.int64))
        split, sums = f"{x}.blocks", f"{x}.sums"
        self.nodes += [
            helper.make_node("Reshape", [x, shape], [split]),
            helper.make_node("ReduceSum", [split, axis], [sums], keepdims=0),
        ]
        return sums

    def _norm(self, x: str, weight: str) -> str:
        stored = self._stored(weight, "float32", (self.shape.hidden,), "float32", [weight])
        out = f"{weight}.out"
        self.nodes.append(
            helper.make_node(
                "SimplifiedLayerNormalization",
                [x, stored],
                [out],
                axis=-1,
                epsilon=self.shape.epsilon,
                stash_type=1,
            )
        )
        return out

    def _skip_norm(self, x: str, residual: str, weight: str) -> tuple[str, str]:
        stored = self._stored(weight, "float32", (self.shape.hidden,), "float32", [weight])
        out, total = f"{weight}.out", f"{weight}.residual"
        self.nodes.append(
            helper.make_node(
                "SkipSimplifiedLayerNormalization",
                [x, residual, stored],
                [out, "", "", total],
                domain=_ORT,
                epsilon=self.shape.epsilon,
            )
        )
        return out, total

    def _last(self, x: str) -> str:
        self.nodes.append(helper.make_node("Gather", [x, "last"], [f"{x}.last"], axis=1))
        return f"{x}.last"

    def _stored(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        packing: str,
        sources: Sequence[str] = (),
        options: dict[str, float] | None = None,
    ) -> str:
        self.initializers.append(
            self.data.add(Packed(name, 0, dtype, shape, packing, tuple(sources), options or {}))
        )
        return name

    def _constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        if not any(known.name == name for known in self.initializers):
            self.initializers.append(numpy_helper.from_array(value, name))
        return name

    @staticmethod
    def _io(to: list[ValueInfoProto], name: str, kind: int, shape: list[int | str]) -> None:
        to.append(helper.make_tensor_value_info(name, kind, shape))


def n_bits(inputs: Sequence[str], out: str, rows: int, columns: int, bits: int) -> NodeProto:
    """Return a MatMulNBits node: x (.., columns) to (.., rows)."""
    return helper.make_node(
        "MatMulNBits",
        list(inputs),
        [out],
        domain=_ORT,
        K=columns,
        N=rows,
        bits=bits,
        block_size=BLOCK,
        accuracy_level=_ACCURACY_LEVEL,
    )


def decoder_graph(shape: LlamaShape, weights: WeightFormat = "int8") -> tuple[onnx.ModelProto, list[Packed]]:
    """Build the decoder.

    Inputs: ``inputs_embeds`` float32 (1, S, hidden); ``seqlens_k`` int32 (1,), positions in use after this
    call less one; ``total_sequence_length`` int32 scalar, positions in use after this call; ``past.N.key``
    and ``past.N.value`` float32 (1, kv_heads, capacity, head_dim).
    Outputs: ``hidden`` float32 (1, 1, hidden), normed, of the last position; ``present.N.key|value``, to be
    bound to the very buffers of ``past.N.key|value``.

    Returns:
        The graph and what its data file holds.
    """
    builder = _DecoderBuilder(shape, weights)
    return builder.build(), builder.data.tensors


def head_graph(shape: LlamaShape) -> tuple[onnx.ModelProto, list[Packed]]:
    """Build the tied head: ``hidden`` float32 (1, hidden) to ``logits`` float32 (1, vocab).

    Returns:
        The graph and what ``embed_tokens.bin`` holds: the table that is also looked up for the embeddings.
    """
    data = _DataFile(EMBEDDINGS)
    blocks = shape.hidden // BLOCK
    source = ("token_embd.weight",)
    initializers = [
        data.add(Packed("embed.codes", 0, "uint8", (shape.vocab, blocks, BLOCK), "q8_0.codes", source)),
        data.add(Packed("embed.scale", 0, "float32", (shape.vocab, blocks), "q8_0.scale", source)),
    ]
    graph = helper.make_graph(
        [n_bits(["hidden", "embed.codes", "embed.scale"], "logits", shape.vocab, shape.hidden, 8)],
        "llama_head",
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1, shape.hidden])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, shape.vocab])],
        initializers,
    )
    return _model(graph), data.tensors


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_ORT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="emollama_ros")


def write_bundle_files(
    out: Path, gguf: Path, wheel: Path, shape: LlamaShape | None = None, weights: WeightFormat = "int8"
) -> dict[str, Any]:
    """Write ``decoder.onnx``, ``head.onnx`` and the layout with the sha256 of what assembling will give.

    Args:
        out: Folder to write to.
        gguf: The GGUF file the assembled files are made of.
        wheel: The package that carries it.
        shape: Sizes; those of SmolLM2-135M if ``None``.
        weights: Format of the weights.

    Returns:
        The layout as written.
    """
    shape = shape or LlamaShape()
    out.mkdir(parents=True, exist_ok=True)
    decoder, decoder_tensors = decoder_graph(shape, weights)
    head, head_tensors = head_graph(shape)
    for name, model in (("decoder.onnx", decoder), ("head.onnx", head)):
        (out / name).write_bytes(model.SerializeToString(deterministic=True))
    source = GgufSource(gguf)
    layout = {
        "schema": SCHEMA_VERSION,
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
    (out / LAYOUT).write_text(_compact(layout))
    return layout


def _entry(out: Path, tensors: Sequence[Packed], source: WeightSource) -> dict[str, Any]:
    scratch = out / ".packed"
    try:
        with scratch.open("wb") as file:
            size = write_tensors(tensors, source, file)
        digest = file_sha256(scratch)
    finally:
        scratch.unlink(missing_ok=True)
    fields = [{key: value for key, value in asdict(t).items() if value not in ((), {})} for t in tensors]
    return {"bytes": size, "sha256": digest, "tensors": fields}


def _hashed(out: Path, content: bytes) -> dict[str, Any]:
    scratch = out / ".packed"
    try:
        scratch.write_bytes(content)
        return {"bytes": len(content), "sha256": file_sha256(scratch)}
    finally:
        scratch.unlink(missing_ok=True)


def _compact(layout: dict[str, Any]) -> str:
    """JSON with one line a tensor, so that a change shows as the lines it touches."""
    marks: dict[str, str] = {}
    for entry in layout["files"].values():
        for index, tensor in enumerate(entry.get("tensors", ())):
            mark = f"@{len(marks)}@"
            marks[f'"{mark}"'] = json.dumps(tensor)
            entry["tensors"][index] = mark
    text = json.dumps(layout, indent=1) + "\n"
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

"""The LLaMA decoder in operators of ONNX alone, for TensorRT: caches in and out, any batch, masked tokens.

`model_export.llama_graph` writes the same network for ONNX Runtime on a processor, with operators that
TensorRT does not know. This graph is written operator by operator too, so that its weights can be streamed
into the data file one matrix at a time: LLaMA-2-7B needs no more memory than its largest matrix.

Precision is in the graph (TensorRT calls that strongly typed). Weights are kept as they are computed with,
or as integers behind a DequantizeLinear, which TensorRT fuses into the product: ``int8`` with a scale for
each output, ``int4`` with a scale for 32 inputs (opset 21).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from emollama_ros.language.packing import BLOCK, PACKINGS, Array, Packed, WeightSource
from model_export.graph_builder import ELEMENT, FileInfo, GraphBuilder, Packing, write_data, write_model
from model_export.llama_graph import LlamaShape, rope_table

Activations = Literal["float32", "float16"]
StandardWeights = Literal["float32", "float16", "int8", "int4"]

_OPSET = 21
#: Added to the scores of what must not be attended to. Finite, so that a row in which nothing may be attended
#: to (padding) gives no NaN; within reach of half precision; its exponential is zero in either precision.
_MASKED = -1e4


@dataclass(frozen=True)
class StandardFormat:
    """Numbers of a graph.

    Attributes:
        weights: Of the matrices in the blocks. The head is kept in the precision of the activations.
        activations: Of everything that flows, caches included; of inputs and outputs but the logits, which
            are float32.
        all_logits: Give the scores at every position, not at the last alone.
    """

    weights: StandardWeights = "float16"
    activations: Activations = "float16"
    all_logits: bool = False


class _StandardBuilder(GraphBuilder):
    """Adds nodes and weights layer by layer."""

    def __init__(self, shape: LlamaShape, form: StandardFormat, rope: str, data: str) -> None:
        super().__init__(data)
        self.shape, self.form, self.rope = shape, form, rope
        self.element = ELEMENT[form.activations]

    def build(self) -> onnx.ModelProto:
        """Return the graph."""
        s = self.shape
        self.input("inputs_embeds", self.element, ["batch", "sequence", s.hidden])
        self.input("attention_mask", TensorProto.INT64, ["batch", "total"])
        self.input("position_ids", TensorProto.INT64, ["batch", "sequence"])
        positions = ["batch", "sequence"] if self.form.all_logits else ["batch"]
        self.output("logits", TensorProto.FLOAT, [*positions, s.vocab])
        self._rotation()
        self._bias()
        x = self.node("Identity", ["inputs_embeds"], hidden_name(0))
        for layer in range(s.layers):
            x = self._block(layer, x)
        self._head(x)
        return self.model("llama_decoder_standard", _OPSET)

    def _rotation(self) -> None:
        """Cosines and sines (B, S, 1, head_dim / 2) of the positions asked for."""
        axis = self._ints("axis.2", [2])
        for table in ("cos", "sin"):
            stored = rope_table(self, f"rope.{table}", table, self.shape, self.rope)
            rows = self.node("Gather", [stored, "position_ids"], f"{table}.rows")
            self.node("Unsqueeze", [self._cast(rows), axis], table)

    def _bias(self) -> None:
        """Zero where a query (row) may attend to a key (column), else `_MASKED`: (B, 1, [1,] S, T)."""
        zero, one = self._ints("zero", 0), self._ints("one", 1)
        total = self.node("Gather", [self.node("Shape", ["attention_mask"], "mask.shape"), one], "total")
        new = self.node("Gather", [self.node("Shape", ["position_ids"], "ids.shape"), one], "new")
        keys = self.node("Range", [zero, total, one], "keys")
        queries = self.node("Range", [self.node("Sub", [total, new], "past"), total, one], "queries")
        rows = self.node("Unsqueeze", [queries, self._ints("axis.1", [1])], "query.rows")
        before = self.node("LessOrEqual", [keys, rows], "is_before")
        axes = self._ints("mask.axes", [1, 2, 3] if self._groups > 1 else [1, 2])
        attended = self.node("Cast", ["attention_mask"], "is_attended", to=TensorProto.BOOL)
        attended = self.node("Unsqueeze", [attended, axes], "is_attended.keys")
        both = self.node("And", [before, attended], "is_seen")
        self.node("Where", [both, self._number("seen", 0.0), self._number("masked", _MASKED)], "bias")

    def _block(self, layer: int, x: str) -> str:
        s, prefix = self.shape, f"blk.{layer}."
        normed = self._norm(x, f"{prefix}attn_norm.weight")
        attended = self._attention(layer, normed)
        is_last = layer == s.layers - 1 and not self.form.all_logits
        if is_last:
            # Only the last position is asked for: what follows need not be done for the others.
            attended, x = self._last(attended), self._last(x)
        width = s.heads * s.head_dim
        out = self._linear(attended, [f"{prefix}attn_output.weight"], f"{prefix}out", s.hidden, width)
        x = self.node("Add", [x, out], f"{prefix}between")
        down = self._feed_forward(prefix, self._norm(x, f"{prefix}ffn_norm.weight"))
        return self.node("Add", [x, down], hidden_name(layer + 1))

    def _attention(self, layer: int, x: str) -> str:
        s, prefix = self.shape, f"blk.{layer}."
        both, values = (s.heads + s.kv_heads) * s.head_dim, s.kv_heads * s.head_dim
        sources = [f"{prefix}attn_{part}.weight" for part in ("q", "k", "v")]
        joined = self._linear(x, sources, f"{prefix}qkv", both + values, s.hidden)
        turned, plain = self._split(joined, f"{prefix}qk", f"{prefix}v", (both, values))
        turned = self._rotate(self._heads(turned, s.heads + s.kv_heads), f"{prefix}turned")
        turned = self.node("Transpose", [turned], f"{prefix}turned.heads", perm=[0, 2, 1, 3])
        query, key = self._split(turned, f"{prefix}query", f"{prefix}key", (s.heads, s.kv_heads), axis=1)
        value = self._heads(plain, s.kv_heads)
        value = self.node("Transpose", [value], f"{prefix}value", perm=[0, 2, 1, 3])
        keys, values_ = self._remember(layer, "key", key), self._remember(layer, "value", value)
        return self._attend(prefix, query, keys, values_)

    def _attend(self, prefix: str, query: str, keys: str, values: str) -> str:
        s = self.shape
        scale = self._number("attention.scale", s.head_dim**-0.5)
        query = self.node("Mul", [query, scale], f"{prefix}query.scaled")
        keys = self.node("Transpose", [keys], f"{prefix}keys", perm=[0, 1, 3, 2])
        if self._groups > 1:
            # Heads of a group share keys and values by broadcasting, without a copy for each.
            grouped = self._ints("grouped", [0, s.kv_heads, self._groups, -1, s.head_dim])
            query = self.node("Reshape", [query, grouped], f"{prefix}query.groups")
            keys = self.node("Unsqueeze", [keys, self._ints("axis.2", [2])], f"{prefix}keys.groups")
            values = self.node("Unsqueeze", [values, "axis.2"], f"{prefix}values.groups")
        scores = self.node("MatMul", [query, keys], f"{prefix}scores")
        scores = self.node("Add", [scores, "bias"], f"{prefix}scores.masked")
        weights = self.node("Softmax", [scores], f"{prefix}weights", axis=-1)
        mixed = self.node("MatMul", [weights, values], f"{prefix}mixed")
        if self._groups > 1:
            single = self._ints("ungrouped", [0, s.heads, -1, s.head_dim])
            mixed = self.node("Reshape", [mixed, single], f"{prefix}mixed.heads")
        mixed = self.node("Transpose", [mixed], f"{prefix}mixed.rows", perm=[0, 2, 1, 3])
        flat = self._ints("flat", [0, 0, s.heads * s.head_dim])
        return self.node("Reshape", [mixed, flat], f"{prefix}attention")

    def _remember(self, layer: int, part: str, new: str) -> str:
        """Declare a cache (B, kv_heads, past, head_dim) and append to it."""
        s, past = self.shape, f"past_key_values.{layer}.{part}"
        present = f"present.{layer}.{part}"
        self.input(past, self.element, ["batch", s.kv_heads, "past", s.head_dim])
        self.output(present, self.element, ["batch", s.kv_heads, "total", s.head_dim])
        return self.node("Concat", [past, new], present, axis=2)

    def _rotate(self, x: str, out: str) -> str:
        """Rotary embedding of (B, S, heads, head_dim)."""
        s = self.shape
        if s.interleaved:
            pairs = self._ints("pairs", [0, 0, 0, s.head_dim // 2, 2])
            split = self.node("Reshape", [x, pairs], f"{out}.pairs")
            first, second = self._split(split, f"{out}.first.1", f"{out}.second.1", (1, 1))
            axis = self._ints("axis.last", [-1])
            first = self.node("Squeeze", [first, axis], f"{out}.first")
            second = self.node("Squeeze", [second, axis], f"{out}.second")
        else:
            halves = (s.head_dim // 2, s.head_dim // 2)
            first, second = self._split(x, f"{out}.first", f"{out}.second", halves)
        cosines, sines = [
            [self.node("Mul", [part, table], f"{part}.{table}") for part in (first, second)]
            for table in ("cos", "sin")
        ]
        turned_first = self.node("Sub", [cosines[0], sines[1]], f"{out}.turned.first")
        turned_second = self.node("Add", [cosines[1], sines[0]], f"{out}.turned.second")
        # Neighbours come back as halves: queries and keys in the same other order have the same products.
        return self.node("Concat", [turned_first, turned_second], out, axis=-1)

    def _feed_forward(self, prefix: str, x: str) -> str:
        s = self.shape
        sources = [f"{prefix}ffn_gate.weight", f"{prefix}ffn_up.weight"]
        both = self._linear(x, sources, f"{prefix}gate_up", 2 * s.ffn, s.hidden)
        gate, up = self._split(both, f"{prefix}gate", f"{prefix}up", (s.ffn, s.ffn))
        silu = self.node("Mul", [gate, self.node("Sigmoid", [gate], f"{prefix}sigmoid")], f"{prefix}silu")
        product = self.node("Mul", [silu, up], f"{prefix}product")
        return self._linear(product, [f"{prefix}ffn_down.weight"], f"{prefix}down", s.hidden, s.ffn)

    def _head(self, x: str) -> None:
        s = self.shape
        normed = self._norm(x, "output_norm.weight")
        if not self.form.all_logits:
            normed = self.node("Squeeze", [normed, self._ints("axis.1", [1])], "normed.last")
        kind = self.form.activations
        weight = self.stored("output.weight", kind, (s.hidden, s.vocab), f"{kind}_in_out", ["output.weight"])
        self.node("Cast", [self.node("MatMul", [normed, weight], "scores")], "logits", to=TensorProto.FLOAT)

    def _linear(self, x: str, sources: Sequence[str], out: str, rows: int, columns: int) -> str:
        kind = self.form.weights
        if kind in ("float32", "float16"):
            weight = self.stored(f"{out}.weight", kind, (columns, rows), f"{kind}_in_out", sources)
            if kind != self.form.activations:
                weight = self.node("Cast", [weight], f"{weight}.cast", to=self.element)
        else:
            weight = self._quantised(f"{out}.weight", kind, sources, rows, columns)
        return self.node("MatMul", [x, weight], out)

    def _quantised(self, name: str, kind: str, sources: Sequence[str], rows: int, columns: int) -> str:
        codes, scale, number = f"{name}.codes", f"{name}.scale", self.form.activations
        if kind == "int8":
            self.stored(codes, "int8", (columns, rows), "channel8.codes", sources)
            self.stored(scale, number, (rows,), f"channel8.scale.{number}", sources)
            return self.node("DequantizeLinear", [codes, scale], name, axis=1)
        packed = Packed(codes, 0, "uint8", (columns * rows // 2,), "block4.codes", tuple(sources))
        self.initializers[codes] = self.data.add(packed, TensorProto.INT4, (columns, rows))
        self.stored(scale, number, (columns // BLOCK, rows), f"block4.scale.{number}", sources)
        return self.node("DequantizeLinear", [codes, scale], name, axis=0, block_size=BLOCK)

    def _norm(self, x: str, weight: str) -> str:
        """Root-mean-square norm, in single precision whatever flows, as transformers has it."""
        kind, size = self.form.activations, (self.shape.hidden,)
        stored = self.stored(weight, kind, size, kind, [weight])
        single = x if kind == "float32" else self.node("Cast", [x], f"{weight}.in", to=TensorProto.FLOAT)
        square = self.node("Mul", [single, single], f"{weight}.square")
        mean = self.node("ReduceMean", [square, self._ints("axis.last", [-1])], f"{weight}.mean")
        epsilon = self.constant("epsilon", np.float32(self.shape.epsilon).reshape(()))
        root = self.node("Sqrt", [self.node("Add", [mean, epsilon], f"{weight}.more")], f"{weight}.root")
        normed = self._cast(self.node("Div", [single, root], f"{weight}.normed"))
        return self.node("Mul", [normed, stored], f"{weight}.out")

    def _heads(self, x: str, count: int) -> str:
        shape = self._ints(f"heads.{count}", [0, 0, count, self.shape.head_dim])
        return self.node("Reshape", [x, shape], f"{x}.heads")

    def _split(self, x: str, one: str, two: str, sizes: tuple[int, int], axis: int = -1) -> tuple[str, str]:
        lengths = self._ints(f"split.{sizes[0]}.{sizes[1]}", list(sizes))
        self.nodes.append(onnx.helper.make_node("Split", [x, lengths], [one, two], axis=axis))
        return one, two

    def _last(self, x: str) -> str:
        return self.node("Gather", [x, self._ints("last", [-1])], f"{x}.last", axis=1)

    def _cast(self, x: str) -> str:
        """To the type of the activations, from single precision."""
        if self.form.activations == "float32":
            return x
        return self.node("Cast", [x], f"{x}.cast", to=self.element)

    def _ints(self, name: str, value: int | list[int]) -> str:
        return self.constant(name, np.array(value, np.int64))

    def _number(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, self.form.activations))

    @property
    def _groups(self) -> int:
        return self.shape.heads // self.shape.kv_heads


def hidden_name(layer: int) -> str:
    """Name of the residual stream that goes into a block; behind the last, of what goes into the head."""
    return f"hidden.{layer}"


def standard_graph(
    shape: LlamaShape,
    form: StandardFormat | None = None,
    rope: Literal["computed", "stored"] = "computed",
    data: str = "decoder.onnx.data",
) -> tuple[onnx.ModelProto, list[Packed]]:
    """Build the decoder.

    Inputs: ``inputs_embeds`` (B, S, hidden); ``attention_mask`` int64 (B, T), T = past + S, 0 where a token
    is padding or belongs to a missing modality; ``position_ids`` int64 (B, S), in which masked tokens do not
    count; ``past_key_values.N.key|value`` (B, kv_heads, past, head_dim), past may be 0. Padding goes to the
    left.
    Outputs: ``logits`` float32 (B, vocab) of the last position, or (B, S, vocab); ``present.N.key|value``.

    Args:
        shape: Sizes.
        form: Numbers; half precision if ``None``.
        rope: As for `model_export.llama_graph.decoder_graph`.
        data: Name of the data file.

    Returns:
        The graph and what its data file holds.
    """
    builder = _StandardBuilder(shape, form or StandardFormat(), rope, data)
    return builder.build(), builder.data.tensors


def write_standard(
    source: WeightSource,
    shape: LlamaShape,
    path: Path,
    form: StandardFormat | None = None,
    rope: Literal["computed", "stored"] = "computed",
) -> dict[str, FileInfo]:
    """Write the graph to ``path`` and its weights beside it, in a file of that name and ``.data``.

    Args:
        source: Of the weights. A head that is tied is asked for as ``output.weight`` like any other.
        shape: Sizes.
        path: The ``.onnx`` file.
        form: Numbers; half precision if ``None``.
        rope: As for `standard_graph`.
    """
    model, tensors = standard_graph(shape, form, rope, f"{path.name}.data")
    data = path.with_name(f"{path.name}.data")
    return {
        data.name: write_data(tensors, source, data, STANDARD_PACKINGS),
        path.name: write_model(model, path),
    }


def part_of(
    model: onnx.ModelProto, inputs: Mapping[str, int], outputs: Sequence[str], element: int
) -> onnx.ModelProto:
    """Cut out what leads from some values to others, with the same weights in the same data file.

    Args:
        model: The whole graph.
        inputs: Values where the part begins, with their number of dimensions; inputs of the graph that the
            part reads are added as they are.
        outputs: Values to give.
        element: ONNX type of values that are neither inputs nor outputs of the whole.
    """
    graph = model.graph
    maker = {name: node for node in graph.node for name in node.output}
    names: set[str] = set()
    queue = list(outputs)
    while queue:
        name = queue.pop()
        if name not in names and name not in inputs:
            names.add(name)
            queue += list(maker[name].input) if name in maker else []
    declared = {value.name: value for value in (*graph.input, *graph.output)}
    free = onnx.helper.make_tensor_value_info
    begins = [
        declared.get(name) or free(name, element, [f"{name}.{axis}" for axis in range(dims)])
        for name, dims in inputs.items()
    ]
    begins += [value for value in graph.input if value.name in names]
    part = onnx.helper.make_graph(
        [node for node in graph.node if names.intersection(node.output)],
        f"{graph.name}_part",
        begins,
        [declared.get(name) or free(name, element, None) for name in outputs],
        [weight for weight in graph.initializer if weight.name in names],
    )
    return onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)


def _channel8(source: WeightSource, names: Sequence[str]) -> tuple[Array, Array]:
    weights = np.concatenate([source.floats(name) for name in names])
    scale = np.abs(weights).max(-1) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(weights / scale[:, None]).astype(np.int8), scale


def _block4_codes(source: WeightSource, names: Sequence[str], options: Mapping[str, float]) -> Array:
    """Codes -8..7 of (in, out), two neighbours to a byte, as ONNX packs INT4."""
    pairs = PACKINGS["int4.codes"](source, names, options)
    codes = np.stack([pairs & 15, pairs >> 4], -1).reshape(len(pairs), -1)
    codes = np.ascontiguousarray((codes ^ 8).T).reshape(-1)
    return codes[0::2] | (codes[1::2] << 4)


def _block4_scale(source: WeightSource, names: Sequence[str], options: Mapping[str, float]) -> Array:
    return PACKINGS["int4.scale"](source, names, options).T


def _as(number: str, make: Packing) -> Packing:
    def packed(source: WeightSource, names: Sequence[str], options: Mapping[str, float]) -> NDArray[Any]:
        return make(source, names, options).astype(number)

    return packed


#: What the graphs here are packed with.
STANDARD_PACKINGS: Mapping[str, Packing] = {
    **PACKINGS,
    "channel8.codes": lambda source, names, _: _channel8(source, names)[0].T,
    "block4.codes": _block4_codes,
    **{
        f"{name}.scale.{number}": _as(number, make)
        for number in ("float32", "float16")
        for name, make in (
            ("channel8", lambda source, names, _: _channel8(source, names)[1]),
            ("block4", _block4_scale),
        )
    },
}

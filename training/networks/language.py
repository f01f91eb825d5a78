"""Language models by name, with LoRA: the packaged SmolLM2, or any LLaMA that transformers load."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from emollama_ros.errors import BundleError, ConfigError
from emollama_ros.language.packing import GgufSource
from emollama_ros.language.tokenizer import tokenizer_json
from training.packaged_weights import SMOLLM2, locate
from training.presets import LanguagePreset, LoraPreset

#: SmolLM2-135M's sizes, as in the metadata of its GGUF file.
_SMOLLM2_SIZES = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SMOLLM2_THETA = 100_000.0
#: Names of a block's weights in transformers, and in GGUF.
_BLOCK_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


class TextCodec(Protocol):
    """Text to token ids; a template's control words become control tokens."""

    @property
    def start(self) -> tuple[int, ...]:
        """What every prompt begins with."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a piece of text, without anything added."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, control tokens left out."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model and its tokens."""

    model: nn.Module
    codec: TextCodec

    @property
    def width(self) -> int:
        """Width of an embedded token."""
        return int(self.model.get_input_embeddings().weight.shape[1])


class _FastCodec:
    """A ``tokenizers.Tokenizer``."""

    def __init__(self, backend: Any, start: tuple[int, ...] = ()) -> None:
        self._backend, self.start = backend, start

    def encode(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._backend.decode(list(ids), skip_special_tokens=True))


class _TransformersCodec:
    """A tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        begin = tokenizer.bos_token_id
        self.start = () if begin is None else (int(begin),)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def load_language_model(preset: LanguagePreset, device: str = "cpu") -> LanguageModel:
    """Load a language model, frozen, and add LoRA.

    Raises:
        BundleError: The packaged weights are not there, or not what they should be.
        ConfigError: Transformers cannot load it, or LoRA finds none of its targets.
    """
    found = load_base(preset, device)
    model = with_lora(found.model, preset.lora, checkpointing=preset.checkpointing)
    return LanguageModel(model, found.codec)


def load_base(preset: LanguagePreset, device: str = "cpu") -> LanguageModel:
    """Load a language model as it is, without LoRA.

    Raises:
        BundleError: The packaged weights are not there, or not what they should be.
        ConfigError: Transformers cannot load it.
    """
    found = smollm2() if preset.model == "smollm2-135m" else _from_transformers(preset.model[3:])
    return LanguageModel(found.model.to(device, getattr(torch, preset.precision)), found.codec)


def with_lora(model: nn.Module, lora: LoraPreset, *, checkpointing: bool = False) -> nn.Module:
    """Freeze a model and add LoRA, whose weights are kept in single precision.

    Raises:
        ConfigError: None of the targets is there.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        task_type="CAUSAL_LM",
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"language.lora.targets {list(lora.targets)}: {error}") from None
    if checkpointing:
        adapted.enable_input_require_grads()
        adapted.gradient_checkpointing_enable({"use_reentrant": False})
    for name, weight in adapted.named_parameters():
        if "lora_" in name and not weight.is_meta:
            weight.data = weight.data.float()
    return adapted


def suit_attention(model: nn.Module, device: torch.device) -> None:
    """Let a model of transformers attend in the way that is fastest where it will be trained.

    PyTorch's fused attention on CPUs takes four times as long in bfloat16 as plain products do (sequences of
    112 tokens, forward and backward), and about as long in single precision.
    """
    base = getattr(model, "get_base_model", lambda: model)()
    if device.type == "cpu" and base.dtype != torch.float32:
        base.set_attn_implementation("eager")


def smollm2_config() -> Any:
    """SmolLM2-135M's sizes, as a ``LlamaConfig`` of transformers."""
    from transformers import LlamaConfig

    rope = {"rope_type": "default", "rope_theta": _SMOLLM2_THETA}
    return LlamaConfig(**_SMOLLM2_SIZES, rope_parameters=rope)


def smollm2() -> LanguageModel:
    """SmolLM2-135M-Instruct from its package, dequantised.

    Raises:
        BundleError: The package is not installed, or its file is not the pinned one.
    """
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    path = locate(SMOLLM2)
    config = smollm2_config()
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in LlamaForCausalLM(config).state_dict().items()}
    model = LlamaForCausalLM(config)
    model.load_state_dict(_weights(GgufSource(path), config.num_hidden_layers, shapes), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        file.write_bytes(tokenizer_json(path))
        backend = Tokenizer.from_file(str(file))
    return LanguageModel(model.eval(), _FastCodec(backend))


def _weights(source: GgufSource, layers: int, shapes: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    """The weights under the names of transformers."""
    heads = {"self_attn.q_proj": 9, "self_attn.k_proj": 3}
    found = {
        "model.embed_tokens.weight": torch.from_numpy(source.floats("token_embd.weight")),
        "model.norm.weight": torch.from_numpy(source.floats("output_norm.weight")),
    }
    for layer in range(layers):
        for ours, theirs in _BLOCK_NAMES.items():
            weight = torch.from_numpy(source.floats(f"blk.{layer}.{theirs}.weight"))
            if ours in heads:
                weight = _unpermuted(weight, heads[ours])
            found[f"model.layers.{layer}.{ours}.weight"] = weight
    found["lm_head.weight"] = found["model.embed_tokens.weight"]
    if wrong := [name for name, shape in shapes.items() if found[name].shape != shape]:
        raise BundleError(f"{wrong[0]}: shape {tuple(found[wrong[0]].shape)}, not {tuple(shapes[wrong[0]])}")
    return found


def _unpermuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo the order that GGUF keeps rotary queries and keys in: (out, in) to (out, in)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Put the rows of rotary queries and keys (out, in) into the order that GGUF keeps them in."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def _from_transformers(name: str) -> LanguageModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"language: hf:{name} cannot be loaded: {str(error).splitlines()[0]}") from None
    return LanguageModel(model.eval(), _TransformersCodec(tokenizer))

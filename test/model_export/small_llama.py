"""A LLaMA of transformers small enough to be made in a test."""

from __future__ import annotations

import numpy as np
import torch
import transformers

from training.networks.language import with_lora
from training.presets import LoraPreset

HIDDEN, VOCAB = 64, 160
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 500.0},
    "llama3": {
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
    },
    "yarn": {
        "rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 32,
    },
}  # fmt: skip


def llama(rope="default", seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True, "rope_parameters": ROPES[rope], "initializer_range": 0.15,
    }  # fmt: skip
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes | changes)).eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model


def adapted(model):
    """With LoRA that does something: peft starts its second matrix at zero."""
    model = with_lora(model, LoraPreset(rank=4, alpha=8.0, targets=("q_proj", "v_proj"))).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def worst(found, wanted):
    """Largest difference, relative to the largest number."""
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-9))

"""What the decoder loop runs is the language model that was trained, LoRA included."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")
onnx = pytest.importorskip("onnx", reason="needs onnx (pip install .[export])")
pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install .[cpu])")

from small_llama import HIDDEN, ROPES, adapted, llama, worst  # noqa: E402

from emollama_ros.errors import ConfigError  # noqa: E402
from emollama_ros.language.decoder import Decoder  # noqa: E402
from model_export.language_model import merged, write_language_model  # noqa: E402


@dataclass(frozen=True)
class Language:
    model: torch.nn.Module


@dataclass(frozen=True)
class NoEmbedding:
    """Stands for the table where embeddings are given."""

    hidden: int = HIDDEN


@torch.no_grad()
def expected(model, embeds):
    """Hidden state and logits of the last position."""
    out = model(inputs_embeds=torch.from_numpy(embeds)[None], output_hidden_states=True)
    return out.hidden_states[-1][0, -1].numpy(), out.logits[0, -1].numpy()


def decoder_of(folder):
    shape = json.loads((folder / "decoder.layout.json").read_text())["shape"]
    return Decoder(folder / "decoder.onnx", NoEmbedding(), shape, threads=1, capacity=32)


def embeds(count=11):
    return np.random.default_rng(1).normal(size=(count, HIDDEN)).astype(np.float32)


@pytest.mark.parametrize("rope", ROPES)
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False, "num_key_value_heads": 4}])
def test_prefill_steps_and_head_equal_torch(tmp_path, rope, changes):
    model = adapted(llama(rope, **changes))
    write_language_model(Language(model), tmp_path, "float32")
    decoder, prompt = decoder_of(tmp_path), embeds()
    decoder.prefill(prompt[:8])
    for row in prompt[8:]:
        hidden = decoder.prefill(row[None])
    wanted_hidden, wanted_logits = expected(model, prompt)
    assert worst(hidden, wanted_hidden) < 1e-5
    assert worst(decoder.logits(), wanted_logits) < 1e-5


@pytest.mark.parametrize(
    ("weights", "allowed"), [("float16", 2e-3), ("int8", 3e-2), ("int4", 0.3), ("int4_symmetric", 0.4)]
)
@pytest.mark.parametrize("tied", [True, False])
def test_smaller_weights_stay_near(tmp_path, weights, allowed, tied):
    model = adapted(llama(tie_word_embeddings=tied))
    write_language_model(Language(model), tmp_path, weights)
    decoder, prompt = decoder_of(tmp_path), embeds()
    hidden = decoder.prefill(prompt)
    wanted_hidden, wanted_logits = expected(model, prompt)
    assert worst(hidden, wanted_hidden) < allowed
    assert worst(decoder.logits(), wanted_logits) < allowed


def test_lora_is_merged_as_peft_merges_it_and_the_model_is_left_alone():
    model = adapted(llama())
    layer = model.get_base_model().model.layers[1].self_attn.q_proj
    before, ours = layer.base_layer.weight.clone(), merged(layer)
    assert not torch.equal(ours, before)
    assert torch.equal(layer.base_layer.weight, before)
    whole = model.merge_and_unload().model.layers[1].self_attn.q_proj.weight
    assert (ours - whole).abs().max() < 1e-6


def test_lora_on_frozen_weights_of_half_precision_is_not_rounded_to_theirs():
    model = adapted(llama().to(torch.bfloat16))
    layer = model.get_base_model().model.layers[0].self_attn.v_proj
    delta = layer.get_delta_weight("default").float()
    assert (merged(layer) - layer.base_layer.weight.float() - delta).abs().max() < 1e-7
    assert merged(layer).dtype == torch.float32


@pytest.mark.parametrize("weights", ["float32", "int8", "int4"])
def test_the_same_weights_give_the_same_bytes(tmp_path, weights):
    one, two = (
        write_language_model(Language(adapted(llama())), tmp_path / name, weights) for name in ("one", "two")
    )
    assert one == two
    for name, info in one.items():
        content = (tmp_path / "one" / name).read_bytes()
        assert len(content) == info.bytes
        assert content == (tmp_path / "two" / name).read_bytes()
    other = write_language_model(Language(adapted(llama(seed=1))), tmp_path / "three", weights)
    assert other["decoder.onnx.data"] != one["decoder.onnx.data"]


def test_what_lora_changed_keeps_eight_bits_where_the_rest_has_four(tmp_path):
    model = adapted(llama())
    write_language_model(Language(model), tmp_path / "lora", "int4")
    write_language_model(Language(model.merge_and_unload()), tmp_path / "merged", "int4")

    def bits(folder):
        nodes = onnx.load(tmp_path / folder / "decoder.onnx", load_external_data=False).graph.node
        found = [n for n in nodes if n.op_type == "MatMulNBits"]
        return {n.output[0].split(".")[2]: a.i for n in found for a in n.attribute if a.name == "bits"}

    assert bits("lora") == {"qkv": 8, "out": 4, "gate_up": 4, "down": 4}
    assert set(bits("merged").values()) == {4}
    prompt = embeds()
    hidden = {}
    for folder in ("lora", "merged"):
        hidden[folder] = decoder_of(tmp_path / folder).prefill(prompt).copy()
    wanted, _ = expected(adapted(llama()), prompt)
    assert worst(hidden["lora"], wanted) < worst(hidden["merged"], wanted)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0}}, "rope_type"),
    ],
)
def test_what_the_graphs_do_not_have_is_refused(tmp_path, changes, what):
    with pytest.raises(ConfigError, match=what):
        write_language_model(Language(llama(**changes)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_widths_that_are_no_whole_blocks_are_refused_for_blocks_alone(tmp_path):
    model = llama(intermediate_size=80)
    with pytest.raises(ConfigError, match="ffn 80 .* take float16"):
        write_language_model(Language(model), tmp_path, "int8")
    assert "decoder.onnx" in write_language_model(Language(model), tmp_path, "float16")

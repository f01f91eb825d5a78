"""Greedy answers are torch's, token by token, soft tokens included, with a tied head and with an own one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_model import FFN, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, VOCAB, small_shape
from test_decoder import Arrays, gguf_names

from emollama_ros.language.assemble import write_tensors
from emollama_ros.language.decoder import Decoder, PlainTable
from emollama_ros.language.generation import Bounds, TextWriter

torch = pytest.importorskip("torch", reason="needs torch (pip install .[training])")
transformers = pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")
onnx = pytest.importorskip("onnx", reason="needs onnx to build graphs (pip install .[export])")
PROMPTS, LONGEST = 50, 12


class NoText:
    """Only tokens matter here."""

    @staticmethod
    def decode(tokens):
        return " ".join(map(str, tokens))


def random_llama(is_tied: bool):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, intermediate_size=FFN, vocab_size=VOCAB,
        rms_norm_eps=1e-5, tie_word_embeddings=is_tied, max_position_embeddings=128, initializer_range=0.15,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def built(model, folder: Path) -> Decoder:
    """The same weights in ONNX, with a head of its own where the model has one."""
    from model_export.llama_graph import decoder_graph

    graph, tensors = decoder_graph(small_shape(interleaved=False), "float32")
    (folder / "decoder.onnx").write_bytes(graph.SerializeToString())
    with (folder / "decoder.onnx.data").open("wb") as out:
        write_tensors(tensors, Arrays(gguf_names(model)), out)
    rows = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    embeddings = rows["model.embed_tokens.weight"]
    head = rows.get("lm_head.weight")
    (folder / "head.onnx").write_bytes(head_of(embeddings if head is None else head).SerializeToString())
    sizes = {"layers": LAYERS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "positions": 128}
    own = None if head is None else PlainTable(head)
    return Decoder(folder / "decoder.onnx", PlainTable(embeddings), sizes, 1, 128, own)


def head_of(weights: np.ndarray):
    tensor = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Gemm", ["hidden", "weights"], ["logits"], transB=1)
    graph = onnx.helper.make_graph(
        [node], "head", [tensor("hidden", 1, [1, HIDDEN])], [tensor("logits", 1, [1, VOCAB])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def prompts(table, seed: int = 0) -> list[np.ndarray]:
    """Embeddings of words with soft tokens between them, of many lengths."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(PROMPTS):
        before, after = (table(random.integers(3, VOCAB, random.integers(2, 20))) for _ in range(2))
        soft = random.normal(0, 1, (random.integers(0, 9), table.hidden)).astype(np.float32)
        made.append(np.concatenate([before, soft, after]))
    return made


def torch_greedy(model, embeds: np.ndarray, count: int) -> list[int]:
    with torch.no_grad():
        made = model.generate(
            inputs_embeds=torch.from_numpy(embeds)[None],
            max_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )
    return made[0].tolist()


@pytest.mark.parametrize("is_tied", [True, False])
def test_greedy_answers_to_fifty_prompts_are_those_of_torch(is_tied, tmp_path):
    model = random_llama(is_tied)
    decoder = built(model, tmp_path)
    for embeds in prompts(decoder.embed):
        decoder.restore(0)
        made = TextWriter(decoder, NoText, bounds=Bounds(max_tokens=LONGEST)).write(embeds)
        assert list(made.tokens) == torch_greedy(model, embeds, LONGEST)
    assert decoder.scores(range(VOCAB)) == pytest.approx(decoder.logits(), abs=2e-4)

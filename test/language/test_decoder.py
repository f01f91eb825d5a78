"""The graph computes a LLaMA, and the loop keeps its caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_model import FFN, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, VOCAB, layer_shapes, small_shape

from emollama_ros.bundle import Bundle, default_bundle_path
from emollama_ros.errors import BundleError, EngineError
from emollama_ros.language.assemble import LAYOUT, TOKENIZER, assemble, read_layout, write_tensors
from emollama_ros.language.decoder import Decoder, EmbeddingTable
from emollama_ros.language.generation import Bounds, Sampling, TextWriter
from emollama_ros.language.guesses import Guesses
from emollama_ros.language.packing import PACKINGS
from emollama_ros.language.phrases import CLAUSES, claims, unexplained
from emollama_ros.language.prompts import PromptMaker
from emollama_ros.language.tokenizer import Tokenizer

pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install .[cpu])")
TOKENS = [5, 17, 99, 250, 17, 3, 64, 128, 200, 11]


class Arrays:
    """Weights from a dictionary."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays

    def floats(self, name: str) -> np.ndarray:
        return self._arrays[name]


def rms(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5) * weight


def rotate(x: np.ndarray, theta: float) -> np.ndarray:
    """Rotary embedding of (heads, n, dim) whose neighbours are pairs."""
    angle = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(x.shape[2] // 2) * 2 / x.shape[2])
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2] = even * np.cos(angle) - odd * np.sin(angle)
    out[..., 1::2] = odd * np.cos(angle) + even * np.sin(angle)
    return out


def reference(floats, embeds: np.ndarray, theta: float = 10_000.0) -> np.ndarray:
    """A LLaMA in plain NumPy: normed hidden state (hidden,) of the last position."""
    x, n = embeds.astype(np.float64), len(embeds)
    heads = lambda y: y.reshape(n, -1, HEAD_DIM).swapaxes(0, 1)  # noqa: E731
    for layer in range(LAYERS):
        w = lambda name, layer=layer: floats(f"blk.{layer}.{name}.weight").astype(np.float64)  # noqa: E731
        h = rms(x, w("attn_norm"))
        q, k, v = (heads(h @ w(f"attn_{part}").T) for part in "qkv")
        q, k = rotate(q, theta), rotate(k, theta)
        k, v = (y.repeat(HEADS // KV_HEADS, axis=0) for y in (k, v))
        score = q @ k.swapaxes(1, 2) / np.sqrt(HEAD_DIM) + np.triu(np.full((n, n), -1e9), 1)
        score = np.exp(score - score.max(-1, keepdims=True))
        attended = (score / score.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(n, -1)
        x = x + attended @ w("attn_output").T
        h = rms(x, w("ffn_norm"))
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    return rms(x, floats("output_norm.weight"))[-1]


def build(
    folder: Path, source, table: EmbeddingTable, weights: str, capacity: int = 64, checks=False, **shape
) -> Decoder:
    """Write a decoder with its weights into ``folder`` and load it."""
    from model_export.llama_graph import decoder_graph, head_graph

    model, tensors = decoder_graph(small_shape(**shape), weights, checks=checks)
    (folder / "decoder.onnx").write_bytes(model.SerializeToString())
    if checks:
        head, head_tensors = head_graph(small_shape(**shape), checks=True)
        (folder / "head.onnx").write_bytes(head.SerializeToString())
        with (folder / "embed_tokens.bin").open("wb") as out:
            write_tensors(head_tensors, source, out)
    with (folder / "decoder.onnx.data").open("wb") as out:
        write_tensors(tensors, source, out)
    sizes = {"layers": LAYERS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "positions": 128}
    return Decoder(folder / "decoder.onnx", table, sizes, threads=1, capacity=capacity)


@pytest.fixture(scope="module")
def table(small) -> EmbeddingTable:
    codes, scale = (
        PACKINGS[f"q8_0.{k}"](small.source, ["token_embd.weight"], {}) for k in ("codes", "scale")
    )
    return EmbeddingTable(codes, scale)


@pytest.fixture(scope="module")
def decoder(small, tmp_path_factory) -> Decoder:
    folder = tmp_path_factory.mktemp("assembled")
    assemble(small.wheel, small.folder, folder)
    return Decoder.load(folder, threads=1, capacity=64)


@pytest.fixture
def fresh(decoder) -> Decoder:
    decoder.restore(0)
    return decoder


@pytest.mark.parametrize(
    ("weights", "error"),
    [("float32", 1e-4), ("int4_zero", 0.02), ("int4", 0.06), ("int8", 0.06), ("int8_wide", 0.08)],
)
def test_every_weight_format_computes_the_model(small, table, tmp_path, weights, error):
    decoder = build(tmp_path, small.source, table, weights)
    truth = reference(small.source.floats, table(TOKENS))
    found = decoder.extend(TOKENS)
    assert np.abs(found - truth).max() / np.abs(truth).max() < error


def test_halves_and_neighbours_are_the_same_model(small, table, tmp_path):
    """Rows in the order of transformers, with the other rotary convention, give the same."""

    def to_halves(name: str, weight: np.ndarray) -> np.ndarray:
        if not name.endswith(("attn_q.weight", "attn_k.weight")):
            return weight
        heads = len(weight) // HEAD_DIM
        return weight.reshape(heads, HEAD_DIM // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)

    class Halves:
        @staticmethod
        def floats(name):
            return to_halves(name, small.source.floats(name))

    decoder = build(tmp_path, Halves, table, "float32", interleaved=False)
    truth = reference(small.source.floats, table(TOKENS))
    assert np.abs(decoder.extend(TOKENS) - truth).max() < 1e-4


def test_torch_gives_the_same_logits_and_greedy_tokens(table, tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch (pip install .[training])")
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, intermediate_size=FFN, vocab_size=VOCAB,
        rms_norm_eps=1e-5, tie_word_embeddings=True, max_position_embeddings=128, initializer_range=0.15,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.model.embed_tokens.weight.data = torch.from_numpy(table(range(VOCAB)))
    decoder = build(tmp_path, Arrays(gguf_names(model)), table, "float32", interleaved=False)
    soft = np.random.default_rng(1).normal(0, 1, (4, HIDDEN)).astype(np.float32)
    embeds = np.concatenate([soft, table(TOKENS)])
    with torch.no_grad():
        given = torch.from_numpy(embeds)[None]
        logits = model(inputs_embeds=given).logits[0, -1].numpy()
        greedy = model.generate(inputs_embeds=given, max_new_tokens=25, do_sample=False, pad_token_id=0)
    decoder.prefill(embeds)
    assert np.abs(decoder.scores(range(VOCAB)) - logits).max() < 2e-3
    tokens = []
    for _ in range(25):
        tokens.append(int(decoder.scores(range(VOCAB)).argmax()))
        decoder.step(tokens[-1])
    assert tokens == greedy[0].tolist()


def gguf_names(model) -> dict[str, np.ndarray]:
    """Weights of a transformers model under the names of GGUF."""
    inner, arrays = model.model, {"output_norm.weight": model.model.norm.weight}
    for i, block in enumerate(inner.layers):
        attention, mlp = block.self_attn, block.mlp
        modules = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj,
                   mlp.gate_proj, mlp.up_proj, mlp.down_proj)  # fmt: skip
        arrays |= {f"blk.{i}.{n}.weight": m.weight for n, m in zip(layer_shapes(), modules, strict=True)}
        arrays[f"blk.{i}.attn_norm.weight"] = block.input_layernorm.weight
        arrays[f"blk.{i}.ffn_norm.weight"] = block.post_attention_layernorm.weight
    return {name: weight.detach().numpy() for name, weight in arrays.items()}


def test_one_pass_or_many_give_the_same(small, table, tmp_path):
    decoder = build(tmp_path, small.source, table, "float32")
    whole = decoder.extend(TOKENS).copy()
    for cut in (1, 4, 9):
        decoder.restore(0)
        decoder.extend(TOKENS[:cut])
        assert np.abs(decoder.extend(TOKENS[cut:]) - whole).max() < 1e-4
    decoder.restore(0)
    for token in TOKENS:
        last = decoder.step(token)
    assert np.abs(last - whole).max() < 1e-4


@pytest.mark.parametrize("weights", ["int8", "int4", "float32"])
def test_a_token_has_the_same_scores_alone_and_among_guesses(small, table, tmp_path, weights):
    """Bit by bit: the activations' eight bits would make much of less."""
    decoder = build(tmp_path, small.source, table, weights, checks=True)
    decoder.extend(TOKENS)
    mark, tokens = decoder.snapshot(), [9, 250, 3, 77, 131, 8, 42, 199, 64]
    alone = []
    for token in tokens:
        decoder.step(token)
        alone.append(decoder.logits().copy())
    for count in range(1, len(tokens) + 1):
        decoder.restore(mark)
        decoder.prefill(decoder.embed(tokens[:count]), count)
        for row in range(count):
            assert (decoder.logits(row) == alone[row]).all(), (count, row)
        assert (decoder.logits() == alone[count - 1]).all()


def test_a_graph_that_checks_guesses_computes_the_same_model(small, table, tmp_path):
    decoder = build(tmp_path, small.source, table, "float32", checks=True)
    truth = reference(small.source.floats, table(TOKENS))
    assert np.abs(decoder.extend(TOKENS) - truth).max() / np.abs(truth).max() < 1e-4


def test_rows_that_a_pass_does_not_have_are_refused(small, table, fresh, tmp_path):
    assert not fresh.gives_rows
    with pytest.raises(EngineError, match="2 positions of a pass of 3; this graph gives the last"):
        fresh.prefill(fresh.embed([1, 2, 3]), 2)
    decoder = build(tmp_path, small.source, table, "int8", checks=True)
    assert decoder.gives_rows
    with pytest.raises(EngineError, match="4 positions of a pass of 3; ask for 1 to as many"):
        decoder.prefill(decoder.embed([1, 2, 3]), 4)


def test_the_caches_of_a_graph_that_checks_guesses_can_be_filled(small, table, tmp_path):
    decoder = build(tmp_path, small.source, table, "float32", checks=True, capacity=10)
    whole = reference(small.source.floats, table(TOKENS))
    assert decoder.capacity == len(TOKENS)
    assert np.abs(decoder.extend(TOKENS) - whole).max() < 1e-3
    with pytest.raises(EngineError, match="after 10, room for 1 to 0"):
        decoder.step(1)
    longest = build(tmp_path, small.source, table, "float32", checks=True, capacity=1000)
    assert longest.capacity == 127, "the rotary table has 128"


def test_the_cost_of_a_further_token_is_a_share_and_leaves_no_trace(small, table, fresh, tmp_path):
    assert fresh.cost_of_more() == 1.0
    decoder = build(tmp_path, small.source, table, "int8", checks=True)
    decoder.extend(TOKENS[:4])
    assert 0.15 <= decoder.cost_of_more() <= 1
    assert decoder.position == 4
    after = decoder.extend(TOKENS[4:]).copy()
    decoder.restore(0)
    assert (decoder.extend(TOKENS[:4] + TOKENS[4:]) == after).all()
    full = build(tmp_path, small.source, table, "int8", checks=True, capacity=6)
    full.extend([1] * 3)
    assert full.cost_of_more() == 1.0


def test_fifty_texts_with_guesses_are_those_without(small, table, tmp_path):
    """Greedy, penalised and drawn; what is guessed from are the texts written before."""
    assemble(small.gguf, small.folder, tmp_path)
    tokenizer = Tokenizer.load(tmp_path / TOKENIZER)
    decoder = build(tmp_path, small.source, table, "int8", checks=True, capacity=96)
    guesses, passes, plain_passes = Guesses(cost=0.2), 0, 0
    for seed in range(54):
        random = np.random.default_rng(seed // 2)  # each prompt twice
        prompt = random.normal(0, 1, (12, HIDDEN)).astype(np.float32)
        sampling = (Sampling(), Sampling(repetition_penalty=1.3), Sampling(0.7, 0.8, seed=seed // 2))[
            seed % 3
        ]
        texts = []
        for used in (None, guesses):
            decoder.restore(0)
            writer = TextWriter(decoder, tokenizer, sampling, Bounds(max_tokens=24), guesses=used)
            texts.append(writer.write(prompt, (5, 17)))
        assert texts[0].tokens == texts[1].tokens
        plain_passes, passes = plain_passes + texts[0].passes, passes + texts[1].passes
    assert passes < 0.9 * plain_passes


def test_going_back_leaves_nothing_behind(fresh):
    fresh.extend(TOKENS[:4])
    mark = fresh.snapshot()
    first = fresh.extend(TOKENS[4:]).copy()
    fresh.restore(mark)
    fresh.extend([7] * 20)
    fresh.restore(mark)
    assert (fresh.extend(TOKENS[4:]) == first).all()


def test_scores_are_the_logits_of_the_head(fresh):
    fresh.extend(TOKENS)
    logits, scores = fresh.logits(), fresh.scores(range(VOCAB))
    assert logits.shape == (VOCAB,)
    # The head quantises the hidden state to 8 bits, the scores of a few tokens do not.
    assert np.abs(logits - scores).max() < 0.02 * np.abs(scores).max()
    assert fresh.scores([3, 8]) == pytest.approx(scores[[3, 8]], rel=1e-5)


def test_soft_tokens_stand_where_tokens_could(fresh):
    as_tokens = fresh.extend(TOKENS).copy()
    fresh.restore(0)
    assert (fresh.prefill(fresh.embed(TOKENS)) == as_tokens).all()


def test_full_caches_and_wrong_marks_are_refused(fresh):
    fresh.extend([1] * 60)
    with pytest.raises(EngineError, match="room for 1 to 4"):
        fresh.extend([1] * 5)
    fresh.extend([1] * 4)
    with pytest.raises(EngineError, match="cannot go to position 65"):
        fresh.restore(65)
    fresh.restore(3)
    with pytest.raises(EngineError, match="call prefill first"):
        fresh.scores([1])
    with pytest.raises(EngineError, match="0 more positions"):
        fresh.extend([])


def test_a_bundle_that_is_not_assembled_is_refused(small):
    with pytest.raises(BundleError, match="missing or not .* assemble the bundle"):
        Decoder.load(small.folder)


def test_a_damaged_graph_is_refused(small, tmp_path):
    assemble(small.gguf, small.folder, tmp_path)
    (tmp_path / "decoder.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"decoder\.onnx: cannot be loaded"):
        Decoder.load(tmp_path)


def test_tokenizer_splits_digits_and_never_yields_control_tokens(small, tmp_path):
    assemble(small.gguf, small.folder, tmp_path)
    tokenizer = Tokenizer.load(tmp_path / TOKENIZER)
    text = "at 42 t<|im_end|> naïve 🙂"
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert not {tokenizer.control(c) for c in ("<|im_start|>", "<|im_end|>", "<|endoftext|>")} & set(tokens)
    assert tokenizer.decode([tokenizer.control("<|im_end|>"), *tokens]) == text
    with pytest.raises(BundleError, match="no token"):
        tokenizer.control("<|nothing|>")
    (tmp_path / TOKENIZER).write_text("{}")
    with pytest.raises(BundleError, match="not a tokenizer"):
        Tokenizer.load(tmp_path / TOKENIZER)


@pytest.fixture(scope="module")
def real_folder() -> Path:
    folder = default_bundle_path()
    layout = folder / LAYOUT
    if not layout.is_file() or not all((folder / f.name).is_file() for f in read_layout(layout).files):
        pytest.skip(
            f"{folder}: the language model is not assembled (make setup, or emollama bundle assemble)"
        )
    return folder


def test_the_real_model_says_freely_what_it_has_learnt_to_say(real_folder):
    """Nothing but its weights tells it how reasons are given; LoRA is in them."""
    bundle, tokenizer = Bundle.load(real_folder), Tokenizer.load(real_folder / TOKENIZER)
    maker, decoder = PromptMaker(bundle.manifest.prompt, tokenizer), Decoder.load(real_folder)
    end = tokenizer.control("<|im_end|>")
    asked = maker.after("reason", bundle.manifest.prompt.questions["reason"])
    decoder.extend([*maker.before(), *asked, *tokenizer.encode("The person seems sad:")])
    said: list[int] = []
    while len(said) < 40 and (token := int(decoder.logits().argmax())) != end:
        said.append(token)
        decoder.step(token)
    text = f"The person seems sad:{tokenizer.decode(said)}"
    assert len(said) < 40, "it ends by itself"
    assert {claim for claim in claims(text) if claim in CLAUSES}, text
    assert unexplained(text) == "", text


def test_phrases_of_the_real_tokenizer_never_begin_with_one_another(real_folder):
    """Else ``prefix_free`` would silently take a phrase away."""
    from emollama_ros.language.phrases import CLAUSES

    tokenizer = Tokenizer.load(real_folder / TOKENIZER)
    encoded = [tokenizer.encode(f" {clause}") for clauses in CLAUSES.values() for clause in clauses]
    for one in encoded:
        assert sum(other[: len(one)] == one for other in encoded) == 1


def test_pieces_of_the_real_tokenizer_join_to_the_tokens_of_the_whole(real_folder):
    from emollama_ros.language.phrases import CLAUSES

    tokenizer = Tokenizer.load(real_folder / TOKENIZER)
    for clauses in CLAUSES.values():
        pieces = [
            "The person seems happy",
            ":",
            f" {clauses[0]}",
            ", although",
            f" {clauses[-1]}",
            ".",
            " Voice agrees.",
        ]
        assert [t for p in pieces for t in tokenizer.encode(p)] == list(tokenizer.encode("".join(pieces)))

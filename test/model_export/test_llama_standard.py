"""The decoder of standard operators is the torch model, in whatever batches, lengths and masks it has."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")
onnx = pytest.importorskip("onnx", reason="needs onnx (pip install .[export])")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install .[cpu])")

from small_llama import HIDDEN, adapted, llama, worst  # noqa: E402

from model_export.language_model import TransformersSource, shape_of  # noqa: E402
from model_export.llama_standard import (  # noqa: E402
    StandardFormat,
    hidden_name,
    part_of,
    standard_graph,
    write_standard,
)

SINGLE = StandardFormat("float32", "float32", all_logits=True)
MULTI_HEAD = {"tie_word_embeddings": False, "num_key_value_heads": 4}


class Session:
    """A graph with its caches."""

    def __init__(self, path):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.caches = {}

    def __call__(self, embeds, mask, positions):
        inputs = self.session.get_inputs()
        kind = np.float16 if inputs[0].type == "tensor(float16)" else np.float32
        feeds = {"inputs_embeds": embeds.astype(kind), "attention_mask": mask, "position_ids": positions}
        for entry in inputs[3:]:
            empty = np.zeros((len(embeds), entry.shape[1], 0, entry.shape[3]), kind)
            feeds[entry.name] = self.caches.get(entry.name, empty)
        found = self.session.run(None, feeds)
        names = [o.name.replace("present", "past_key_values") for o in self.session.get_outputs()[1:]]
        self.caches = dict(zip(names, found[1:], strict=True))
        return found[0]


def prompt(batch=2, count=9, masked=()):
    """Embeddings, mask and positions; ``masked`` are (row, position) that must not be attended to."""
    embeds = np.random.default_rng(2).normal(size=(batch, count, HIDDEN)).astype(np.float32)
    mask = np.ones((batch, count), np.int64)
    for place in masked:
        mask[place] = 0
    return embeds, mask, np.maximum(mask.cumsum(1) - 1, 0)


@torch.no_grad()
def expected(model, embeds, mask, positions):
    named = {"inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions}
    return model(**{name: torch.from_numpy(value) for name, value in named.items()}).logits.numpy()


def written(model, path, form=SINGLE):
    write_standard(TransformersSource(model), shape_of(model.config), path, form)
    return path


@pytest.mark.parametrize("changes", [{}, MULTI_HEAD])
def test_prefill_and_steps_equal_torch(tmp_path, changes):
    model = adapted(llama(**changes))
    session = Session(written(model, tmp_path / "decoder.onnx"))
    embeds, mask, positions = prompt()
    wanted = expected(model, embeds, mask, positions)
    found = [session(embeds[:, :5], mask[:, :5], positions[:, :5])]
    found += [session(embeds[:, i : i + 1], mask[:, : i + 1], positions[:, i : i + 1]) for i in (5, 6)]
    found += [session(embeds[:, 7:], mask, positions[:, 7:])]
    assert worst(np.concatenate(found, axis=1), wanted) < 1e-5


def test_masked_tokens_are_as_if_they_were_not_there(tmp_path):
    model = adapted(llama())
    path = written(model, tmp_path / "decoder.onnx")
    embeds, mask, positions = prompt(masked=[(0, slice(0, 3)), (1, slice(4, 7))])
    found = Session(path)(embeds, mask, positions)
    seen = mask.astype(bool)
    assert worst(found[seen], expected(model, embeds, mask, positions)[seen]) < 1e-5
    for row in range(2):
        short = embeds[row, seen[row]][None]
        alone = Session(path)(short, np.ones((1, 6), np.int64), np.arange(6)[None])
        assert worst(found[row, -1], alone[0, -1]) < 1e-5
    other = np.where(seen[..., None], embeds, np.float32(50))
    assert np.array_equal(Session(path)(other, mask, positions)[:, -1], found[:, -1])


def test_the_last_position_alone_is_the_same(tmp_path):
    model = adapted(llama())
    embeds, mask, positions = prompt(masked=[(1, slice(0, 4))])
    last = Session(written(model, tmp_path / "a.onnx", StandardFormat("float32", "float32")))
    whole = Session(written(model, tmp_path / "b.onnx"))
    found = last(embeds, mask, positions)
    assert found.shape == (2, 160)
    assert worst(found, whole(embeds, mask, positions)[:, -1]) < 1e-6


@pytest.mark.parametrize(
    ("weights", "activations", "allowed"),
    [
        ("float16", "float32", 3e-3),
        ("float16", "float16", 2e-2),
        ("int8", "float32", 5e-2),
        ("int8", "float16", 5e-2),
        ("int4", "float32", 0.5),
        ("int4", "float16", 0.5),
    ],
)
def test_smaller_numbers_stay_near_and_are_valid_onnx(tmp_path, weights, activations, allowed):
    model = adapted(llama())
    path = written(model, tmp_path / "decoder.onnx", StandardFormat(weights, activations))
    onnx.checker.check_model(str(path), full_check=True)
    assert {opset.domain for opset in onnx.load(path).opset_import} == {""}
    embeds, mask, positions = prompt(masked=[(1, slice(0, 4))])
    found = Session(path)(embeds, mask, positions)
    assert np.isfinite(found).all()
    assert worst(found, expected(model, embeds, mask, positions)[:, -1]) < allowed


def test_blocks_dequantise_to_what_onnxruntime_multiplies(tmp_path):
    """INT4 has its codes in the right half of the right byte: an identity matrix comes out again."""
    model = llama(tie_word_embeddings=False)
    source = TransformersSource(model)
    path = written(model, tmp_path / "decoder.onnx", StandardFormat("int4", "float32", all_logits=True))
    whole = onnx.load(path)
    node = next(n for n in whole.graph.node if n.op_type == "DequantizeLinear" and "down" in n.output[0])
    kept = [w for w in whole.graph.initializer if w.name in node.input]
    out = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([node], "one", [], [out], kept)
    single = onnx.helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    (found,) = ort.InferenceSession(single.SerializeToString()).run(None, {})
    weight = source.floats("blk.0.ffn_down.weight")
    scale = np.abs(weight.reshape(HIDDEN, -1, 32)).max(-1) / 8
    assert found.shape == weight.T.shape
    # The largest of a block is exact; one of the other sign that is as large is cut by a whole step.
    assert (np.abs(found.T - weight).reshape(HIDDEN, -1, 32) <= scale[..., None] * 1.001).all()
    assert np.corrcoef(found.T.ravel(), weight.ravel())[0, 1] > 0.99


def test_interleaved_pairs_are_turned_as_such(tmp_path):
    """Rows reordered as GGUF has them, and the flag for it, make the same network."""
    from dataclasses import replace

    model = llama()
    shape = shape_of(model.config)

    class Reordered(TransformersSource):
        def floats(self, name):
            weight = super().floats(name)
            if not name.endswith(("attn_q.weight", "attn_k.weight")):
                return weight
            heads = len(weight) // shape.head_dim
            return weight.reshape(heads, 2, shape.head_dim // 2, -1).swapaxes(1, 2).reshape(weight.shape)

    plain, path = written(model, tmp_path / "plain.onnx"), tmp_path / "pairs.onnx"
    write_standard(Reordered(model), replace(shape, interleaved=True), path, SINGLE)
    assert worst(Session(path)(*prompt()), Session(plain)(*prompt())) < 1e-5


@pytest.mark.parametrize("changes", [{}, MULTI_HEAD])
def test_block_by_block_gives_what_the_whole_gives(tmp_path, changes):
    model = adapted(llama(**changes))
    path = written(model, tmp_path / "decoder.onnx", StandardFormat("float32", "float32"))
    whole, shape = onnx.load(path, load_external_data=False), shape_of(model.config)
    embeds, mask, positions = prompt()
    values = {"inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions}
    for layer in range(shape.layers):
        for part in ("key", "value"):
            size = (2, shape.kv_heads, 0, shape.head_dim)
            values[f"past_key_values.{layer}.{part}"] = np.zeros(size, np.float32)
    dims = {"bias": 4 + (shape.heads > shape.kv_heads), "cos": 4, "sin": 4}
    steps = [({}, [hidden_name(0), *dims])]
    steps += [({hidden_name(i): 3, **dims}, [hidden_name(i + 1)]) for i in range(shape.layers)]
    steps += [({hidden_name(shape.layers): 3}, ["logits"])]
    for number, (begins, outputs) in enumerate(steps):
        part = part_of(whole, begins, outputs, onnx.TensorProto.FLOAT)
        file = tmp_path / f"part{number}.onnx"
        onnx.save(part, file)
        session = ort.InferenceSession(str(file))
        found = session.run(outputs, {i.name: values[i.name] for i in session.get_inputs()})
        values |= dict(zip(outputs, found, strict=True))
    assert worst(values["logits"], Session(path)(embeds, mask, positions)) < 1e-6


def test_a_large_model_is_described_in_no_memory():
    """LLaMA-2-7B's graph is made, and its weights are placed, without one of them being held."""
    from model_export.llama_graph import LlamaShape

    shape = LlamaShape(4096, 32, 32, 32, 128, 11008, 32000, 4096, 10_000.0, 1e-5, False)
    model, tensors = standard_graph(shape, StandardFormat("float16"))
    end = tensors[-1].offset + tensors[-1].bytes
    assert model.ByteSize() < 1_000_000
    # Everything but the table of embeddings, which is looked up outside.
    assert abs(end / 2 - (6_738_415_616 - 32000 * 4096)) < 2e6

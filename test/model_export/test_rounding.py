"""Roundings are those of the files that are written, and their cost is measured as what it is."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")

from small_llama import llama  # noqa: E402

from emollama_ros.language.packing import PACKINGS  # noqa: E402
from model_export import rounding  # noqa: E402
from model_export.language_model import TransformersSource  # noqa: E402
from model_export.llama_standard import STANDARD_PACKINGS  # noqa: E402

NAME = "blk.0.ffn_down.weight"


def nibbles(codes):
    return np.stack([codes & 15, codes >> 4], -1).reshape(*codes.shape[:-1], -1).astype(np.float32)


def test_roundings_are_those_of_the_files():
    source = TransformersSource(llama(tie_word_embeddings=False))
    weight = torch.from_numpy(source.floats(NAME))
    packed = {
        name: make(source, [NAME], {}) for name, make in PACKINGS.items() if name.startswith(("int", "q4"))
    }
    stored = {
        "int8": (packed["int8.codes"].astype(np.float32) - 128) * packed["int8.scale"][..., None],
        "int4": (nibbles(packed["q4_1.codes"]) - 8) * packed["q4_1.scale"][..., None]
        + packed["q4_1.rest"].T[..., None],
        "int4_symmetric": (nibbles(packed["int4.codes"]) - 8) * packed["int4.scale"][..., None],
    }
    channel = {
        name: STANDARD_PACKINGS[f"channel8.{name}"](source, [NAME], {}) for name in ("codes", "scale.float32")
    }
    stored["int8_channel"] = channel["codes"].T * channel["scale.float32"][:, None]
    for name, wanted in stored.items():
        found = getattr(rounding, name)(weight).numpy().reshape(len(weight), -1)
        assert np.abs(found - wanted.reshape(found.shape)).max() < 1e-5, name


def test_blocks_with_a_minimum_come_back_as_they_were():
    once = rounding.int4(torch.randn(64, 96))
    assert (rounding.int4(once.reshape(64, 96)) - once).abs().max() < 1e-5
    assert (rounding.int4_rounded_zero(once.reshape(64, 96)) - once).abs().max() > 0.01


def test_the_cost_is_zero_where_nothing_is_lost_and_the_weights_are_put_back():
    model = llama()
    for name, weight in model.named_parameters():
        if "proj" in name:
            weight.data = rounding.int4(weight.data).reshape(weight.shape)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    rows = {row["format"]: row for row in rounding.measure(model, [[5, 9, 17], [3, 80]], end=159, longest=8)}
    assert rows["int4"]["agree"] == 1.0
    assert rows["int4"]["kl"] < 1e-4 < rows["int4_symmetric"]["kl"]
    assert rows["int8"]["kl"] < rows["int4_symmetric"]["kl"]
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())

"""Weights arrive in the graph as they were in the GGUF."""

from __future__ import annotations

import decimal

import numpy as np
import pytest

from emollama_ros.errors import BundleError
from emollama_ros.language.packing import PACKINGS, Packed, pack

NAME = "blk.0.ffn_gate.weight"


def packed(source, kind, names=(NAME,), **options):
    return PACKINGS[kind](source, names, options)


def test_q4_1_codes_give_back_the_weights_exactly(small):
    truth = small.source.floats(NAME)
    codes, scale, zero, rest = (packed(small.source, f"q4_1.{k}") for k in ("codes", "scale", "zero", "rest"))
    nibbles = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*scale.shape, 32).astype(np.float32)
    exact = scale[..., None] * (nibbles - 8) + rest.T[..., None]
    assert np.abs(exact.reshape(truth.shape) - truth).max() < 1e-6
    assert np.abs((scale[..., None] * (nibbles - zero[..., None])).reshape(truth.shape) - truth).max() < 1e-6


def test_int8_is_within_half_a_step(small):
    truth = small.source.floats(NAME)
    codes, scale = packed(small.source, "int8.codes"), packed(small.source, "int8.scale")
    values = (codes.astype(np.float32) - 128) * scale[..., None]
    assert (np.abs(values.reshape(truth.shape) - truth) <= scale.repeat(32, 1) * 0.501).all()


def test_q8_0_embeddings_are_exact(small):
    names = ("token_embd.weight",)
    codes, scale = packed(small.source, "q8_0.codes", names), packed(small.source, "q8_0.scale", names)
    values = ((codes.astype(np.float32) - 128) * scale[..., None]).reshape(len(codes), -1)
    assert (values == small.source.floats("token_embd.weight")).all()


def test_weights_are_stacked_along_the_output(small):
    names = [f"blk.0.attn_{part}.weight" for part in "qkv"]
    stacked = packed(small.source, "float32", names)
    assert (stacked == np.concatenate([small.source.floats(n) for n in names])).all()
    assert packed(small.source, "float32_in_out", names).shape == stacked.shape[::-1]


def test_rotary_tables():
    options = {"theta": 100_000.0, "dim": 64, "positions": 300}
    precision = decimal.getcontext().prec
    assert precision != 40
    cos, sin = (PACKINGS[f"rope.{t}"](None, (), options) for t in ("cos", "sin"))
    angle = np.arange(300)[:, None] * 100_000.0 ** (-np.arange(32) / 32)
    assert np.abs(cos - np.cos(angle)).max() < 1e-7
    assert np.abs(sin - np.sin(angle)).max() < 1e-7
    assert decimal.getcontext().prec == precision, "the caller's decimal precision is left alone"


def test_a_tensor_that_is_not_what_the_layout_says_is_refused(small):
    wrong = Packed("x", 0, "float32", (1, 1), "float32", (NAME,))
    with pytest.raises(BundleError, match="expected"):
        pack(wrong, small.source)
    with pytest.raises(BundleError, match="no tensor 'blk.9'"):
        small.source.floats("blk.9")
    with pytest.raises(BundleError, match="Q4_1"):
        small.source.q8_0(NAME)


def test_size_of_a_packed_array():
    assert Packed("x", 0, "float32", (3, 5), "float32").bytes == 60

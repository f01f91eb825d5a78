"""A preset of random weights goes the whole way: written, checked, run on one window, built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("transformers", reason="needs transformers (pip install .[training])")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript")
pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install .[cpu])")

from emollama_ros.errors import ConfigError  # noqa: E402
from model_export.llama_graph import LlamaShape  # noqa: E402
from model_export.random_preset.report import markdown  # noqa: E402
from model_export.random_preset.sizes import Sizes, WhisperSize, sizes_of  # noqa: E402
from model_export.random_preset.steps import steps  # noqa: E402
from model_export.random_preset.weights import RandomSource  # noqa: E402
from training.presets import load_preset  # noqa: E402

LLAMA = LlamaShape(64, 2, 4, 2, 16, 96, 160, 512, 10_000.0, 1e-5, False)


def small_sizes():
    preset = load_preset("v2_7b")
    vision = preset.vision.model_copy(update={"image_size": 112, "video_size": 56, "frames": 2})
    tokens = preset.tokens.model_copy(update={"image": 16})
    eva = {"width": 32, "heads": 2, "depth": 2, "hidden": 64, "grid": 4, "is_whole": True}
    changed = preset.model_copy(update={"vision": vision, "tokens": tokens})
    return Sizes(changed, eva, WhisperSize(16, 2, 2, 8), LLAMA)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("random")


@pytest.fixture(scope="module")
def found(folder):
    """What each step of each graph that needs no TensorRT found."""
    kept = {"write", "check", "run"}
    todo = steps(small_sizes(), folder)
    return {
        graph: {name: step() for name, step in row.items() if name in kept} for graph, row in todo.items()
    }


def test_every_graph_is_valid_and_runs_one_window(found):
    for graph, done in found.items():
        assert done["check"]["operators"] > 0
        assert done["check"]["checked"] == (graph != "language")
        assert done["run"]["finite"], graph


def test_the_window_has_the_shapes_of_the_network(found):
    assert found["image"]["run"]["outputs"] == {"glance": [1, 32], "image": [1, 16, 128]}
    assert found["frames"]["run"]["outputs"] == {"video": [2, 4, 32]}
    soft = 64 + 16 + 64 + 64
    assert found["fusion"]["run"]["outputs"]["tokens"] == [1, soft, LLAMA.hidden]
    for name in ("decoder_fp16", "decoder_int4", "language"):
        assert found[name]["run"]["positions"] == soft + 60
        assert found[name]["run"]["outputs"]["logits"][-1] == LLAMA.vocab


@pytest.mark.parametrize("name", ["frames", "image", "decoder_fp16", "decoder_int4"])
def test_tensorrt_parses_and_builds_what_was_written(found, folder, name):
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX (pip install .[rtx])")
    todo = steps(small_sizes(), folder)[name]
    for step in todo.keys() & {"build_block", "build"}:
        assert todo[step]()["engine_bytes"] > 0


def test_random_weights_are_the_same_each_time_and_keep_the_size_of_what_flows():
    one, two = (RandomSource(LLAMA).floats("blk.1.ffn_down.weight") for _ in range(2))
    assert np.array_equal(one, two)
    assert one.shape == (64, 96)
    assert not np.array_equal(one, RandomSource(LLAMA).floats("blk.0.ffn_down.weight"))
    assert not np.array_equal(one, RandomSource(LLAMA, seed=1).floats("blk.1.ffn_down.weight"))
    grown = one @ np.random.default_rng(0).normal(size=96)
    assert 0.3 < grown.std() < 1.2
    wide = RandomSource(replace(LLAMA, ffn=9600)).floats("blk.0.ffn_down.weight")
    assert wide.std() < one.std() / 5


def test_sizes_of_the_paper():
    sizes = sizes_of(load_preset("v2_7b"))
    assert sizes.whisper == WhisperSize(1280, 32, 20, 128)
    assert (sizes.llama.hidden, sizes.llama.layers, sizes.llama.kv_heads) == (4096, 32, 32)
    assert not sizes.is_tied
    with pytest.raises(ConfigError, match="efficientnet-lite0"):
        sizes_of(load_preset("tiny"))


def test_the_page_says_what_was_not_done():
    done = {"ok": True, "seconds": 3.0, "peak_gb": 1.0, "own_gb": 0.5}
    report = {
        "preset": "v2_7b", "limit_gb": 10.0, "machine": {"processor": "x", "cores": 2, "memory_gb": 24.0},
        "graphs": {"audio": {
            "bytes": 2e9, "check": {**done, "operators": 7, "checked": True},
            "build": {**done, "ok": False, "why": "needs more than 10 GB"},
        }},
    }  # fmt: skip
    page = markdown(report)
    assert "| audio | 2.00 | 7 | check | checker passes, shapes inferred | 3 | 1.0 | 0.5 |" in page
    assert "**not done**: needs more than 10 GB" in page


def test_a_step_that_fails_is_told_with_its_error(tmp_path):
    """``audio`` cannot run where it was not written; what libraries write behind the error is not it."""
    from model_export.random_preset.steps import _error, _measured

    done = _measured("v2_7b", tmp_path, "audio", "run", limit_gb=10.0)
    assert not done["ok"]
    assert "audio.onnx" in done["why"]
    assert (
        _error(["Traceback", "RuntimeError: no such node", "[TRT] cudaError 35"])
        == "RuntimeError: no such node"
    )


def test_a_step_that_takes_too_much_is_stopped(tmp_path):
    from model_export.random_preset.steps import _measured

    done = _measured("v2_7b", tmp_path, "audio", "run", limit_gb=0.01)
    assert not done["ok"]
    assert done["why"] == "needs more than 0.01 GB"

"""Eight bits: the same bytes again, any length of sound, and what stands rounding badly stays float."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript")

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from emollama_ros.engines import EngineOptions, load_engine  # noqa: E402
from model_export.perception_graphs import export_audio  # noqa: E402
from model_export.quantise import sample_sound, to_int8  # noqa: E402
from training.networks.whisper import WhisperEncoder  # noqa: E402

CPU = EngineOptions("cpu", threads=1)


@pytest.fixture(scope="module")
def sound():
    return sample_sound()[::6]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return WhisperEncoder(width=64, heads=2, layers=2).eval()


@pytest.fixture(scope="module")
def graph(encoder, tmp_path_factory):
    return export_audio(encoder, tmp_path_factory.mktemp("float") / "audio.onnx", half=False)


@pytest.fixture(scope="module")
def int8(graph, sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "audio.onnx"
    shutil.copyfile(graph, path)
    return to_int8(path, sound)


def rms(values):
    return float(np.sqrt(np.square(values).mean()))


def test_the_same_graph_and_sound_give_the_same_bytes_and_fewer(graph, int8, sound, tmp_path):
    again = tmp_path / "audio.onnx"
    shutil.copyfile(graph, again)
    assert to_int8(again, sound).read_bytes() == int8.read_bytes()
    assert int8.stat().st_size < 0.55 * graph.stat().st_size


def test_the_sample_sounds_nearly_as_in_torch_whatever_its_length(encoder, int8, sound):
    engine = load_engine(int8, CPU)
    for length in (1, 40, 399, 400):
        mel = sound[1]["mel"][:, :, :length]
        with torch.no_grad():
            expected = encoder(torch.from_numpy(mel)).numpy()
        found = engine.run({"mel": mel})["layers"]
        assert found.shape == expected.shape and 0 < rms(found - expected) < 0.05 * rms(expected)


def made(tmp_path, name, weights, ends=()):
    """A graph of products one after the other, ``x`` (n, K) to ``y``, and nodes after them."""
    nodes, before = [], "x"
    for i, _ in enumerate(weights):
        nodes.append(helper.make_node("MatMul", [before, f"w{i}"], [f"h{i}"]))
        before = f"h{i}"
        for kind in ends:
            nodes.append(helper.make_node(kind, [before], [f"{kind}{i}"]))
            before = f"{kind}{i}"
    nodes[-1].output[0] = "y"
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weights[0].shape[0]])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weights[-1].shape[1]])
    stored = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    model = helper.make_model(
        helper.make_graph(nodes, name, [given], [gives], stored), opset_imports=[helper.make_opsetid("", 20)]
    )
    model.ir_version = 10
    path = tmp_path / f"{name}.onnx"
    onnx.save(model, path)
    return path


def stored(path):
    return {w.name: numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}


def test_a_product_whose_input_has_outlier_channels_stays_float(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 32)).astype(np.float32)
    x[:, 3] *= 1000
    weight = random.normal(size=(32, 32)).astype(np.float32)
    weight[3] /= 1000  # what is large counts as much as all others
    path = to_int8(made(tmp_path, "outliers", [weight]), [{"x": x}], half=False)
    assert np.array_equal(stored(path)["w0"], weight)
    x[:, 3] /= 1000
    path = to_int8(made(tmp_path, "plain", [weight]), [{"x": x}], half=False)
    assert stored(path)["w0.codes"].dtype == np.int8


def test_what_is_never_negative_uses_codes_of_both_signs_and_keeps_its_zero(tmp_path):
    random = np.random.default_rng(1)
    weights = [random.normal(size=(32, 32)).astype(np.float32) for _ in range(2)]
    x = random.normal(size=(64, 32)).astype(np.float32)
    path = made(tmp_path, "relu", weights, ends=("Relu",))
    exact = load_engine(path, CPU).run({"x": x})["y"]
    engine = load_engine(to_int8(path, [{"x": x}]), CPU)
    shift, scale = (stored(path)[f"h1.{what}"] for what in ("shift", "scale"))
    assert shift > 100 * scale and float(shift / scale).is_integer() and "h0.shift" not in stored(path)
    assert rms(engine.run({"x": x})["y"] - exact) < 0.02 * rms(exact)

"""Choosing an engine: what is asked for runs, or is refused by name."""

import numpy as np
import pytest

from emollama_ros.engines import EngineOptions, load_engine
from emollama_ros.engines import onnx_runtime as ort
from emollama_ros.engines.base import cuda_available
from emollama_ros.errors import ConfigError, EngineError

pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'emollama_ros[cpu]'")


@pytest.fixture
def graph(tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs onnx (make test installs it)")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n"])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n"])
    model = helper.make_model(
        helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value], [out]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    path = tmp_path / "neg.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_runs_on_the_cpu(graph):
    engine = load_engine(graph, EngineOptions("cpu", threads=1))
    assert engine.run({"x": np.array([1, -2], np.float32)})["y"].tolist() == [-1, 2]
    assert engine.device.startswith("cpu (onnxruntime ")


def test_an_unknown_kind_lists_what_there_is():
    with pytest.raises(ConfigError, match="'gpu'.*auto, cpu, cuda, tensorrt"):
        EngineOptions("gpu")


def test_no_threads_is_refused():
    with pytest.raises(ConfigError, match="threads is 0"):
        EngineOptions(threads=0)


@pytest.mark.skipif(cuda_available(), reason="a GPU is present: asking for it succeeds")
@pytest.mark.parametrize("kind", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_is_refused_not_replaced(graph, kind):
    with pytest.raises(EngineError, match=f"{kind}.*libcuda"):
        load_engine(graph, EngineOptions(kind))


def test_a_driver_without_a_provider_names_the_package(monkeypatch):
    monkeypatch.setattr(ort, "cuda_available", lambda: True)
    with pytest.raises(EngineError, match="onnxruntime-gpu"):
        ort.resolve_kind("tensorrt")


def test_auto_takes_the_cpu_where_the_provider_is_missing(monkeypatch):
    monkeypatch.setattr(ort, "cuda_available", lambda: True)
    if "CUDAExecutionProvider" in ort.import_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    assert ort.resolve_kind("auto") == "cpu"


def test_a_damaged_graph_is_named(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="broken.onnx"):
        load_engine(path, EngineOptions("cpu"))


def test_wrong_inputs_are_an_engine_error(graph):
    with pytest.raises(EngineError, match="inference failed"):
        load_engine(graph, EngineOptions("cpu")).run({"z": np.zeros(1, np.float32)})


def test_the_library_that_a_provider_lacks_is_named():
    listing = """
        libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)
        libcublasLt.so.13 => not found
        libcudnn.so.9 => not found
        linux-vdso.so.1 (0x00007ffc)
    """
    assert ort.missing_libraries(listing) == ("libcublasLt.so.13", "libcudnn.so.9")

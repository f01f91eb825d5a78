"""TensorRT: plans and memory with a fake of it, and every graph of the bundle with TensorRT-RTX itself."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.bundle import Bundle, packaged_path
from emollama_ros.engines import EngineOptions, loading
from emollama_ros.engines import tensorrt_api as api
from emollama_ros.engines import tensorrt_build as building
from emollama_ros.engines.tensorrt import MOST_GRAPHS, TensorRtEngine
from emollama_ros.engines.tensorrt_build import BuildOptions, Target, ensure_engine
from emollama_ros.engines.tensorrt_graph import PreparedGraph, foreign_operators, prepare
from emollama_ros.errors import ConfigError, EngineError
from emollama_ros.preprocess.image import to_model_frame

onnx = pytest.importorskip("onnx", reason="needs onnx (make test installs it)")

_spec = importlib.util.spec_from_file_location("fake_tensorrt", Path(__file__).with_name("fake_tensorrt.py"))
fake = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake)

HERE = Target("tensorrt", "10.3.0", "NVIDIA Orin", "8.7")
GRAPHS = ("vision", "audio", "fusion", "text")


def write_neg(path, shape=("batch", 3), op="Neg", domain=""):
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)) for name in "xy")
    model = helper.make_model(
        helper.make_graph([helper.make_node(op, ["x"], ["y"], domain=domain)], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def graph(tmp_path):
    return write_neg(tmp_path / "neg.onnx")


@pytest.fixture
def options(tmp_path):
    return BuildOptions(cache_dir=tmp_path / "cache")


@pytest.fixture
def cuda():
    return fake.FakeCuda()


@pytest.fixture
def trt(cuda):
    return api.TensorRt("tensorrt", fake.fake_module(cuda))


def engine_of(trt, cuda, graph, options):
    built = ensure_engine(graph, trt, HERE, options)
    return TensorRtEngine(graph.name, built.path.read_bytes(), trt, cuda, "fake")


# --- plans ------------------------------------------------------------------------------------------------


def test_profiles_come_from_the_names_of_dimensions():
    prepared = PreparedGraph(Path("g.onnx"), b"", {"x": ("batch", 4, "time"), "fixed": (2, 3)})
    found = building.profile_of(prepared, {"time": (1, 5, 9)})
    least, usual, largest = (building.RANGES["batch"][i] for i in range(3))
    assert found == {"x": ((least, 4, 1), (usual, 4, 5), (largest, 4, 9))}


@given(st.tuples(*[st.integers(-2, 20)] * 3))
def test_a_profile_is_in_order_or_refused(sizes):
    prepared = PreparedGraph(Path("g.onnx"), b"", {"x": ("n",)})
    if 0 <= sizes[0] <= sizes[1] <= sizes[2]:
        assert building.profile_of(prepared, {"n": sizes})["x"] == tuple((size,) for size in sizes)
    else:
        with pytest.raises(EngineError, match="range of 'n'"):
            building.profile_of(prepared, {"n": sizes})


def test_a_dimension_without_a_range_is_named_with_the_option_that_gives_one():
    prepared = PreparedGraph(Path("g.onnx"), b"", {"x": ("weather",)})
    with pytest.raises(EngineError, match=r"g\.onnx.*'weather' of input 'x'.*--range weather="):
        building.profile_of(prepared, {})


def test_ranges_are_read_or_refused():
    assert building.parse_ranges(["frames=1,2,3"]) == {"frames": (1, 2, 3)}
    for text in ("frames", "frames=1,2", "frames=a,b,c"):
        with pytest.raises(ConfigError, match="least,usual,largest"):
            building.parse_ranges([text])
    with pytest.raises(ConfigError, match="workspace_mb is 0"):
        BuildOptions(workspace_mb=0)


def test_the_key_changes_with_everything_an_engine_depends_on(options):
    places = {
        building.engine_path("g", building.identity(digest, target, how), Path("c"))
        for digest, target, how in [
            ("a", HERE, options),
            ("b", HERE, options),
            ("a", replace(HERE, version="10.16.1"), options),
            ("a", replace(HERE, flavour="rtx"), options),
            ("a", replace(HERE, gpu="NVIDIA Thor"), options),
            ("a", replace(HERE, capability="11.0"), options),
            ("a", HERE, replace(options, fp16=True)),
            ("a", HERE, replace(options, workspace_mb=64)),
            ("a", HERE, replace(options, ranges={"batch": (1, 2, 3)})),
        ]
    }
    assert len(places) == 9


@pytest.mark.parametrize(("strongly_typed", "flags"), [(True, 2), (False, 0)])
def test_networks_are_strongly_typed_where_that_is_still_a_choice(
    graph, options, cuda, strongly_typed, flags
):
    trt = api.TensorRt("tensorrt", fake.fake_module(cuda, strongly_typed=strongly_typed))
    ensure_engine(graph, trt, HERE, replace(options, workspace_mb=64))
    made = trt.module.made
    assert made.flags == flags and made.pools == {"workspace": 64 << 20}
    assert made.profiles[0].shapes == {"x": ((1, 3), (1, 3), (4, 3))}


def test_a_second_start_builds_nothing(graph, options, trt):
    first, second = (ensure_engine(graph, trt, HERE, options) for _ in range(2))
    assert first.is_new and not second.is_new and trt.module.made.builds == 1
    assert second.record["gpu"] == "NVIDIA Orin" and second.record["precision"] == "fp32"
    ensure_engine(graph, trt, HERE, replace(options, fp16=False, workspace_mb=99))
    assert trt.module.made.caches == [b"", b"timings"]  # the second build starts from the first one's timings


def damage_engine(path):
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def truncate_engine(path):
    path.write_bytes(path.read_bytes()[:-1])


def lose_record(path):
    path.with_suffix(".json").unlink()


def garble_record(path):
    path.with_suffix(".json").write_text("[]")


def foreign_record(path):
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(record | {"gpu": "another"}))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (damage_engine, "damaged"),
        (truncate_engine, "damaged"),
        (lose_record, "record"),
        (garble_record, "record"),
        (foreign_record, "something else"),
    ],
)
def test_an_engine_that_cannot_be_trusted_is_built_anew(graph, options, trt, spoil, why):
    spoil(ensure_engine(graph, trt, HERE, options).path)
    again = ensure_engine(graph, trt, HERE, options)
    assert again.is_new and why in again.why
    assert not ensure_engine(graph, trt, HERE, options).is_new


def test_another_graph_or_gpu_gets_an_engine_of_its_own(graph, options, trt, tmp_path):
    ensure_engine(graph, trt, HERE, options)
    assert ensure_engine(graph, trt, replace(HERE, gpu="another"), options).is_new
    assert ensure_engine(write_neg(tmp_path / "neg.onnx", ("batch", 4)), trt, HERE, options).is_new
    assert len(list(options.cache_dir.glob("*.engine"))) == 3


@pytest.mark.parametrize("fails", ["parse: no such layer", "build: out of memory"])
def test_a_refusal_names_the_graph_and_what_was_said(graph, options, cuda, fails):
    trt = api.TensorRt("tensorrt", fake.fake_module(cuda, fails=fails))
    with pytest.raises(EngineError, match=rf"neg\.onnx: TensorRT 10\.3\.0 cannot .*{fails[7:]}"):
        ensure_engine(graph, trt, HERE, options)
    assert not list(options.cache_dir.glob("*.engine"))


def test_operators_of_onnx_runtime_are_refused_by_name_and_skipped_in_a_bundle(tmp_path, options, trt):
    path = write_neg(tmp_path / "own.onnx", op="MatMulNBits", domain="com.microsoft")
    assert foreign_operators(path) == ("com.microsoft.MatMulNBits",)
    with pytest.raises(EngineError, match=r"own\.onnx: has com\.microsoft\.MatMulNBits"):
        prepare(path)
    graphs = {"own": path, "neg": write_neg(tmp_path / "neg.onnx"), "absent": tmp_path / "absent.onnx"}
    found = dict(building.build_all(graphs, replace(trt), options))
    assert "com.microsoft.MatMulNBits" in found["own"] and found["absent"] == "not assembled"
    assert found["neg"].is_new


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"broken\.onnx: not an ONNX graph"):
        prepare(path)


def test_a_start_takes_what_was_built_before_whatever_its_ranges(graph, options, trt, tmp_path):
    def found():
        return building.find_engine(graph, HERE, options.cache_dir)

    assert found() is None
    wide = ensure_engine(graph, trt, HERE, replace(options, ranges={"batch": (1, 2, 32)}))
    assert found().path == wide.path
    half = ensure_engine(graph, trt, HERE, replace(options, fp16=True))
    assert found().path == half.path
    damage_engine(half.path)
    assert found().path == wide.path
    assert building.find_engine(graph, replace(HERE, version="11"), options.cache_dir) is None


# --- running ----------------------------------------------------------------------------------------------


def test_an_engine_runs_and_replays_shapes_that_come_again(graph, options, trt, cuda):
    engine = engine_of(trt, cuda, graph, options)
    for turn in range(4):
        x = np.full((2, 3), turn + 1, np.float32)
        assert (engine.run({"x": x})["y"] == -x).all()
    assert cuda.launched == 3 and len(cuda.graphs) == 1  # the first visit runs, the second is captured
    assert engine.inputs == {"x": ("float32", (None, 3))} and engine.outputs == {"y": ("float32", (None, 3))}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_any_number_of_rows_in_any_order_gives_what_it_should(rows):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        cuda = fake.FakeCuda()
        trt = api.TensorRt("tensorrt", fake.fake_module(cuda))
        where = Path(folder)
        engine = engine_of(trt, cuda, write_neg(where / "neg.onnx"), BuildOptions(cache_dir=where))
        held = len(cuda.memory)
        for number, count in enumerate(rows):
            x = np.arange(count * 3, dtype=np.float32).reshape(count, 3) + number
            assert (engine.run({"x": x})["y"] == -x).all()
        assert len(cuda.memory) == held, "memory is taken once"
        assert len(cuda.graphs) <= MOST_GRAPHS
        engine.close()
        assert not cuda.memory and not cuda.graphs


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"z": np.zeros((1, 3), np.float32)}, "takes"),
        ({"x": np.zeros((1, 3), np.float64)}, "float64"),
        ({"x": np.zeros((1, 4), np.float32)}, "wider --range"),
        ({"x": np.zeros(3, np.float32)}, "float32"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(graph, options, trt, cuda, inputs, why):
    with pytest.raises(EngineError, match=f"inference failed: .*{why}"):
        engine_of(trt, cuda, graph, options).run(inputs)


def test_a_serialised_engine_that_does_not_load_is_an_error(trt, cuda):
    with pytest.raises(EngineError, match=r"neg\.onnx: TensorRT 10\.3\.0 cannot load.*magic tag"):
        TensorRtEngine("neg.onnx", b"junk", trt, cuda, "fake")


# --- choosing ---------------------------------------------------------------------------------------------


def test_tensorrt_itself_comes_before_the_provider(monkeypatch):
    monkeypatch.setattr(loading, "cuda_available", lambda: True)
    monkeypatch.setattr(loading, "installed", lambda: ("tensorrt",))
    choice = loading.choose(EngineOptions("tensorrt"))
    assert choice.is_native and "module is installed" in choice.why


def test_without_tensorrt_the_error_names_module_and_provider(monkeypatch):
    def refuse(kind):
        raise EngineError("this onnxruntime has no TensorrtExecutionProvider")

    monkeypatch.setattr(loading, "cuda_available", lambda: True)
    monkeypatch.setattr(loading, "installed", lambda: ())
    monkeypatch.setattr(loading, "resolve_kind", refuse)
    with pytest.raises(EngineError, match="tensorrt_rtx is installed, and .*TensorrtExecutionProvider"):
        loading.choose(EngineOptions("tensorrt"))
    monkeypatch.setattr(loading, "resolve_kind", lambda kind: kind)
    assert not loading.choose(EngineOptions("tensorrt")).is_native


def test_nothing_is_imported_without_a_driver(monkeypatch):
    monkeypatch.setattr(api, "cuda_available", lambda: False)
    monkeypatch.setattr(api.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(api.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(EngineError, match="tensorrt needs a CUDA driver.*tensorrt_rtx needs"):
        api.load_tensorrt()
    with pytest.raises(EngineError, match="flavour is 'lean'"):
        api.load_tensorrt("lean")


def test_auto_says_why(monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    choice = loading.choose(EngineOptions("auto"))
    assert choice.kind in ("cpu", "cuda") and choice.why.startswith("auto: ")


# --- TensorRT-RTX, which builds without a GPU --------------------------------------------------------------


@pytest.fixture(scope="module")
def rtx():
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: pip install '.[rtx]'")
    return api.load_tensorrt("rtx", to_build=True)


@pytest.mark.parametrize("fp16", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_of_the_bundle_builds(rtx, tmp_path, name, fp16):
    path = packaged_path() / Bundle.load(packaged_path(), verify=False).graph(name).file
    how = BuildOptions(fp16=fp16, workspace_mb=256, cache_dir=tmp_path)
    target = Target("rtx", rtx.version, "cpu-only build", "any")
    first = ensure_engine(path, rtx, target, how)
    assert first.is_new and first.record["engine_bytes"] > 500_000
    assert not ensure_engine(path, rtx, target, how).is_new


def test_half_precision_makes_engines_smaller(rtx, tmp_path):
    target = Target("rtx", rtx.version, "cpu-only build", "any")
    sizes = [
        ensure_engine(
            packaged_path() / "text.onnx", rtx, target, BuildOptions(fp16=fp16, cache_dir=tmp_path)
        ).record["engine_bytes"]
        for fp16 in (True, False)
    ]
    assert sizes[0] < 0.6 * sizes[1]


def test_what_rtx_cannot_parse_is_named(rtx, tmp_path):
    path = write_neg(tmp_path / "odd.onnx", op="NoSuchOperator")
    with pytest.raises(EngineError, match=r"odd\.onnx: TensorRT-RTX .* cannot parse it: .*NoSuchOperator"):
        ensure_engine(path, rtx, HERE, BuildOptions(cache_dir=tmp_path))


@pytest.mark.parametrize("fp16", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("name", GRAPHS)
def test_prepared_graphs_compute_what_they_did(tmp_path, name, fp16):
    """By ONNX Runtime on the CPU: what is rewritten for TensorRT must be the same network."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from emollama_ros.engines.onnx_runtime import OnnxRuntimeEngine

    original = packaged_path() / f"{name}.onnx"
    other = tmp_path / f"{name}.onnx"
    other.write_bytes(prepare(original, fp16).data)
    engines = [OnnxRuntimeEngine(path, EngineOptions("cpu", threads=1)) for path in (original, other)]
    assert engines[0].inputs == engines[1].inputs and engines[0].outputs == engines[1].outputs
    inputs = made_up(engines[0].inputs)
    expected, found = (engine.run(inputs) for engine in engines)
    for output, value in expected.items():
        given, wanted = found[output].astype(float), value.astype(float)  # a mask counts as 0 and 1
        error = np.linalg.norm(given - wanted) / (np.linalg.norm(wanted) or 1.0)
        # Half precision moves the glimpse by a hair: 2 % on frames of the bundled sample, 6 % on blotches.
        assert error < ((1e-1 if name == "vision" else 2e-2) if fp16 else 1e-6), output


def made_up(signature):
    random = np.random.default_rng(0)
    sizes = {"mel": 200, "ngrams": 20}
    inputs = {}
    for name, (dtype, shape) in signature.items():
        fixed = tuple(d if isinstance(d, int) else sizes.get(name, 2) for d in shape)
        if np.dtype(dtype).kind == "f":
            inputs[name] = random.normal(0, 0.5, fixed).astype(dtype)
        else:
            inputs[name] = random.integers(0, 255, fixed).astype(dtype)
    if "frames" in inputs:
        # Blotches, as pictures are: every pixel of noise is another, and a glimpse a hair beside is unlike.
        coarse = random.integers(0, 255, (2, 8, 8, 3)).astype(np.uint8)
        inputs["frames"] = np.stack([to_model_frame(picture) for picture in coarse])
    if "present" in inputs:
        inputs["present"][:] = 1
    return inputs

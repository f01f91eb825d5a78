"""The benchmark's own arithmetic: a wrong percentile or a forgotten hash would make all figures worthless."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import __main__ as command
from benchmark import record, tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = sorted((ROOT / "benchmark" / "results").glob("*.json"))
finite = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)


@given(st.lists(finite, min_size=1, max_size=300))
def test_summary_lies_within_its_values_and_says_how_many(values):
    found = record.summary(values, digits=12)
    assert found["n"] == len(values)
    order = [found[name] for name in ("min", "p50", "p95", "p99", "max") if name in found]
    assert all(a <= b + 1e-9 * abs(b) + 1e-9 for a, b in zip(order, order[1:], strict=False))
    assert found["min"] == pytest.approx(min(values)) and found["max"] == pytest.approx(max(values))


def test_summary_of_known_values():
    assert record.summary(range(101), digits=6) == {
        "n": 101,
        "mean": 50.0,
        "min": 0,
        "p50": 50.0,
        "p95": 95.0,
        "p99": 99.0,
        "max": 100.0,
    }


@pytest.mark.parametrize(("count", "has"), [(19, set()), (20, {"p95"}), (99, {"p95"}), (100, {"p95", "p99"})])
def test_percentiles_need_enough_values(count, has):
    assert {"p95", "p99"} & set(record.summary(range(count))) == has


def test_summary_refuses_nothing_and_what_is_no_number():
    with pytest.raises(ValueError, match="no values"):
        record.summary([])
    with pytest.raises(ValueError, match="1 of 2"):
        record.summary([1.0, float("nan")])


@given(finite, st.integers(1, 9))
def test_significant_digits_keep_the_value(value, digits):
    assert record.significant(value, digits) == pytest.approx(value, rel=0.5 * 10 ** (1 - digits) * 1.01)


def test_document_is_whole_and_names_no_place(tmp_path):
    file = tmp_path / "clip.bin"
    file.write_bytes(b"abc")
    found = record.document("system", {"seed": 0}, [file], {"stages": {}})
    text = record.write(found, tmp_path / "out").read_text()
    check_schema(json.loads(text))
    assert json.loads(text)["inputs_sha256"] == {
        "clip.bin": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }
    assert str(tmp_path) not in text and str(ROOT) not in text


def test_file_name_tells_the_machine():
    assert record.tag({"processor": "AMD EPYC 7R13 Processor", "cores": 2}) == "amd-epyc-7r13-2c"
    assert (
        record.tag({"processor": "Intel(R) Core(TM) i7-11700 CPU @ 2.50GHz", "cores": 8})
        == "intel-core-i7-11700-8c"
    )
    assert record.tag({"processor": "x", "cores": 1, "device": "NVIDIA H100"}) == "nvidia-h100"


def check_schema(document):
    assert document["schema"] == record.SCHEMA
    assert {"what", "machine", "versions", "commit", "settings", "inputs_sha256", "results"} <= set(document)
    assert {"processor", "cores", "memory_gb", "load_average_before"} <= set(document["machine"])
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in document["inputs_sha256"].values())
    assert "seed" in document["settings"]
    for path, found in summaries(document["results"]):
        assert found["n"] > 0, path
        assert found["min"] <= found["p50"] <= found["max"], path


def summaries(results, path=""):
    if isinstance(results, dict):
        if {"n", "p50", "min", "max"} <= set(results):
            yield path, results
        for name, inner in results.items():
            yield from summaries(inner, f"{path}.{name}")


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.name)
def test_committed_results_follow_the_schema(path):
    document = json.loads(path.read_text())
    check_schema(document)
    assert next(summaries(document["results"]), None), "a result without one summary measures nothing"
    assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text())


def test_document_shows_the_committed_results():
    text = tables.DOCUMENT.read_text()
    assert tables.inserted(text, tables.table(tables.load(ROOT / "benchmark" / "results"))) == text, (
        "run: python -m benchmark table --write"
    )


def test_table_shows_the_figures_of_a_document():
    summary = record.summary(range(1, 101))
    results = {
        "stages": {"total_ms": summary},
        "graph": {"with_reasoning": {"age_ms": summary, "dropped": {"audio_samples": 0}}},
    }
    made = tables.table([record.document("system", {"seed": 0, "quick": True}, [], results)])
    assert "| a 4 s window, all stages | ms | 100 | 50.5 | 95 | 99 | 100 |" in made
    assert "| dropped audio samples | 0 |" in made
    assert "mean nothing" in made


def test_every_row_of_the_table_has_a_path_of_its_own():
    paths = [path for _, _, path in (*tables.ROWS, *tables.FACTS)]
    assert len(paths) == len(set(paths))


def test_table_of_another_schema_is_refused(tmp_path):
    (tmp_path / "old.json").write_text('{"schema": 0}')
    with pytest.raises(ValueError, match=r"old\.json: schema 0"):
        tables.load(tmp_path)


def test_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "stages,speed"])
    assert "speed: no such part" in capsys.readouterr().err


def trace(ends, frame_gap=False):
    """Notes of a graph in which everything takes a known time."""
    stamps = [round(i * 1e9 / 30) for i in range(120) if not (frame_gap and i == 60)]
    images = [(s, s + 1_000_000, s + 3_000_000, s + 3_500_000, s + 4_000_000) for s in stamps]
    estimates = [
        {"start_ns": end - 4 * 10**9, "end_ns": end, "at_ns": end + 80_000_000, "stage_ms": {"total": 60.0}}
        for end in ends
    ]
    counts = {"audio_samples": 900, "audio_lost": 0, "frames_received": len(stamps), "windows_skipped": 0}
    return {"messages": {"image": images, "audio": images}, "estimates": estimates, "counts": counts}


def test_figures_of_a_graph():
    graph = pytest.importorskip("benchmark.graph", reason="needs the packages of the demo")
    ends = [10 * 10**9 + i * 500_000_000 for i in range(30)]
    heard = graph.Heard(states=[(e - 4 * 10**9, e, e + 82_000_000, e + 83_000_000, 75.0) for e in ends])
    heard.states.insert(0, (0, 10**9, 9 * 10**9, 9 * 10**9, 9000.0))  # an early window, shorter: left out
    heard.texts = [
        (0, ends[0], ends[0] + 10**9, 3, 300.0, False),
        (0, ends[0], ends[0] + 2 * 10**9, 20, 500.0, True),
    ]
    found = graph.summarise(heard, trace(ends, frame_gap=True), {"frames": 120, "samples": 1000})
    assert found["age_ms"]["n"] == 30 and found["age_ms"]["max"] == 82.0
    assert found["age_at_listener_ms"]["p50"] == 83.0
    assert found["waiting_ms"]["p50"] == 7.0
    assert found["overhead"]["estimate_to_publish_ms"]["p50"] == 2.0
    assert found["overhead"]["image"]["sent_to_arrival_ms"]["p50"] == 2.0
    assert found["overhead"]["image"]["arrival_to_buffer_ms"]["p50"] == 1.0
    assert found["dropped"] == {
        "audio_samples": 100,
        "audio_gaps_samples": 0,
        "frames": 1,
        "windows_skipped": 0,
    }
    assert found["frames_missing_at_s"] == [1.97]
    assert found["reasonings"]["first_words_ms"]["max"] == 300.0
    assert found["reasonings"]["tokens_s"]["p50"] == 40.0
    assert tables.lost_samples({"results": {"graph": {"with_reasoning": found}}}) == 100


def test_a_state_sent_again_is_no_news():
    graph = pytest.importorskip("benchmark.graph", reason="needs the packages of the demo")
    heard = graph.Heard()
    for end, sent in ((1, 10), (2, 20), (2, 90), (3, 95)):
        heard.take((0, end, sent, sent, 0.0))
    assert [state[1:3] for state in heard.states] == [(1, 10), (2, 20), (3, 95)] and heard.repeated == 1


def test_labels_are_compared_with_those_of_labels_alone():
    graph = pytest.importorskip("benchmark.graph", reason="needs the packages of the demo")
    sent = [i * 500_000_000 for i in range(11)]
    assert graph.rate_hz([(0, 0, at, 0, 0.0) for at in sent]) == 2.0
    assert graph.rate_hz([(0, 0, 5, 0, 0.0)]) == 0.0
    runs = graph.compared({"with_reasoning": {"labels_hz": 1.9}, "labels_only": {"labels_hz": 2.0}})
    assert runs["with_reasoning"]["labels_hz_over_labels_only"] == 0.95
    assert graph.compared({"with_reasoning": {"labels_hz": 1.9}}) == {"with_reasoning": {"labels_hz": 1.9}}


def test_aims_say_whether_they_were_reached():
    results = {
        "growth": {"window": {"vision_long_costs_times": {"n": 3, "p50": 1.3}}},
        "engines": {"threads_1": {"fusion": {"torch_over_onnxruntime": {"n": 3, "p50": 1.99}}}},
        "ros": {"null_engine": {"processes": {"perception": {"cpu_percent_of_a_core": 15.1}}}},
    }
    made = "\n".join(tables.aims(results))
    assert "2 s, same hop | at most 1.3 x | 1.3 x | yes |" in made
    assert "fusion | at least 2 x | 1.99 x | no |" in made
    assert "ROS part alone | at most 15 % of a core | 15.1 % of a core | no |" in made
    assert len(tables.aims(results)) == 3 + 3 and tables.aims({}) == []


def side(**changes):
    states = [(0, 4 * 10**9, 5 * 10**9, 5 * 10**9, 0.0), (4 * 10**9, 8 * 10**9, 9 * 10**9, 9 * 10**9, 0.0)]
    usage = {"cpu_percent_of_a_core": 30.0, "peak_resident_mb": 400.0}
    return {"states": states, "lost": 16_000, "usage": usage} | changes


def test_nodes_side_by_side():
    side_by_side = pytest.importorskip("benchmark.side_by_side", reason="needs the packages of the demo")
    rounds = [side_by_side.Round(**side()), side_by_side.Round(**side(lost=0, states=[]))]
    found = side_by_side.summarise(rounds, seconds=10.0)
    assert (found["results"], found["results_a_second"]) == (2, 0.1)
    assert found["age_when_sent_ms"]["min"] == found["age_when_sent_ms"]["max"] == 1000.0
    read = found["age_when_read_ms"]  # from 1 s to 5 s old, then a new one until the clip ends at 10 s
    assert read["n"] == 500 and read["min"] == 1000.0 and read["max"] == 4990.0
    assert (found["audio_samples_lost"], found["audio_lost_percent"]) == (16_000, 5.0)
    silent = side_by_side.summarise([side_by_side.Round(**side(states=[]))], seconds=10.0)
    assert silent["results_a_second"] == 0 and "age_when_sent_ms" not in silent
    made = "\n".join(tables.side_by_side({"clip_s": 10.0, "here": found, "straightforward": silent}))
    assert "2 x 10 s each | here | straightforward node |" in made
    assert "| age of a result when it is sent, p50, ms | 1000 | - |" in made
    assert "| results a second | 0.1 | 0 |" in made


def test_sound_is_lost_where_no_window_has_it():
    side_by_side = pytest.importorskip("benchmark.side_by_side", reason="needs the packages of the demo")
    assert side_by_side.lost_samples({"audio_samples": 990, "audio_lost": 5}, 1000) == 15
    assert side_by_side.lost_samples({"samples": 950, "samples_used": 900, "samples_pending": 30}, 1000) == 70


def test_growth_is_the_ratio_turn_by_turn():
    growth = pytest.importorskip("benchmark.growth", reason="needs the packages of the demo")
    assert [growth.in_turn(turn, "a", "b") for turn in range(3)] == [("a", "b"), ("b", "a"), ("a", "b")]
    taken = {"vision_short_ms": [1.0, 2.0, 4.0, 8.0], "vision_long_ms": [2.0, 2.0, 4.0, 16.0]}
    found = growth._compared(taken, "vision")
    assert found["vision_long_costs_times"] == {"n": 4, "p25": 1.0, "p50": 1.5, "p75": 2.0}
    assert found["vision_short_ms"]["max"] == 8.0 and found["vision_long_ms"]["n"] == 4


def test_sources_share_nothing_but_a_microphone():
    growth = pytest.importorskip("benchmark.growth", reason="needs the packages of the demo")
    from emollama_ros.streams import AudioSpan, FrameBatch, Window

    random = np.random.default_rng(0)
    frames = FrameBatch(np.array([1, 2]), random.integers(0, 255, (2, 64, 64, 3), np.uint8))
    window = Window(0, 10**9, frames, AudioSpan(0, random.normal(size=16_000).astype(np.float32), 1.0), "")
    made = growth.of_several(window, growth.SOURCES, one_microphone=False)
    assert len({image.tobytes() for one in made for image in one.frames.images}) == 2 * growth.SOURCES
    assert len({one.audio.samples.tobytes() for one in made}) == growth.SOURCES
    faces = growth.of_several(window, growth.SOURCES, one_microphone=True)
    assert all(one.audio is window.audio for one in faces)
    assert [one.frames.images.tobytes() for one in faces] == [one.frames.images.tobytes() for one in made]
    assert growth.of_several(Window(0, 1), 2, one_microphone=False) == [Window(0, 1)] * 2


def test_lost_sound_of_every_run_is_counted():
    run = {"dropped": {"audio_samples": 1, "audio_gaps_samples": 2}}
    results = {
        "graph": {"labels_only": run, "with_reasoning": run},
        "ros": {"null_engine": run, "bare_subscriber": {"counts": {}}},
        "side_by_side": {"here": {"audio_samples_lost": 10}, "straightforward": {"audio_samples_lost": 500}},
    }
    assert tables.lost_samples({"results": results}) == 19
    assert tables.lost_samples({"results": {}}) == 0


def test_engines_are_compared_block_by_block():
    engines = pytest.importorskip("benchmark.engines", reason="needs the packages of the demo")
    asked = []

    def engine(name, factor):
        def ask(network, runs):
            asked.append((name, runs))
            return [factor * (1 + (len(asked) - 1) // 2)] * runs  # both get slower as the machine gets busier

        return ask

    found = engines.compared(
        {"onnxruntime": engine("onnx", 2.0), "torch": engine("torch", 3.0)}, "vision", 40
    )
    assert [name for name, _ in asked] == ["onnx", "torch"] * 4
    assert found["onnxruntime_ms"]["n"] == found["torch_ms"]["n"] == 40
    assert found["torch_over_onnxruntime"] == {"n": 4, "p25": 1.5, "p50": 1.5, "p75": 1.5}
    assert set(engines.compared({"onnxruntime": engine("onnx", 1.0)}, "vision", 4)) == {"onnxruntime_ms"}


def test_networks_of_an_engine_are_given_what_its_graphs_take():
    """The fusion in torch is that of the bundle: same inputs, same outputs."""
    engines = pytest.importorskip("benchmark.engines", reason="needs the packages of the demo")
    torch = pytest.importorskip("torch", reason="needs torch")
    from emollama_ros.bundle import Bundle
    from emollama_ros.errors import BundleError

    try:
        folder = Bundle.load().path
    except BundleError as error:
        pytest.skip(str(error))
    graphs = engines.onnx_runs(folder, 1)
    with torch.enable_grad():  # gives back afterwards what the benchmark switches off for its own process
        networks = engines.torch_runs(folder, torch.get_num_threads())
        given = dict(zip(("logits", "affect", "soft_tokens", "soft_mask"), networks["fusion"](), strict=True))
    assert set(graphs) == set(networks) == {"vision", "audio_4s", "audio_padded_to_30s", "fusion"}
    out = graphs["fusion"]()
    assert {n: value.shape for n, value in out.items()} == {n: tuple(v.shape) for n, v in given.items()}


def test_usage_of_a_process_that_works_and_ends():
    """A process that computes for a known CPU time is seen to use that time."""
    import subprocess
    import sys

    from benchmark.processes import UsageMeter, cpu_seconds

    if not Path("/proc/self/stat").exists():
        pytest.skip("reads /proc, which is Linux")
    busy = "import time\nprint(flush=True)\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=-1, stdout=-1, text=True) as process:
        process.stdout.readline()
        meter = UsageMeter(process.pid)
        before = cpu_seconds(Path("/proc") / str(process.pid))
        process.stdout.readline()
        meter.note()
        used = meter.usage()
        process.communicate("\n")
    meter.note()  # of a process that is gone: changes nothing
    assert meter.usage() == used
    assert used.cpu_percent * used.seconds / 100 == pytest.approx(0.5 - before, abs=0.06)
    assert 1 < used.resident_mb <= used.peak_mb


def test_clip_is_what_a_camera_and_a_microphone_give(tmp_path):
    pytest.importorskip("av", reason="needs PyAV")
    from benchmark import clip
    from emollama_ros.streams.media import open_media

    made = clip.make_clip(ROOT / "emollama_ros" / "samples" / "sample.mp4", tmp_path / "clip.mkv", 2.0)
    info = open_media(made)
    assert (info.width, info.height, info.rate, info.channels) == (640, 480, 16000, 1)
    assert clip.count(made) == {"frames": 60, "samples": 32000}
    assert Fraction(info.fps).limit_denominator(1001) == clip.FPS


def test_decoding_step_equals_that_of_transformers():
    torch = pytest.importorskip("torch", reason="needs torch")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    from benchmark.llama_step import LlamaStep, Shape

    shape = Shape(2, 32, 4, 2, 48, 50)
    step = LlamaStep(shape, 8, torch.float64, "cpu")
    reference = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            rope_theta=shape.theta,
        )
    ).double()
    reference.load_state_dict(hugging_face_state(step))
    tokens = []
    step.begin(0, 7)
    for _ in range(5):
        tokens.append(int(step.token))
        step.step()
    stepped = step.logits.clone()
    with torch.no_grad():
        logits = reference(torch.tensor([tokens])).logits[0, -1]
        step.prefill(step.embedding[torch.tensor(tokens)])
    assert np.allclose(step.logits, stepped, rtol=1e-6, atol=1e-8)
    assert int(step.position) == len(tokens)
    # The tables of angles are float32 in both, and rounded once.
    assert np.allclose(step.logits, logits, rtol=1e-5, atol=1e-6)


def hugging_face_state(step):
    state = {
        "model.embed_tokens.weight": step.embedding,
        "model.norm.weight": step.norm,
        "lm_head.weight": step.head,
    }
    kv, heads, size = step.shape.kv_heads, step.shape.heads, step.shape.head
    for number, block in enumerate(step.blocks):
        name = f"model.layers.{number}"
        query, key, value = block.qkv.split([heads * size, kv * size, kv * size])
        gate, up = block.gate_up.chunk(2)
        parts = {
            "input_layernorm": block.attention_norm,
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": block.out,
            "post_attention_layernorm": block.mlp_norm,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": block.down,
        }
        state |= {f"{name}.{part}.weight": weight for part, weight in parts.items()}
    return state


def test_bytes_of_a_decoding_step_are_those_of_its_weights():
    torch = pytest.importorskip("torch", reason="needs torch")
    from benchmark.llama_step import LlamaStep, Shape

    shape = Shape(3, 32, 4, 2, 48, 50)
    step = LlamaStep(shape, 10, torch.bfloat16, "cpu")
    weights = [
        step.norm,
        step.head,
        *(w for b in step.blocks for n, w in vars(b).items() if n not in ("keys", "values")),
    ]
    one_row = shape.width
    assert shape.bytes_a_step(0) == 2 * (sum(w.numel() for w in weights) + one_row)
    cache = sum(b.keys.numel() + b.values.numel() for b in step.blocks)
    assert shape.bytes_a_step(10) - shape.bytes_a_step(0) == 2 * cache


def test_gpu_benchmark_runs_on_the_cpu(tmp_path):
    pytest.importorskip("torch", reason="needs torch")
    from benchmark import gpu

    path = gpu.main(["--out", str(tmp_path), "--smoke"])
    document = json.loads(path.read_text())
    check_schema(document)
    assert document["results"]["skipped"] == []
    assert set(document["results"]["stages"]) == {
        "frame_encoder_1",
        "frame_encoder_8",
        "whisper_tiny_4s",
        "perception_net",
    }
    for found in document["results"]["stages"].values():
        assert found["relative_error"]["cpu_fp32"] < 1e-4
    for found in document["results"]["preset"].values():
        assert found["flops"] > 0 and found["relative_error"]["device_fp32"] < 1e-5
    (language,) = document["results"]["decode"].values()
    assert language["relative_error"]["cpu_fp32"]["prefill"] < 1e-5
    made = tables.table([document])
    for row in ("perception_net | bf16", "| eva_frames |", "| tiny | 8 |"):
        assert row in made


def test_stages_of_a_preset_have_the_shapes_of_the_published_model():
    """Counted on the meta device: nothing is computed, so that full sizes can be checked anywhere."""
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("transformers", reason="needs transformers")
    from benchmark import gpu_preset

    found = gpu_preset.stages(gpu_preset.PresetPlan())
    assert tuple(found) == gpu_preset.NAMES
    with torch.device("meta"):
        built = {name: stage.build() for name, stage in found.items()}
        outputs = {
            name: built[name].eval()(*(torch.empty(shape) for shape in stage.shapes))
            for name, stage in found.items()
        }
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in built.items()}
    whole_eva = 1_011_146_112 + 2 * 1408  # and the norm behind it, which has no learned values as released
    assert counts["eva_image"] == counts["eva_frames"] == whole_eva
    assert counts["whisper"] == 636_968_960
    assert outputs["eva_image"][1].shape == (1, 256, 5632)
    assert outputs["eva_frames"].shape == (1, 64, 1408) and outputs["whisper"].shape == (1, 64, 1280)
    assert outputs["fusion_adapters_head"][2].shape == (1, 448, 4096)


def test_training_step_is_measured_on_the_cpu(tmp_path):
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("peft", reason="needs peft")
    from benchmark import gpu

    path = gpu.main(["--out", str(tmp_path), "--tiny", "--only", "training"])
    document = json.loads(path.read_text())
    check_schema(document)
    assert document["results"]["skipped"] == [] and "stages" not in document["results"]
    (found,) = document["results"]["training"].values()
    assert found["step_ms"]["n"] == 2 and found["tokens"] == 24 + 21
    assert found["losses"][1] < found["losses"][0]  # the same batch again: it was learnt
    assert "training step, bf16" in tables.table([document])


def test_operations_of_a_training_step_are_those_of_its_products():
    """The formula of the model FLOPs against the counter of PyTorch, which sees every product."""
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("peft", reason="needs peft")
    from dataclasses import replace

    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from benchmark import gpu_training
    from training.curriculum.memory import sizes_of_network
    from training.presets import load_preset

    plan = replace(gpu_training.TINY, batch=1)
    preset = load_preset("tiny")
    net = gpu_training.build(plan, preset, "cpu")
    step = gpu_training.stepper(net, plan, "cpu")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    told = gpu_training.flops_a_step(net, plan, sizes_of_network(net, preset))
    assert told == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_what_does_not_fit_is_said_before_it_is_tried(monkeypatch):
    torch = pytest.importorskip("torch", reason="needs torch")
    from benchmark import gpu_training

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (12 * 10**9, 16 * 10**9))
    with pytest.raises(RuntimeError, match=r"does not fit: needs about 1\d\.\d GB, 12\.0 GB are free"):
        gpu_training.measure_step(gpu_training.StepPlan(), "cuda", 1e12)


def test_training_is_compared_on_the_same_samples(tmp_path, capsys):
    pytest.importorskip("accelerate", reason="needs accelerate")
    from emollama_ros.errors import BundleError
    from training.packaged_weights import WHISPER_TINY_EN, locate, read_efficientnet

    try:
        locate(WHISPER_TINY_EN)
        read_efficientnet()
    except BundleError as error:
        pytest.skip(str(error))
    assert command.main(["training", "--quick", "--out", str(tmp_path)]) == 0
    document = json.loads(next(tmp_path.glob("training-*.json")).read_text())
    check_schema(document)
    ours, loop = document["results"]["ours"], document["results"]["loop"]
    for epoch in ("epoch_1", "epoch_2"):
        assert ours[epoch]["loss"] == pytest.approx(loop[epoch]["loss"], rel=0.15)  # dropout, padded sound
    assert document["results"]["ratio_epoch_2"] > 1
    assert "| straightforward loop |" in tables.table([document])

"""Training that can be killed, split among processes, and trusted to say when it went wrong."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("accelerate", reason="needs accelerate (make test installs it)")

from safetensors.torch import load_file, save_file  # noqa: E402
from small_system import digest, small_corpus, small_preset, small_trainer, train_and_tell  # noqa: E402
from together import CLIPS, SHARDED, STEPS, write_clips  # noqa: E402

from emollama_ros.errors import BundleError, ConfigError, InputError  # noqa: E402
from training.curriculum.network import load_trained, trained_state  # noqa: E402
from training.curriculum.processes import checked_settings  # noqa: E402
from training.curriculum.report import scores_of  # noqa: E402
from training.curriculum.trainer import DivergedError, rate_at  # noqa: E402
from training.presets import CONFIGS  # noqa: E402

HERE = Path(__file__).parent


def losses(out, *, if_any=False):
    if if_any and not (out / "log.jsonl").exists():
        return []
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_both_stages_are_trained_and_told(tmp_path):
    weights = small_trainer(tmp_path / "f", tmp_path / "out").run()
    log = losses(tmp_path / "out")
    assert [(entry["stage"], entry["step"]) for entry in log] == [(s, i) for s in (0, 1) for i in range(6)]
    assert (
        weights == tmp_path / "out" / "weights.safetensors" and (tmp_path / "out" / "loss.png").stat().st_size
    )
    other = small_trainer(tmp_path / "f", tmp_path / "other")
    before = {k: v.clone() for k, v in trained_state(other._module.net).items()}
    load_trained(other._module.net, weights)
    assert sum(not torch.equal(before[k], v) for k, v in trained_state(other._module.net).items()) > 20


def test_it_learns(tmp_path):
    options = {"steps": 80, "rate": 1e-2, "save_every": 1000, "modality_dropout": 0.0}
    small_trainer(tmp_path / "f", tmp_path / "out", **options).run()
    first = [entry for entry in losses(tmp_path / "out") if entry["stage"] == 0]
    # The language model is random, and LoRA alone cannot make it speak.
    for name, share in (("label", 0.3), ("affect", 0.9), ("answer", 0.999)):
        assert sum(e[name] for e in first[-9:]) < share * sum(e[name] for e in first[:9]), name


@pytest.mark.parametrize("stops", [(1,), (3, 4), (6, 1), (5, 5)])
def test_a_run_in_pieces_ends_as_one_in_a_piece(tmp_path, stops):
    whole = small_trainer(tmp_path / "f", tmp_path / "whole").run()
    for steps in stops:
        small_trainer(tmp_path / "f", tmp_path / "pieces").run(stop_after=steps)
    pieces = small_trainer(tmp_path / "f", tmp_path / "pieces").run()
    assert digest(whole) == digest(pieces)
    assert losses(tmp_path / "whole") == losses(tmp_path / "pieces")


def environment():
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


def test_a_killed_run_ends_as_one_that_was_not(tmp_path, monkeypatch):
    whole = digest(small_trainer(tmp_path / "f", tmp_path / "whole").run())
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    server = multiprocessing.get_context("forkserver")  # imports once for all three
    server.set_forkserver_preload(["small_system"])
    messages = []
    for kill_at in (("step", 0, 3), ("step", 1, 0), None):
        ours, theirs = server.Pipe(duplex=False)
        process = server.Process(target=train_and_tell, args=(tmp_path / "killed", theirs))
        process.start()
        theirs.close()
        messages = list(iter_until(ours, kill_at))
        if kill_at:
            assert messages[-1] == kill_at
            process.kill()
        process.join(120)
        assert process.exitcode == (-9 if kill_at else 0)
    assert messages[-1] == ("done", whole) and len(messages) < 13  # it did not start anew


def iter_until(pipe, last):
    """Messages up to ``last``, or to the end of the process."""
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        yield message
        if message == last:
            return


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes did, started with the settings of FSDP that are documented, but on CPUs."""
    folder = tmp_path_factory.mktemp("together")
    settings = yaml.safe_load((CONFIGS / "accelerate" / "fsdp.yaml").read_text())
    settings |= {"num_processes": 2, "use_cpu": True, "main_process_port": 0}
    (folder / "fsdp.yaml").write_text(yaml.safe_dump(settings))
    write_clips(folder)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(folder / "fsdp.yaml")]
    command = [*launch, str(HERE / "together.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_two_processes_learn_what_one_does_with_twice_the_accumulation(together, tmp_path):
    small_trainer(tmp_path / "f", tmp_path / "one", **STEPS, accumulate=2).run()
    assert_same_losses(losses(tmp_path / "one"), losses(together / "ddp"), 40)


def assert_same_losses(ours, theirs, steps):
    assert len(ours) == len(theirs) == steps
    for a, b in zip(ours, theirs, strict=True):
        assert a["total"] == pytest.approx(b["total"], abs=1e-4), (a, b)


def test_sharded_weights_learn_the_same_and_resume(together, tmp_path):
    trainer = small_trainer(tmp_path / "f", tmp_path / "one", **SHARDED, accumulate=4)
    weights = load_file(trainer.run())
    assert_same_losses(losses(tmp_path / "one"), losses(together / "fsdp"), 16)
    found = load_file(together / "fsdp" / "weights.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.allclose(found[name], weights[name], atol=1e-4) for name in weights)
    told = [json.loads((together / f"fsdp.{process}.json").read_text()) for process in (0, 1)]
    assert sum(process["kept"] for process in told) == pytest.approx(1)
    assert all(0.4 < process["kept"] < 0.6 for process in told)  # no process keeps all of a weight
    expected = scores_of(trainer._module.net, trainer.examples)
    for process in told:
        assert process["scores"]["answers"]["stage 1"]["own"] == pytest.approx(
            expected["answers"]["stage 1"]["own"], abs=1e-3
        )


def test_a_run_with_sharded_weights_may_go_on_without(together, tmp_path):
    shutil.copytree(together / "half", tmp_path / "half")
    options = {**SHARDED, "accumulate": 2}
    small_trainer(tmp_path / "f", tmp_path / "half", **options).run(stop_after=1)
    files = [where / "half" / "checkpoint" / "optimizer.safetensors" for where in (together, tmp_path)]
    before, after = map(load_file, files)
    assert before.keys() == after.keys()
    steps = [name for name in after if name.startswith("step/")]
    assert steps and all((before[name], after[name]) == (5, 6) for name in steps)


def test_processes_encode_each_clip_once_between_them(together):
    told = [json.loads((together / f"shared.{process}.json").read_text()) for process in (0, 1)]
    good = {f"clip{i}.mp4" for i in range(CLIPS)}
    ours, theirs = (process["decoded"][:-1] for process in told)  # the last: the one that failed
    assert len(ours) == len(theirs) == CLIPS // 2 and {*ours, *theirs} == good
    assert [process["records"] for process in told] == [[f"clip{i}" for i in range(CLIPS)]] * 2
    for process in (0, 1):
        said = (together / f"encoded.{process}").read_text().split()
        assert said == told[process]["decoded"][:-1]
        expected = f"javanese_av/clip{process}: cannot be encoded: RuntimeError: out of memory"
        assert told[process]["failure"] == expected


def test_sharded_weights_need_processes(tmp_path):
    with pytest.raises(ConfigError, match="torchrun --nproc-per-node N"):
        small_trainer(tmp_path / "f", tmp_path / "out", sharded=True).run()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("VERSION", "1", "fsdp_version: 1 .* set it to 2"),
        ("OFFLOAD_PARAMS", "true", "fsdp_offload_params: true"),
        ("ACTIVATION_CHECKPOINTING", "true", "language.checkpointing"),
    ],
)
def test_settings_of_fsdp_that_are_not_followed_are_refused(monkeypatch, name, value, said):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setenv(f"FSDP_{name}", value)
    with pytest.raises(ConfigError, match=said):
        checked_settings()


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_clip(tmp_path):
    with pytest.raises(DivergedError, match=r"stage 1, step \d+: .* clips: javanese_av/clip3/emotion\."):
        small_trainer(tmp_path / "f", tmp_path / "out", poisoned=3, modality_dropout=0.0).run()


def test_a_checkpoint_of_another_preset_is_refused(tmp_path):
    small_trainer(tmp_path / "f", tmp_path / "out").run(stop_after=2)
    with pytest.raises(BundleError, match="another preset"):
        small_trainer(tmp_path / "f", tmp_path / "out", rate=1e-3).run()


def test_a_damaged_checkpoint_is_named(tmp_path):
    small_trainer(tmp_path / "f", tmp_path / "out").run(stop_after=2)
    weights = tmp_path / "out" / "checkpoint" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BundleError, match="weights.safetensors: cannot be read"):
        small_trainer(tmp_path / "f", tmp_path / "out").run()


def test_a_save_that_was_killed_between_its_renames_is_ended(tmp_path):
    small_trainer(tmp_path / "f", tmp_path / "out").run(stop_after=3)
    (tmp_path / "out" / "checkpoint").rename(tmp_path / "out" / "checkpoint.old")
    (tmp_path / "out" / "checkpoint.part").mkdir()
    whole = small_trainer(tmp_path / "f", tmp_path / "whole").run()
    assert digest(small_trainer(tmp_path / "f", tmp_path / "out").run()) == digest(whole)


def test_the_rate_warms_up_and_falls_as_a_cosine():
    stage = small_preset(steps=100, warmup=10).curriculum[0]
    rates = [rate_at(stage, step) for step in range(100)]
    assert rates[0] == stage.least_rate and rates[10] == pytest.approx(stage.rate)
    assert rates[55] == pytest.approx((stage.rate + stage.least_rate) / 2)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False)) and rates[-1] < 2e-2 * stage.rate


def test_batches_do_not_depend_on_where_a_run_goes_on(tmp_path):
    trainer = small_trainer(tmp_path / "f", tmp_path / "out")
    stage = trainer.preset.curriculum[0]

    def drawn(first, process=0, processes=1, count=6):
        batches = trainer.examples.batches(stage, first, process, processes)
        return [next(batches) for _ in range(count)]

    whole = drawn(0)
    assert [b.keys for b in drawn(3, count=3)] == [b.keys for b in whole[3:]]
    halves = [drawn(0, process, 2, 3) for process in (0, 1)]
    assert [b.keys for pair in zip(*halves, strict=True) for b in pair] == [b.keys for b in whole]
    for one, two in zip(whole[3:], drawn(3, count=3), strict=True):
        assert torch.equal(one.ids, two.ids) and torch.equal(one.features.present, two.features.present)


def test_a_stage_leaves_out_what_only_another_weighs(tmp_path):
    trainer = small_trainer(tmp_path / "f", tmp_path / "out")
    corpus = trainer.examples.corpus
    other = corpus.records[0].with_changes(source="emodb", id="other")
    key = next(iter(corpus._keys.values()))
    both = type(corpus)((*corpus.records, other), {**corpus._keys, other.key[:2]: key}, corpus._cache)
    first, second = trainer.preset.curriculum
    maker = replace(trainer.examples, corpus=both)
    stage = first.model_copy(update={"weights": {"javanese_av": 1.0, "emodb": 1.0}})
    drawn = {name: [next(batches).keys for _ in range(20)] for name, batches in {
        "first": maker.batches(stage, 0, 0, 1), "second": maker.batches(second, 0, 0, 1)
    }.items()}  # fmt: skip
    sources = {name: {key.split("/")[0] for keys in rows for key in keys} for name, rows in drawn.items()}
    assert sources == {"first": {"javanese_av", "emodb"}, "second": {"javanese_av"}}


def test_a_stage_with_nothing_to_learn_is_told_before_the_first_begins(tmp_path):
    trainer = small_trainer(tmp_path / "f", tmp_path / "out")
    first, second = trainer.preset.curriculum
    stages = (first, second.model_copy(update={"weights": {"emodb": 1.0}}))
    trainer.preset = trainer.preset.model_copy(update={"curriculum": stages})
    with pytest.raises(ConfigError, match="nothing to draw from"):
        trainer.run()
    assert losses(tmp_path / "out", if_any=True) == []


def test_modalities_are_dropped_as_often_as_asked(tmp_path):
    trainer = small_trainer(tmp_path / "f", tmp_path / "out", modality_dropout=0.5)
    batches = trainer.examples.batches(trainer.preset.curriculum[0], 0, 0, 1)
    present = torch.cat([next(batches).features.present for _ in range(200)])
    deaf, blind = (~present[:, 0]).float().mean(), (~present[:, 1]).float().mean()
    assert 0.15 < deaf < 0.35 and 0.15 < blind < 0.35 and present[:, :2].any(-1).all()


def test_a_corpus_leaves_out_what_has_no_features(tmp_path):
    corpus = small_corpus(tmp_path / "f")
    assert len(corpus.records) == 12
    assert len(type(corpus)(corpus.records, {("javanese_av", "clip1"): "key1"}, corpus._cache).records) == 1


# --- weights to start from ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The folder of an earlier run."""
    folder = tmp_path_factory.mktemp("earlier")
    small_trainer(folder / "f", folder / "out").run()
    return folder / "out"


def begun(trainer):
    """Weights after no step at all."""
    trainer._begin()
    return {name: value.clone() for name, value in trained_state(trainer._module.net).items()}


def test_a_run_begins_with_the_weights_of_another(tmp_path, earlier):
    expected = load_file(earlier / "weights.safetensors")
    for path in (earlier, earlier / "weights.safetensors", earlier / "checkpoint"):
        found = begun(small_trainer(tmp_path / "f", tmp_path / path.name, begin=path))
        assert found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in found)


def test_a_checkpoint_goes_before_what_was_begun_with(tmp_path, earlier):
    small_trainer(tmp_path / "f", tmp_path / "out", begin=earlier).run(stop_after=2)
    reached = load_file(tmp_path / "out" / "checkpoint" / "weights.safetensors")
    found = begun(small_trainer(tmp_path / "f", tmp_path / "out", begin=earlier))
    assert all(torch.equal(found[name], reached[name]) for name in reached)
    with pytest.raises(BundleError, match="another preset"):
        small_trainer(tmp_path / "f", tmp_path / "out").run()


def test_released_weights_lack_what_is_ours_alone_and_that_is_said(tmp_path, earlier, capsys):
    released = {
        name: value
        for name, value in load_file(earlier / "weights.safetensors").items()
        if not name.startswith(("head.", "fusion.absent"))
    }
    (tmp_path / "released").mkdir()
    save_file(released, tmp_path / "released" / "emotion_llama.safetensors")
    new = begun(small_trainer(tmp_path / "f", tmp_path / "new"))
    found = begun(small_trainer(tmp_path / "f", tmp_path / "out", begin=tmp_path / "released"))
    assert all(torch.equal(found[name], released.get(name, new[name])) for name in found)
    said = "".join(capsys.readouterr())
    assert all(name in said for name in new if name not in released) and "head.out.weight" not in released


@pytest.mark.parametrize("file", ["weights.safetensors", "emotion_llama.safetensors"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("llama_proj.weight"), "(no|lacks) llama_proj.weight"),
        (lambda w: w.update(stray=torch.ones(1)), "stray"),
        (lambda w: w.update({"llama_proj.weight": torch.ones(2, 2)}), r"llama_proj.weight is \(2, 2\)"),
    ],
)
def test_weights_of_another_network_are_refused_with_what_differs(tmp_path, earlier, file, change, said):
    weights = load_file(earlier / "weights.safetensors")
    change(weights)
    save_file(weights, tmp_path / file)
    trainer = small_trainer(tmp_path / "f", tmp_path / "out", begin=tmp_path / file)
    with pytest.raises((BundleError, InputError), match=said):
        trainer.run()


def test_a_start_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="start: .*none: no weights are there; give"):
        small_trainer(tmp_path / "f", tmp_path / "out", begin=tmp_path / "none").run()

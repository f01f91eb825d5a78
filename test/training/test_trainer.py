"""Training that can be killed, split among processes, and trusted to say when it went wrong."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from tqdm import tqdm

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("accelerate", reason="needs accelerate (make test installs it)")

from small_system import digest, small_corpus, small_preset, small_trainer  # noqa: E402

from emollama_ros.errors import BundleError  # noqa: E402
from training.curriculum.network import load_trained, trained_state  # noqa: E402
from training.curriculum.trainer import DivergedError, rate_at  # noqa: E402

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr("training.curriculum.trainer.tqdm", partial(tqdm, disable=True))


def losses(out):
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
    path = os.pathsep.join([str(HERE.parents[1]), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


def program(out):
    command = [sys.executable, str(HERE / "small_system.py"), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


def test_a_killed_run_ends_as_one_that_was_not(tmp_path):
    whole = digest(small_trainer(tmp_path / "f", tmp_path / "whole").run())
    said = ""
    for kill_at in ("step 0 3", "step 1 0"):
        process = program(tmp_path / "killed")
        for line in process.stdout:
            if line.startswith(kill_at):
                process.kill()
                break
        process.wait()
        assert process.returncode == -9
    process = program(tmp_path / "killed")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and said.splitlines()[-1] == f"done {whole}"
    assert len(said.splitlines()) < 13  # it did not start anew


def test_two_processes_learn_what_one_does_with_twice_the_accumulation(tmp_path):
    steps = {"steps": 20, "save_every": 100, "accumulate": 2}
    small_trainer(tmp_path / "f", tmp_path / "one", **steps).run()
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ("steps=20", "save_every=100", "accumulate=1")
    command = [*run, str(HERE / "small_system.py"), str(tmp_path / "two"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 40
    for a, b in zip(one, two, strict=True):
        assert a["total"] == pytest.approx(b["total"], abs=1e-4), (a, b)


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

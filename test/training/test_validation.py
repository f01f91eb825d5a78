"""Scores of the head by modality, answers with the soft tokens of another clip, and the command."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("accelerate", reason="needs accelerate (make test installs it)")

from small_system import SHAPES, small_trainer  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from training.__main__ import app  # noqa: E402
from training.curriculum.checkpoints import Cost  # noqa: E402
from training.curriculum.cli import sources_of  # noqa: E402
from training.curriculum.processes import start  # noqa: E402
from training.curriculum.report import run_facts, scores_of, to_markdown, write  # noqa: E402
from training.curriculum.validation import about_others, answer_loss, score_head, score_removals  # noqa: E402
from training.mmeverse.instructions.samples import instructions_of  # noqa: E402
from training.networks.emotion_llama import IGNORED  # noqa: E402
from training.presets import load_preset  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("trained")
    options = {"steps": 60, "rate": 1e-2, "save_every": 1000, "modality_dropout": 0.5}
    trainer = small_trainer(tmp_path / "f", tmp_path / "out", **options)
    trainer.run()
    return trainer._module.net.eval(), trainer.examples


def test_the_head_is_scored_in_every_view(trained):
    net, examples = trained
    scores = score_head(net, examples)
    assert set(scores) == {"video+audio", "audio", "video"}
    assert all(s.n == 12 and s.persons == 4 for s in scores.values())
    assert scores["video+audio"].uar == 1.0  # it was trained on these, whose features tell the label
    assert scores["audio"].uar > 0.6 and scores["video"].uar > 0.6  # and to do without one of them


def test_answers_are_compared_with_those_about_another_clip(trained):
    net, examples = trained
    loss = answer_loss(net, examples, stage=1)
    assert loss.n == 12 and loss.own > 0 and loss.foreign > 0 and loss.own != loss.foreign
    assert answer_loss(net, examples, stage=1, most=5).n == 5


def test_a_question_is_never_put_to_its_own_clip_while_its_source_has_another(trained):
    item = trained[1].corpus.records[0]
    (asked, *_) = instructions_of(item, 1, 0, template=trained[1].template)
    keys = [("a", "1", "emotion"), ("a", "1", "intent"), ("a", "2", "emotion"), ("b", "1", "emotion")]
    others = [found.key for found in about_others([replace(asked, key=key) for key in keys])]
    assert others == [
        ("a", "2", "emotion"),
        ("a", "2", "intent"),
        ("a", "1", "emotion"),
        ("b", "1", "emotion"),
    ]


def test_removing_a_modality_is_scored_on_the_clips_that_have_both(trained):
    net, examples = trained
    found, views = score_removals(net, examples), score_head(net, examples)
    assert list(found) == ["both", "sound removed", "pictures removed"]
    assert found["sound removed"].scores.confusion == views["video"].confusion
    assert found["pictures removed"].scores.confusion == views["audio"].confusion
    assert not any(removal.noise_changes for removal in found.values())
    assert len({removal.answer for removal in found.values()}) == 3


def test_noise_that_gets_past_the_mask_is_told(trained, monkeypatch):
    net, examples = trained
    perceive = net.perceive

    def leaking(features):
        every = torch.ones_like(features.present)
        return perceive(replace(features, present=every))

    monkeypatch.setattr(net, "perceive", leaking)
    changes = {name: removal.noise_changes for name, removal in score_removals(net, examples).items()}
    assert changes == {"both": False, "sound removed": True, "pictures removed": True}


def test_clips_without_both_have_nothing_removed(trained):
    net, examples = trained
    deaf = {"audio": torch.zeros(SHAPES.audio)}
    corpus = SimpleNamespace(records=examples.corpus.records, features=lambda key: deaf)
    assert score_removals(net, replace(examples, corpus=corpus)) == {}


def test_the_report_holds_everything_and_reads_the_same_as_a_page(trained, tmp_path):
    net, examples = trained
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    run = run_facts(weights, Cost(120, 60.0, 2 * 10**9), start("cpu"))
    assert run["steps_per_second"] == 2.0 and run["versions"]["torch"] == torch.__version__
    records = {"train": 12, "validation": 12}
    report = {"preset": "tiny", "start": None, "records": records, **scores_of(net, examples), "run": run}
    assert report["head"]["audio"]["n"] == 12 and set(report["answers"]) == {"stage 1", "stage 2"}
    write(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    page = (tmp_path / "report.md").read_text()
    assert page == to_markdown(report) and page.count("not a bit") == 3
    assert f"| video | 12 | 4 | {report['head']['video']['uar']:.3f} |" in page
    assert "| most memory of the main process | 2.00 GB |" in page and run["weights_sha256"] in page


def test_what_has_no_default_label_is_not_scored(trained):
    _, examples = trained
    record = examples.corpus.records[0].with_changes(label="boredom", label_space=("boredom",))
    assert examples.label_of(record) == IGNORED == examples.label_of(None)


def test_sources_are_those_of_all_stages():
    assert sources_of(load_preset("tiny")) == ["emodb", "faces_muxspace", "javanese_av", "synthesis"]
    assert len(sources_of(load_preset("v2_7b"))) == 12


def test_the_command_says_what_is_missing(tmp_path):
    places = ["--prepared", str(tmp_path), "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["train", "--config", "tiny", *places])
    assert result.exit_code == 1 and "python -m training prepare" in result.stderr
    result = CliRunner().invoke(app, ["train", "--config", "huge", *places])
    assert result.exit_code == 1 and "presets by name: tiny, v2_7b" in result.stderr

"""Scores of the head by modality, answers with the soft tokens of another clip, and the command."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("accelerate", reason="needs accelerate (make test installs it)")

from small_system import small_trainer  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from training.__main__ import app  # noqa: E402
from training.curriculum.cli import report_of, sources_of  # noqa: E402
from training.curriculum.validation import answer_loss, score_head  # noqa: E402
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


def test_the_report_holds_everything(trained):
    report = report_of(*trained, trained_on=12)
    assert report["records"] == {"train": 12, "validation": 12}
    assert report["head"]["audio"]["n"] == 12 and set(report["answers"]) == {"stage 1", "stage 2"}


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

"""The command `train` from files to a report: what is decoded, resumed, begun with, and written."""

import json

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("accelerate", reason="needs accelerate (make test installs it)")

import yaml  # noqa: E402
from native_layouts.media import write_clip  # noqa: E402
from small_system import LABELS, SHAPES, digest, small_language, small_preset  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from training.__main__ import app  # noqa: E402
from training.curriculum import examples  # noqa: E402
from training.curriculum.trainer import Trainer  # noqa: E402
from training.mmeverse.schema import Media, Record, write_records  # noqa: E402

TRAIN, VALIDATION = ("a", "b", "c"), ("d", "e")
SOURCES = ("emodb", "javanese_av")


class Encoders:
    """Like those of a preset, without their weights."""

    version, shapes = "fake", SHAPES

    def __init__(self, preset, device):
        pass

    def encode(self, clip):
        draw = torch.Generator().manual_seed(len(clip.samples) + len(clip.pictures))
        shapes = {"audio": SHAPES.audio, "image": SHAPES.image, "glance": (10,), "video": SHAPES.video}
        return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def record(source, name, index, split):
    return Record(
        id=name, source=source, split=split, person=f"{source}:{name}", media=Media(video=f"{name}.mp4"),
        task="emotion", label_space=LABELS, label=LABELS[index % 3],
    )  # fmt: skip


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two small data sets; the first stage learns from both, the second from one."""
    for source in SOURCES:
        (tmp_path / "prepared" / source).mkdir(parents=True)
        for split, names in (("train", TRAIN), ("validation", VALIDATION)):
            rows = [record(source, name, i, split) for i, name in enumerate(names)]
            write_records(rows, tmp_path / "prepared" / source / f"{split}.jsonl")
            for i, name in enumerate(names):
                write_clip(tmp_path / source / f"{name}.mp4", source + name, seconds=0.3 + 0.1 * i)
    preset = small_preset().model_dump(mode="json")
    preset["curriculum"][0]["weights"] = dict.fromkeys(SOURCES, 1)
    (tmp_path / "preset.yaml").write_text(yaml.safe_dump(preset))
    monkeypatch.setattr("training.curriculum.encoders.Encoders", Encoders)
    monkeypatch.setattr("training.networks.language.load_language_model", lambda preset: small_language())
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in order."""
    found, decode = [], examples.decode_clip

    def counting(media, root):
        found.append(f"{root.name}/{media.video}")
        return decode(media, root)

    monkeypatch.setattr(examples, "decode_clip", counting)
    return found


def train(places, out="out", *options, preset="preset.yaml"):
    command = ["train", "--config", str(places / preset), "--prepared", str(places / "prepared")]
    command += ["--root", str(places), "--out", str(places / out), "--cache", str(places / "cache")]
    return CliRunner().invoke(app, [*command, *options])


def test_no_clip_is_decoded_twice_in_epochs_and_resumed_runs(places, decoded, monkeypatch):
    whole = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda trainer: whole(trainer, stop_after=4))
    assert train(places).exit_code == 0  # 8 of 24 examples: an epoch of 6 clips, and more
    everything = {f"{source}/{name}.mp4" for source in SOURCES for name in TRAIN + VALIDATION}
    assert set(decoded) == everything and len(decoded) == len(everything)
    monkeypatch.setattr(Trainer, "run", whole)
    assert train(places).exit_code == 0
    assert len((places / "out" / "log.jsonl").read_text().splitlines()) == 12
    assert len(decoded) == len(everything)


def test_the_report_says_what_was_done_and_the_last_line_which_weights(places):
    result = train(places)
    assert result.exit_code == 0, result.output
    weights = places / "out" / "weights.safetensors"
    assert result.stdout.splitlines()[-1] == f"{digest(weights)}  {weights}"
    report = json.loads((places / "out" / "report.json").read_text())
    assert report["records"] == {"train": 6, "validation": 4} and report["start"] is None
    run = report["run"]
    assert (run["steps"], run["processes"], run["weights_sha256"]) == (12, 1, digest(weights))
    assert run["seconds"] == pytest.approx(12 / run["steps_per_second"], abs=0.06)  # told to a tenth
    assert run["peak_memory_bytes"] > 10**8  # no process with torch is smaller
    assert report["removal"]["both"]["n"] == 4 and not report["removal"]["sound removed"]["noise_changes"]
    page = (places / "out" / "report.md").read_text()
    assert page in result.stdout and "(loss.png)" in page and (places / "out" / "loss.png").is_file()
    assert "step/s" in result.stderr and "12/12" in result.stderr  # the bar is of both stages


def test_time_and_memory_of_all_pieces_of_a_run_are_told(places, monkeypatch):
    whole = Trainer.run
    for stop in (5, None):
        monkeypatch.setattr(Trainer, "run", lambda trainer, stop=stop: whole(trainer, stop_after=stop))
        train(places)
        told = json.loads((places / "out" / "report.json").read_text())["run"]
        assert told["steps"] == (stop or 12)
        if stop:
            first = told
    assert told["seconds"] >= first["seconds"] and told["peak_memory_bytes"] >= first["peak_memory_bytes"]


def test_weights_to_start_from_are_looked_for_before_anything_is_decoded(places, decoded):
    preset = yaml.safe_load((places / "preset.yaml").read_text())
    (places / "next.yaml").write_text(yaml.safe_dump({**preset, "start": str(places / "out")}))
    result = train(places, "more", preset="next.yaml")
    assert result.exit_code == 1 and "start: " in result.stderr and decoded == []
    assert train(places).exit_code == 0
    assert train(places, "more", preset="next.yaml").exit_code == 0
    report = json.loads((places / "more" / "report.json").read_text())
    assert (
        report["start"] == str(places / "out") and "begun with" in (places / "more" / "report.md").read_text()
    )


def test_sharded_weights_on_one_process_are_refused_before_anything_is_decoded(places, decoded):
    result = train(places, "out", "--shard")
    assert result.exit_code == 1 and "torchrun --nproc-per-node N" in result.stderr and decoded == []

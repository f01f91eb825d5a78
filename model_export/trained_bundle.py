"""From a trained system to the bundle that a robot runs: the same inputs give the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emollama_ros import __version__
from emollama_ros.bundle import MANIFEST, SCHEMA_VERSION, Bundle, file_sha256, seal
from emollama_ros.errors import BundleError
from emollama_ros.language.assemble import TOKENIZER
from emollama_ros.language.templates import TEMPLATES
from emollama_ros.manifest import Calibration, Generation, Parity, Preprocessing, Prompt
from model_export.checkpoint import Trained
from model_export.differences import made_up, torch_graphs, worst
from model_export.language_model import write_language_model
from model_export.manifest import declare, render, rounded_up
from model_export.quantise import sample_sound, to_int8
from model_export.trained_graphs import export_frames, export_network, export_sound
from training.mmeverse.decoding import FRAME_HZ, RATE
from training.mmeverse.instructions.pool import pool_of
from training.mmeverse.instructions.tags import Tag

Precision = Literal["float32", "float16", "int8"]
LanguageWeights = Literal["float32", "float16", "int8", "int4"]
#: Largest difference from torch that a graph may have, as a share of its largest output; of eight bits the
#: root mean square, as a share of that of the output. Those are held to labels and valence on clips besides.
TOLERANCES: Mapping[str, float] = {"float32": 1e-4, "float16": 1e-2, "int8": 0.1}
#: What the language model may be asked on the robot.
QUESTIONS = (Tag.REASON, Tag.THINK)
#: Without validation data nothing is known about how sure the network may be: scores stay as they are.
UNCALIBRATED = Calibration(
    {"audio": 1.0, "video": 1.0, "video+audio": 1.0, "text": 1.0},
    fusion_weight=1.0,
    text_weight=0.0,
    voice_weight=0.0,
)
_OURS = "trained by this project"
#: Of frozen weights that come in packages.
LICENCES: Mapping[str, str] = {
    "efficientnet-lite0": "Apache-2.0",
    "whisper-tiny.en": "MIT",
    "smollm2-135m": "Apache-2.0",
}
#: Of all others: their terms come with them, and have to be looked up.
OTHER_LICENCE = "LicenseRef-as-its-origin"


@dataclass(frozen=True)
class Choices:
    """How a bundle is made.

    Attributes:
        precision: Of the fast path's weights. ``int8`` is for the sound encoder: frames stay float32, because
            depthwise convolutions are slower in eight bits here, and so does the fusion, which is small.
        language: Of the language model's weights; None leaves the language model out.
        calibration: Fitted on people who were not trained on.
        words: A bundle whose graph for words is taken over, with its temperature and weight; None for none.
        provenance: What the weights were made from.
    """

    precision: Precision = "float32"
    language: LanguageWeights | None = "int8"
    calibration: Calibration = UNCALIBRATED
    words: Bundle | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_trained_bundle(trained: Trained, out: Path, choices: Choices | None = None) -> Bundle:
    """Export the graphs, describe them, and open the result.

    Args:
        trained: The system.
        out: Folder of the bundle; what is in it of an older one is replaced.
        choices: How.

    Raises:
        ConfigError: The preset has a part that has no graph.
        BundleError: The words' labels are others, or the result is damaged.
    """
    choices = choices or Choices()
    _clear(out)
    precisions = _write_graphs(trained, out, choices.precision)
    files: dict[str, tuple[str, str]] = {f"{name}.onnx": _origin(trained, name) for name in precisions}
    if choices.words is not None:
        files |= _take_words(choices.words, trained, out)
        precisions["text"] = choices.words.graph("text").precision
    if choices.language is not None:
        files |= _write_language(trained, out, choices.language)
        precisions |= {"decoder": choices.language, "head": choices.language}
    manifest = _describe(trained, out, choices, precisions)
    manifest["files"] = {name: _entry(out / name, *about) for name, about in sorted(files.items())}
    (out / MANIFEST).write_text(render(manifest))
    seal(out)
    return Bundle.load(out)


def _clear(out: Path) -> None:
    """Empty a folder that is new, empty, or an older bundle; never anything else."""
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise BundleError(f"{out}: is not empty and no bundle; name another folder for --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def _write_graphs(trained: Trained, out: Path, precision: Precision) -> dict[str, str]:
    """Write the fast path; returns the precision of each graph."""
    half, shapes = precision == "float16", trained.encoders.shapes
    export_frames(trained.encoders.vision, trained.preset, out / "vision.onnx", half=half)
    export_sound(trained.encoders.audio, out / "audio.onnx", half=half)
    export_network(trained.net, shapes.audio[1], shapes.video[0], out / "fusion.onnx", half=half)
    found: dict[str, str] = dict.fromkeys(("vision", "audio", "fusion"), precision)
    if precision == "int8":
        found |= {"vision": "float32", "fusion": "float32"}
        to_int8(out / "audio.onnx", sample_sound())
    return found


def _write_language(trained: Trained, out: Path, weights: LanguageWeights) -> dict[str, tuple[str, str]]:
    (out / TOKENIZER).write_bytes(trained.tokenizer)
    model = trained.preset.language.model
    about = (LICENCES.get(model, OTHER_LICENCE), f"{model} with LoRA merged, {_OURS}")
    return dict.fromkeys((*write_language_model(trained.language, out, weights), TOKENIZER), about)


def _take_words(words: Bundle, trained: Trained, out: Path) -> dict[str, tuple[str, str]]:
    if words.manifest.labels != trained.preset.head.labels:
        raise BundleError(
            f"{words.path}: its words are read for {', '.join(words.manifest.labels)}; the preset has "
            f"{', '.join(trained.preset.head.labels)}"
        )
    file = words.manifest.files[words.graph("text").file]
    shutil.copyfile(words.path / file.name, out / "text.onnx")
    return {"text.onnx": (file.licence, file.origin)}


def _describe(trained: Trained, out: Path, choices: Choices, precisions: Mapping[str, str]) -> dict[str, Any]:
    preset = trained.preset
    return {
        "schema": SCHEMA_VERSION,
        "name": preset.name,
        "version": __version__,
        "description": f"Emotion-LLaMAv2, preset {preset.name}: label, valence, arousal, reason in words.",
        "labels": list(preset.head.labels),
        "preprocessing": asdict(_preprocessing(trained, choices.words)),
        "calibration": asdict(_calibration(choices)),
        "graphs": {name: declare(out / f"{name}.onnx", kind) for name, kind in precisions.items()},
        "layout": dict(trained.net.config.layout),
        "prompt": asdict(prompt_of(trained)),
        "assets": {},
        "provenance": dict(choices.provenance),
        "parity": _parity(trained, out, precisions),
    }


def _preprocessing(trained: Trained, words: Bundle | None) -> Preprocessing:
    preset, shapes = trained.preset, trained.encoders.shapes
    return Preprocessing(
        frame_size=preset.vision.image_size,
        frame_hz=FRAME_HZ,
        video_frames=preset.vision.frames,
        audio_rate=RATE,
        audio_tokens=shapes.audio[1],
        text_buckets=words.manifest.preprocessing.text_buckets if words else 0,
        audio_pad_s=preset.audio.pad_to_s or 0.0,
    )


def _calibration(choices: Choices) -> Calibration:
    own, words = choices.calibration, choices.words
    if words is None:
        return own
    other = words.manifest.calibration
    temperature = {**own.temperature, "text": other.temperature["text"]}
    return replace(own, temperature=temperature, text_weight=other.text_weight)


def prompt_of(trained: Trained) -> Prompt:
    """How the language model was asked in training; one wording a question, the first of its pool."""
    preset = trained.preset
    template, labels = TEMPLATES[preset.language.template], ", ".join(preset.head.labels)
    words = {tag: pool_of(tag).instructions[0] for tag in QUESTIONS}
    return Prompt(
        template=template.name,
        begin=template.begin,
        end=template.end,
        stop=(template.stop,),
        quotes=template.quotes,
        start=tuple(trained.language.codec.start),
        longest=preset.language.longest,
        questions={
            tag.value: text.replace("{what}", "emotion").replace("{labels}", labels)
            for tag, text in words.items()
        },
        generation=Generation(),
    )


def _parity(trained: Trained, out: Path, precisions: Mapping[str, str]) -> dict[str, Any]:
    """Compare each graph with torch on made-up inputs, and say what a bundle is held to."""
    modules = torch_graphs(trained)
    graphs = {}
    for name, inputs in made_up(trained, np.random.default_rng(0)).items():
        found = worst(out / f"{name}.onnx", modules[name], inputs)
        graphs[name] = {
            "tolerance": TOLERANCES[precisions[name]],
            "measured": rounded_up(found.held(precisions[name])),
        }
    return {**asdict(Parity()), "graphs": graphs}


def _origin(trained: Trained, name: str) -> tuple[str, str]:
    frozen = {"vision": trained.preset.vision.backbone, "audio": trained.preset.audio.backbone}
    if name in frozen:
        return LICENCES.get(frozen[name], OTHER_LICENCE), f"{frozen[name]}, frozen"
    return "Apache-2.0", _OURS


def _entry(path: Path, licence: str, origin: str) -> dict[str, Any]:
    return {
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "licence": licence,
        "origin": origin,
        "assembled_from": "",
    }

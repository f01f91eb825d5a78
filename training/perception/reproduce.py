"""From the folder of data to the default bundle: every step of it, in order.

    generated people -> packs -> what sees -> windows -> people left out, weights -> detectors
                                                                 -> soft tokens and LoRA -> bundle

Training runs in this process. What ``model_export`` does is started as that command, in a process of its own:
imports point from there to here, not back. To add a step, write a function that returns it and put it into
``steps``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import training
from emollama_ros.bundle import MANIFEST, SEAL, Bundle, copy_shipped
from emollama_ros.cue_head import CUES
from emollama_ros.errors import ConfigError, InputError
from emollama_ros.language.assemble import LAYOUT, assemble
from emollama_ros.language.lora import LORA
from training.cognition.fit import CognitionConfig
from training.cognition.recipe import REPORT as TAUGHT
from training.cognition.recipe import SOFT_TOKENS, Sources, Studio
from training.mmeverse.clip_packs import decode, pack
from training.mmeverse.clips import clips_in, read_clips
from training.packaged_weights import (
    EFFICIENTNET_LITE0,
    FACE_API_EXPRESSION,
    SMOLLM2,
    WHISPER_TINY_EN,
    locate,
)
from training.perception import exports, recipe
from training.perception.left_out import leave_out, predictions_of
from training.perception.order import CALIBRATION, HELD_OUT, SENTENCES, SOURCES, Order
from training.perception.recipe import Workshop, device_name
from training.perception.steps import Ledger, Standing, Step, carry_out, table
from training.synthesis.__main__ import options_of, parse

#: Hours that each step took when the bundle that ships was made.
REPORT = Path(training.__file__).parent / "reports" / "reproduce_default.json"
_WEIGHTS = ("vision.safetensors", "fusion.safetensors", "text.safetensors", "calibration.json")
_LANGUAGE = ("decoder.onnx", "head.onnx", LAYOUT)
_GRAPHS = (*_LANGUAGE, "vision.onnx", "audio.onnx", "fusion.onnx", "text.onnx")
_SEALED = (MANIFEST, SEAL)


@dataclass
class _Bench:
    """A workshop whose windows and features stay in memory from one step to the next."""

    order: Order
    _workshop: Workshop | None = field(default=None)

    def __call__(self) -> Workshop:
        self._workshop = self._workshop or self.order.workshop()
        return self._workshop

    def put_away(self) -> None:
        """Free the memory."""
        self._workshop = None


def reproduce(order: Order, again: bool = False) -> list[Standing]:
    """Make the default bundle; what is made already is skipped.

    Args:
        order: What to make.
        again: Whether steps that were made with other settings are made anew.

    Returns:
        How every step stands in the end.

    Raises:
        ConfigError: A step was made with other settings, or another run is at work in the folder.
        InputError: Data or packages are missing, or a file of a step is damaged.
    """
    _start(order)
    made, ledger = steps(order), Ledger(order.work)
    carry_out(made, ledger, again)
    standings = ledger.plan(made)
    about = {"device": device_name(order.device), "cores": os.cpu_count(), "settings": order.asked()}
    hours = {s.step.name: round((s.seconds or 0) / 3600, 3) for s in standings}
    report = {**about, "hours": hours, "resumed": [s.step.name for s in standings if s.is_resumed]}
    (order.work / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return standings


def plan(order: Order) -> list[Standing]:
    """How every step stands; nothing is made.

    Raises:
        InputError: There is no folder of data.
        ConfigError: There is no such device.
    """
    _start(order)
    return Ledger(order.work).plan(steps(order))


def shown(standings: Sequence[Standing]) -> str:
    """Steps with states and hours, for people."""
    usual = json.loads(REPORT.read_text(encoding="utf-8"))["hours"] if REPORT.is_file() else {}
    return table(standings, usual)


def steps(order: Order) -> list[Step]:
    """All steps, in order.

    What the language model learns comes after ``cues``, from whose bundle it learns, and before ``bundle``,
    which exports what it leaves in ``order.taught()``: the weights of ``fit`` with its own beside them.
    """
    bench = _Bench(order)
    return [
        synthesis(order),
        *(pack_source(order, source) for source in SOURCES),
        pack_synthesis(order),
        faces(order),
        glimpse(order),
        expression(order),
        windows(order),
        *(left_out(order, source, bench) for source in HELD_OUT),
        fit(order, bench),
        senses_bundle(order),
        cues(order),
        cognition(order),
        bundle(order),
        verify(order),
        finish(order),
    ]


# --- data ---------------------------------------------------------------------------------------------------


def synthesis(order: Order) -> Step:
    """Generated people, with what is true of them."""
    asked = {
        "--out": order.generated,
        "--clips": order.clips,
        "--people": order.people,
        "--first-person": order.first_person,
        "--seed": order.synthesis_seed,
    }
    options = options_of(parse([str(word) for pair in asked.items() for word in pair]))

    def make() -> None:
        from training.synthesis.generate import generate

        generate(order.generated, order.clips, options.seed, order.workers, options=options)

    def check() -> None:
        from training.synthesis.people import make_person

        make_person(order.first_person)

    return Step(
        "synthesis",
        f"generate {order.clips} clips of {order.people} people",
        make,
        (order.generated / "labels.jsonl",),
        settings={"clips": order.clips, **asdict(options)},
        check=check,
        takes_over=True,
    )


def pack_source(order: Order, source: str) -> Step:
    """A source, decoded once."""
    return Step(
        f"pack-{source}",
        f"decode {source}",
        lambda: _pack(order, source, read_clips(source, order.root)),
        (order.pack(source),),
        check=lambda: _folder(order, source),
    )


def pack_synthesis(order: Order) -> Step:
    """Generated people of the train split, decoded once."""
    return Step(
        "pack-synthesis",
        "decode the generated people who train",
        lambda: _pack(order, "synthesis", clips_in("synthesis", order.generated, "train")),
        (order.pack("synthesis"),),
        needs=("synthesis",),
    )


def _pack(order: Order, source: str, clips: Sequence[Any]) -> None:
    path = order.pack(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    pack((decode(clip) for clip in clips), path)


def _folder(order: Order, source: str) -> None:
    folder = order.root / source
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; docs/datasets.md says where {source} is from")


# --- weights ------------------------------------------------------------------------------------------------


def faces(order: Order) -> Step:
    """Frames with a face, for what sees."""
    return Step(
        "faces",
        "find the frames that show a face, and where it is",
        lambda: order.workshop().faces,
        (order.run("faces.npz"),),
        needs=("pack-faces_muxspace", "pack-synthesis"),
        settings={"frames": recipe.FACES},
    )


def glimpse(order: Order) -> Step:
    """Where to look."""
    return Step(
        "glimpse",
        "train where to look",
        lambda: order.workshop().glimpse,
        (order.run("glimpse.safetensors"),),
        needs=("faces",),
        settings={**asdict(recipe.GLIMPSE), "seed": order.seed},
        check=lambda: locate(EFFICIENTNET_LITE0),
    )


def expression(order: Order) -> Step:
    """What faces express."""
    return Step(
        "expression",
        "train what faces express",
        lambda: order.workshop().expression,
        (order.run("expression.safetensors"),),
        needs=("faces",),
        settings={**asdict(recipe.EXPRESSION), "seed": order.seed},
        check=lambda: locate(FACE_API_EXPRESSION),
    )


def windows(order: Order) -> Step:
    """Every clip as windows of a robot, whole and disturbed."""
    return Step(
        "windows",
        "encode every clip, whole and disturbed",
        lambda: order.workshop().windows,
        (order.run("windows.npz"),),
        needs=(*(f"pack-{source}" for source in SOURCES), "pack-synthesis", "glimpse"),
        settings={"copies": recipe.COPIES, "nothing": recipe.NOTHING, "seed": order.seed},
        check=lambda: locate(WHISPER_TINY_EN),
    )


def left_out(order: Order, source: str, bench: _Bench) -> Step:
    """Predictions for people that nothing was trained on."""
    report = order.run(f"leave_one_out_{source}.json")
    return Step(
        f"leave-one-out-{source}",
        f"train without each person of {source} in turn, {len(order.seeds)} seeds",
        lambda: leave_out(bench(), source, order.seeds, report),
        (report, *predictions_of(report, order.seeds)),
        needs=("windows", "expression"),
        settings={**asdict(recipe.FUSION), "seed": list(order.seeds)},
        parts=(f"run/held_out/{source}-*.npz",),
    )


def fit(order: Order, bench: _Bench) -> Step:
    """The weights that ship, and their calibration."""
    held_out = order.run(f"leave_one_out_{CALIBRATION}.npz")

    def make() -> None:
        sentences = read_clips(SENTENCES, order.root)
        bench().fit_everything(sentences, held_out, order.weights())
        bench.put_away()

    return Step(
        "fit",
        "train what ships, and calibrate it",
        make,
        tuple(order.weights(name) for name in _WEIGHTS),
        needs=("windows", "glimpse", "expression", f"leave-one-out-{CALIBRATION}"),
        settings={
            "fusion": asdict(recipe.FUSION),
            "text": asdict(recipe.TEXT),
            "text_weight": recipe.TEXT_WEIGHT,
            "seed": order.seed,
        },
        check=lambda: _folder(order, SENTENCES),
    )


# --- bundle -------------------------------------------------------------------------------------------------


def senses_bundle(order: Order) -> Step:
    """A bundle that perceives, and explains by the language model as it is packaged."""
    folder = order.work / "senses"
    return Step(
        "senses-bundle",
        "export what sees, hears, reads and joins",
        lambda: exports.export_bundle(order, folder, order.weights()),
        tuple(folder / name for name in (*_GRAPHS, *_SEALED)),
        needs=("fit",),
        settings={"package": exports.pinned(), "asked": order.asked()},
        parts=("senses",),
        check=lambda: exports.wheel_of(order),
    )


def cues(order: Order) -> Step:
    """The same bundle with detectors of what faces and voices show."""
    folder, last = order.work / "noticing", order.first_person + order.people - 1

    def make() -> None:
        copy_shipped(order.work / "senses", folder)
        people = ("--first-person", order.first_person, "--last-person", last, "--split", "train")
        given = ("--synthesis", order.generated, "--voices", order.voices, "--root", order.root)
        exports.export("cues", folder, *people, *given, "--threads", order.workers)

    return Step(
        "cues",
        "fit the detectors of what faces and voices show",
        make,
        tuple(folder / name for name in (CUES, *_SEALED)),
        needs=("synthesis", "senses-bundle"),
        settings={"first_person": order.first_person, "last_person": last, "voices": order.voices},
        parts=("noticing",),
        check=lambda: [_folder(order, source) for source in HELD_OUT],
    )


def cognition(order: Order) -> Step:
    """What the language model is taught: soft tokens and LoRA, from what is true of generated people."""
    config = CognitionConfig(seed=order.seed)

    def make() -> None:
        order.taught().mkdir(exist_ok=True)
        for name in _WEIGHTS:
            shutil.copyfile(order.weights(name), order.taught(name))
        studio = Studio(
            order.work / "cognition", Bundle.load(order.work / "noticing"), order.weights(), config
        )
        found = studio.learn(Sources(order.generated, order.root), order.taught())
        order.taught(TAUGHT).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    return Step(
        "cognition",
        "teach the language model what is true of generated people",
        make,
        tuple(order.taught(name) for name in (*_WEIGHTS, LORA, SOFT_TOKENS, TAUGHT)),
        needs=("synthesis", "cues", "fit"),
        settings=config.to_json(),
        parts=("cognition", "taught"),
        check=lambda: locate(SMOLLM2),
    )


def bundle(order: Order) -> Step:
    """The bundle as it ships, with what the language model was taught where it was."""
    folder = order.work / "bundle"

    def make() -> None:
        copy_shipped(order.work / "noticing", folder)
        exports.export_bundle(order, folder, order.shipped)

    return Step(
        "bundle",
        "export the bundle as it ships",
        make,
        tuple(folder / name for name in (*_GRAPHS, CUES, *_SEALED)),
        needs=("cues", "cognition"),
        parts=("bundle",),
    )


def verify(order: Order) -> Step:
    """What the exported graphs differ from torch by."""

    def make() -> None:
        given = ("--root", order.root, "--against", order.shipped)
        found = exports.export("verify-recipe", order.work / "bundle", *given)
        (order.work / "verified.txt").write_text(found, encoding="utf-8")

    return Step(
        "verify",
        "compare the bundle's graphs with PyTorch",
        make,
        (order.work / "verified.txt",),
        needs=("bundle", "cognition"),
    )


def finish(order: Order) -> Step:
    """The finished bundle where it was asked for, with the files that are assembled."""

    def make() -> None:
        assemble(exports.wheel_of(order), order.work / "bundle", order.out)
        copy_shipped(order.work / "bundle", order.out)
        Bundle.load(order.out)

    return Step(
        "finish",
        f"put the verified bundle into {order.out}",
        make,
        tuple(order.out / name for name in _SEALED),
        needs=("bundle", "verify"),
        settings={"out": str(order.out.resolve())},
    )


def _start(order: Order) -> None:
    """Raise where nothing could be made."""
    import torch

    if not order.root.is_dir():
        raise InputError(f"{order.root}: no such folder; --root is where the sources' folders are")
    if order.device not in ("cpu", "cuda"):
        raise ConfigError(f"device {order.device!r}: use cpu or cuda")
    if order.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: this PyTorch finds no GPU; use cpu, or install PyTorch for CUDA")

"""Two processes do, one after the other, all that the tests of several processes look at.

Started by torchrun or accelerate: together.py FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from native_layouts.media import write_clip
from small_system import SHAPES, small_trainer

from emollama_ros.errors import EmollamaError
from training.curriculum import examples
from training.curriculum.processes import start, team_of
from training.curriculum.report import scores_of
from training.mmeverse.schema import Media, Record

STEPS = {"steps": 20, "save_every": 100}
SHARDED = {"steps": 8, "save_every": 100, "precision": torch.bfloat16}
CLIPS = 6


class Encoders:
    """Notes what it is asked for, in a file of the process."""

    version = "fake"

    def __init__(self, notes: Path, broken: str = "") -> None:
        self.notes, self.broken = notes, broken

    def encode(self, clip) -> dict[str, torch.Tensor]:
        if clip == self.broken:
            raise RuntimeError("out of memory")
        with self.notes.open("a") as file:
            file.write(f"{clip}\n")
        return {"audio": torch.ones(SHAPES.audio)}


def clips() -> list[Record]:
    names = [f"clip{i}" for i in range(CLIPS)] + ["junk", "none"]
    facts = {"source": "javanese_av", "split": "train", "task": "emotion", "label": "anger"}
    return [
        Record(id=n, media=Media(video=f"{n}.mp4"), label_space=("anger", "fear"), **facts) for n in names
    ]


def write_clips(folder: Path) -> None:
    for i in range(CLIPS):
        write_clip(folder / "javanese_av" / f"clip{i}.mp4", f"clip{i}", seconds=0.3)
    (folder / "javanese_av" / "junk.mp4").write_bytes(b"no film")


def share_features(folder: Path, accelerator: Accelerator) -> None:
    """Encode clips twice with one cache, once with an encoder that fails; tell what was left out."""
    team, records = team_of(accelerator), clips()
    decoded, decode = [], examples.decode_clip

    def counting(media: Media, root: Path) -> str:
        decode(media, root)
        decoded.append(media.video)
        return media.video

    examples.decode_clip = counting
    encoders = Encoders(folder / f"encoded.{team.process}")
    for _ in range(2):
        corpus = examples.gather(records, folder, folder / "cache", encoders, team=team)
    failure = ""
    alone = Encoders(folder / "unused", broken=f"clip{team.process}.mp4")
    try:
        examples.gather(records[team.process :][:1], folder, folder / f"own.{team.process}", alone)
    except EmollamaError as error:
        failure = str(error)
    told = {"decoded": decoded, "records": [record.id for record in corpus.records], "failure": failure}
    (folder / f"shared.{team.process}.json").write_text(json.dumps(told))
    examples.decode_clip = decode


def train_sharded(folder: Path, *, asked: bool) -> None:
    """Train in two pieces, in bfloat16 but for what is trained; then score."""
    options = {**SHARDED, "sharded": asked, "accumulate": 2}
    half = small_trainer(folder / "f", folder / "fsdp", **options)
    half.run(stop_after=5)
    if half.accelerator.is_main_process:
        shutil.copytree(folder / "fsdp", folder / "half")
    half.accelerator.wait_for_everyone()
    trainer = small_trainer(folder / "f", folder / "fsdp", **options)
    trainer.run()
    net = trainer._module.net
    kept = sum(p.to_local().numel() for p in net.llama_model.base_model.model.model.layers.parameters())
    whole = sum(p.numel() for p in net.llama_model.base_model.model.model.layers.parameters())
    told = {"kept": kept / whole, "scores": scores_of(net, trainer.examples)}
    process = trainer.accelerator.process_index
    (folder / f"fsdp.{process}.json").write_text(json.dumps(told))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    asked = os.environ.pop("ACCELERATE_USE_FSDP", None)
    small_trainer(folder / "f", folder / "ddp", **STEPS).run()
    AcceleratorState._reset_state()
    if asked is not None:
        os.environ["ACCELERATE_USE_FSDP"] = asked
    accelerator = start("cpu")
    share_features(folder, accelerator)
    train_sharded(folder, asked=asked is None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

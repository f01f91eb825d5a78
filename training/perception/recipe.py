"""The recipe of the default bundle: which data, in which order, into which weights.

    packs -> vision trunk -> features of windows -> perception network -> calibration
    sentences -> text model ------------------------------------------------^

``fit`` makes the weights that ship. ``leave_one_out`` runs the same recipe once for each person, every
trained part included, and predicts the person left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tqdm import tqdm

from emollama_ros.labels import DEFAULT_LABELS
from training.evaluation.metrics import LabelScores, score_labels
from training.mmeverse.clips import Clip
from training.networks.efficientnet import EfficientNetLite0, load_imagenet
from training.networks.whisper import load_ctranslate2
from training.packaged_weights import WHISPER_TINY_EN, locate, read_ctranslate2, read_efficientnet
from training.perception.calibration import FUSION_WEIGHT, log_softmax, pooled, temperature
from training.perception.clip_packs import RawClip
from training.perception.features import FeatureSet, TorchEncoders, extract, with_vision
from training.perception.fit import FitConfig, fit, predict
from training.perception.text import TextConfig, fit_text, predict_text
from training.perception.vision import FrameClassifier, VisionConfig, save_trunk, train_trunk, zoom_ranges

#: Frames a clip gives to the training of the trunk, and how often each is seen in an epoch.
TRUNK_FRAMES = {"javanese_av": (9, 1), "faces_muxspace": (1, 2), "synthesis": (4, 1)}
#: Disturbed windows a clip, beside the whole one.
COPIES = 4
#: Exponent of the words' view beside the senses. No data here says what it should be: sentences of the
#: audio-visual sources carry no emotion in their words. Below 1, because transcripts are often wrong.
TEXT_WEIGHT = 0.7

VISION = VisionConfig(epochs=10, batch=192, rate=6e-4)
FUSION = FitConfig(epochs=16)
TEXT = TextConfig(rate=1.0, epochs=4)


@dataclass(frozen=True)
class HeldOut:
    """Predictions for people that nothing was trained on, raw logits (N, labels).

    Attributes:
        truth: (N,) label indices.
        persons: (N,) person of each clip.
        audio: Voice alone.
        video: Picture alone.
        fused: Both through Conv-Attention.
    """

    truth: NDArray[np.int64]
    persons: NDArray[np.str_]
    audio: NDArray[np.float32]
    video: NDArray[np.float32]
    fused: NDArray[np.float32]

    def views(self) -> dict[str, NDArray[np.float32]]:
        """Logits of each set of modalities, as the robot combines them."""
        return {"audio": self.audio, "video": self.video, "video+audio": pooled(self.audio, self.fused)}

    def temperatures(self) -> dict[str, float]:
        """Fitted temperature of each set of modalities."""
        return {name: temperature(logits, self.truth) for name, logits in self.views().items()}

    def scores(self) -> dict[str, LabelScores]:
        """Scores of each set of modalities. The temperatures are fitted on the same clips."""
        fitted = self.temperatures()
        return {
            name: score_labels(
                np.exp(log_softmax(logits / fitted[name])), self.truth, list(self.persons), DEFAULT_LABELS
            )
            for name, logits in self.views().items()
        }


def encoders(trunk: EfficientNetLite0, device: str) -> TorchEncoders:
    """Whisper-tiny's encoder beside a trunk, on a device."""
    whisper = load_ctranslate2(read_ctranslate2(locate(WHISPER_TINY_EN)))
    return TorchEncoders(whisper.to(device), trunk.to(device).eval(), device)


def fit_vision(clips: Sequence[RawClip], device: str, config: VisionConfig = VISION) -> FrameClassifier:
    """Fine-tune the ImageNet trunk on frames of the clips."""
    frames, labels, persons = [], [], []
    for clip in clips:
        wanted, repeats = TRUNK_FRAMES.get(clip.person.split(":")[0], (0, 0))
        for i in _uniform(len(clip.frames), wanted):
            frames += [clip.frames[i]] * repeats
            labels += [DEFAULT_LABELS.index(clip.label)] * repeats
            persons += [clip.person] * repeats
    images = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    trunk = load_imagenet(read_efficientnet())
    return train_trunk(trunk, images, torch.tensor(labels), zoom_ranges(persons), config, device)[0]


def leave_one_out(
    clips: Sequence[RawClip],
    persons: Sequence[str],
    device: str,
    use_vision: bool = True,
    config: FitConfig = FUSION,
) -> HeldOut:
    """Hold each person out of everything that is trained, then predict the person's whole clips.

    Args:
        clips: All sources; those with sound train the fusion.
        persons: Who is held out in turn.
        device: ``cpu`` or ``cuda``; a trunk takes half a minute on a large GPU, an hour on two cores.
        use_vision: ``False`` leaves the pictures out, and the trunk with them.
        config: Schedule of the perception network.
    """
    heard = [clip for clip in clips if len(clip.samples)]
    if not use_vision:
        heard = [RawClip(c.name, c.person, c.label, c.samples, c.frames[:0]) for c in heard]
    sound = extract(heard, encoders(load_imagenet(read_efficientnet()), device), COPIES)
    found = []
    for person in tqdm(persons, desc="persons"):
        data = sound
        if use_vision:
            trunk = fit_vision([c for c in clips if c.person != person], device).trunk
            data = with_vision(sound, heard, encoders(trunk, device))
        net = fit(data.take(data.persons != person), config, device=device)
        out = data.take((data.persons == person) & data.is_whole)
        masks = ((True, False), (False, True), (True, True))
        found.append((out.labels, out.persons, *(predict(net, out, mask).logits for mask in masks)))
    return HeldOut(*(np.concatenate(column) for column in zip(*found, strict=True)))


def fit_everything(
    clips: Sequence[RawClip], sentences: Sequence[Clip], held_out: HeldOut, out: Path, device: str
) -> None:
    """Train what ships, and write trunk, fusion, text and calibration into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    classifier = fit_vision(clips, device)
    save_trunk(classifier, out / "trunk.safetensors")
    heard = [clip for clip in clips if len(clip.samples)]
    data: FeatureSet = extract(heard, encoders(classifier.trunk.float(), device), COPIES)
    _save_half(fit(data, FUSION, device=device), out / "fusion.safetensors")
    text = fit_text([s for s in sentences if s.id.startswith("train/")], TEXT)
    _save_half(text, out / "text.safetensors")
    dev = [s for s in sentences if s.id.startswith("dev/")]
    truth = np.array([DEFAULT_LABELS.index(s.label) for s in dev])
    temperatures = {**held_out.temperatures(), "text": temperature(predict_text(text, dev), truth)}
    write_calibration(temperatures, out / "calibration.json")


def write_calibration(temperatures: dict[str, float], path: Path) -> None:
    """Write what ``model_export.bundle`` puts into the manifest."""
    content = {"temperature": temperatures, "fusion_weight": FUSION_WEIGHT, "text_weight": TEXT_WEIGHT}
    path.write_text(json.dumps(content, indent=1) + "\n")


def device_name(device: str) -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def report(scores: dict[str, LabelScores], about: dict[str, Any]) -> str:
    """A JSON report of scores, with the settings that made them."""
    settings = {"vision": asdict(VISION), "fusion": asdict(FUSION), "fusion_weight": FUSION_WEIGHT}
    return json.dumps(
        {**about, "settings": settings, "scores": {k: s.to_json() for k, s in scores.items()}}, indent=1
    )


def _save_half(module: torch.nn.Module, path: Path) -> None:
    save_file({name: t.detach().half().cpu().contiguous() for name, t in module.state_dict().items()}, path)


def _uniform(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` indices of ``count``, uniformly chosen, each once."""
    if not count or not wanted:
        return []
    return sorted({int(i) for i in np.linspace(0, count - 1, wanted).round()})

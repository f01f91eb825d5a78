"""Detectors of cues: what the encoders saw and heard of a window to the probability of each cue.

Thresholds on pitch or loudness cannot say whether a brow is raised, or a voice is higher than this person's
usual. Linear detectors on the encoders' features can, as far as they were trained on people of whom it is
known: the generated ones, whose action units and voices are ground truth (``python -m model_export cues``). A
detector reads its own modality alone and never the scores, so that no cue is guessed from a label. Each is
calibrated on people it was not fitted on; a cue is spoken of from ``cues.SURE`` on.

File ``cues.npz`` of a bundle, arrays only: for ``audio`` and ``video`` each ``levels`` (k,) such as
``face.smile/shown``, ``mean`` and ``scale`` (d,) of the features, ``weights`` (k, d), ``bias`` (k,), and
``measures`` (m,), the fields of ``Prosody`` that stand behind the features.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.bundle import Bundle
from emollama_ros.cues import SPEC_BY_NAME
from emollama_ros.encoders import WindowFeatures
from emollama_ros.errors import BundleError
from emollama_ros.estimate import Modality
from emollama_ros.prosody import Prosody

Floats = NDArray[np.float32]

#: File of a bundle with its detectors, where it has any.
CUES = "cues.npz"
#: Standardised features are cut off here: far from all that was seen in training, no single one decides.
_FARTHEST = 4.0


@dataclass(frozen=True)
class Detectors:
    """Linear detectors that read one modality.

    Attributes:
        claims: (name, level) of the cue that each finds.
        mean: (d,) of the features.
        scale: (d,) of the features, > 0.
        weights: (k, d) of standardised features.
        bias: (k,), for log odds.
        measures: Fields of ``Prosody`` that are the last features.
    """

    claims: tuple[tuple[str, str], ...]
    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats
    measures: tuple[str, ...] = ()

    def probabilities(self, features: Floats) -> dict[tuple[str, str], float]:
        """Return the probability of each claim.

        Args:
            features: (d,); NaN where a measure is not known, which then counts as the mean.
        """
        standard = np.nan_to_num((features - self.mean) / self.scale, nan=0.0)
        odds = self.weights @ np.clip(standard, -_FARTHEST, _FARTHEST) + self.bias
        likely = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        return {claim: float(p) for claim, p in zip(self.claims, likely, strict=True)}


@dataclass(frozen=True)
class CueHead:
    """The detectors of a bundle, by the modality that they read."""

    audio: Detectors | None = None
    video: Detectors | None = None

    @staticmethod
    def load(bundle: Bundle) -> CueHead:
        """Read the detectors of a bundle; without the file there are none.

        Raises:
            BundleError: The file is no such file, or names cues that this release does not know.
        """
        if CUES not in bundle.manifest.files:
            return CueHead()
        return read_cue_head(bundle.file(CUES))

    def detect(
        self, features: WindowFeatures, prosody: Prosody | None, usable: Modality
    ) -> dict[tuple[str, str], float]:
        """Return the probability of each cue that can be judged in a window, by (name, level).

        Args:
            features: Of the window.
            prosody: Of its sound; without enough voice nothing is said about it.
            usable: Modalities that may be used.
        """
        found: dict[tuple[str, str], float] = {}
        is_voice = prosody is not None and prosody.pitch_hz is not None and Modality.AUDIO in usable
        if self.audio and is_voice and features.audio is not None:
            assert prosody is not None
            found |= self.audio.probabilities(audio_features(features.audio, prosody, self.audio.measures))
        if self.video and features.video is not None and Modality.VIDEO in usable:
            found |= self.video.probabilities(statistics(features.video))
        return found


def statistics(tokens: Floats) -> Floats:
    """Mean and standard deviation over time, (..., T, D) to (... * 2 * D,)."""
    return np.concatenate([tokens.mean(axis=-2), tokens.std(axis=-2)], axis=-1).ravel().astype(np.float32)


def audio_features(tokens: Floats, prosody: Prosody, measures: Sequence[str]) -> Floats:
    """What detectors of the voice read: statistics of every block's tokens (L, T, D), and measures."""
    measured = [getattr(prosody, name) for name in measures]
    values = np.array([np.nan if value is None else value for value in measured], np.float32)
    return np.concatenate([statistics(tokens), values])


def write_cue_head(head: CueHead, path: Path) -> None:
    """Write ``cues.npz``, weights in half precision; the same head gives the same bytes."""
    arrays: dict[str, Any] = {}
    for name, found in (("audio", head.audio), ("video", head.video)):
        if found is not None:
            arrays |= {
                f"{name}.levels": np.array(["/".join(claim) for claim in found.claims]),
                f"{name}.mean": found.mean.astype(np.float32),
                f"{name}.scale": found.scale.astype(np.float32),
                f"{name}.weights": found.weights.astype(np.float16),
                f"{name}.bias": found.bias.astype(np.float32),
                f"{name}.measures": np.array(found.measures, "U32"),
            }
    np.savez(path, **arrays)


def read_cue_head(path: Path) -> CueHead:
    """Read what ``write_cue_head`` wrote.

    Raises:
        BundleError: It cannot be read, or names cues, levels or measures that there are not.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return CueHead(*(_detectors(arrays, name) for name in ("audio", "video")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: cannot be read as detectors of cues ({error}); make them anew") from error


def _detectors(arrays: Mapping[str, NDArray], name: str) -> Detectors | None:
    if f"{name}.levels" not in arrays:
        return None
    claims = tuple(_claim(str(level), name) for level in arrays[f"{name}.levels"])
    measures = tuple(str(measure) for measure in arrays[f"{name}.measures"])
    if unknown := [m for m in measures if m not in Prosody.__dataclass_fields__]:
        raise ValueError(f"no measure {unknown[0]!r}")
    mean, scale, weights, bias = (
        arrays[f"{name}.{part}"].astype(np.float32) for part in ("mean", "scale", "weights", "bias")
    )
    if weights.shape != (len(claims), len(mean)) or scale.shape != mean.shape or bias.shape != (len(claims),):
        raise ValueError(
            f"weights of {name} are {weights.shape} for {len(claims)} cues of {len(mean)} features"
        )
    return Detectors(claims, mean, scale, weights, bias, measures)


def _claim(text: str, modality: str) -> tuple[str, str]:
    name, _, level = text.partition("/")
    spec = SPEC_BY_NAME.get(name)
    if spec is None or level not in spec.levels or spec.modality.names() != (modality,):
        raise ValueError(f"no cue {text!r} of {modality}")
    return name, level

"""Scenes: what the robot's encoders give for a clip, beside what is true of it.

A scene is computed once by the bundle that the language model will belong to, and kept in a file; a run that
was killed goes on where it stopped. Of generated people it is known what can be noticed; of real ones a cue
counts where the bundle's own detectors are sure of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emollama_ros.bundle import Bundle
from emollama_ros.cue_head import CueHead
from emollama_ros.cues import CueHistory, measure
from emollama_ros.encoders import Encoders, WindowFeatures
from emollama_ros.engines import EngineOptions
from emollama_ros.estimate import Modality
from emollama_ros.graphs import load_graph
from emollama_ros.language.phrases import CLAUSES, Claim
from emollama_ros.perception import fusion_inputs
from emollama_ros.prosody import Prosody
from emollama_ros.streams import Window
from training.cognition.cue_head import clip_window, encode, real_window
from training.evaluation.reasoning_claims import CUE_OF, modality_of
from training.mmeverse.clips import read_clips
from training.whole_files import write_whole

Halves = NDArray[np.float16]

_AV = Modality.AUDIO | Modality.VIDEO
#: What of a scene may be given, by the name that a calibration uses.
GIVEN: Mapping[str, Modality] = {"video+audio": _AV, "audio": Modality.AUDIO, "video": Modality.VIDEO}
_CLAIM_OF: Mapping[str, Claim] = {cue: claim for claim, cue in CUE_OF.items()}


@dataclass(frozen=True)
class Scene:
    """One clip.

    Attributes:
        name: Of the clip.
        person: ``source:person``.
        label: What is shown.
        claims: ``name/level`` of each cue that is true and can be noticed.
        transcript: What is said.
        audio: (L, T, D) pooled outputs of the sound encoder's blocks; zeros where there is no sound.
        image: (E,) feature of one frame; zeros where there is no picture, as in ``video``.
        video: (T, E).
        present: (2,) sound, picture.
        scores: (3, labels) probabilities as the robot publishes them for what `GIVEN` lists, in its order;
            zeros for what is not there.
    """

    name: str
    person: str
    label: str
    claims: tuple[str, ...]
    transcript: str
    audio: Halves
    image: Halves
    video: Halves
    present: NDArray[np.float32]
    scores: NDArray[np.float32]

    @property
    def has(self) -> Modality:
        """Senses that are there."""
        heard, seen = (bool(flag) for flag in self.present)
        return (Modality.AUDIO if heard else Modality.NONE) | (Modality.VIDEO if seen else Modality.NONE)

    def cues(self, given: Modality) -> list[Claim]:
        """Cues that can be noticed with what is given."""
        pairs = (text.partition("/") for text in self.claims)
        return [(n, level) for n, _, level in pairs if modality_of((n, level)) in given]


class SceneStore:
    """A folder of scenes of one bundle; what another bundle saw is in another folder."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        eyes_and_ears = [bundle.graph(name).file for name in ("vision", "audio", "fusion")]
        hashes = "".join(bundle.manifest.files[file].sha256 for file in eyes_and_ears)
        self.folder = folder / hashlib.sha256(hashes.encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def keep(self, scene: Scene) -> None:
        """Write a scene, whole or not at all."""
        arrays = {f.name: np.asarray(getattr(scene, f.name)) for f in fields(Scene)}
        write_whole(self._path(scene.name), lambda part: np.savez(part, **arrays))

    def read(self, name: str) -> Scene:
        """Read a scene."""
        with np.load(self._path(name), allow_pickle=False) as held:
            found: dict[str, Any] = {f.name: held[f.name] for f in fields(Scene)}
        texts = {key: str(found[key]) for key in ("name", "person", "label", "transcript")}
        return Scene(**{**found, **texts, "claims": tuple(str(c) for c in found["claims"])})

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.npz"


class Observer:
    """The encoders of a bundle, its fusion and its detectors of cues, as the robot has them."""

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        options = EngineOptions("auto", threads)
        self.manifest = bundle.manifest
        self._encoders = Encoders(bundle, options)
        self._fusion = load_graph(bundle, "fusion", options)
        self._cue_head = CueHead.load(bundle)

    def scene(
        self, window: Window, name: str, person: str, label: str, claims: Sequence[Claim] | None = None
    ) -> Scene:
        """Observe a window.

        Args:
            window: A whole clip.
            name: Of the clip.
            person: ``source:person``.
            label: What is shown.
            claims: What can be noticed; None to have it detected.
        """
        features, prosody = encode(self._encoders, window)
        if claims is None:
            claims = self._detected(window, features, prosody)
        blank = fusion_inputs(WindowFeatures(), [Modality.NONE], self.manifest)
        streams = {n: getattr(features, n) for n in ("audio", "image", "video")}
        halves = {
            n: (blank[n][0] if value is None else value.reshape(blank[n].shape[1:])).astype(np.float16)
            for n, value in streams.items()
        }
        return Scene(
            name=name,
            person=person,
            label=label,
            claims=tuple("/".join(claim) for claim in claims),
            transcript=window.transcript,
            present=np.array([features.audio is not None, features.video is not None], np.float32),
            scores=self._scores(features),
            **halves,
        )

    def _detected(self, window: Window, features: WindowFeatures, prosody: Prosody | None) -> list[Claim]:
        usable = Modality.NONE
        usable |= Modality.AUDIO if features.audio is not None else Modality.NONE
        usable |= Modality.VIDEO if features.video is not None else Modality.NONE
        found = measure(window, CueHistory(), prosody, self._cue_head.detect(features, prosody, usable))
        claims = ((cue.name, cue.level) for cue in found if cue.strength > 0)
        return [claim for claim in claims if claim in CLAUSES and not claim[0].startswith("picture.")]

    def _scores(self, features: WindowFeatures) -> NDArray[np.float32]:
        temperature = self.manifest.calibration.temperature
        hears, sees = features.audio is not None, features.video is not None
        there = [
            (not m & Modality.AUDIO or hears) and (not m & Modality.VIDEO or sees) for m in GIVEN.values()
        ]
        logits = self._fusion.run(fusion_inputs(features, list(GIVEN.values()), self.manifest))["logits"]
        tempered = logits / np.array([[temperature[name]] for name in GIVEN])
        odds = np.exp(tempered - tempered.max(1, keepdims=True))
        return np.where(np.array(there)[:, None], odds / odds.sum(1, keepdims=True), 0).astype(np.float32)


def generated_scenes(
    observer: Observer, store: SceneStore, folder: Path, records: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Observe generated people; returns the names of the scenes.

    Args:
        observer: Of the bundle.
        store: Where scenes are kept.
        folder: Of ``python -m training.synthesis``.
        records: Which clips (`training.evaluation.reasoning_truth.read_truth`).
    """
    for record in tqdm([r for r in records if r["id"] not in store], "generated people"):
        noticed = [*record["cues"]["voice"], *record["cues"]["visual"]]
        claims = [_CLAIM_OF[cue] for cue in noticed if cue in _CLAIM_OF]
        person = f"synthesis:{record['person']}"
        window = clip_window(folder, record, with_words=True)
        store.keep(observer.scene(window, record["id"], person, record["label"], claims))
    return [record["id"] for record in records]


def real_scenes(observer: Observer, store: SceneStore, root: Path, sources: Iterable[str]) -> list[str]:
    """Observe real people; what they show is what the bundle's own detectors find."""
    names = []
    for clip in tqdm([c for source in sources for c in read_clips(source, root)], "real people"):
        name = f"{clip.person.split(':')[0]}-{clip.id}"
        names.append(name)
        if name not in store:
            store.keep(observer.scene(real_window(clip), name, clip.person, clip.label))
    return names


def read_scenes(store: SceneStore, names: Sequence[str]) -> Iterator[Scene]:
    """Read scenes that were observed; those in which nothing can be used are left out."""
    yield from (scene for scene in map(store.read, names) if scene.has)

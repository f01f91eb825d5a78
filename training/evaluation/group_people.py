"""Whose clips are compared by group: generated people, actors of corpora, and repainted twins.

Of generated people everything is known. Of the actors of the corpora only what their authors publish is: who
they are, and, of Emo-DB and RAVDESS, their sex.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import InputError
from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.labels import DEFAULT_LABELS, UNKNOWN
from emollama_ros.perception import Perception
from emollama_ros.preprocess.image import to_model_frame
from training.evaluation.adapters.bundle import window_of
from training.evaluation.coverage import scored_views
from training.evaluation.groups import Told
from training.evaluation.held_out import HeldOut
from training.evaluation.predictions import read_predictions
from training.mmeverse.decoding import DecodedClip, decode_clip
from training.mmeverse.schema import Media
from training.mmeverse.sources import Found, read_items

#: What is compared of generated people, and the order of the groups. Boundaries are those of the generator
#: where it has any (age), thirds of what it draws evenly (skin tone), or doublings (distance).
GENERATED: Mapping[str, tuple[str, ...]] = {
    "sex": ("female", "male"),
    "age": ("child", "adult", "old"),
    "skin tone": ("light", "medium", "dark"),
    "glasses": ("without", "with"),
    "distance": ("near", "middle", "far"),
    "light": ("usual", "dim"),
    "head": ("frontal", "turned"),
}
#: Of actors.
ACTORS: Mapping[str, tuple[str, ...]] = {"sex": ("female", "male"), "actor": ()}
#: What each grouping means, in words.
MEANINGS = {
    "sex": "as drawn; the voice follows it",
    "age": "child below 0.3 of the generator's scale (0.33 is a young adult), old from 0.55 on",
    "skin tone": "thirds of the generator's scale from light to dark; no voice depends on it",
    "glasses": "drawn on the face or not",
    "distance": "height of the head: near from 50 %, far below 25 % of the picture's height",
    "light": "dim is an exposure below 0.7 of what is right",
    "head": "turned is a mean yaw of more than 0.25 radians (14 degrees)",
    "actor": "each actor; intervals draw clips, since each group is one person",
}
_VIEWS = {Modality.AUDIO: "audio", Modality.VIDEO: "video"}
#: Emo-DB's documentation lists its speakers so (Burkhardt et al. 2005).
_WOMEN_OF_EMODB = frozenset(("08", "09", "13", "14", "16"))


def groups_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Groups of a generated clip, from its truth; those of the picture only where there is one."""
    who, scene = record["person_facts"], record.get("scene")
    age, tone = float(who["age"]), float(who["skin_tone"])
    found = {
        "sex": "male" if who["gender"] >= 0.5 else "female",
        "age": "child" if age < 0.3 else "adult" if age < 0.55 else "old",
        "skin tone": "light" if tone < 1 / 3 else "medium" if tone < 2 / 3 else "dark",
    }
    if scene:
        height = float(scene["face_height"])
        found |= {
            "glasses": "with" if who["glasses"] else "without",
            "distance": "near" if height >= 0.5 else "middle" if height >= 0.25 else "far",
            "light": "dim" if scene["exposure"] < 0.7 else "usual",
            "head": "turned" if abs(scene["yaw"]) > 0.25 else "frontal",
        }
    return found


def sex_of(person: str) -> str | None:
    """Sex of an actor as the corpus tells it; None where it does not.

    Args:
        person: ``source:person``.
    """
    source, _, number = person.partition(":")
    if source == "emodb":
        return "female" if number in _WOMEN_OF_EMODB else "male"
    if source == "ravdess_16k":
        # Odd numbers are men, even ones women (Livingstone and Russo 2018).
        return "male" if int(number) % 2 else "female"
    return None


def actor_groups(person: str) -> dict[str, str]:
    """Groups of an actor."""
    sex = sex_of(person)
    return {"actor": person.partition(":")[2]} | ({"sex": sex} if sex else {})


class Store:
    """What was told of clips, in a file as it goes, so that a stopped run goes on from it.

    Rows are of one bundle each: those of others stay in the file and are not used.
    """

    def __init__(self, path: Path, bundle: Bundle) -> None:
        """Read what is there.

        Args:
            path: JSON Lines, made where it is not there.
            bundle: Whose rows are used.
        """
        self._path, self._bundle = path, bundle.sha256
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        # A run that was killed leaves half a line.
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        self._known = {row["clip"]: row["views"] for row in rows if row["bundle"] == self._bundle}

    def __call__(self, clip: str, tell: Callable[[], EmotionEstimate]) -> dict[str, Sequence[float]]:
        """Scores of a clip by view; ``tell`` is asked where they are not known."""
        if clip not in self._known:
            views = {view: [round(float(s), 6) for s in some] for view, some in _views(tell()).items()}
            self._known[clip] = views
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"bundle": self._bundle, "clip": clip, "views": views}) + "\n")
        return self._known[clip]


@dataclass(frozen=True)
class Heard:
    """A generated clip and what was told of it.

    Attributes:
        folder: Where the clip is.
        record: Its truth.
        views: Scores by view: ``audio``, ``video``, ``both``; empty where nothing could be perceived.
    """

    folder: Path
    record: Mapping[str, Any]
    views: Mapping[str, Sequence[float]]


def tell(bundle: Bundle, folders: Mapping[Path, Sequence[Mapping[str, Any]]], store: Store) -> list[Heard]:
    """Let a bundle tell generated clips, through the robot's own code: one window a clip, no words.

    Args:
        bundle: That is measured.
        folders: Truths of the clips of each folder.
        store: Keeps what was told.

    Raises:
        InputError: A clip cannot be decoded, or the bundle has other labels.
    """
    perception = _perception(bundle)
    clips = [(folder, record) for folder, records in folders.items() for record in records]
    heard = []
    for folder, record in tqdm(clips, desc="clips"):
        views = store(record["id"], lambda f=folder, r=record: perceive(perception, decoded(f, r)))
        heard.append(Heard(folder, record, views))
    return heard


def of_generated(heard: Sequence[Heard]) -> list[Told]:
    """Generated clips in every view; where face and voice were made to disagree there is no single truth."""
    some = [one for one in heard if not one.record["conflict"]]
    return [told for one in some for told in _told(one.views, one.record, groups_of(one.record))]


def _perception(bundle: Bundle) -> Perception:
    if tuple(bundle.manifest.labels) != tuple(DEFAULT_LABELS):
        raise InputError(
            f"{bundle.path}: tells {', '.join(bundle.manifest.labels)}; the default labels are needed"
        )
    return Perception(bundle, EngineOptions("auto", threads=1))


def decoded(folder: Path, record: Mapping[str, Any]) -> DecodedClip:
    """Decode a generated clip as a robot would get it."""
    kind = "video" if "video" in record["modalities"] else "audio"
    return decode_clip(Media(**{kind: record["clip"]}), folder, to_model_frame)


def perceive(perception: Perception, clip: DecodedClip) -> EmotionEstimate:
    """Perceive a clip as one window, knowing nothing of others."""
    perception.reset()
    return perception.perceive_one(window_of(clip), 0)


def _told(
    views: Mapping[str, Sequence[float]], record: Mapping[str, Any], groups: Mapping[str, str]
) -> Iterator[Told]:
    """A clip in all views that it has."""
    for view, scores in views.items():
        truth = DEFAULT_LABELS.index(record["label"])
        yield Told(record["id"], str(record["person"]), view, truth, np.array(scores, np.float32), groups)


def _views(estimate: EmotionEstimate) -> dict[str, Sequence[float]]:
    if estimate.label == UNKNOWN:
        return {}
    found: dict[str, Sequence[float]] = {_VIEWS[m]: s for m, s in estimate.views.items() if m in _VIEWS}
    return {**found, "both": estimate.scores} if len(found) == 2 else found


def of_held_out(path: Path) -> dict[str, list[Told]]:
    """Held-out people by source, calibrated each by all others.

    Args:
        path: What ``python -m training leave-one-out`` wrote.
    """
    held_out = HeldOut.load(path)
    names = {"video+audio": "both"}
    found: dict[str, list[Told]] = {}
    for view, scored in scored_views(held_out).items():
        rows = zip(scored.probabilities, scored.truth.tolist(), scored.persons.tolist(), strict=True)
        occurring = np.unique(scored.truth)
        for number, (scores, truth, person) in enumerate(rows):
            if np.isfinite(scores).all():
                # As in all tables, only labels that occur in the data compete.
                some = np.asarray(scores[occurring], np.float32)
                at = int(np.searchsorted(occurring, truth))
                told = Told(str(number), person, names.get(view, view), at, some, actor_groups(person))
                found.setdefault(person.partition(":")[0], []).append(told)
    return found


def of_predictions(path: Path, source: str, root: Path) -> list[Told]:
    """What a model said of a source's clips; clips of labels that it cannot say are left out.

    Args:
        path: Predictions, JSON Lines, as ``python -m training benchmark`` leaves them.
        source: Name of the source.
        root: Its folder, for who says what.

    Raises:
        InputError: There is no prediction of the source.
    """
    predictions = read_predictions(path)
    records = [item.record for item in read_items(source, root) if isinstance(item, Found)]
    pairs = [(record, predictions[record.key]) for record in records if record.key in predictions]
    if not pairs:
        raise InputError(f"{path}: holds no prediction of {source}")
    labels = sorted({label for _, prediction in pairs for label in prediction.probabilities})
    return [
        Told(
            record.id,
            record.person,
            "audio",
            labels.index(record.label),
            np.array([prediction.probabilities.get(label, 0.0) for label in labels], np.float32),
            actor_groups(record.person),
        )
        for record, prediction in pairs
        if record.label in labels
    ]


#: Skin tones of the twins, as `training.synthesis.look.Look.skin_tone`.
TONES = (0.0, 0.25, 0.5, 0.75, 1.0)


def of_twins(
    bundle: Bundle,
    clips: int,
    first_person: int,
    seed: int,
    store: Store,
    tones: Sequence[float] = TONES,
    compose: Callable[..., Any] | None = None,
) -> list[Told]:
    """Let a bundle tell the same clips with the skin of the same people painted anew.

    Nothing else changes: shape, expression, light, camera and its noise, hair, clothes, voice. So what
    differs is what the colour alone does.

    Args:
        bundle: That is measured.
        clips: How many; people show every label in turn.
        first_person: Number of the first person, each clip another.
        seed: Of the clips.
        store: Keeps what was told.
        tones: Skin tones.
        compose: Makes a clip; for tests.
    """
    from training.synthesis.clip import compose as generate
    from training.synthesis.clip import shared_renderer
    from training.synthesis.options import Options
    from training.synthesis.people import repainted

    perception, renderer = _perception(bundle), shared_renderer()
    options = Options(seed=seed, people=clips, first_person=first_person, fps=4.0, face=(0.25, 0.85))
    told: list[Told] = []
    for index in tqdm(range(clips), desc="twins"):
        clip = (compose or generate)(index, options)
        facts = {"id": str(index), "person": clip.person.person_id, "label": clip.label}
        for tone in tones:
            person = repainted(clip.person, tone)
            views = store(
                f"twin {index} from {first_person}, seed {seed}, tone {tone:g}",
                lambda c=clip, p=person: perceive(perception, _with(c, p, renderer, options.fps)),
            )
            told += _told(views, facts, {"repainted skin": f"{tone:g}"})
    return told


def _with(clip: Any, person: Any, renderer: Any, fps: float) -> DecodedClip:
    """A clip with another person in the place of its own, as the robot gets it."""
    pictures = tuple(to_model_frame(p) for p in replace(clip, person=person).pictures(renderer))
    return DecodedClip(clip.audio, pictures, tuple(round(i * 1e9 / fps) for i in range(len(pictures))))

"""What a bundle is like for whom, over everything that is known of anybody: the report on groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emollama_ros.bundle import Bundle
from emollama_ros.errors import ConfigError
from training.evaluation.group_page import set_of
from training.evaluation.group_people import (
    ACTORS,
    GENERATED,
    TONES,
    Store,
    of_generated,
    of_held_out,
    of_predictions,
    of_twins,
    tell,
)
from training.evaluation.groups import LEAST_CLIPS, LOTS, Told, measures
from training.evaluation.metrics import DRAWS
from training.evaluation.reasoning_truth import unseen
from training.mmeverse.sources import source_named

_RAVDESS = "ravdess_16k"
_GENERATED_NOTE = (
    "One window a clip, no words given; clips in which face and voice were made to disagree are left out. "
    "{left_out} Skin tone, glasses, distance, light and the turn of the head cannot be heard: their rows for "
    "voice show what chance makes of so many people."
)
_TWINS_NOTE = (
    "The same clips with the skin of the same people painted in five tones from light to dark; expression, "
    "light, camera noise, hair and voice are the same to the last number."
)
_MEANING_OF_TWINS = {"repainted skin": "position on the generator's scale, 0 light, 1 dark"}


@dataclass(frozen=True)
class Given:
    """What is compared.

    Attributes:
        synthesis: Folders of generated clips.
        first_person: From this number on nobody was trained on; before it, the split ``train`` was.
        held_out: Files of held-out predictions.
        predictions: Of RAVDESS, or None.
        ravdess: Its folder.
        twins: Clips to draw anew in five skin tones.
    """

    synthesis: tuple[Path, ...]
    first_person: int
    held_out: tuple[Path, ...] = ()
    predictions: Path | None = None
    ravdess: Path | None = None
    twins: int = 0

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if (self.predictions is None) != (self.ravdess is None):
            raise ConfigError("--predictions and --ravdess are needed together")


#: Twins are people whom no folder has.
TWIN_PEOPLE = 30_000


def report(bundle: Path | None, given: Given, told: Path, seed: int = 0) -> dict[str, Any]:
    """Measure everything that is given.

    Args:
        bundle: Its folder; None for the default one.
        given: What is compared.
        told: What the bundle said, JSON Lines; a run that was stopped goes on from it.
        seed: Of bootstrap, lots and twins.

    Returns:
        Plain data; `training.evaluation.group_page` makes a page of it.
    """
    loaded = Bundle.load(bundle)
    manifest = loaded.manifest
    return {
        "model": f"{manifest.name} {manifest.version} {loaded.sha256[:12]}",
        "first_person": given.first_person,
        "draws": DRAWS,
        "lots": LOTS,
        "least_clips": LEAST_CLIPS,
        "seed": seed,
        "sets": list(_sets(loaded, given, Store(told, loaded), seed)),
    }


def _sets(bundle: Bundle, given: Given, store: Store, seed: int) -> Iterator[dict[str, Any]]:
    folders = {folder: unseen(folder, given.first_person) for folder in given.synthesis}
    told = of_generated(tell(bundle, folders, store))
    records = [record for some in folders.values() for record in some]
    conflicts = sum(bool(record["conflict"]) for record in records)
    note = _GENERATED_NOTE.format(left_out=f"{conflicts} such clips were.")
    yield set_of("Generated people", note, told, measures(told, GENERATED, seed=seed))
    if given.twins:
        twins = of_twins(bundle, given.twins, TWIN_PEOPLE, seed, store)
        order = {"repainted skin": [f"{tone:g}" for tone in TONES]}
        yield set_of("Twins", _TWINS_NOTE, twins, measures(twins, order, seed=seed), _MEANING_OF_TWINS)
    for path in given.held_out:
        for source, held_out in of_held_out(path).items():
            yield _actors(source, "The person left out of direct paths and fusion.", held_out, seed)
    if given.predictions and given.ravdess:
        ravdess = of_predictions(given.predictions, _RAVDESS, given.ravdess)
        yield _actors(_RAVDESS, "The shipped bundle; nothing was trained on it.", ravdess, seed)


def _actors(source: str, note: str, told: list[Told], seed: int) -> dict[str, Any]:
    return set_of(source_named(source).title, note, told, measures(told, ACTORS, seed=seed), {})

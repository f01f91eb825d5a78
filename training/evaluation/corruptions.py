"""What each disturbance of sound or pictures costs: UAR of disturbed clips against the same clips clean.

Every clip is told clean, then with each disturbance of `training.disturbances` at each strength:
by the disturbed sense alone, and by both senses of which the other is clean. What is drawn for a clip depends
on the seed and the names of clip and disturbance alone, so that the strengths differ in nothing else.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emollama_ros.errors import InputError
from emollama_ros.labels import DEFAULT_LABELS
from training import disturbances
from training.disturbances import PICTURES, SOUNDS, STRENGTHS
from training.evaluation.metrics import DRAWS, bootstrap, confusion_parts, confusion_scores

if TYPE_CHECKING:
    from training.mmeverse.clip_packs import RawClip

Samples = NDArray[np.float32]
Frames = NDArray[np.uint8]
Logits = NDArray[np.float32]

#: A disturbance of one sense must not cost more while the other is clean.
MOST_COST = 0.10
#: Clips of other people that babble is mixed of, at most.
_TALKERS = 8
SOUND, PICTURE, CLEAN, MISSING = "sound", "picture", "clean", "missing"
#: What each sense is called alone.
ALONE = {SOUND: "audio", PICTURE: "video"}
BOTH = "both"


class Predictor(Protocol):
    """Tells the emotion of a clip; a bundle, or the networks that a person was held out of."""

    def predict(self, samples: Samples | None, frames: Frames | None, person: str) -> Logits:
        """Logits (7,) of ``DEFAULT_LABELS``; all equal where it cannot tell anything.

        Args:
            samples: (n,), 16 kHz; None where there is no sound.
            frames: (m, 224, 224, 3) at ``FRAME_HZ``, RGB; None where there are no pictures.
            person: ``source:person``, who must not have been trained on.
        """
        ...


@dataclass(frozen=True)
class Condition:
    """What is done to a clip, and which senses are given of it.

    Attributes:
        sense: Which one is disturbed: ``sound`` or ``picture``; empty where none is.
        disturbance: Its name; ``clean`` or ``missing``.
        strength: 0 to 1.
        view: What is given: ``audio``, ``video`` or ``both``.
    """

    sense: str
    disturbance: str
    strength: float
    view: str

    @property
    def key(self) -> str:
        """A name for files."""
        return f"{self.sense}/{self.disturbance}/{self.strength:g}/{self.view}"

    @property
    def clean(self) -> Condition:
        """The same view of undisturbed clips."""
        return Condition("", CLEAN, 0.0, self.view)


@dataclass(frozen=True)
class Row:
    """A condition, measured.

    Attributes:
        condition: What was done.
        n: Clips that have the view's senses.
        persons: People they are of.
        uar: Unweighted average recall, among the labels that occur; ``interval`` is its 95 % interval by
            bootstrap over people.
        interval: Low and high.
        clean_uar: Of the same clips undisturbed.
        cost: ``clean_uar`` less ``uar``; ``cost_interval`` is paired: the same draws of people for both.
        cost_interval: Low and high.
        untold: Clips of which nothing could be told; they count with the first label.
        is_too_much: One sense is disturbed, the other clean, and the cost is above `MOST_COST`.
    """

    condition: Condition
    n: int
    persons: int
    uar: float
    interval: tuple[float, float]
    clean_uar: float
    cost: float
    cost_interval: tuple[float, float]
    untold: int
    is_too_much: bool

    def to_json(self) -> dict[str, Any]:
        """As plain data, rounded to four decimals."""
        found = {**asdict(self.condition), **{k: v for k, v in asdict(self).items() if k != "condition"}}
        return {k: _rounded(v) for k, v in found.items()}


def conditions(strengths: Sequence[float] = STRENGTHS) -> list[Condition]:
    """Every condition that is predicted, in the order in which a predictor may keep what it saw last."""
    senses = ((SOUND, SOUNDS), (PICTURE, PICTURES))
    clean = [Condition("", CLEAN, 0.0, view) for view in (*ALONE.values(), BOTH)]
    return clean + [
        Condition(sense, name, strength, view)
        for sense, names in senses
        for name in names
        for strength in strengths
        for view in (ALONE[sense], BOTH)
    ]


def predict(
    clips: Sequence[RawClip],
    predictor: Predictor,
    path: Path,
    about: Mapping[str, Any],
    seed: int = 0,
    progress: bool = True,
    talkers: Sequence[RawClip] | None = None,
) -> dict[str, dict[str, Logits]]:
    """Let a predictor tell every clip in every condition, and keep what it says in a file as it goes.

    Args:
        clips: Clips of any sources, named apart.
        predictor: Who tells.
        path: JSON Lines, made or continued: clips that it holds, with the same sound and pictures, are not
            told again.
        about: Names the predictor; a file of another one is refused.
        seed: Of the disturbances.
        progress: Show a bar.
        talkers: Whose voices babble is mixed of, so that it is the same for some clips as for all; ``clips``
            if left out.

    Returns:
        By clip and condition the logits (7,).

    Raises:
        InputError: The file is of another predictor, seed or version of the disturbances, or is damaged.
    """
    head = {**about, "seed": seed, "strengths": list(STRENGTHS), "disturbances": _version()}
    done = _resumed(path, head)
    found: dict[str, dict[str, Logits]] = {}
    with path.open("a", encoding="utf-8") as file:
        for clip in tqdm(clips, desc="clips", disable=not progress):
            content = _content(clip)
            row = done.get(clip.name)
            if row is None or row["content"] != content:
                told = {c.key: logits for c, logits in _told(clip, talkers or clips, predictor, seed)}
                row = {"clip": clip.name, "content": content, "logits": told}
                file.write(json.dumps(row) + "\n")
                file.flush()
            found[clip.name] = {key: np.array(told, np.float32) for key, told in row["logits"].items()}
    return found


def _told(
    clip: RawClip, clips: Sequence[RawClip], predictor: Predictor, seed: int
) -> Iterator[tuple[Condition, list[float]]]:
    disturbed = _Disturbed(clip, clips, seed)
    for condition in conditions():
        samples, frames = disturbed.in_condition(condition)
        senses = (samples is not None) + (frames is not None)
        if senses == (2 if condition.view == BOTH else 1):
            logits = np.asarray(predictor.predict(samples, frames, clip.person), np.float32)
            if logits.shape != (len(DEFAULT_LABELS),) or not np.isfinite(logits).all():
                raise InputError(
                    f"{clip.name}: the predictor gave {logits}, not {len(DEFAULT_LABELS)} finite logits"
                )
            yield condition, [round(float(value), 5) for value in logits]


class _Disturbed:
    """A clip in every condition; the last disturbance is kept, as its views come after each other."""

    def __init__(self, clip: RawClip, clips: Sequence[RawClip], seed: int) -> None:
        self._clip, self._clips, self._seed = clip, clips, seed
        self._last: tuple[Condition | None, Any] = (None, None)

    def in_condition(self, condition: Condition) -> tuple[Samples | None, Frames | None]:
        """Sound and pictures that are given; None where the clip or the view has none."""
        clip, view = self._clip, condition.view
        samples = clip.samples if len(clip.samples) and view != ALONE[PICTURE] else None
        frames = clip.frames if len(clip.frames) and view != ALONE[SOUND] else None
        if condition.sense == SOUND and samples is not None:
            samples = self._made(condition)
        if condition.sense == PICTURE and frames is not None:
            frames = self._made(condition)
        return samples, frames

    def _made(self, condition: Condition) -> Any:
        same = replace(condition, view="")
        if self._last[0] != same:
            self._last = (same, self._make(condition))
        return self._last[1]

    def _make(self, condition: Condition) -> Any:
        clip, name, strength = self._clip, condition.disturbance, condition.strength
        words = (clip.name, condition.sense, name)
        rng = np.random.default_rng([self._seed, *(zlib.crc32(word.encode()) for word in words)])
        if condition.sense == PICTURE:
            return PICTURES[name](clip.frames, strength, rng)
        if name == "babble":
            return SOUNDS[name](clip.samples, strength, rng, others=self._others(rng))
        return SOUNDS[name](clip.samples, strength, rng)

    def _others(self, rng: np.random.Generator) -> list[Samples]:
        """Voices of other people of the same source; none where there are none."""
        source = self._clip.person.split(":")[0]
        others = [
            c.samples
            for c in self._clips
            if len(c.samples) and c.person != self._clip.person and c.person.split(":")[0] == source
        ]
        chosen = rng.permutation(len(others))[:_TALKERS]
        return [others[i] for i in chosen]


def thinned(clips: Sequence[RawClip], limit: int | None) -> list[RawClip]:
    """At most ``limit`` clips of each source, in their order; clips of no known label are left out."""
    known = [clip for clip in clips if clip.label in DEFAULT_LABELS]
    sources = dict.fromkeys(_source(clip) for clip in known)
    own = [[clip for clip in known if _source(clip) == source] for source in sources]
    return [clip for some in own for clip in (some if limit is None else _some(some, limit))]


def evenly(clips: Sequence[RawClip], each: int) -> list[RawClip]:
    """At most ``each`` clips of every person and label, which, a hash of their names says.

    The first of all people and labels come first, then the second ones: a run that is stopped has met all of
    them alike.
    """
    known = sorted(
        (clip for clip in clips if clip.label in DEFAULT_LABELS),
        key=lambda clip: zlib.crc32(clip.name.encode()),
    )
    taken: Counter[tuple[str, str]] = Counter()
    turns: list[tuple[int, RawClip]] = []
    for clip in known:
        turns.append((taken[clip.person, clip.label], clip))
        taken[clip.person, clip.label] += 1
    return [clip for turn, clip in sorted(turns, key=lambda pair: pair[0]) if turn < each]


def told_of(clips: Sequence[RawClip], path: Path) -> list[RawClip]:
    """Those of the clips that a run has told so far.

    Args:
        clips: Any.
        path: What `predict` writes.

    Raises:
        InputError: It has told none of them, or its file is damaged.
    """
    lines = path.read_text(encoding="utf-8").split("\n")[1:-1] if path.exists() else []
    try:
        names = {json.loads(line)["clip"] for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({error}); remove it") from error
    found = [clip for clip in clips if clip.name in names]
    if not found:
        raise InputError(f"{path}: none of these clips was told; leave --as-is out to tell them")
    return found


def _some(clips: Sequence[RawClip], limit: int) -> list[RawClip]:
    """As many of each label as can be; which, a hash of their names says.

    Sources go through labels and people in turn, of which every n-th clip would meet few.
    """
    taken: Counter[str] = Counter()
    turns: dict[str, int] = {}
    for clip in sorted(clips, key=lambda clip: zlib.crc32(clip.name.encode())):
        turns[clip.name] = taken[clip.label]
        taken[clip.label] += 1
    chosen = set(sorted(turns, key=turns.__getitem__)[:limit])
    return [clip for clip in clips if clip.name in chosen]


def report_of(
    clips: Sequence[RawClip],
    told: Mapping[str, Mapping[str, Logits]],
    about: Mapping[str, Any],
    limit: int | None = None,
    draws: int = DRAWS,
    each: int | None = None,
) -> dict[str, Any]:
    """Score what was told, a set a source.

    Args:
        clips: That were told.
        told: What `predict` returned.
        about: ``model``, and ``trained_on``: the sources that it was trained on, if it was on any.
        limit: Clips a set, if not all were taken.
        draws: Of the bootstrap.
        each: Clips of every person and label, if not all were taken.

    Returns:
        Plain data; `training.evaluation.corruption_page` makes a page of it.
    """
    seen = set(about.get("trained_on") or ())
    sources = list(dict.fromkeys(_source(clip) for clip in clips))
    by_source = {source: [clip for clip in clips if _source(clip) == source] for source in sources}
    return {
        **about,
        "most_cost": MOST_COST,
        "strengths": list(STRENGTHS),
        "limit": limit,
        "each": each,
        "draws": draws,
        "sets": [
            {
                "source": source,
                "clips": len(own),
                "persons": len({clip.person for clip in own}),
                "labels": [label for label in DEFAULT_LABELS if label in {clip.label for clip in own}],
                "seen_in_training": source in seen,
                "rows": [row.to_json() for row in measure(own, told, draws)],
            }
            for source, own in by_source.items()
        ],
    }


def measure(
    clips: Sequence[RawClip], told: Mapping[str, Mapping[str, Logits]], draws: int = DRAWS
) -> list[Row]:
    """A row a condition that there are clips for, and one a sense that is missing where both were there."""
    missing = [Condition(sense, MISSING, 1.0, BOTH) for sense in ALONE]
    found = []
    for condition in (*conditions(), *missing):
        own = [clip for clip in clips if condition.clean.key in told[clip.name]]
        if own:
            found.append(_row(condition, own, told, draws))
    return found


def _row(
    condition: Condition, clips: Sequence[RawClip], told: Mapping[str, Mapping[str, Logits]], draws: int
) -> Row:
    truth = np.array([DEFAULT_LABELS.index(clip.label) for clip in clips])
    persons = [clip.person for clip in clips]
    logits = np.array([told[clip.name][_told_as(condition).key] for clip in clips])
    clean = np.array([told[clip.name][condition.clean.key] for clip in clips])
    size = len(DEFAULT_LABELS)
    parts = np.concatenate(
        [confusion_parts(truth, _chosen(values, truth), size) for values in (clean, logits)], axis=1
    )

    def uar(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of both halves, (..., 2)."""
        return confusion_scores(sums.reshape(*sums.shape[:-1], 2, size, size))["uar"]

    clean_uar, found = uar(parts.sum(0).astype(np.float64)).tolist()
    interval = bootstrap(parts, persons, lambda sums: uar(sums)[..., 1], draws)
    cost_interval = bootstrap(parts, persons, lambda sums: uar(sums) @ np.array([1.0, -1.0]), draws)
    return Row(
        condition=condition,
        n=len(clips),
        persons=len(set(persons)),
        uar=found,
        interval=(float(interval[0]), float(interval[1])),
        clean_uar=clean_uar,
        cost=clean_uar - found,
        cost_interval=(float(cost_interval[0]), float(cost_interval[1])),
        untold=int((np.ptp(logits, axis=1) == 0).sum()),
        is_too_much=_may_be_flagged(condition) and clean_uar - found > MOST_COST + 1e-9,
    )


def _may_be_flagged(condition: Condition) -> bool:
    """A sense that is not there at all is no disturbance: what it costs is what it is worth."""
    return condition.view == BOTH and condition.disturbance not in (CLEAN, MISSING)


def _told_as(condition: Condition) -> Condition:
    """What was predicted for it: without one sense, a clip is the other sense alone."""
    if condition.disturbance != MISSING:
        return condition
    other = PICTURE if condition.sense == SOUND else SOUND
    return Condition("", CLEAN, 0.0, ALONE[other])


def _chosen(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """The likeliest of the labels that occur."""
    occurring = np.unique(truth)
    return occurring[logits[:, occurring].argmax(1)]


def _source(clip: RawClip) -> str:
    return clip.name.split("/")[0]


def _content(clip: RawClip) -> int:
    return zlib.crc32(clip.frames.tobytes(), zlib.crc32(clip.samples.tobytes()))


def _version() -> str:
    """Of the code that disturbs: what another version made must not be mixed in."""
    folder = Path(disturbances.__file__).parent
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _resumed(path: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """Rows by clip of a file that a stopped run left; the file is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    # A run that was killed leaves half a line.
    text = text[: text.rfind("\n") + 1] or json.dumps(head) + "\n"
    path.write_text(text, encoding="utf-8")
    try:
        first, *rows = (json.loads(line) for line in text.splitlines())
        by_clip = {row["clip"]: row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({error}); remove it") from error
    if first != head:
        raise InputError(f"{path}: is of another run ({first}, not {head}); give another folder or remove it")
    return by_clip


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    return [_rounded(v) for v in value] if isinstance(value, tuple) else value

"""How sure a bundle is where nobody is: noise, music, empty rooms, silence, photographs of things.

Every clip is one window through the robot's own code, without smoothing and without following a person. Half
of the kinds are of the generator that training takes such clips from (``training.nothing``), of
another seed; the other half is made by other formulas, and of photographs (``training.evaluation.nobody``),
so that it shows when only the generator was learnt.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emollama_ros.estimate import EmotionEstimate
from emollama_ros.labels import UNCERTAIN, UNKNOWN
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from emollama_ros.uncertainty import Doubt, Uncertainty
from training.mmeverse.decoding import FRAME_HZ, RATE

#: Mean confidence that must not be exceeded.
MOST_CONFIDENCE = 0.35
#: Where a kind of clip comes from.
GENERATED, OTHER = "generator of training, other seed", "other formulas and photographs"


@dataclass(frozen=True)
class Nobody:
    """A clip in which nobody is.

    Attributes:
        kind: What it is.
        made_by: ``GENERATED`` or ``OTHER``.
        samples: float32 (n,), 16 kHz; empty without sound.
        frames: uint8 (m, 224, 224, 3) at ``FRAME_HZ``; empty without pictures.
    """

    kind: str
    made_by: str
    samples: NDArray[np.float32]
    frames: NDArray[np.uint8]


@dataclass(frozen=True)
class Told:
    """What the robot says about a clip.

    Attributes:
        kind: Of the clip.
        made_by: Who made it.
        inputs: What was used, such as ``video+audio``; empty where nothing could be.
        label: As it is published.
        likeliest: The most probable label; empty where nothing could be used.
        confidence: Its probability.
    """

    kind: str
    made_by: str
    inputs: str
    label: str
    likeliest: str
    confidence: float


class Perceives(Protocol):
    """What is needed of ``perception.Perception``."""

    def perceive_one(self, window: Window, sequence: int = 0) -> EmotionEstimate:
        """Estimate what a window shows."""

    def reset(self, source: int | None = None) -> None:
        """Forget what was seen before."""


def everything(clips: int, repeats: int, seed: int) -> Iterator[Nobody]:
    """Make all clips of a report.

    Args:
        clips: Of the generator of training, all kinds in turn.
        repeats: Clips of each other kind.
        seed: Of everything random.
    """
    from training.evaluation.nobody import others
    from training.nothing import generate

    for clip in generate(clips, seed):
        yield Nobody(clip.person.split(":")[1], GENERATED, clip.samples, clip.frames)
    for kind, samples, frames in others(repeats, seed):
        yield Nobody(kind, OTHER, samples, frames)


def measure(perception: Perceives, clips: Iterable[Nobody], uncertainty: Uncertainty) -> list[Told]:
    """Let a robot perceive each clip as its first window.

    Args:
        perception: Of the bundle.
        clips: In which nobody is.
        uncertainty: When a label is not likely enough to be told.
    """
    return [_tell(perception, clip, uncertainty) for clip in tqdm(clips, desc="clips", unit="")]


def report(told: Sequence[Told], about: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up by kind, by inputs and over all, as plain values.

    Args:
        told: About every clip, at least one.
        about: Said beside it: which bundle, threshold and seed.
    """
    kinds = sorted({(t.made_by != GENERATED, t.made_by, t.kind) for t in told})
    return {
        **about,
        "most_confidence": MOST_CONFIDENCE,
        "all": _row(told),
        "by_maker": {m: _row([t for t in told if t.made_by == m]) for _, m in _unique(kinds)},
        "by_inputs": {
            inputs or "none usable": _row([t for t in told if t.inputs == inputs])
            for inputs in sorted({t.inputs for t in told})
        },
        "kinds": [
            {
                "kind": kind,
                "made_by": maker,
                **_row([t for t in told if (t.made_by, t.kind) == (maker, kind)]),
            }
            for _, maker, kind in kinds
        ],
    }


def markdown(found: Mapping[str, Any]) -> str:
    """A report as tables; a mean confidence above the bound is marked."""
    head = "clips | mean confidence | highest | uncertain | nothing usable | a label | commonest label |\n"
    head += "|---|---|---|---|---|---|---|---|"
    about = f"{found['bundle']}, uncertain below {found['uncertain_below']}, clips of seed {found['seed']}."
    rows = [("all", found["all"]), *found["by_maker"].items(), *found["by_inputs"].items()]
    needed = found["all"]["threshold_for_95_percent"]
    about += f" A threshold of {needed} would withhold 95 % of what could be perceived."
    lines = [about, "", f"| where nobody is | {head}"]
    lines += [f"| {name} | {_cells(row)} |" for name, row in rows]
    for _, maker in _unique([(0, row["made_by"], "") for row in found["kinds"]]):
        lines += ["", f"| {maker} | {head}"]
        lines += [f"| {row['kind']} | {_cells(row)} |" for row in found["kinds"] if row["made_by"] == maker]
    return "\n".join(lines)


def window_of(clip: Nobody) -> Window:
    """A clip as one window of a robot."""
    end_s = max(len(clip.samples) / RATE, len(clip.frames) / FRAME_HZ)
    stamps = (np.arange(len(clip.frames)) / FRAME_HZ * 1e9).astype(np.int64)
    return Window(
        0,
        round(end_s * 1e9),
        FrameBatch(stamps, clip.frames) if len(clip.frames) else None,
        AudioSpan(0, clip.samples, 1.0) if len(clip.samples) else None,
        "",
    )


def _tell(perception: Perceives, clip: Nobody, uncertainty: Uncertainty) -> Told:
    perception.reset()
    estimate = perception.perceive_one(window_of(clip))
    published = Doubt(uncertainty).update(estimate)
    inputs = "+".join(estimate.modalities.names())
    likeliest = "" if estimate.label == UNKNOWN else estimate.label
    return Told(clip.kind, clip.made_by, inputs, published.label, likeliest, estimate.confidence)


def _row(told: Sequence[Told]) -> dict[str, Any]:
    """Figures of some clips; confidences are of those that could be perceived."""
    sure = [t.confidence for t in told if t.label != UNKNOWN]
    labels = Counter(t.likeliest for t in told if t.likeliest)
    return {
        "clips": len(told),
        "mean_confidence": round(float(np.mean(sure)), 4) if sure else None,
        "highest_confidence": round(float(np.max(sure)), 4) if sure else None,
        "threshold_for_95_percent": _threshold(sure),
        "uncertain": _share(told, {UNCERTAIN}),
        "unknown": _share(told, {UNKNOWN}),
        "a_label": round(1 - _share(told, {UNCERTAIN, UNKNOWN}), 4),
        "commonest_label": labels.most_common(1)[0][0] if labels else None,
    }


def _threshold(sure: Sequence[float]) -> float | None:
    """The lowest threshold, in hundredths, that withholds 95 % of the labels."""
    if not sure:
        return None
    highest_withheld = float(np.quantile(sure, 0.95, method="higher"))
    return math.floor(highest_withheld * 100 + 1) / 100


def _share(told: Sequence[Told], labels: set[str]) -> float:
    return round(sum(t.label in labels for t in told) / len(told), 4)


def _cells(row: Mapping[str, Any]) -> str:
    mean, highest = row["mean_confidence"], row["highest_confidence"]
    marked = "-" if mean is None else f"{mean:.2f}" if mean <= MOST_CONFIDENCE else f"**{mean:.2f}**"
    shares = " | ".join(f"{row[name]:.0%}" for name in ("uncertain", "unknown", "a_label"))
    shown = "-" if highest is None else f"{highest:.2f}"
    return f"{row['clips']} | {marked} | {shown} | {shares} | {row['commonest_label'] or '-'}"


def _unique(kinds: Sequence[tuple[Any, str, str]]) -> list[tuple[int, str]]:
    """Makers in the order in which they come."""
    return list(enumerate(dict.fromkeys(maker for _, maker, _ in kinds)))

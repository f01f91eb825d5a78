"""How true the reasonings of a bundle are: over generated people, of whom it is known what they show.

Clips of people who were not trained on go through the robot's own code, perception, doubt and reasoner, with
picture and sound, with one of them alone, and with the words beside them. Every text is parsed, every cue
that it names is held against the facts (``reasoning_claims``), and every cue that the synthesis says can be
noticed is looked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import InputError
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning
from emollama_ros.labels import UNCERTAIN
from emollama_ros.language.phrases import Claim, certainty
from emollama_ros.perception import Perception
from emollama_ros.pipeline import Explainer
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.reasoning import load_reasoner
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from emollama_ros.uncertainty import Doubt, uncertainty_of
from training.evaluation.metrics import DRAWS, bootstrap
from training.evaluation.reasoning_claims import (
    Condition,
    Said,
    conditions,
    cue_named,
    facts_of,
    modality_of,
    parse,
)
from training.mmeverse.decoding import RATE, DecodedClip, decode_clip
from training.mmeverse.schema import Media

_S = 1_000_000_000
_AV = Modality.AUDIO | Modality.VIDEO
#: What of a clip is given to the robot.
GIVEN: Mapping[str, Modality] = {
    "picture and sound": _AV,
    "sound": Modality.AUDIO,
    "picture": Modality.VIDEO,
    "picture, sound and words": _AV | Modality.TEXT,
}
#: Longest text that is asked for.
LONGEST_TOKENS, MOST_SENTENCES = 40, 3
#: Texts that no phrase explains, and untrue ones, shown in a report.
_SHOWN = 20


@dataclass(frozen=True)
class Told:
    """A reasoning beside the truth.

    Attributes:
        clip: Name of the clip.
        person: Number of the person.
        given: Key of ``GIVEN``.
        used: Modalities that were used.
        label: Published label.
        confidence: Its probability.
        text: The reasoning.
        tokens: Its length.
        said: What it says.
        facts: What is the case.
        noticed: Cues of the used modalities that can be noticed.
    """

    clip: str
    person: int
    given: str
    used: Modality
    label: str
    confidence: float
    text: str
    tokens: int
    said: Said
    facts: Mapping[str, float]
    noticed: frozenset[str]

    @property
    def present(self) -> list[Claim]:
        """Cues named of modalities that were used."""
        return [claim for claim in sorted(self.said.cues) if modality_of(claim) in self.used]

    @property
    def of_nothing(self) -> list[Claim]:
        """Cues named of a modality that was not used."""
        return [claim for claim in sorted(self.said.cues) if modality_of(claim) not in self.used]

    def is_true(self, claim: Claim, tolerant: bool = True) -> bool:
        """Whether a named cue is true; one that cannot be held against the truth is not."""
        wanted: tuple[Condition, ...] = _CONDITIONS.get(claim, ())
        inside = modality_of(claim) in self.used
        return inside and bool(wanted) and all(c.holds(self.facts, tolerant) for c in wanted)

    @property
    def found(self) -> frozenset[str]:
        """Cues that can be noticed and are named."""
        return self.noticed & {name for claim in self.said.cues if (name := cue_named(claim))}

    @property
    def contradicts(self) -> bool:
        """Whether the person is given another label than the published one."""
        return bool(self.said.labels - {self.label})

    @property
    def lacks(self) -> frozenset[str]:
        """Senses that were not used."""
        return frozenset(m for m in ("audio", "video") if Modality[m.upper()] not in self.used)


_CONDITIONS = conditions()


def read_truth(folder: Path, first_person: int = 0, clips: int | None = None) -> list[dict[str, Any]]:
    """Read records of generated clips, in order.

    Args:
        folder: What ``python -m training.synthesis`` wrote, finished or not.
        first_person: People with lower numbers are left out: those that were trained on.
        clips: At most so many, spread evenly.

    Raises:
        InputError: There are none.
    """
    paths = sorted((folder / "records").glob("*.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    kept = [record for record in records if record["person"] >= first_person]
    if not kept:
        raise InputError(
            f"{folder}: {len(records)} generated clips, none of a person from {first_person} on; "
            "make some with `python -m training.synthesis --out FOLDER --first-person NUMBER`"
        )
    if clips is None or clips >= len(kept):
        return kept
    return [kept[i] for i in np.linspace(0, len(kept) - 1, clips).round().astype(int)]


def unseen(folder: Path, first_person: int) -> list[dict[str, Any]]:
    """Read records of generated people whom nothing was trained on: those of the splits that do not train.

    Args:
        folder: What ``python -m training.synthesis`` wrote, finished or not.
        first_person: From this number on people never trained, whatever their split.

    Raises:
        InputError: There are none.
    """
    found = [r for r in read_truth(folder) if r["person"] >= first_person or r["split"] != "train"]
    if not found:
        raise InputError(f"{folder}: all generated clips are of people who train (split train)")
    return found


def tell_all(
    bundle: Bundle, folder: Path, records: Sequence[Mapping[str, Any]], windows: int = 2, threads: int = 2
) -> list[Told]:
    """Have a bundle explain clips, with everything in ``GIVEN`` that they have.

    Args:
        bundle: With its language model.
        folder: Of the clips.
        records: Their truth.
        windows: Ends of windows a clip, the last at its end; all hold the whole sentence.
        threads: CPU threads.

    Raises:
        InputError: The bundle writes no reasonings, or a clip cannot be decoded.
    """
    perception = Perception(bundle, EngineOptions("auto", threads))
    explainer, why = load_reasoner(bundle, threads)
    if explainer is None:
        raise InputError(f"{bundle.path}: {'; '.join(why)}")
    robot = _Robot(perception, explainer)
    told: list[Told] = []
    for record in tqdm(records, "clips"):
        told += _tell(robot, record, _decoded(folder, record), windows)
    return told


@dataclass(frozen=True)
class _Robot:
    """What a node does with a window, without smoothing: a clip is one moment."""

    perception: Perception
    explainer: Explainer

    def explain(self, windows: Iterator[Window]) -> Iterator[tuple[EmotionEstimate, Reasoning]]:
        """Publish the windows of a clip, and say why."""
        self.perception.reset()
        least = self.perception.bundle.manifest.calibration.uncertain_below
        doubt = Doubt(uncertainty_of(-1.0, least))
        for number, window in enumerate(windows):
            estimate = doubt.update(self.perception.perceive_one(window, number))
            yield estimate, self.explainer.explain(estimate, window.transcript)


def _decoded(folder: Path, record: Mapping[str, Any]) -> DecodedClip:
    is_film = "video" in record["modalities"]
    media = Media(video=record["clip"]) if is_film else Media(audio=record["clip"])
    return decode_clip(media, folder, to_model_frame)


def _tell(robot: _Robot, record: Mapping[str, Any], clip: DecodedClip, windows: int) -> Iterator[Told]:
    facts = facts_of(record)
    for given, modalities in GIVEN.items():
        if any(m not in (*record["modalities"], "text") for m in modalities.names()):
            continue
        for estimate, said in robot.explain(_windows(clip, record, modalities, windows)):
            yield _beside(record, given, estimate, said, facts)


def _beside(
    record: Mapping[str, Any],
    given: str,
    estimate: EmotionEstimate,
    reasoning: Reasoning,
    facts: Mapping[str, float],
) -> Told:
    used, cues = estimate.modalities, record["cues"]
    heard = cues["voice"] if Modality.AUDIO in used else ()
    seen = cues["visual"] if Modality.VIDEO in used else ()
    return Told(
        clip=record["id"],
        person=record["person"],
        given=given,
        used=used,
        label=estimate.label,
        confidence=estimate.confidence,
        text=reasoning.text,
        tokens=reasoning.tokens,
        said=parse(reasoning.text),
        facts=facts,
        noticed=frozenset((*heard, *seen)),
    )


def _windows(clip: DecodedClip, record: Mapping[str, Any], given: Modality, count: int) -> Iterator[Window]:
    """Windows of a clip, as they grow: each holds all that is said, the last all that there is."""
    end_s = float(record["segments"][-1]["end_s"])
    spoken = [s["speech"]["end_s"] for s in record["segments"] if s.get("speech")]
    first_s = min(end_s, max([0.6 * end_s, *(float(s) + 0.1 for s in spoken)]))
    words = record["transcript"] if Modality.TEXT in given else ""
    whole = Window(0, round(end_s * _S), _frames(clip, given), _sound(clip, given), words)
    ends = np.linspace(first_s, end_s, count) if count > 1 else [end_s]
    for stop_s in dict.fromkeys(round(float(e), 2) for e in ends):
        yield _cut(whole, round(stop_s * _S))


def _frames(clip: DecodedClip, given: Modality) -> FrameBatch | None:
    if Modality.VIDEO not in given or not clip.pictures:
        return None
    return FrameBatch(np.array(clip.stamps_ns, np.int64), np.stack(clip.pictures))


def _sound(clip: DecodedClip, given: Modality) -> AudioSpan | None:
    is_heard = Modality.AUDIO in given and len(clip.samples)
    return AudioSpan(0, clip.samples, 1.0) if is_heard else None


def _cut(window: Window, end_ns: int) -> Window:
    frames, audio = window.frames, window.audio
    if frames is not None:
        count = int(np.searchsorted(frames.stamps_ns, end_ns))
        frames = FrameBatch(frames.stamps_ns[:count], frames.images[:count])
    if audio is not None:
        audio = AudioSpan(0, audio.samples[: round(end_ns * RATE / _S)], 1.0)
    return replace(window, end_ns=end_ns, frames=frames, audio=audio)


@dataclass(frozen=True)
class Share:
    """A share of things, with a 95 % interval by bootstrap over people.

    Attributes:
        value: The share; NaN of nothing.
        low: Of the interval.
        high: Of the interval.
        n: How many things.
    """

    value: float
    low: float
    high: float
    n: int


def share(
    told: Sequence[Told],
    counted: Callable[[Told], tuple[int, int]],
    draws: int = DRAWS,
    seed: int = 0,
) -> Share:
    """Work out a share.

    Args:
        told: Over which texts.
        counted: How many things a text has that count, and how many in all.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    parts = np.array([counted(t) for t in told], np.int64).reshape(-1, 2)
    hits, n = (int(v) for v in parts.sum(0))
    if not n:
        return Share(float("nan"), float("nan"), float("nan"), 0)

    def ratio(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[:, 0] / sums[:, 1]

    low, high = bootstrap(parts, [str(t.person) for t in told], ratio, draws, seed)
    return Share(hits / n, float(low), float(high), n)


def _named(told: Told) -> int:
    """Cues that a text names; what nobody can parse is counted as one each."""
    return len(told.said.cues) + len(told.said.unparsed)


#: What is measured, over which texts: name -> (what counts, what there is).
MEASURES: Mapping[str, Callable[[Told], tuple[int, int]]] = {
    "named cues that are true": lambda t: (sum(map(t.is_true, t.said.cues)), _named(t)),
    "the same, no tolerance": lambda t: (sum(t.is_true(c, False) for c in t.said.cues), _named(t)),
    "the same, of what the truth tells": lambda t: (
        sum(map(t.is_true, t.said.cues)),
        sum(c in _CONDITIONS for c in t.said.cues),
    ),
    "true cues that are named": lambda t: (len(t.found), len(t.noticed)),
    "the same, where a label is told": lambda t: (
        (len(t.found), len(t.noticed)) if t.label != UNCERTAIN else (0, 0)
    ),
    "texts that contradict the label": lambda t: (int(t.contradicts), 1),
    "texts that describe a missing modality": lambda t: (int(bool(t.of_nothing)), 1),
    "texts without a sense that say which": lambda t: (
        int(bool(t.lacks) and t.said.missing == t.lacks),
        int(bool(t.lacks)),
    ),
    "texts that say something is missing that is there": lambda t: (int(bool(t.said.missing - t.lacks)), 1),
    "unsure estimates that are told as unsure": lambda t: (
        int(_is_unsure(t) and t.said.unsure),
        int(_is_unsure(t)),
    ),
    "other estimates that are told as unsure": lambda t: (
        int(not _is_unsure(t) and t.said.unsure),
        int(not _is_unsure(t)),
    ),
    "texts of at most three sentences": lambda t: (int(1 <= t.said.sentences <= MOST_SENTENCES), 1),
    "texts of at most 40 tokens": lambda t: (int(t.tokens <= LONGEST_TOKENS), 1),
    "texts with something no phrase explains": lambda t: (int(bool(t.said.unparsed)), 1),
}


def _is_unsure(told: Told) -> bool:
    return told.label == UNCERTAIN or certainty(told.confidence) == "unsure"


def report(told: Sequence[Told], about: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Everything that was measured, as plain data; no clip and no person is named but in examples."""
    groups = {"all": list(told), **{name: [t for t in told if t.given == name] for name in GIVEN}}
    return {
        **about,
        "texts": len(told),
        "clips": len({t.clip for t in told}),
        "people": len({t.person for t in told}),
        "bootstrap": {"draws": DRAWS, "seed": seed, "over": "people"},
        "shares": {
            group: {name: _plain(share(some, counted, seed=seed)) for name, counted in MEASURES.items()}
            for group, some in groups.items()
            if some
        },
        "tokens": _lengths([t.tokens for t in told]),
        "sentences": _lengths([t.said.sentences for t in told]),
        "named a text": round(float(np.mean([_named(t) for t in told])), 3),
        "cues": _by_cue(told),
        "claims": _by_claim(told),
        "unparsed": [t.text for t in told if t.said.unparsed],
        "untrue": _untrue(told),
    }


def _plain(found: Share) -> dict[str, Any]:
    if not found.n:
        return {"value": None, "interval": None, "n": 0}
    return {
        "value": round(found.value, 4),
        "interval": [round(found.low, 4), round(found.high, 4)],
        "n": found.n,
    }


def _lengths(values: Sequence[int]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 2), "most": int(max(values))}


def _by_cue(told: Sequence[Told]) -> dict[str, dict[str, int]]:
    """Of each cue that can be noticed: how often it can, and how often it is named then."""
    noticed = Counter(cue for t in told for cue in t.noticed)
    found = Counter(cue for t in told for cue in t.found)
    return {cue: {"noticed": n, "named": found[cue]} for cue, n in sorted(noticed.items())}


def _by_claim(told: Sequence[Told]) -> dict[str, dict[str, int]]:
    """Of each claim: how often it is made, and how often it is true."""
    made = Counter(claim for t in told for claim in t.said.cues)
    true = Counter(claim for t in told for claim in t.said.cues if t.is_true(claim))
    return {
        "/".join(claim): {"named": n, "true": true[claim], "can be checked": int(claim in _CONDITIONS)}
        for claim, n in sorted(made.items())
    }


def _untrue(told: Sequence[Told]) -> list[dict[str, Any]]:
    """Some texts with what is untrue in them, spread over all."""
    wrong = [(t, [c for c in sorted(t.said.cues) if not t.is_true(c)]) for t in told]
    some = [(t, claims) for t, claims in wrong if claims]
    chosen = some[:: max(1, len(some) // _SHOWN)][:_SHOWN]
    return [
        {"given": t.given, "text": t.text, "untrue": ["/".join(c) for c in claims], "true": sorted(t.noticed)}
        for t, claims in chosen
    ]


def markdown(found: Mapping[str, Any]) -> str:
    """The report as a page."""
    groups = list(found["shares"])
    lines = [
        f"# Reasonings beside the truth: {found['bundle']}",
        "",
        f"{found['texts']} texts on {found['clips']} generated clips of {found['people']} people who were "
        f"not trained on (numbers from {found['first_person']}); 95 % intervals by bootstrap over people "
        f"({found['bootstrap']['draws']} draws, seed {found['bootstrap']['seed']}).",
        "",
        f"| | {' | '.join(groups)} |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for name in MEASURES:
        cells = [_cell(found["shares"][group][name]) for group in groups]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Tokens: {found['tokens']['mean']} on average, {found['tokens']['most']} at most; sentences: "
        f"{found['sentences']['mean']} and {found['sentences']['most']}; cues named a text: "
        f"{found['named a text']}.",
        "",
        "| cue that can be noticed | times | named |",
        "|---|---|---|",
        *(
            f"| {cue} | {c['noticed']} | {100 * c['named'] / c['noticed']:.0f} % |"
            for cue, c in found["cues"].items()
        ),
        "",
        "| claim | times | true |",
        "|---|---|---|",
        *(
            f"| {claim} | {c['named']} | "
            + (f"{100 * c['true'] / c['named']:.0f} % |" if c["can be checked"] else "not in the truth |")
            for claim, c in found["claims"].items()
        ),
        "",
    ]
    return "\n".join(lines)


def _cell(found: Mapping[str, Any]) -> str:
    if not found["n"]:
        return "–"
    low, high = found["interval"]
    return f"{found['value']:.3f} ({low:.3f} to {high:.3f}; {found['n']})"

"""The most confident mistakes on generated people, and the calmest successes: chosen by rule, not by hand.

Generated people are drawn by this project, so that pictures of them may be shown; of what they show and say
everything is known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import InputError
from emollama_ros.perception import Perception
from emollama_ros.reasoning import load_reasoner
from emollama_ros.uncertainty import Doubt, uncertainty_of
from training.evaluation.gallery_clips import SENSES, Found, Shown
from training.evaluation.group_people import Store, decoded, perceive, tell
from training.evaluation.reasoning_truth import unseen
from training.mmeverse.decoding import decode_clip
from training.mmeverse.schema import Media

_CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENT = _CHECKOUT / "docs" / "failures.md"
PICTURE = _CHECKOUT / "docs" / "images" / "failures.svg"
_BLOCK = re.compile(
    r"(<!-- python -m training gallery --write -->\n).*?(<!-- end of the gallery -->)", re.DOTALL
)
#: Moments shown of a clip, as shares of its length.
MOMENTS = (0.1, 0.3, 0.5, 0.7, 0.9)


def collect(
    folders: Sequence[Path], first_person: int, path: Path | None, counts: tuple[int, int], kept: Path
) -> Found:
    """Let a bundle tell and explain generated clips with picture and sound, and choose what to show.

    Args:
        folders: What ``python -m training.synthesis`` wrote.
        first_person: From this number on nobody was trained on; before it, the split ``train`` was.
        path: The bundle; None for the default one.
        counts: How many mistakes and how many successes.
        kept: What was told so far, JSON Lines; goes on from it.

    Raises:
        InputError: No clip has picture and sound, or the bundle writes no reasonings.
    """
    bundle = Bundle.load(path)
    explainer, why = load_reasoner(bundle, threads=1)
    if explainer is None:
        raise InputError(f"{bundle.path}: {'; '.join(why)}")
    records = {folder: unseen(folder, first_person) for folder in folders}
    heard = [one for one in tell(bundle, records, Store(kept, bundle)) if "both" in one.views]
    if not heard:
        raise InputError(f"{', '.join(map(str, folders))}: no clip with picture and sound could be told")
    told = [Shown(one.record, one.views) for one in heard]
    where = {one.record["id"]: one.folder for one in heard}
    perception = Perception(bundle, EngineOptions("auto", threads=1))
    doubt = uncertainty_of(-1.0, bundle.manifest.calibration.uncertain_below)

    def explained(one: Shown) -> Shown:
        """With pictures, sound and the words that the robot would say."""
        folder = where[one.record["id"]]
        published = Doubt(doubt).update(perceive(perception, decoded(folder, one.record)))
        text = explainer.explain(published, "").text
        plain = decode_clip(Media(video=one.record["clip"]), folder)
        last = len(plain.pictures) - 1
        frames = tuple(plain.pictures[round(share * last)] for share in MOMENTS)
        return replace(one, reasoning=text, frames=frames, samples=plain.samples)

    wrong, right = chosen(told, *counts)
    model = f"{bundle.manifest.name} {bundle.manifest.version} {bundle.sha256[:12]}"
    return Found(model, tuple(map(explained, wrong)), tuple(map(explained, right)), tuple(told))


def chosen(told: Sequence[Shown], mistakes: int, successes: int) -> tuple[list[Shown], list[Shown]]:
    """The most confident mistakes, and the successes on the weakest expressions; one clip a person."""
    wrong = sorted((s for s in told if not s.is_right), key=lambda s: -s.confidence)
    right = sorted((s for s in told if s.is_right and s.truth != "neutral"), key=lambda s: s.intensity)
    return _one_a_person(wrong)[:mistakes], _one_a_person(right)[:successes]


def _one_a_person(shown: Sequence[Shown]) -> list[Shown]:
    first: dict[int, Shown] = {}
    for one in shown:
        first.setdefault(one.record["person"], one)
    return list(first.values())


def rows_of(found: Found) -> str:
    """The gallery as a table, and what all mistakes have in common."""
    lines = ["| | true | told | voice alone | picture alone | hard, because | it says |", "|---" * 7 + "|"]
    for number, one in enumerate((*found.mistakes, *found.successes), 1):
        alone = one.alone()
        cells = [
            str(number),
            f"**{one.truth}**",
            f"{one.label} {one.confidence:.2f}",
            *(f"{alone[s][0]} {alone[s][1]:.2f}" for s in SENSES.values()),
            "; ".join(one.circumstances()) or "nothing",
            one.reasoning,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", in_common(found.told)])


def in_common(told: Sequence[Shown]) -> str:
    """How often which sense was wrong, and which labels are confused, over all clips."""
    wrong = [s for s in told if not s.is_right]
    if not wrong:
        return f"None of {len(told)} clips was told wrong."
    misled = Counter(_misled(s) for s in wrong)
    pairs = Counter((s.truth, s.label) for s in wrong).most_common(5)
    sure = [s for s in told if s.confidence >= 0.8]
    surely_wrong = sum(not s.is_right for s in sure)
    causes = Counter(_kind(words) for s in told for words in s.circumstances())
    of_wrong = Counter(_kind(words) for s in wrong for words in s.circumstances())
    people = len({s.record["person"] for s in told})
    return "\n".join(
        [
            f"Of {len(told)} clips with picture and sound of {people} people, {len(wrong)} are told wrong "
            f"({100 * len(wrong) / len(told):.0f} %); of the {len(sure)} told with a confidence of 0.8 or "
            f"more, {surely_wrong}.",
            "",
            "| of the mistakes | clips |",
            "|---|---|",
            *(f"| {name} | {count} |" for name, count in misled.most_common()),
            *(f"| {truth} told as {label} | {count} |" for (truth, label), count in pairs),
            "",
            "| circumstance | clips | told wrong |",
            "|---|---|---|",
            *(f"| {name} | {n} | {100 * of_wrong[name] / n:.0f} % |" for name, n in causes.most_common()),
        ]
    )


def _misled(one: Shown) -> str:
    alone = {name: label == one.truth for name, (label, _) in one.alone().items()}
    if all(alone.values()):
        return "each sense alone is right"
    if not any(alone.values()):
        return "both senses alone are wrong"
    return f"the {'picture' if alone.get('voice') else 'voice'} alone is wrong"


def _kind(words: str) -> str:
    """A circumstance without its figures."""
    for start, kind in (
        ("face shows", "face and voice disagree"),
        ("face ", "face below a quarter of the picture"),
        ("voice ", "voice less than 15 dB above noise"),
        ("video ", "picture cut out for a while"),
        ("audio ", "sound cut out for a while"),
        ("shown weakly", "shown weakly (below 0.6)"),
    ):
        if words.startswith(start):
            return kind
    return words


def draw(found: Found, path: Path) -> None:
    """Draw the sheet as SVG.

    Raises:
        InputError: The ending is another.
    """
    from training.evaluation.gallery_sheet import sheet

    if path.suffix != ".svg":
        raise InputError(f"{path}: the sheet is an .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sheet(found), encoding="utf-8")


def document(text: str, found: Found) -> str:
    """The document with the rows between its marks made anew.

    Raises:
        InputError: The document has no marks.
    """
    if not _BLOCK.search(text):
        raise InputError("docs/failures.md: the marks of the gallery are gone")
    inside = f"Of {found.model}.\n\n{rows_of(found)}"
    return _BLOCK.sub(lambda match: f"{match[1]}\n{inside}\n\n{match[2]}", text)


def commit(found: Found) -> tuple[Path, Path]:
    """Write the picture and the document into docs; returns their paths."""
    draw(found, PICTURE)
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
    return PICTURE, DOCUMENT

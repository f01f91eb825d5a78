"""Hit rate and open-vocabulary scores of MER-UniBench.

A model answers with any words. Truth and answer are both grouped by five emotion wheels (`wheels`), and compared there.
Clips whose truth is outside the vocabulary, neutral above all, say nothing and are dropped, and counted.

Source: AffectGPT (arXiv 2501.16566), section 4, and the released ``wheel.py`` and ``score_hit_ov.py``, whose results
are reproduced. Hit rate is not accuracy: an answer with many labels hits more often, which ``m_score`` discounts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from training.evaluation.wheels import Grouping, split_list

#: Labels of one clip: a list, a list written as text (``[happy, very sad]``), or nothing.
Answer = str | Sequence[str] | None
Sectors = NDArray[np.uint64]

PARTS = ("ground_truth", "open_vocabulary_ground_truth", "predictions")
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


@dataclass(frozen=True)
class WheelScores:
    """Two means over the clips that one wheel can score.

    Attributes:
        first: Hit rate, or precision. None where no clip was kept.
        second: m_score, or recall. None where no clip was kept.
        kept: Clips scored.
        dropped: Clips whose truth this wheel has no sector for.
    """

    first: float | None
    second: float | None
    kept: int
    dropped: int

    @property
    def f_score(self) -> float | None:
        """Harmonic mean of the two means; 0 where both are 0."""
        if self.first is None or self.second is None:
            return None
        return 2 * self.first * self.second / ((self.first + self.second) or 1.0)


Scores = dict[str, WheelScores]


def parse_labels(answer: Answer) -> list[str]:
    """Labels of an answer, in lower case and without blanks around them."""
    return [label.strip().lower() for label in _pieces(answer)]


def group(grouping: Grouping, answers: Sequence[Answer]) -> Sectors:
    """Sectors that each answer touches: uint64 (answers, wheels), one bit a sector."""
    rows = _RowOf(grouping.rows)
    found: list[int] = []
    starts = []
    for answer in answers:
        starts.append(len(found))
        found.append(0)  # a word outside the vocabulary: without it an empty answer would have no place
        found += [rows[piece] for piece in _pieces(answer)]
    if not starts:
        return np.zeros((0, len(grouping.wheels)), np.uint64)
    return np.bitwise_or.reduceat(grouping.sectors[found], starts, axis=0)


def hit_rate(grouping: Grouping, truth: Sequence[str], predictions: Sequence[Answer]) -> Scores:
    """Per wheel, how often the true label is among the answers (hit rate), and how pointedly (m_score).

    The m_score of a clip is its hits over the answered sectors that are a true label's of any clip. As in the released
    code, those are collected from labels exactly as written, so the true labels should be in lower case.

    Args:
        grouping: Tables.
        truth: True label of each clip.
        predictions: Answer for each clip.
    """
    expected, answered = group(grouping, truth), group(grouping, predictions)
    rows = [grouping.rows.get(label, 0) for label in set(truth)]
    hits = _count(expected & answered)
    pointed = _count(answered & np.bitwise_or.reduce(grouping.sectors[rows], axis=0))
    return _means(grouping, expected, hits, _share(hits, pointed))


def open_vocabulary(grouping: Grouping, truth: Sequence[Answer], predictions: Sequence[Answer]) -> Scores:
    """Per wheel, precision and recall of the answered set of sectors, as means over clips.

    Args:
        grouping: Tables.
        truth: True labels of each clip.
        predictions: Answer for each clip. An empty one has precision and recall 0.
    """
    expected, answered = group(grouping, truth), group(grouping, predictions)
    common = _count(expected & answered)
    return _means(grouping, expected, _share(common, _count(answered)), _share(common, _count(expected)))


def read_cases(path: Path) -> dict[str, dict[str, Answer]]:
    """Read truth and predictions: JSON objects ``ground_truth``, ``open_vocabulary_ground_truth``, ``predictions``.

    Returns:
        The three, each from clip to labels. Other entries of the file are ignored.

    Raises:
        InputError: Not such a file, a clip that occurs twice or not in all three, or labels of another form.
    """
    try:
        cases = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON ({error}); expected an object with {PARTS}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    try:
        return _checked(cases)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def score_cases(grouping: Grouping, cases: Mapping[str, Mapping[str, Answer]]) -> dict[str, Any]:
    """Score what `read_cases` returns.

    Returns:
        Plain data: per wheel ``hit_rate`` (hit_rate, m_score), ``hit_rate_mean``, per wheel ``open_vocabulary``
        [precision, recall], ``open_vocabulary_f_mean`` (mean over wheels of the F of these two means), and ``counts``
        of clips kept and dropped. A figure is None where no clip was kept.
    """
    clips = list(cases["predictions"])
    truth, labels, predictions = ([cases[part][clip] for clip in clips] for part in PARTS)
    hits = hit_rate(grouping, truth, predictions)  # type: ignore[arg-type]
    sets = open_vocabulary(grouping, labels, predictions)
    return {
        "hit_rate": {wheel: {"hit_rate": s.first, "m_score": s.second} for wheel, s in hits.items()},
        "hit_rate_mean": _mean([s.first for s in hits.values()]),
        "open_vocabulary": {wheel: [s.first, s.second] for wheel, s in sets.items()},
        "open_vocabulary_f_mean": _mean([s.f_score for s in sets.values()]),
        "counts": {"hit_rate": _counts(hits), "open_vocabulary": _counts(sets)},
    }


class _RowOf(dict[str, int]):
    """Rows by label as written: each spelling is normalised once, however often it occurs."""

    def __init__(self, rows: Mapping[str, int]) -> None:
        super().__init__()
        self._rows = rows

    def __missing__(self, piece: str) -> int:
        row = self[piece] = self._rows.get(piece.strip().lower(), 0)
        return row


def _pieces(answer: Answer) -> Sequence[str]:
    return split_list(answer) if isinstance(answer, str) else answer or ()


def _count(sectors: Sectors) -> NDArray[np.int64]:
    """Bits set in each (numpy below 2 has no function for it)."""
    return _ONES[sectors[..., None].view(np.uint8)].sum(axis=-1, dtype=np.int64)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)


def _means(grouping: Grouping, expected: Sectors, first: NDArray[Any], second: NDArray[Any]) -> Scores:
    kept = expected != 0
    pairs = zip(grouping.wheels, kept.T, first.T, second.T, strict=True)
    return {
        wheel: WheelScores(_mean(a[keep]), _mean(b[keep]), int(keep.sum()), int((~keep).sum()))
        for wheel, keep, a, b in pairs
    }


def _mean(values: Any) -> float | None:
    """Mean, or None where there is nothing, or a None, to take it of."""
    return None if len(values) == 0 or any(v is None for v in values) else float(np.mean(values))


def _counts(scores: Scores) -> dict[str, dict[str, int]]:
    return {wheel: {"kept": s.kept, "dropped": s.dropped} for wheel, s in scores.items()}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in found if names.count(name) > 1)
        raise InputError(f"{repeated!r} occurs more than once; which one counts would be a guess")
    return found


def _checked(cases: Any) -> dict[str, dict[str, Answer]]:
    if not isinstance(cases, dict):
        raise InputError(f"expected an object with {PARTS}, found {type(cases).__name__}")
    if missing := [part for part in PARTS if not isinstance(cases.get(part), dict)]:
        raise InputError(f"no object {missing[0]!r} from clip to labels; the file has {list(cases)}")
    for part in PARTS:
        _check_clips(cases, part)
        _check_labels(part, cases[part], _is_label if part == "ground_truth" else _is_answer)
    return {part: cases[part] for part in PARTS}


def _check_clips(cases: Mapping[str, Any], part: str) -> None:
    here, predicted = cases[part].keys(), cases["predictions"].keys()
    if not here:
        raise InputError(f"{part} has no clips")
    if odd := sorted(here ^ predicted):
        have, lack = (part, "predictions") if odd[0] in here else ("predictions", part)
        sizes = f"{part} has {len(here)} clips, predictions {len(predicted)}"
        raise InputError(f"{odd[0]!r} (of {len(odd)} such clips) is in {have} and not in {lack}; {sizes}")


def _check_labels(part: str, labels: Mapping[str, Any], fits: Callable[[Any], bool]) -> None:
    for clip, value in labels.items():
        if not fits(value):
            form = "one label" if fits is _is_label else "a list of labels, the same as text, or null"
            raise InputError(f"{part}, {clip!r}: expected {form}, found {value!r}")


def _is_label(value: Any) -> bool:
    return isinstance(value, str)


def _is_answer(value: Any) -> bool:
    return value is None or _is_label(value) or (isinstance(value, list) and all(map(_is_label, value)))

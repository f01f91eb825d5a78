"""Hit rate and open-vocabulary scores of MER-UniBench.

A model answers with any words. Truth and answer are both grouped by five emotion wheels (`wheels`), and
compared there. Clips whose truth is outside the vocabulary, neutral above all, say nothing and are dropped,
and counted.

Source: AffectGPT (arXiv 2501.16566), section 4, and the released ``wheel.py`` and ``score_hit_ov.py``, whose
results are reproduced. Hit rate is not accuracy: an answer with many labels hits more often, which
``m_score`` discounts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from training.evaluation.wheels import SECTOR_BITS, Grouping, split_list, unify_separators

#: Labels of one clip: a list, a list written as text (``[happy, very sad]``), or nothing.
Answer = str | Sequence[str] | None
Sectors = NDArray[np.uint16]

PARTS = ("ground_truth", "open_vocabulary_ground_truth", "predictions")
#: Begins each answer in the text that all are joined to. No label is a quote, because quotes separate labels.
_START = "'"
_START_CODE = np.uint64(1 << 63)
_SEPARATORS = str.maketrans(dict.fromkeys(",'\"", ";"))
_ONES = np.array([value.bit_count() for value in range(1 << SECTOR_BITS)], np.int64)


@dataclass(frozen=True)
class HitRate:
    """How often one wheel finds the true label among the answers.

    Attributes:
        hit_rate: Mean hits a clip. None where no clip was kept.
        m_score: Mean of hits over answered sectors that some clip's label has. None where no clip was kept.
        kept: Clips scored.
        dropped: Clips whose truth this wheel has no sector for.
    """

    hit_rate: float | None
    m_score: float | None
    kept: int
    dropped: int


@dataclass(frozen=True)
class SetScores:
    """How well sets of answers meet sets of true labels on one wheel.

    Attributes:
        precision: Mean over clips. None where no clip was kept.
        recall: Mean over clips. None where no clip was kept.
        kept: Clips scored.
        dropped: Clips whose truth this wheel has no sector for.
    """

    precision: float | None
    recall: float | None
    kept: int
    dropped: int

    @property
    def f_score(self) -> float | None:
        """Harmonic mean of the two means; 0 where both are 0."""
        if self.precision is None or self.recall is None:
            return None
        return 2 * self.precision * self.recall / ((self.precision + self.recall) or 1.0)


@dataclass(frozen=True)
class ByClip:
    """Scores before any mean is taken; all (clips, wheels).

    Attributes:
        kept: Whether the wheel has a sector for the clip's truth.
        first: Hits, or precision.
        second: Hits over answered sectors that some clip's label has, or recall.
    """

    kept: NDArray[np.bool_]
    first: NDArray[Any]
    second: NDArray[Any]


_Kind = TypeVar("_Kind", HitRate, SetScores)


def parse_labels(answer: Answer) -> list[str]:
    """Labels of an answer, in lower case and without blanks around them."""
    pieces = split_list(answer) if isinstance(answer, str) else answer or ()
    return [label for piece in pieces if (label := piece.strip().lower())]


def group(grouping: Grouping, answers: Iterable[Answer]) -> Sectors:
    """Sectors that each answer touches: uint16 (answers, wheels), one bit a sector."""
    # All answers are split at once, which takes a third of the time that one by one takes.
    pieces = ",".join(f"{_START},{_joined(answer)}" for answer in answers).split(",")
    code_of = _CodeOf({**grouping.codes, _START: int(_START_CODE)})
    codes = np.fromiter(map(code_of.__getitem__, pieces), np.uint64, len(pieces))
    return _unpack(grouping, np.bitwise_or.reduceat(codes, np.flatnonzero(codes == _START_CODE)))


def hit_rate(grouping: Grouping, truth: Sequence[str], answered: Sectors) -> dict[str, HitRate]:
    """Per wheel, how often the true label is among the answers (hit rate), and how pointedly (m_score).

    The m_score of a clip is its hits over the answered sectors that are a true label's of any clip. As in the
    released code, those are collected from labels exactly as written, so true labels should be in lower case.

    Args:
        grouping: Tables.
        truth: True label of each clip.
        answered: What `group` gives for the answers.
    """
    return _means(HitRate, grouping, hits_by_clip(grouping, truth, answered))


def hits_by_clip(grouping: Grouping, truth: Sequence[str], answered: Sectors) -> ByClip:
    """What `hit_rate` takes the means of: hits, and hits over answered sectors, by clip and wheel."""
    row = {label: i for i, label in enumerate(dict.fromkeys(truth))}
    expected = group(grouping, row)[[row[label] for label in truth]]
    hits = _ONES[expected & answered]
    written = [grouping.codes.get(label, 0) for label in row]
    candidates = np.bitwise_or.reduce(_unpack(grouping, np.array(written, np.uint64)), axis=0)
    return ByClip(expected != 0, hits, _share(hits, _ONES[answered & candidates]))


def open_vocabulary(grouping: Grouping, truth: Sequence[Answer], answered: Sectors) -> dict[str, SetScores]:
    """Per wheel, precision and recall of the answered set of sectors, as means over clips.

    Args:
        grouping: Tables.
        truth: True labels of each clip.
        answered: What `group` gives for the answers. An empty answer has precision and recall 0.
    """
    return _means(SetScores, grouping, sets_by_clip(grouping, truth, answered))


def sets_by_clip(grouping: Grouping, truth: Sequence[Answer], answered: Sectors) -> ByClip:
    """What `open_vocabulary` takes the means of: precision and recall of each clip on each wheel."""
    expected = group(grouping, truth)
    common = _ONES[expected & answered]
    return ByClip(expected != 0, _share(common, _ONES[answered]), _share(common, _ONES[expected]))


def read_cases(path: Path) -> dict[str, dict[str, Answer]]:
    """Read truth and predictions: one JSON object that holds the objects `PARTS`.

    Returns:
        The three, each from clip to labels. Other entries of the file are ignored.

    Raises:
        InputError: Not such a file, a clip that occurs twice or not in all three, or labels of another form.
    """
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON ({error}); expected an object with {PARTS}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def score_cases(grouping: Grouping, cases: Mapping[str, Mapping[str, Answer]]) -> dict[str, Any]:
    """Score what `read_cases` returns.

    Returns:
        Plain data: per wheel ``hit_rate`` (hit_rate, m_score), ``hit_rate_mean``, per wheel
        ``open_vocabulary`` [precision, recall], ``open_vocabulary_f_mean`` (mean over wheels of the F of
        these two means), and ``counts`` of clips kept and dropped. A figure is None where no clip was kept.
    """
    clips = list(cases["predictions"])
    truth, labels, predictions = ([cases[part][clip] for clip in clips] for part in PARTS)
    answered = group(grouping, predictions)
    hits = hit_rate(grouping, truth, answered)
    sets = open_vocabulary(grouping, labels, answered)
    return {
        "hit_rate": {wheel: {"hit_rate": s.hit_rate, "m_score": s.m_score} for wheel, s in hits.items()},
        "hit_rate_mean": _over_wheels([s.hit_rate for s in hits.values()]),
        "open_vocabulary": {wheel: [s.precision, s.recall] for wheel, s in sets.items()},
        "open_vocabulary_f_mean": _over_wheels([s.f_score for s in sets.values()]),
        "counts": {"hit_rate": _counts(hits), "open_vocabulary": _counts(sets)},
    }


class _CodeOf(dict[str, int]):
    """Codes by label as written: each spelling is normalised once, however often it occurs."""

    def __missing__(self, piece: str) -> int:
        code = self[piece] = self.get(piece.strip().lower(), 0)
        return code


def _joined(answer: Answer) -> str:
    """An answer as text that only commas separate. A label of a list is one label, whatever it contains."""
    if isinstance(answer, str):
        return unify_separators(answer)
    return ",".join([label.translate(_SEPARATORS) for label in answer or ()])


def _unpack(grouping: Grouping, codes: NDArray[np.uint64]) -> Sectors:
    shifts = np.arange(len(grouping.wheels), dtype=np.uint64) * np.uint64(SECTOR_BITS)
    one_wheel = np.uint64((1 << SECTOR_BITS) - 1)
    return ((codes[:, None] >> shifts) & one_wheel).astype(np.uint16)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)


def _means(kind: type[_Kind], grouping: Grouping, clips: ByClip) -> dict[str, _Kind]:
    columns = zip(grouping.wheels, clips.kept.T, clips.first.T, clips.second.T, strict=True)
    return {
        wheel: kind(_mean(a[keep]), _mean(b[keep]), int(keep.sum()), int((~keep).sum()))
        for wheel, keep, a, b in columns
    }


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _over_wheels(scores: Sequence[float | None]) -> float | None:
    return None if None in scores else float(np.mean(scores))


def _counts(scores: Mapping[str, HitRate | SetScores]) -> dict[str, dict[str, int]]:
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

"""What the marks say: how often each field is right, and how well two people agree.

Cohen's kappa (Cohen 1960) over the three verdicts, by scikit-learn, for every pair of people who marked the
same texts. The share right is the form of the paper's table on MMEVerse (arXiv 2601.16449).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from training.annotation.review.marks import FIELDS, VERDICTS, Mark, last_marks


def agreement(marks: Iterable[Mark]) -> dict[str, Any]:
    """Summarise marks.

    Returns:
        Plain data: ``fields`` has, by field name, ``right`` (share of right among right and wrong; None
        without any), ``n`` (marks right or wrong), ``cannot_tell`` (marks), and ``pairs``: for each two
        reviewers their ``kappa`` (None where it is not defined: nothing in common, or one verdict only),
        ``same`` (share of equal verdicts) and ``n``. Also ``reviewers`` and ``clips``.
    """
    kept = last_marks(marks)
    by_field: dict[str, list[Mark]] = defaultdict(list)
    for mark in kept:
        by_field[mark.field].append(mark)
    return {
        "reviewers": sorted({m.reviewer for m in kept}),
        "clips": len({m.key for m in kept}),
        "fields": {name: _field(by_field[name]) for name in FIELDS if by_field[name]},
    }


def _field(marks: Sequence[Mark]) -> dict[str, Any]:
    counts = Counter(m.verdict for m in marks)
    decided = counts["right"] + counts["wrong"]
    return {
        "right": counts["right"] / decided if decided else None,
        "n": decided,
        "cannot_tell": counts["cannot tell"],
        "pairs": _pairs(marks),
    }


def _pairs(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    verdicts: dict[str, dict[tuple[str, ...], str]] = defaultdict(dict)
    for mark in marks:
        verdicts[mark.reviewer][mark.subject] = mark.verdict
    pairs = []
    for first, second in combinations(sorted(verdicts), 2):
        both = sorted(verdicts[first].keys() & verdicts[second].keys())
        if both:
            one, other = ([verdicts[name][subject] for subject in both] for name in (first, second))
            same = sum(a == b for a, b in zip(one, other, strict=True)) / len(both)
            pair = {"reviewers": [first, second], "kappa": _kappa(one, other), "same": same, "n": len(both)}
            pairs.append(pair)
    return pairs


def _kappa(one: Sequence[str], other: Sequence[str]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    if len({*one, *other}) < 2:
        return None
    return float(cohen_kappa_score(one, other, labels=list(VERDICTS)))


def to_markdown(result: dict[str, Any]) -> str:
    """The summary as a table: a row a field."""
    rows = ["| field | right | n | cannot tell | kappa (n) |", "|---|---|---|---|---|"]
    for name, field in result["fields"].items():
        right = "-" if field["right"] is None else f"{field['right']:.2f}"
        kappas = ", ".join(_kappa_text(pair) for pair in field["pairs"]) or "-"
        rows.append(f"| {FIELDS[name]} | {right} | {field['n']} | {field['cannot_tell']} | {kappas} |")
    return "\n".join(rows)


def _kappa_text(pair: dict[str, Any]) -> str:
    kappa = "not defined" if pair["kappa"] is None else f"{pair['kappa']:.2f}"
    return f"{' / '.join(pair['reviewers'])}: {kappa} ({pair['n']})"

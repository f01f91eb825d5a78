"""The report on groups as a page, and its short form in docs/model_card.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emollama_ros.errors import InputError
from training.evaluation.group_people import MEANINGS

_CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENT = _CHECKOUT / "docs" / "model_card.md"
#: The committed report; the page lies beside it.
REPORT = _CHECKOUT / "training" / "reports" / "groups" / "report.json"
_BLOCK = re.compile(
    r"(<!-- python -m training groups --write -->\n).*?(<!-- end of the groups -->)", re.DOTALL
)
_VIEWS = {"both": "voice and picture", "audio": "voice", "video": "picture"}
_COLUMNS = (("uar", "UAR"), ("ece", "ECE"), ("confidence", "mean confidence"))


def to_markdown(report: Mapping[str, Any]) -> str:
    """The whole report: every group a row, with intervals."""
    parts = ["# Metrics by group", _about(report)]
    for found in report["sets"]:
        parts += [f"## {found['title']}", _facts(found)]
        for grouping, views in found["groupings"].items():
            meaning = found["meanings"].get(grouping, "")
            parts += (
                [f"### {grouping[:1].upper()}{grouping[1:]}", meaning] if meaning else [f"### {grouping}"]
            )
            parts += [_group_table(views), *_gaps_in_words(views)]
    return "\n\n".join(parts) + "\n"


def summary(report: Mapping[str, Any]) -> str:
    """The largest gap of every grouping and view, a row each, and what is beyond chance."""
    parts = [_about(report)]
    for found in report["sets"]:
        rows = list(_gap_rows(found["groupings"]))
        heads = ("groups", "given", "UAR of each (clips)", "largest gap", "lots make", "p")
        parts += [f"**{found['title']}.** {_facts(found)}", _table(heads, rows)]
    return "\n\n".join([*parts, _beyond(report)])


def document(text: str, path: Path = REPORT) -> str:
    """The document with what is between its marks made anew of the committed report.

    Args:
        text: Of the document.
        path: Of the report.

    Raises:
        InputError: The document has no marks, or the report cannot be read.
    """
    if not _BLOCK.search(text):
        raise InputError("docs/model_card.md: the marks of the groups are gone")
    inside = summary(read_report(path))
    return _BLOCK.sub(lambda found: f"{found[1]}\n{inside}\n\n{found[2]}", text)


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        InputError: It is missing, or no report.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no report that can be read ({error})") from None


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the report, and the page beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(to_markdown(report), encoding="utf-8")


def set_of(
    title: str,
    note: str,
    told: Sequence[Any],
    groupings: Mapping[str, Any],
    meanings: Mapping[str, str] = MEANINGS,
) -> dict[str, Any]:
    """One set of a report.

    Args:
        title: What it is called.
        note: What a reader has to know of it.
        told: `training.evaluation.groups.Told`.
        groupings: What `training.evaluation.groups.measures` found.
        meanings: Of the groupings.
    """
    return {
        "title": title,
        "note": note,
        "clips": len({t.clip for t in told}),
        "people": len({t.person for t in told}),
        "meanings": {name: meanings[name] for name in groupings if name in meanings},
        "groupings": groupings,
    }


def _about(report: Mapping[str, Any]) -> str:
    return (
        f"Of {report['model']}. Intervals: 95 %, {report['draws']} draws of people. *Lots make*: where "
        "groups of these sizes are drawn by lot, the largest gap stays below this in 95 of 100 drawings "
        f"({report['lots']} drawings); *p* is the share of drawings with a gap at least as large as the one "
        f"that was found. Groups of fewer than {report['least_clips']} clips are no side of a gap."
    )


def _facts(found: Mapping[str, Any]) -> str:
    return f"{found['clips']:,} clips of {found['people']} people. {found['note']}".strip()


def _group_table(views: Mapping[str, Any]) -> str:
    rows = [
        (_VIEWS[view], group["name"], str(group["clips"]), str(group["people"]), *_cells(group))
        for view, cell in views.items()
        for group in cell["groups"]
    ]
    return _table(("given", "group", "clips", "people", *(title for _, title in _COLUMNS)), rows)


def _cells(group: Mapping[str, Any]) -> Iterator[str]:
    return (_interval(group[key]) for key, _ in _COLUMNS)


def _gaps_in_words(views: Mapping[str, Any]) -> Iterator[str]:
    for view, cell in views.items():
        if gap := cell["gap"]:
            yield (
                f"Largest gap by {_VIEWS[view]}: {gap['best']} less {gap['worst']}, {_interval(gap['uar'])}; "
                f"lots make up to {gap['chance']:.3f} (p = {gap['p']:.3f})."
            )


def _gap_rows(groupings: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, views in groupings.items():
        for view, cell in views.items():
            if gap := cell["gap"]:
                gap_text = f"{gap['best']} - {gap['worst']}: {_interval(gap['uar'])}"
                yield (
                    name,
                    _VIEWS[view],
                    _each(cell["groups"]),
                    f"**{gap_text}**" if gap["is_beyond_chance"] else gap_text,
                    _short(gap["chance"]),
                    f"{gap['p']:.3f}",
                )


def _each(groups: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{g['name']} {_short(g['uar']['value'])} ({g['clips']})" for g in groups)


def _beyond(report: Mapping[str, Any]) -> str:
    gaps = [
        (f"{found['title']}, {grouping}, {_VIEWS[view]}", cell["gap"])
        for found in report["sets"]
        for grouping, views in found["groupings"].items()
        for view, cell in views.items()
        if cell["gap"]
    ]
    over = [name for name, gap in gaps if gap["is_beyond_chance"]]
    return (
        f"{len(gaps)} comparisons, of which chance alone makes about {len(gaps) / 20:.0f} look like more "
        f"than chance. Beyond what lots make in 95 of 100 drawings: {len(over)}{': ' if over else ''}"
        f"{'; '.join(over)}."
    )


def _interval(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{_short(figure['value'])} ({_short(low)} to {_short(high)})"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows))

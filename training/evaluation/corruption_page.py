"""The corruption table as a page, and its short form in docs/robustness.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emollama_ros.errors import InputError
from training.evaluation.corruptions import ALONE, BOTH, CLEAN, MISSING, PICTURE, SOUND

_CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENT = _CHECKOUT / "docs" / "robustness.md"
#: The committed report, with ``report.json`` and ``report.md``.
REPORT = _CHECKOUT / "training" / "reports" / "corruptions"
_BLOCK = re.compile(
    r"(<!-- python -m training corruptions --write -->\n).*?(<!-- end of the table -->)", re.DOTALL
)
_NOT_YET = "Not measured yet."
_VIEWS = {ALONE[SOUND]: "voice alone", ALONE[PICTURE]: "picture alone", BOTH: "voice and picture"}


def to_markdown(report: Mapping[str, Any]) -> str:
    """The whole report: each condition a row, with intervals and counts."""
    parts = ["# Corruption table", _about(report)]
    for found in report["sets"]:
        parts += [f"## {found['source']}", _set_facts(found), _full_table(found["rows"])]
    return "\n\n".join(parts) + "\n"


def document(text: str, folder: Path = REPORT) -> str:
    """The document with the table between its marks made anew of the committed report.

    Args:
        text: Of the document.
        folder: Where ``report.json`` lies; without one, the document says that nothing was measured.

    Raises:
        InputError: The document has no marks, or the report cannot be read.
    """
    if not _BLOCK.search(text):
        raise InputError("docs/robustness.md: the marks of the table are gone")
    path = folder / "report.json"
    inside = summary(read_report(path)) if path.exists() else _NOT_YET
    return _BLOCK.sub(lambda found: f"{found[1]}\n{inside}\n\n{found[2]}", text)


def read_report(path: Path) -> dict[str, Any]:
    """Read a ``report.json``.

    Raises:
        InputError: It is missing, or no report.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no report that can be read ({error}); give --pack to make one") from None


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``report.json`` and ``report.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(report), encoding="utf-8")


def summary(report: Mapping[str, Any]) -> str:
    """What each disturbance costs at each strength, a row a disturbance, and what costs too much."""
    parts = [_about(report)]
    for found in report["sets"]:
        parts += [f"**{found['source']}.** {_set_facts(found)}"]
        parts += [
            made for sense in ALONE if (made := _short_table(found["rows"], sense, report["strengths"]))
        ]
        parts += [said(found, report["most_cost"])]
    return "\n\n".join(parts)


def said(found: Mapping[str, Any], most: float) -> str:
    """Which disturbances of one sense cost too much while the other is clean."""
    rows = [row for row in found["rows"] if row["view"] == BOTH]
    if not rows:
        return "No clip has both sound and pictures."
    over = [row for row in rows if row["is_too_much"]]
    names = ", ".join(
        f"{row['sense']} {row['disturbance']} at {row['strength']:g} ({_points(row['cost'])})" for row in over
    )
    return f"More than {100 * most:.0f} points with the other sense clean: {names or 'none'}."


def _about(report: Mapping[str, Any]) -> str:
    limit = f" A quick run of at most {report['limit']} clips a set." if report["limit"] else ""
    if each := report.get("each"):
        limit += f" At most {each} clips of every person and label."
    return (
        f"Of {report['model']}. Intervals: 95 %, {report['draws']} draws of people, the same ones for clean "
        f"and disturbed clips. Points are hundredths of UAR.{limit}"
    )


def _set_facts(found: Mapping[str, Any]) -> str:
    clean = [row for row in found["rows"] if row["disturbance"] == CLEAN]
    views = "; ".join(f"{_VIEWS[row['view']]} {_uar(row)}, n = {row['n']}" for row in clean)
    seen = " **The model was trained on these clips.**" if found["seen_in_training"] else ""
    return (
        f"{found['clips']} clips of {found['persons']} people, {len(found['labels'])} labels. "
        f"UAR of clean clips: {views}.{seen}"
    )


def _short_table(rows: Sequence[Mapping[str, Any]], sense: str, strengths: Sequence[float]) -> str:
    """Costs in points, a row a disturbance; empty where no clip has the sense."""
    found = {(r["disturbance"], r["strength"], r["view"]): r for r in rows if r["sense"] == sense}
    views = [view for view in (ALONE[sense], BOTH) if any(key[2] == view for key in found)]
    names = dict.fromkeys(name for name, *_ in found if name != MISSING)
    if not names:
        return ""
    heads = [f"{_VIEWS[view]}, {strength:g}" for view in views for strength in strengths]
    body = [
        [name, *(_cost(found[name, strength, view]) for view in views for strength in strengths)]
        for name in names
    ]
    if gone := found.get((MISSING, 1.0, BOTH)):
        blank = [""] * (len(heads) - 1)
        body.append([MISSING, *blank, _cost(gone)])
    return _table((sense, *heads), body)


def _full_table(rows: Sequence[Mapping[str, Any]]) -> str:
    body = [
        (
            row["sense"],
            row["disturbance"],
            f"{row['strength']:g}",
            _VIEWS[row["view"]],
            _uar(row),
            _cost(row),
            str(row["n"]),
            str(row["persons"]),
            str(row["untold"]),
        )
        for row in rows
        if row["disturbance"] != CLEAN
    ]
    heads = ("disturbed", "how", "strength", "given", "UAR", "costs, points", "clips", "people", "untold")
    return _table(heads, body)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows))
    return "\n".join(lines)


def _uar(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['uar']:.3f} ({low:.3f} to {high:.3f})"


def _cost(row: Mapping[str, Any]) -> str:
    low, high = row["cost_interval"]
    text = f"{_points(row['cost'])} ({_points(low)} to {_points(high)})"
    return f"**{text}**" if row["is_too_much"] else text


def _points(cost: float) -> str:
    return f"{100 * cost + 0.0:.1f}"

"""docs/ablation.md: the tables of what the committed runs say, made of their reports."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emollama_ros.errors import InputError
from training.ablation.differences import ANSWERS
from training.ablation.page import said, table
from training.ablation.views import MEASURED

_CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENT = _CHECKOUT / "docs" / "ablation.md"
#: A folder a plan, with its ``report.json``.
REPORTS = _CHECKOUT / "training" / "reports" / "ablation"
_BLOCK = re.compile(r"(<!-- report: (\w+) -->\n).*?(<!-- end of report -->)", re.DOTALL)


def document(text: str, reports: Path = REPORTS) -> str:
    """The document, with what stands between the marks of each report made anew.

    Args:
        text: Of the document; ``<!-- report: NAME -->`` and ``<!-- end of report -->`` are the marks.
        reports: Folder of the committed reports.

    Raises:
        InputError: A report that is named cannot be read.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}\n{summary(_read(reports, found[2]))}\n\n{found[3]}", text)


def _read(reports: Path, name: str) -> dict[str, Any]:
    path = reports / name / "report.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no report that can be read ({error}); run `ablate` first") from None


def summary(report: Mapping[str, Any]) -> str:
    """A row a system, mean and standard deviation over the seeds, and what exceeds the noise."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in report["scores"]:
        if row["measure"] in (MEASURED[row["system"]["view"]][0], ANSWERS):
            what = ANSWERS if row["measure"] == ANSWERS else "head"
            rows.setdefault(_system(row), {})[f"{row['metric'].upper()}, {what}"] = _spread(row)
    for row in report["answer_loss"]:
        found = rows.setdefault(_system(row), {})
        found[f"nats, {row['task']}"] = _spread(row["own"])
        found[f"gain, {row['task']}"] = _spread(row["gain"])
    heads = list(dict.fromkeys(head for cells in rows.values() for head in cells))
    body = [(*system, *(cells.get(head, "") for head in heads)) for system, cells in rows.items()]
    return f"{table(('fusion', 'trained on', 'curriculum', *heads), body)}\n\n{said(report)}"


def _system(row: Mapping[str, Any]) -> tuple[str, ...]:
    system = row["system"]
    return system["fusion"], system["view"], system["curriculum"].replace("_", " then ") or "head alone"


def _spread(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:.3f} ± {row['deviation']:.3f} ({len(row['by_seed'])})"

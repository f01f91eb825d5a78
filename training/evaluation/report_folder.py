"""The files of a report: ``report.json``, ``report.md``, ``report.html``, and the figures."""

from __future__ import annotations

import json
from pathlib import Path

from training.evaluation.html import page
from training.evaluation.plots import Plots
from training.evaluation.report import markdown, to_json
from training.evaluation.runner import Result


def write(result: Result, out: Path) -> None:
    """Write all files of a report into a folder.

    Args:
        result: What was measured.
        out: Made if it is not there; files of an earlier report are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    plots = Plots(result)
    plots.save(out / "figures")
    document = json.dumps(to_json(result), indent=1, ensure_ascii=False)
    for name, text in (
        ("report.json", document + "\n"),
        ("report.md", markdown(result)),
        ("report.html", page(result, plots)),
    ):
        (out / name).write_text(text, encoding="utf-8")

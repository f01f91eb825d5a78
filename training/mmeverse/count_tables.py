"""What `prepare` and `leakage` found, as tables for the screen and for docs/datasets.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from training.mmeverse.leakage import Finding, counts


def summary_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """A row a source and split."""
    table = _table("source", "split", "clips", "records", "hours", "persons", "labels")
    for summary in summaries:
        for split, found in summary["splits"].items():
            if found["clips"]:
                labels = "; ".join(f"{task}: {_in_words(each)}" for task, each in found["labels"].items())
                figures = (str(found[key]) for key in ("clips", "records", "hours", "persons"))
                table.add_row(summary["source"], split, *figures, labels)
    return table


def _in_words(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in labels.items())


def leakage_table(findings: Sequence[Finding]) -> Table:
    """A row for each kind of finding and the places it joins."""
    return counts_table(counts(findings))


def counts_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The same of what is counted already, as it stands in a report."""
    table = _table("finding", "between", "how many", "leak")
    for row in rows:
        between = ", ".join(row["between"])
        table.add_row(row["kind"], between, str(row["findings"]), "yes" if row["is_leak"] else "")
    if not rows:
        table.add_row("nothing", "", "0", "")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for name in columns:
        is_number = name in ("clips", "records", "hours", "persons", "how many")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    return table

"""docs/datasets.md: what is known of every source, from the sources and from committed summaries."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.mmeverse.count_tables import counts_table, summary_table
from training.mmeverse.csv_columns import COLUMNS
from training.mmeverse.schema import Task
from training.mmeverse.sources import SOURCES, Source

HEAD = Path(__file__).with_name("datasets_head.md")
#: ``summary.json`` of each source that was prepared, and the counts of ``leakage``.
PREPARED = Path(__file__).resolve().parents[1] / "reports" / "prepared"
_WIDTH = 110

#: What is asked about the clips of sources of which no table is released; for the others the table tells.
_TASKS: Mapping[str, tuple[Task, ...]] = {
    "javanese_av": (Task.EMOTION,),
    "emodb": (Task.EMOTION,),
    "faces_muxspace": (Task.EMOTION,),
    "goemotions": (Task.EMOTION, Task.MULTI_LABEL),
    "ravdess_16k": (Task.EMOTION,),
    "synthesis": (Task.EMOTION,),
    "mer2024": (Task.EMOTION,),
    "ch_sims": (Task.SENTIMENT,),
    "ov_merd_plus": (Task.OPEN_VOCABULARY,),
}


def text() -> str:
    """The document."""
    summaries, leaks = _summaries(), json.loads((PREPARED / "leakage.json").read_text(encoding="utf-8"))
    parts = {
        "{sources}": "\n".join(_overview()),
        "{summary}": _rendered(summary_table(summaries)),
        "{leakage}": _rendered(counts_table(leaks["counts"])),
    }
    head = HEAD.read_text(encoding="utf-8")
    for mark, made in parts.items():
        head = head.replace(mark, made)
    return "\n".join([head, *(line for source in SOURCES.values() for line in _section(source))])


def tasks_of(name: str) -> tuple[Task, ...]:
    """What is asked about the clips of a source."""
    if name in COLUMNS:
        return tuple(answer.task for answer in COLUMNS[name].answers)
    return _TASKS.get(name, ())


def _summaries() -> list[dict[str, Any]]:
    """Of the sources that were prepared, in the order of the sources."""
    paths = (PREPARED / f"{name}.json" for name in SOURCES)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def _rendered(table: Any) -> str:
    """A table as the commands print it, as a block of code."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=_WIDTH, highlight=False, color_system=None)
    console.print(table)
    lines = console.file.getvalue().strip("\n").splitlines()
    return "\n".join(f"    {line}".rstrip() for line in lines)


def _overview() -> Iterator[str]:
    yield "| `--source` | data set | tasks | split | licence |"
    yield "|---|---|---|---|---|"
    for source in SOURCES.values():
        tasks = ", ".join(task.value for task in tasks_of(source.name))
        link = f"[{source.title}](#{source.name})"
        yield f"| `{source.name}` | {link} | {tasks} | {_split(source)} | {source.licence} |"


def _split(source: Source) -> str:
    if source.is_evaluation_only:
        return "evaluation only"
    return "the authors'" if source.has_splits else "by person"


def _section(source: Source) -> Sequence[str]:
    facts = [
        f"- {source.title}: <{source.homepage}>",
        f"- Licence: {source.licence}",
        f"- Cite: {source.citation}",
        "- For evaluation only: nothing may be trained on it"
        if source.is_evaluation_only
        else f"- Split: {_split(source)}",
    ]
    if source.is_acted:
        facts.append("- Acted: the same sentences are said under every label, so the words tell nothing")
    layout = ["```text", *source.layout.splitlines(), "```"]
    notes = ["", source.notes.strip()] if source.notes else []
    return [f"### {source.name}", "", *facts, "", *layout, *notes, ""]

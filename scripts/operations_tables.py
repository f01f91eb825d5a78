"""The tables of docs/operations.md, made of the catalogue that the nodes take their words from.

scripts/with_env python scripts/operations_tables.py --write
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.tables import inserted  # noqa: E402  # from the checkout, whether it is installed or not
from emollama_ros.conditions import Condition, Level, all_conditions  # noqa: E402
from emollama_ros.estimate import Status  # noqa: E402
from emollama_ros.nodes.diagnostic_contents import CONTENTS  # noqa: E402

DOCUMENT = ROOT / "docs" / "operations.md"
COMMAND = "scripts/with_env python scripts/operations_tables.py --write"
RESULTS = ROOT / "benchmark" / "results"
FAULT_HEADINGS = (
    "fault",
    "expected state",
    "observed state",
    "noticed in",
    "recovered in",
    "longest silence",
)
#: Of all others is said what is wrong.
WELL = (Status.OK, Level.OK)


def words(condition: Condition) -> str:
    """What a condition says, with names for what differs from case to case."""
    parts = Formatter().parse(condition.words)
    return "".join(literal + (f"<{fact}>" if fact else "") for literal, fact, _, _ in parts)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def states(status: Status) -> str:
    """Return what states of a status say."""
    found = [c for c in all_conditions() if c.status is status]
    rows = [(f"`{words(c)}`", c.meaning, c.advice, f"`{c.name}`") for c in found]
    return table(("`status_text` says", "it means", "what to do", "name"), rows)


def warnings() -> str:
    """Return what is said on /diagnostics alone."""
    found = [c for c in all_conditions() if c.status is Status.OK and (c.status, c.level) != WELL]
    rows = [(f"`{words(c)}`", c.meaning, c.advice, f"`{c.name}`") for c in found]
    return table(("the message says", "it means", "what to do", "name"), rows)


def levels() -> str:
    """Return which conditions have a level that is not that of their status."""
    usual = {Status.OK: Level.WARN, Status.DEGRADED: Level.WARN, Status.STALE: Level.STALE}
    found = [c for c in all_conditions() if c.level is not usual[c.status]]
    return table(("`status_text` says", "level"), [(f"`{words(c)}`", c.level.name) for c in found])


def contents() -> str:
    """Return every entry of /diagnostics with its values."""
    parts = []
    for entry, (about, values) in CONTENTS.items():
        rows = [(f"`{key.replace('{', '<').replace('}', '>')}`", meaning) for key, meaning in values.items()]
        parts.append(f"**`{entry}`**: {about}.\n\n{table(('value', 'meaning'), rows)}")
    return "\n\n".join(parts)


def faults() -> str:
    """Return what states said of every fault, by machine, as ``test/faults`` measured it."""
    parts = []
    for path in sorted(RESULTS.glob("faults-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        machine, settings = found["machine"], found["settings"]
        parts.append(
            f"{machine['processor']}, {machine['cores']} cores, load before {machine['load_average_before']};"
            f" {settings['date']}; hop {settings['hop_s']} s."
        )
        rows = [fault_cells(row) for row in found["results"]["rows"]]
        parts.append(table(FAULT_HEADINGS, rows))
    return "\n\n".join(parts)


def fault_cells(row: Mapping[str, Any]) -> list[str]:
    """Return a line of that table."""
    times = (row[name] for name in ("notice_s", "recover_s", "silent_s"))
    shown = ("-" if time is None else f"{time:.2f} s" for time in times)
    return [row["fault"], f"`{row['expected']}`", row["observed"], *shown]


def document(text: str) -> str:
    """Return the document with its tables made anew.

    Raises:
        ValueError: The place of a table is not marked.
    """
    made = {
        "degraded": states(Status.DEGRADED),
        "stale": states(Status.STALE),
        "warnings": warnings(),
        "levels": levels(),
        "contents": contents(),
        "faults": faults(),
    }
    for name, part in made.items():
        text = inserted(text, part, (f"<!-- {name}: {COMMAND} -->", f"<!-- end of {name} -->"))
    return text


def main() -> None:
    """Print the document, or write it."""
    parser = argparse.ArgumentParser(description="Make the tables of docs/operations.md.")
    parser.add_argument("--write", action="store_true", help="write the document instead of printing it")
    write = parser.parse_args().write
    text = document(DOCUMENT.read_text(encoding="utf-8"))
    if write:
        DOCUMENT.write_text(text, encoding="utf-8")
    print(f"written: {DOCUMENT}" if write else text)


if __name__ == "__main__":
    main()

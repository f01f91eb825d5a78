"""Commands around records: prepare, leakage, to-csv, from-csv, schema, datasets."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emollama_ros.errors import InputError
from training.mmeverse.sources import SOURCES

if TYPE_CHECKING:
    from rich.table import Table


ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FILE = ROOT / "docs" / "record.schema.json"
DATASETS_FILE = ROOT / "docs" / "datasets.md"
#: Findings and rejects shown of each kind; the files have all.
_SHOWN = 5
_FILE_WIDTH = 110

SourceNames = Annotated[list[str], typer.Option("--source", help=f"One or more of: {', '.join(SOURCES)}.")]


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for name, command in (
        ("prepare", prepare),
        ("leakage", leakage),
        ("to-csv", to_csv),
        ("from-csv", from_csv),
        ("schema", schema),
        ("datasets", datasets),
    ):
        app.command(name)(command)


def prepare(
    source: SourceNames,
    root: Annotated[Path, typer.Option(help="Folder of the source; of the sources' folders if several.")],
    out: Annotated[Path, typer.Option(help="Folder to make; each source gets a folder in it.")],
    jobs: Annotated[int, typer.Option(min=1, help="Processes that examine media.")] = os.cpu_count() or 1,
    with_leakage: Annotated[
        bool, typer.Option("--leakage/--no-leakage", help="Look for leaks among all that is in OUT.")
    ] = True,
) -> None:
    """Read data sets as distributed, check every file, split by person, and write records.

    A killed run goes on where it was. What cannot be used is listed and left out.
    """
    from training.mmeverse.count_tables import summary_table
    from training.mmeverse.prepare import prepare as run

    names = list(dict.fromkeys(source))
    folders = {name: root / name if len(names) > 1 else root for name in names}
    summaries = [run(name, folder, out, jobs=jobs, bar=_bar) for name, folder in folders.items()]
    _print(summary_table(summaries))
    _print_rejects(summaries, out)
    leaks = _leakage(out, out / "leakage.json", whole=True) if with_leakage else None
    typer.echo(last_line(summaries, out, leaks))


def leakage(
    data: Annotated[Path, typer.Option(help="Folder that `prepare` wrote to.")],
    report: Annotated[Path | None, typer.Option(help="JSON to write.")] = None,
    counts_only: Annotated[
        bool, typer.Option("--counts-only", help="Leave clips and persons out of the JSON.")
    ] = False,
) -> None:
    """Look for clips, people and films that are in more than one split, across and inside sources."""
    leaks = _leakage(data, report, whole=not counts_only)
    typer.echo(f"{leaks} leaks" + (f"; written: {report}" if report else ""))


def _leakage(data: Path, path: Path | None, *, whole: bool) -> int:
    from training.mmeverse.count_tables import leakage_table
    from training.mmeverse.leakage import check, prepared, report
    from training.mmeverse.prepare import write_text

    names = prepared(data)
    findings = check(data, names)
    if path:
        write_text(path, report(data, names, findings, whole=whole) + "\n")
    _print(leakage_table(findings))
    return sum(finding.is_leak for finding in findings)


def to_csv(
    records: Annotated[list[Path], typer.Argument(help="Record files (train.jsonl, ...) of one source.")],
    out: Annotated[Path, typer.Option(help="Table to write.")],
) -> None:
    """Write records as the table that MMEVerse is released as."""
    from training.mmeverse.csv_columns import write_csv
    from training.mmeverse.schema import read_records

    written = write_csv((record for path in records for record in _existing(path, read_records)), out)
    typer.echo(f"{out}: {written.clips} clips")
    if written.lost:
        typer.echo(f"the table cannot hold, in so many records: {_in_words(written.lost)}")


def from_csv(
    table: Annotated[Path, typer.Argument(help="Released table, for example MELD_label.csv.")],
    source: Annotated[str, typer.Option(help="The source it is of.")],
    out: Annotated[
        Path, typer.Option(help="Folder for train.jsonl, validation.jsonl, test.jsonl, rejects.jsonl.")
    ],
) -> None:
    """Read records from a table that MMEVerse is released as; what cannot be read is listed."""
    from training.mmeverse.csv_columns import read_csv
    from training.mmeverse.prepare import write_read

    if not table.is_file():
        raise InputError(f"{table}: no such file")
    summary = write_read(read_csv(table, source), out)
    typer.echo(f"{out}: {summary['records']} records, {summary['rejects']} rejects")


def _existing(path: Path, read: Callable[[Path], Iterator[Any]]) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return read(path)


def schema(
    write: Annotated[bool, typer.Option("--write", help=f"Write {SCHEMA_FILE.name} into docs.")] = False,
) -> None:
    """Print the JSON Schema of a record."""
    _show_or_write(schema_text(), SCHEMA_FILE if write else None)


def schema_text() -> str:
    """The JSON Schema of a record, as it stands in docs."""
    from training.mmeverse.schema import json_schema

    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def datasets(
    write: Annotated[bool, typer.Option("--write", help=f"Write {DATASETS_FILE.name} into docs.")] = False,
) -> None:
    """Print what is known of every source: where it comes from, its licence, how to lay it out."""
    from training.mmeverse.datasets_doc import text

    _show_or_write(text(), DATASETS_FILE if write else None)


def _show_or_write(text: str, path: Path | None) -> None:
    if path is None:
        typer.echo(text, nl=False)
        return
    path.write_text(text, encoding="utf-8")
    typer.echo(f"written: {path}")


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="file", disable=None, leave=False) as bar:
        yield bar.update


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _print_rejects(summaries: Sequence[Mapping[str, Any]], out: Path) -> None:
    for summary in summaries:
        if not summary["rejects"]:
            continue
        path = out / summary["source"] / "rejects.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        reasons = _in_words(summary["rejects_by_reason"])
        typer.echo(f"{summary['source']}: {summary['rejects']} rejects: {reasons}")
        for line in lines[:_SHOWN]:
            reject = json.loads(line)
            typer.echo(f"  {reject['where']}: {reject['clip']}: {reject['reason']}")
        if len(lines) > _SHOWN:
            typer.echo(f"  and {len(lines) - _SHOWN} more in {path}")


def last_line(summaries: Sequence[Mapping[str, Any]], out: Path, leaks: int | None) -> str:
    """What a run comes to."""
    total = {key: sum(s[key] for s in summaries) for key in ("clips", "records", "hours", "rejects")}
    names = ", ".join(s["source"] for s in summaries)
    told = "" if leaks is None else f", {leaks} leaks"
    return (
        f"{names}: {total['clips']} clips, {total['records']} records, {total['hours']:.2f} h, "
        f"{total['rejects']} rejects{told}; in {out}"
    )


def _print(table: Table) -> None:
    from rich.console import Console

    # A file has no width of its own.
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    Console(highlight=False, width=width).print(table)

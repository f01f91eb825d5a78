"""docs/datasets.md says what the sources say, and what the commands print."""

import json

import pytest
from native_layouts.media import write_sound, write_table
from typer.testing import CliRunner

from training.__main__ import app
from training.mmeverse.cli import DATASETS_FILE
from training.mmeverse.csv_columns import COLUMNS
from training.mmeverse.datasets_doc import HEAD, PREPARED, tasks_of, text
from training.mmeverse.schema import Task
from training.mmeverse.sources import SOURCES


@pytest.fixture(scope="module")
def document():
    return text()


def test_the_document_is_current(document):
    assert DATASETS_FILE.read_text(encoding="utf-8") == document, "run: python -m training datasets --write"


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_has_a_row_and_a_section(document, source):
    assert f"\n| `{source.name}` | [{source.title}](#{source.name}) |" in document
    section = document.split(f"\n### {source.name}\n")[1].split("\n### ")[0]
    for part in (source.homepage, source.licence, source.citation, source.notes.strip()):
        assert part in section
    assert f"\n```text\n{source.layout}\n```\n" in section
    assert tasks_of(source.name), "say in datasets_doc.py what is asked about its clips"


@pytest.mark.parametrize("path", sorted(PREPARED.glob("[!l]*.json")), ids=lambda path: path.stem)
def test_tasks_are_those_that_were_prepared(path):
    summary = json.loads(path.read_text(encoding="utf-8"))
    found = {Task(task) for counts in summary["splits"].values() for task in counts["labels"]}
    assert set(tasks_of(path.stem)) == found


def test_a_committed_summary_is_of_the_data_that_are_there(shared_dir, tmp_path):
    arguments = ["--root", shared_dir / "data" / "emodb", "--out", tmp_path, "--jobs", 1, "--no-leakage"]
    done = CliRunner().invoke(app, ["prepare", "--source", "emodb", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "emodb/summary.json").read_bytes() == (PREPARED / "emodb.json").read_bytes()


def test_tables_are_of_sources():
    assert set(COLUMNS) <= set(SOURCES)


def test_rejects_are_printed_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data"
    rows = [(f"flac/{i:03}.flac", f"{i % 5:02}", "a01", "anger") for i in range(30)]
    for path, *_ in rows[3:]:
        write_sound(root / path, seconds=0.1)
    (root / "flac/001.flac").write_bytes(b"")
    (root / "flac/002.flac").write_bytes(b"not sound")
    write_table(root / "labels.csv", ("path", "speaker", "text", "emotion"), rows)
    with (root / "labels.csv").open("a") as table:
        table.write("flac/005.flac,01,a01\nflac/006.flac,01,a01,bliss\nflac/007.flac,01,a01,anger\n")
    done = CliRunner().invoke(
        app, ["prepare", "--source", "emodb", "--root", "data", "--out", "prepared", "--jobs", "1"]
    )
    head = HEAD.read_text(encoding="utf-8")
    shown = head.split("## Rejects")[1].split("## Leaks")[0]
    lines = [line[4:] for line in shown.splitlines() if line.startswith("    ")]
    assert len(lines) == 7 and "\n".join(lines) in done.stdout


def test_the_command_prints_the_document(document):
    shown = CliRunner().invoke(app, ["datasets"])
    assert shown.exit_code == 0 and shown.stdout == document

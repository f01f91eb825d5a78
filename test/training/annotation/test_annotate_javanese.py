"""Real clips, measured on this machine: killed three times and resumed gives what an unbroken run gives.

Four clips; EMOLLAMA_ANNOTATE_CLIPS=50 takes as many as asked for.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from training.mmeverse.schema import read_records, write_records
from training.mmeverse.sources import Found, read_items

pytest.importorskip("parselmouth", reason="needs the extra [annotation] (make test installs it)")

COUNT = int(os.environ.get("EMOLLAMA_ANNOTATE_CLIPS", "4"))
SEED = 3


@pytest.fixture(scope="module")
def clips(shared_dir, tmp_path_factory):
    """A file of records of evenly chosen clips."""
    root = shared_dir / "data" / "javanese_av"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    records = [item.record for item in read_items("javanese_av", root) if isinstance(item, Found)]
    path = tmp_path_factory.mktemp("clips") / "records.jsonl"
    write_records(records[:: len(records) // COUNT][:COUNT], path)
    return root, path


def annotating(clips, out):
    root, records = clips
    return ("training", "annotate", "--backend", "local", "--records", records, "--root", root, "--out", out)


def answers_in(path: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
            return int(base.execute("SELECT COUNT(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


def kill_at(process: subprocess.Popen[str], path: Path, answers: int) -> None:
    """Kill a run once it has kept so many answers."""
    while answers_in(path) < answers:
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"ended before it was killed: {process.communicate()}")
    process.kill()
    process.communicate()


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors


@pytest.mark.slow
def test_killed_three_times_over_real_clips_is_as_unbroken(clips, command, tmp_path):
    finish(command(*annotating(clips, tmp_path / "unbroken")))
    total = answers_in(tmp_path / "unbroken" / "answers.sqlite")
    for answers in sorted(random.Random(SEED).sample(range(1, total - 2), 3)):
        kill_at(command(*annotating(clips, tmp_path / "killed")), tmp_path / "killed/answers.sqlite", answers)
        assert not (tmp_path / "killed" / "records.jsonl").exists()
    finish(command(*annotating(clips, tmp_path / "killed")))
    for name in ("records.jsonl", "rejects.jsonl", "flags.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    records = list(read_records(tmp_path / "unbroken" / "records.jsonl"))
    assert len(records) > COUNT / 2
    assert all(record.clues.audio and record.reasoning for record in records)

"""From a folder as distributed to checked records: damage, kills, and what is written."""

import json
import os
import signal
import subprocess
import sys
from functools import partial

import crashing
import pytest
from native_layouts import bold, iemocap, mc_eiu, meld, mer, mmsa, wild
from native_layouts.media import write_clip, write_picture, write_sound, write_table
from typer.testing import CliRunner

from emollama_ros.errors import InputError
from training.__main__ import app
from training.mmeverse import media_pass
from training.mmeverse.media_facts import MediaFacts, examine
from training.mmeverse.media_pass import Job, Journal, examine_all, jobs_of
from training.mmeverse.prepare import prepare
from training.mmeverse.schema import read_records
from training.mmeverse.sources import Found, read_items
from training.mmeverse.splits import SPLITS

HEADER = ("path", "speaker", "text", "emotion")
OUTPUTS = ("train.jsonl", "validation.jsonl", "test.jsonl", "media.jsonl", "rejects.jsonl", "summary.json")


def emodb(root, count, speakers=5):
    """An Emo-DB of tones, every speaker with every emotion in turn."""
    emotions = ("anger", "neutral", "sadness")
    rows = [
        (f"flac/{i:03}.flac", f"{i % speakers:02}", "a01", emotions[i // speakers % 3]) for i in range(count)
    ]
    for path, *_ in rows:
        write_sound(root / path, seconds=0.1)
    write_table(root / "labels.csv", HEADER, rows)
    return root


def outputs(folder):
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def rejects(folder):
    lines = (folder / "rejects.jsonl").read_text().splitlines()
    return {found["where"]: found["reason"] for found in map(json.loads, lines)}


def test_records_are_written_by_split_with_nobody_in_two(tmp_path):
    summary = prepare("emodb", emodb(tmp_path / "data", 30), tmp_path / "out")
    folder = tmp_path / "out" / "emodb"
    persons = {}
    for split in ("train", "validation", "test"):
        records = list(read_records(folder / f"{split}.jsonl"))
        assert records and all(r.split == split for r in records)
        assert len(records) == summary["splits"][split]["records"]
        for record in records:
            assert persons.setdefault(record.person, split) == split
    assert len(persons) == summary["persons"] == 5
    assert summary["clips"] == summary["records"] == 30
    assert summary["hours"] == pytest.approx(30 * 0.1 / 3600, abs=1e-4)
    assert summary["languages"] == {"de": 30} and summary["split_by"] == "person"
    labels = [counts["labels"]["emotion"] for counts in summary["splits"].values()]
    assert sum(found.get("anger", 0) for found in labels) == 10


def test_nothing_of_this_machine_is_in_what_is_written(tmp_path):
    root = emodb(tmp_path / "data", 8)
    (root / "flac/003.flac").write_bytes(b"no sound")
    (root / "flac/004.flac").unlink()
    prepare("emodb", root, tmp_path / "out")
    for name, content in outputs(tmp_path / "out" / "emodb").items():
        assert str(tmp_path).encode() not in content, name


def test_damaged_sound_is_rejected_with_its_place_and_the_rest_goes_on(tmp_path):
    root = emodb(tmp_path / "data", 12)
    whole = write_sound(root / "flac/004.flac", seconds=3).read_bytes()
    (root / "flac/000.flac").unlink()
    (root / "flac/001.flac").write_bytes(b"")
    (root / "flac/002.flac").write_bytes(b"not sound" * 100)
    write_picture(root / "flac/003.png").rename(root / "flac/003.flac")
    (root / "flac/004.flac").write_bytes(whole[: len(whole) // 2])
    with (root / "labels.csv").open("a") as table:
        table.write("flac/005.flac,01,a01\nflac/006.flac,01,a01,bliss\n")
    summary = prepare("emodb", root, tmp_path / "out")
    told = rejects(tmp_path / "out" / "emodb")
    words = [
        "does not exist",
        "is empty (0 bytes)",
        "neither picture nor sound",
        "audio flac/003.flac: ",
        "damaged",
    ]
    for line, word in enumerate(words, 2):
        assert word in told[f"labels.csv:{line}"]
    assert "broken row" in told["labels.csv:14"] and "unknown label 'bliss'" in told["labels.csv:15"]
    assert summary["rejects"] == len(told) == 7 and summary["records"] == 7
    assert sum(summary["rejects_by_reason"].values()) == 7
    assert summary["rejects_by_reason"]["does not exist"] == 1


def test_damaged_clips_are_rejected(tmp_path):
    root = tmp_path / "data"
    for name in ("good", "silent", "cut", "sound_only"):
        write_clip(root / f"{name}.mkv", seconds=2, sound=name != "silent")
    content = (root / "cut.mkv").read_bytes()
    (root / "cut.mkv").write_bytes(content[: len(content) // 2])
    write_sound(root / "sound_only.wav").rename(root / "sound_only.mkv")
    rows = [(f"{name}.mkv", "1", "1", "fear") for name in ("good", "silent", "cut", "sound_only")]
    write_table(root / "labels.csv", ("path", "actor", "sentence", "emotion"), rows)
    prepare("javanese_av", root, tmp_path / "out")
    told = rejects(tmp_path / "out" / "javanese_av")
    assert set(told) == {"labels.csv:4", "labels.csv:5"}
    assert "cut off" in told["labels.csv:4"] and "has no picture" in told["labels.csv:5"]


def test_a_damaged_picture_is_rejected(tmp_path):
    root = tmp_path / "data"
    whole = write_picture(root / "images/whole.png").read_bytes()
    (root / "images/cut.png").write_bytes(whole[: len(whole) // 2])
    rows = [(f"images/{name}.png", "somebody", "fear") for name in ("whole", "cut")]
    write_table(root / "labels.csv", ("path", "person_guess", "emotion"), rows)
    summary = prepare("faces_muxspace", root, tmp_path / "out")
    assert summary["records"] == 1 and summary["hours"] == 0
    assert (
        "image images/cut.png: is not a readable picture"
        in rejects(tmp_path / "out/faces_muxspace")["labels.csv:3"]
    )


def test_a_clip_beyond_the_end_of_its_file_is_found(tmp_path):
    write_clip(tmp_path / "film.mp4", seconds=2)
    spans = [(None, None), (0.5, 1.5), (1.0, 2.2), (1.0, 9.0), (5.0, None)]
    facts = examine(tmp_path, "film.mp4", spans)
    told = [facts.print_of(span).problem for span in spans]
    assert told[:3] == ["", "", ""]
    assert told[3].startswith("the clip is 1 to 9 s, the file ends at 2.") and told[4]


def test_an_unbroken_run_and_one_killed_three_times_write_the_same(tmp_path):
    root = emodb(tmp_path / "data", 96)
    (root / "flac/050.flac").write_bytes(b"damaged")
    prepare("emodb", root, tmp_path / "unbroken", jobs=1)
    for files in (8, 24, 40):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(root), str(tmp_path / "killed"), str(files)],
            capture_output=True,  # ends only when the processes it started have ended too
            timeout=120,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        journal = (tmp_path / "killed/emodb/journal.jsonl").read_text().splitlines()
        assert files <= len(journal) < 96
        assert not (tmp_path / "killed/emodb/train.jsonl").exists()
    with (tmp_path / "killed/emodb/journal.jsonl").open("a") as file:
        file.write('[1, 222, 17, {"file": "fl')  # a line that the kill cut off
    prepare("emodb", root, tmp_path / "killed", jobs=2)
    assert outputs(tmp_path / "killed/emodb") == outputs(tmp_path / "unbroken/emodb")
    assert not list((tmp_path / "killed/emodb").glob("*.part"))


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from training.mmeverse.prepare import prepare

@contextmanager
def bar(what, total):
    done = 0
    def progress(more):
        global done
        done += more
        if done >= int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    yield progress

done = 0
if __name__ == "__main__":
    prepare("emodb", Path(sys.argv[1]), Path(sys.argv[2]), jobs=2, bar=bar)
"""


def test_what_is_known_is_not_examined_again_until_the_file_changes(tmp_path, monkeypatch):
    root = emodb(tmp_path / "data", 10)
    prepare("emodb", root, tmp_path / "out")
    before = outputs(tmp_path / "out/emodb")
    asked = []

    def counted(*what):
        asked.append(what[1])
        return examine(*what)

    jobs = jobs_of((f"flac/{i:03}.flac", (None, None)) for i in range(10))
    journal = tmp_path / "out/emodb/journal.jsonl"
    examine_all(jobs, Journal(journal, root), 1, lambda more: None, counted)
    assert asked == []
    write_sound(root / "flac/003.flac", "another", seconds=0.2)
    examine_all(jobs, Journal(journal, root), 1, lambda more: None, counted)
    assert asked == ["flac/003.flac"]
    prepare("emodb", root, tmp_path / "out")
    assert outputs(tmp_path / "out/emodb") != before


def test_a_file_that_was_missing_is_looked_for_again(tmp_path):
    root = emodb(tmp_path / "data", 10)
    (root / "flac/003.flac").rename(root / "away")
    assert prepare("emodb", root, tmp_path / "out")["rejects"] == 1
    (root / "away").rename(root / "flac/003.flac")
    assert prepare("emodb", root, tmp_path / "out")["rejects"] == 0


def test_a_file_that_crashes_the_decoder_is_found_and_the_rest_goes_on(tmp_path):
    names = [f"{i}" if i not in (7, 30) else f"crash{i}" for i in range(40)]
    jobs = [Job(name, ((None, None),)) for name in names]
    done = []
    found = examine_all(jobs, Journal(tmp_path / "j", tmp_path), 2, done.append, crashing.examine)
    assert [facts.file for facts in found] == names and sum(done) == 40
    crashed = {facts.file for facts in found if "crashes the decoder" in facts.problem}
    assert crashed == {"crash7", "crash30"}
    assert all(facts.bytes for facts in found if facts.file not in crashed)


def test_files_are_not_blamed_where_no_process_can_be_started(tmp_path, root):
    emodb(tmp_path / "data", 30)
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom training.mmeverse.prepare import prepare\n"
        "prepare('emodb', Path('data'), Path('out'), jobs=2)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 1 and b"ConfigError: jobs: no other process can be started" in done.stderr


def test_an_older_journal_counts_for_nothing(tmp_path, monkeypatch):
    root = emodb(tmp_path / "data", 4)
    prepare("emodb", root, tmp_path / "out")
    monkeypatch.setattr(media_pass, "FACTS_VERSION", 2)
    journal = Journal(tmp_path / "out/emodb/journal.jsonl", root)
    assert journal.find(Job("flac/000.flac", ((None, None),))) is None


CLOSED = {
    "iemocap": iemocap.build,
    "meld": meld.build,
    **{name: partial(mmsa.build, name=name) for name in ("cmu_mosi", "cmu_mosei", "ch_sims", "ch_sims_v2")},
    "mc_eiu": mc_eiu.build,
    "bold": bold.build,
    "mer2023": mer.build_mer2023,
    "mer2024": mer.build_mer2024,
    "ov_merd_plus": mer.build_ov_merd_plus,
    "caer": wild.build_caer,
    "dfew": wild.build_dfew,
    "mafw": wild.build_mafw,
    "e3": wild.build_e3,
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_sources_are_prepared_from_their_native_layout(tmp_path, name):
    root = tmp_path / "data"
    CLOSED[name](root)
    records = [item.record for item in read_items(name, root) if isinstance(item, Found)]
    summary = prepare(name, root, tmp_path / "out")
    assert (summary["rejects_by_reason"], summary["records"]) == ({}, len(records))
    written = [r for split in SPLITS for r in read_records(tmp_path / "out" / name / f"{split}.jsonl")]
    assert {r.key: r for r in written} == {r.key: r for r in records}
    assert summary["hours"] >= 0 and summary["clips"] == len({r.id for r in records})
    # One file that does not decode and one that is gone spoil their own clips only.
    damaged, gone = sorted({file for r in records for file in r.media.files()})[:2]
    (root / damaged).write_bytes(b"damaged")
    (root / gone).unlink()
    again = prepare(name, root, tmp_path / "out")
    spoilt = [r for r in records if {damaged, gone} & set(r.media.files())]
    assert again["records"] == len(records) - len(spoilt) and again["rejects"] >= 1
    assert all(":" in where or "/" in where for where in rejects(tmp_path / "out" / name))


def test_the_split_of_the_authors_is_kept(tmp_path):
    folder = tmp_path / "goemotions"
    folder.mkdir()
    (folder / "ekman_labels.txt").write_text("anger\njoy\n")
    (folder / "ekman_train.tsv").write_text("one\t1\tx1\ntwo\t0,1\tx2\n")
    (folder / "ekman_dev.tsv").write_text("three\t0\tx3\n")
    summary = prepare("goemotions", folder, tmp_path / "out")
    assert {split: (c["clips"], c["records"]) for split, c in summary["splits"].items()} == {
        "train": (2, 3),
        "validation": (1, 2),
        "test": (0, 0),
    }
    assert summary["splits"]["train"]["labels"] == {
        "emotion": {"joy": 1},
        "multi-label": {"joy": 2, "anger": 1},
    }
    assert summary["split_by"] == "the authors"


def command(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_prepares_several_sources_and_ends_in_one_line(tmp_path):
    emodb(tmp_path / "data/emodb", 12)
    (tmp_path / "data/emodb/flac/002.flac").unlink()
    folder = tmp_path / "data/ravdess_16k"
    write_sound(folder / "Actor_01/a.flac")
    row = ("Actor_01/a.flac", "01", "calm", "normal", "Kids are talking by the door", "1")
    write_table(folder / "labels.csv", ("path", "actor", "emotion", "intensity", "transcript", "rep"), [row])
    out = tmp_path / "out"
    done = command(
        "prepare", "--source", "emodb", "--source", "ravdess_16k", "--root", tmp_path / "data", "--out", out
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[-1] == f"emodb, ravdess_16k: 12 clips, 12 records, 0.00 h, 1 rejects, 0 leaks; in {out}"
    assert "  labels.csv:4: 002: audio flac/002.flac: does not exist" in lines
    assert (out / "leakage.json").exists() and len(list(read_records(out / "ravdess_16k/test.jsonl"))) == 1


def test_the_command_refuses_in_one_line(tmp_path):
    refused = command("prepare", "--source", "emodbb", "--root", tmp_path, "--out", tmp_path / "out")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: no source named 'emodbb'; available: ")
    (tmp_path / "taken").write_text("")
    root = emodb(tmp_path / "data", 3)
    refused = command("prepare", "--source", "emodb", "--root", root, "--out", tmp_path / "taken")
    assert refused.exit_code == 1 and "cannot be written" in refused.stderr


def test_what_is_not_ours_in_media_jsonl_is_refused(tmp_path):
    from training.mmeverse.prepare import read_media

    (tmp_path / "media.jsonl").write_text(MediaFacts(file="a.wav").model_dump_json() + "\n{}\n")
    with pytest.raises(InputError, match=r"media.jsonl:2: is not what `prepare` writes"):
        read_media(tmp_path)


def test_the_benchmark_measures_what_it_makes():
    from benchmark.bench_prepare import measure

    found = measure(20, jobs=1)
    assert found["records"] == {"emodb": 9, "faces_muxspace": 9, "javanese_av": 2}
    assert 0 < found["again_s"] < found["first_s"] and found["opening_ms"] > 0

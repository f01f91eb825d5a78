"""A generated folder as source of records, written by a killed and resumed run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")

from training.mmeverse.schema import read_records, write_records  # noqa: E402
from training.mmeverse.sources import Found, Reject, read_items  # noqa: E402
from training.synthesis.options import split_of  # noqa: E402

COMMAND = [
    sys.executable, "-m", "training.synthesis", "--clips", "8", "--seed", "4", "--people", "11", "--seconds",
    "2.5", "--fps", "4", "--width", "160", "--height", "120", "--conflict", "0.3", "--missing", "0.3",
    "--cutout", "0.3",
]  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def unbroken(renderer, speech, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    subprocess.run([*COMMAND, "--out", folder, "--workers", "1"], cwd=ROOT, check=True, capture_output=True)
    return folder


def test_two_workers_killed_and_taken_up_by_one_equal_an_unbroken_run(unbroken, tmp_path):
    first = subprocess.Popen(
        [*COMMAND, "--out", tmp_path, "--workers", "2"], cwd=ROOT, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("records/*.json"))) < 3:
        assert first.poll() is None and time.monotonic() < deadline, "the run never wrote three clips"
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    # The pipe ends when the last process that holds it does: the workers do not outlive the run.
    first.communicate(timeout=60)
    done = len(list(tmp_path.glob("records/*.json")))
    assert 3 <= done < 8 and not (tmp_path / "labels.jsonl").exists()
    subprocess.run([*COMMAND, "--out", tmp_path, "--workers", "1"], cwd=ROOT, check=True, capture_output=True)
    assert files(tmp_path) == files(unbroken)


def test_every_line_becomes_a_record_with_its_truth(unbroken, tmp_path):
    items = list(read_items("synthesis", unbroken))
    assert len(items) == 8 and all(isinstance(item, Found) for item in items)
    lines = [json.loads(line) for line in (unbroken / "labels.jsonl").read_text().splitlines()]
    for item, line in zip(items, lines, strict=True):
        record = item.record
        assert record.label == line["label"] and record.reasoning == line["reasoning"]
        assert record.split == split_of(int(record.person.removeprefix("synthesis:")))
        assert {u.unit: u.intensity for u in record.clues.action_units} == (line["peak"] or {"units": {}})[
            "units"
        ]
        assert (record.media.video is None) == ("video" not in line["modalities"])
        assert all((unbroken / file).is_file() for file in record.media.files())
        assert {p.agent for p in record.provenance.values()} == {"synthesis"}
    write_records((item.record for item in items), tmp_path / "records.jsonl")
    assert list(read_records(tmp_path / "records.jsonl")) == [item.record for item in items]


def test_a_clip_holds_the_modalities_its_record_says(unbroken):
    import av

    for line in map(json.loads, (unbroken / "labels.jsonl").read_text().splitlines()):
        with av.open(str(unbroken / line["clip"])) as container:
            assert {stream.type for stream in container.streams} == set(line["modalities"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": "bored"}, "bored"),
        ({"split": "somewhere"}, "somewhere"),
        ({"clip": "../outside.mp4"}, "inside the source's folder"),
        ({"peak": {"frame": 1, "units": {"AU12": 9.0}}}, "less than or equal to 5"),
        ({"modalities": None}, "TypeError"),
    ],
)
def test_a_line_that_is_no_record_is_rejected_with_its_place_and_reason(unbroken, tmp_path, change, reason):
    lines = (unbroken / "labels.jsonl").read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    (tmp_path / "labels.jsonl").write_text("\n".join(lines) + "\n")
    items = list(read_items("synthesis", tmp_path))
    assert [type(i) for i in items].count(Reject) == 1
    assert items[1].where == "labels.jsonl:2" and reason in items[1].reason


def test_broken_json_is_rejected(unbroken, tmp_path):
    (tmp_path / "labels.jsonl").write_text('{"id": "half\n[1]\n' + (unbroken / "labels.jsonl").read_text())
    items = list(read_items("synthesis", tmp_path))
    assert [isinstance(i, Reject) for i in items] == [True, True] + [False] * 8


def _decode(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)]).astype(np.float32)


def _pitch(samples: np.ndarray) -> float:
    """Median pitch by autocorrelation of 40 ms windows, which knows nothing of how the voice was made."""
    window, found = np.hanning(640), []
    taper = np.fft.irfft(np.abs(np.fft.rfft(window, 4096)) ** 2)[:230]
    for start in range(0, len(samples) - 640, 160):
        frame = samples[start : start + 640]
        lags = np.fft.irfft(np.abs(np.fft.rfft(frame * window, 4096)) ** 2)[:230]
        lags = lags / (lags[0] + 1e-9) / (taper / taper[0] + 1e-3)
        best = 26 + int(np.argmax(lags[26:]))
        if (frame**2).mean() > 0.01 * (samples**2).mean() and lags[best] > 0.5:
            found.append(16_000 / best)
    return float(np.median(found))


def _is_clean(line: dict) -> bool:
    """Whether noise, room, creak and cut-outs leave enough for an independent measurement."""
    if "audio" not in line["modalities"]:
        return False
    facts = line["segments"][0]["speech"]
    clear = facts["snr_db"] > 25 and line["room"]["wet"] < 0.25 and facts["creak"] < 0.05
    return clear and bool(facts["whole"])


def test_prosody_facts_are_what_a_microphone_measures(unbroken):
    lines = map(json.loads, (unbroken / "labels.jsonl").read_text().splitlines())
    clean = [line for line in lines if _is_clean(line)]
    assert len(clean) >= 2
    for line in clean:
        facts = line["segments"][0]["speech"]
        start, end = (round(facts[name] * 16_000) for name in ("start_s", "end_s"))
        heard = _decode(unbroken / line["clip"])[start:end]
        assert abs(12 * np.log2(_pitch(heard) / facts["pitch_hz"])) < 1.5
        blocks = (heard[: len(heard) // 320 * 320].reshape(-1, 320) ** 2).mean(1)
        level = 10 * np.log10(blocks[blocks > 0.05 * blocks.max()].mean())
        assert level == pytest.approx(facts["heard_dbfs"], abs=2.5)

"""Five minutes of stream time through the node, and what the verdict on such a run sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import tables
from benchmark.soak import make_plan, tell
from benchmark.soak_verdict import Account, Sample, complaints, due_windows, growth_percent, second_half
from emollama_ros.streams.window import WindowClock

ROOT = Path(__file__).resolve().parent.parent
GOOD = Account(100, 90, 10, 0, 16000, 16000, 0, 0)


def samples(count=200, **grow):
    """A run in which some fields grow by so much from one sample to the next."""
    first = {"resident_mb": 500.0, "threads": 16, "files": 23, "subscriptions": 3}
    return [
        Sample(
            i, 10.0 * i, **{name: start + type(start)(i * grow.get(name, 0)) for name, start in first.items()}
        )
        for i in range(count)
    ]


def test_a_steady_run_is_well():
    assert complaints(samples(), GOOD) == []


def test_growth_counts_after_warm_up_only():
    warming = [replace(s, resident_mb=s.resident_mb + max(0, 90 - i)) for i, s in enumerate(samples())]
    assert complaints(warming, GOOD) == []
    assert complaints(samples(resident_mb=0.1), GOOD) == [
        "memory grows by 1.92 % over the second half; at most 1 %"
    ]


@given(st.floats(-2.0, 2.0))
def test_growth_is_that_of_a_straight_line(slope):
    warm = second_half(samples(resident_mb=slope))
    mean = sum(s.resident_mb for s in warm) / len(warm)
    assert growth_percent(warm) == pytest.approx(
        100 * slope * (warm[-1].at_s - warm[0].at_s) / mean, abs=1e-6
    )


@pytest.mark.parametrize("name", ["threads", "files", "subscriptions"])
def test_what_stays_is_named(name):
    (said,) = complaints(samples(**{name: 0.1}), GOOD)
    assert name in said and said.startswith("9 more")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"samples": 15999}, "of 16000 audio samples 15999 arrived"),
        ({"samples_lost": 7}, "7 are missing"),
        ({"windows": 89}, "of 100 windows that were due: 89 given, 10 left out, 0 failed"),
        ({"windows": 89, "failed": 1}, "1 windows failed"),
        ({"restarts": 2}, "2 restarts"),
    ],
)
def test_what_is_not_accounted_for_is_named(changed, words):
    (said,) = complaints(samples(), replace(GOOD, **changed))
    assert words in said


def test_a_run_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="too few"):
        complaints(samples(2), GOOD)


@given(st.integers(0, 400), st.sampled_from([0.1, 0.3, 0.5, 1.0, 1.7]))
def test_windows_that_are_due_are_those_of_the_clock(tenths, hop_s):
    clock, ends = WindowClock(hop_s=hop_s), 0
    for tick in range(tenths + 1):
        for stream in ("video", "audio"):
            clock.advance(stream, tick * 100_000_000)
        ends += len(clock.due())
    assert due_windows(tenths / 10, hop_s) == ends


def test_an_interrupted_run_is_told_and_not_kept(tmp_path, capsys):
    assert tell(make_plan(120, 2, 11, "bundle"), samples(), GOOD, False, tmp_path) == 1
    (path,) = tmp_path.glob("soak-*.json")
    assert json.loads(path.read_text())["results"]["complaints"] == ["interrupted"]
    assert "error: interrupted" in capsys.readouterr().err


def test_plan_adds_up():
    plan = make_plan(10, 0, 20, "null")
    assert [part.name for part in plan.parts] == ["accelerated"] and plan.seconds == 600
    assert sum(part.seconds / part.speed for part in make_plan(120, 2, 11, "bundle").parts) < 15 * 60


@pytest.mark.ros
@pytest.mark.slow
def test_five_minutes_of_streams_with_an_engine_that_answers_at_once(tmp_path):
    ordered = [
        "--minutes",
        "5",
        "--real-time",
        "0.1",
        "--speed",
        "20",
        "--engine",
        "null",
        "--out",
        tmp_path,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.soak", *map(str, ordered)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("soak-*.json")
    document = json.loads(path.read_text())
    found = document["results"]
    assert found["windows"]["due"] == 599 and found["audio_samples"]["sent"] == 4_800_000
    assert found["complaints"] == [] and "seed" in document["settings"]
    shown = tables.table([document])
    assert "| windows due | 599 |" in shown and "| audio samples lost | 0 |" in shown

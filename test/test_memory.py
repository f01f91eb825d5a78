"""What a model took it gives back: resident memory before, with 20 windows behind it, and after."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emollama_ros.bundle import MANIFEST, packaged_path

#: Three sources, because threads and batches of several take memory that one does not.
SCRIPT = """
import gc, json, queue
import numpy as np
from emollama_ros.nodes.loading import load_model
from emollama_ros.nodes.memory import give_back
from emollama_ros.nodes.parameters import PerceptionParameters

S = 10**9
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 240, 320, 3), np.uint8)
SOUND = np.random.default_rng(1).normal(0, 0.1, (3, 4000)).astype(np.float32)

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

def cycle():
    model = load_model(PerceptionParameters(engine="cpu", reasoning=False, sources=("a", "b", "c")))
    found = queue.Queue()
    pipeline = model.make_pipeline(found.put, lambda reasoning: None)
    pipeline.start()
    for k in range(18):
        for source, feed in enumerate(pipeline.feeds):
            feed.push_frame(k * S // 4, PICTURES[source] + np.uint8(k))
            feed.push_audio(k * S // 4, SOUND[source] * np.float32(1 + k / 100))
        if k >= 4 and k % 2 == 0:
            for _ in range(3):
                found.get(timeout=60)
    windows, most = pipeline.health().windows, resident_mb()
    pipeline.stop()
    return windows, most

cycle()  # what stays is taken by the first: libraries, threads
give_back()
told = []
for _ in range(3):
    before = resident_mb()
    windows, most = cycle()
    give_back()
    told.append((before, most, resident_mb(), windows))
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_returns_when_a_model_is_dropped() -> None:
    if not (packaged_path() / MANIFEST).is_file():
        pytest.skip(f"{packaged_path()} has no bundle")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    cycles = json.loads(done.stdout)
    for before, most, after, windows in cycles:
        assert windows >= 20
        assert most - before > 80, "the model is there"
        assert after - before < 0.25 * (most - before), cycles
    assert cycles[-1][2] - cycles[0][0] < 40, cycles

"""Measure how long it takes to prepare and hash records: sounds, pictures and clips that are made up.

    python -m benchmark.bench_prepare [--records 10000] [--jobs N] [--out FILE.json]

Nine files of twenty hold a second of sound, nine a picture of 64 x 64, two a clip of ten such pictures with
sound; all different. So this measures what a file costs at least: reading tables, opening, hashing, prints,
checking records, writing. Decoding longer clips comes on top of that.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import struct
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from PIL import Image

from benchmark.record import processor, significant
from training.mmeverse.leakage import check
from training.mmeverse.prepare import prepare

RATE = 16_000
#: Different clips that are encoded; more are told apart by a box that players skip.
_ENCODED = 16
_T = TypeVar("_T")


def measure(records: int = 10_000, jobs: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Make the data and time three runs over them.

    Returns:
        Seconds of the first run, of a second that finds everything in the journal, and of the search for
        leaks; and the milliseconds that opening a file takes and nothing else, the floor of the first run.

    Raises:
        RuntimeError: Something was rejected, or found to be a copy.
    """
    jobs, random = jobs or os.cpu_count() or 1, np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as scratch:
        root, out = Path(scratch) / "data", Path(scratch) / "out"
        counts = make(root, records, random)
        rejects, first_s = _timed(lambda: _prepare(root, out, jobs))
        again, again_s = _timed(lambda: _prepare(root, out, jobs))
        findings, leakage_s = _timed(lambda: [f for f in check(out) if f.kind == "same_content"])
        opening_ms = _opening_ms(sorted((root / "emodb").rglob("*.wav"))[:200])
    if rejects or again or findings:
        raise RuntimeError(f"{rejects} and {again} rejects, {len(findings)} copies; there should be none")
    times = {"first_s": first_s, "again_s": again_s, "leakage_s": leakage_s, "opening_ms": opening_ms}
    return {"records": counts, "jobs": jobs} | {name: significant(value) for name, value in times.items()}


def make(root: Path, records: int, random: np.random.Generator) -> dict[str, int]:
    """Write data sets of so many records in three native layouts; returns how many each has."""
    clips = records // 10
    sounds = (records - clips) // 2
    counts = {"emodb": sounds, "faces_muxspace": records - clips - sounds, "javanese_av": clips}
    _sounds(root / "emodb", sounds, random)
    _pictures(root / "faces_muxspace", counts["faces_muxspace"], random)
    _clips(root / "javanese_av", clips, random)
    return counts


def _sounds(root: Path, count: int, random: np.random.Generator) -> None:
    (root / "flac").mkdir(parents=True)
    for i in range(count):
        with wave.open(str(root / f"flac/{i}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(_sound(random).tobytes())
    rows = ((f"flac/{i}.wav", f"{i % 50:02}", "a01", "anger") for i in range(count))
    _table(root, ("path", "speaker", "text", "emotion"), rows)


def _sound(random: np.random.Generator) -> np.ndarray:
    """A second of noise whose loudness changes: int16."""
    loud = np.interp(np.linspace(0, 1, RATE), np.linspace(0, 1, 12), random.uniform(0, 8000, 12))
    return (loud * random.standard_normal(RATE)).clip(-32768, 32767).astype(np.int16)


def _pictures(root: Path, count: int, random: np.random.Generator) -> None:
    (root / "images").mkdir(parents=True)
    for i in range(count):
        Image.fromarray(_picture(random)).save(root / f"images/{i}.jpg")
    rows = ((f"images/{i}.jpg", f"{i % 500}", "fear") for i in range(count))
    _table(root, ("path", "person_guess", "emotion"), rows)


def _picture(random: np.random.Generator) -> np.ndarray:
    """Random blocks: uint8 ``[64, 64, 3]``."""
    return np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def _clips(root: Path, count: int, random: np.random.Generator) -> None:
    root.mkdir(parents=True)
    encoded = [_clip(root / "encoded.mp4", random) for _ in range(min(count, _ENCODED))]
    for i in range(count):
        box = struct.pack(">I4sQ", 16, b"free", i)
        (root / f"{i}.mp4").write_bytes(encoded[i % len(encoded)] + box)
    rows = ((f"{i}.mp4", f"{i % 50:02}", "1", "fear") for i in range(count))
    _table(root, ("path", "actor", "sentence", "emotion"), rows)


def _clip(path: Path, random: np.random.Generator) -> bytes:
    with av.open(str(path), "w") as out:
        video, audio = out.add_stream("libx264", rate=10), out.add_stream("aac", rate=RATE, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(_picture(random), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            out.mux(video.encode(frame))
        sound = av.AudioFrame.from_ndarray(_sound(random)[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = RATE, 0
        out.mux([*video.encode(None), *audio.encode(sound), *audio.encode(None)])
    return path.read_bytes()


def _table(root: Path, header: Sequence[str], rows: Any) -> None:
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _prepare(root: Path, out: Path, jobs: int) -> int:
    """Prepare all three; returns how many records were rejected."""
    names = ("emodb", "faces_muxspace", "javanese_av")
    return sum(prepare(name, root / name, out, jobs=jobs)["rejects"] for name in names)


def _opening_ms(paths: Sequence[Path]) -> float:
    def opened() -> None:
        for path in paths:
            av.open(str(path)).close()

    return 1000 * _timed(opened)[1] / max(1, len(paths))


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, help="processes; as many as there are processors if left out")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    text = json.dumps({"processor": processor()} | measure(given.records, given.jobs))
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

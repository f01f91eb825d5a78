"""The stages of the fast path one by one, without ROS, on the bundled sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.record import summary
from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.perception import Perception
from emollama_ros.pipeline import Intake, PipelineConfig
from emollama_ros.preprocess.audio import log_mel
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.streams import Window
from emollama_ros.streams.media import VideoEvent, read_media


def stages(bundle: Bundle, sample: Path, windows: int, threads: int) -> dict[str, Any]:
    """Perceive full 4 s windows of the sample back to back, again and again.

    Args:
        bundle: The model.
        sample: Clip with picture and sound.
        windows: How many windows to time.
        threads: CPU threads of the engine.

    Returns:
        Milliseconds by stage, ``vision_a_frame`` (per frame not seen in an earlier window) and ``cut``
        (copying the window out of the rings) among them.
    """
    perception = Perception(bundle, EngineOptions(kind="cpu", threads=threads))
    perception.warm_up()
    taken: dict[str, list[float]] = {}
    while len(taken.get("total", ())) < windows:
        perception.reset()
        _one_pass(perception, PipelineConfig(), sample, taken)
    return {"threads": threads} | {f"{name}_ms": summary(values[:windows]) for name, values in taken.items()}


def _one_pass(
    perception: Perception, config: PipelineConfig, sample: Path, taken: dict[str, list[float]]
) -> None:
    seen: set[int] = set()
    full_ns = round(config.window_s * 1e9)
    for cut_ms, window in cut_windows(sample, config):
        stage_ms = dict(perception.perceive_one(window, 0).stage_ms)
        frames = set() if window.frames is None else {int(stamp) for stamp in window.frames.stamps_ns}
        new, seen = len(frames - seen), frames
        if window.end_ns - window.start_ns < full_ns:
            continue
        if new and "vision" in stage_ms:
            stage_ms["vision_a_frame"] = stage_ms["vision"] / new
        for name, value in ({"cut": cut_ms} | stage_ms).items():
            taken.setdefault(name, []).append(value)


def cut_windows(sample: Path, config: PipelineConfig) -> Iterator[tuple[float, Window]]:
    """Yield the windows of a clip as a robot cuts them, with the time of cutting, ms."""
    intake = Intake(config)
    for event in read_media(sample):
        if isinstance(event, VideoEvent):
            intake.push_frame(event.stamp_ns, event.rgb)
        else:
            intake.push_audio(event.stamp_ns, event.samples)
        for end_ns in intake.clock.due():
            began = time.perf_counter_ns()
            window = intake.window(end_ns)
            yield (time.perf_counter_ns() - began) / 1e6, window


def preparation(runs: int) -> dict[str, Any]:
    """What is done to each picture and each window before any network."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (480, 640, 3), np.uint8)
    sound = random.normal(0, 0.1, 64_000).astype(np.float32)
    return {
        "resize_vga_ms": summary(timed(lambda: to_model_frame(picture), runs)),
        "log_mel_4s_ms": summary(timed(lambda: log_mel(sound), runs)),
    }


def timed(work: Callable[[], Any], runs: int, warm_up: int = 3) -> list[float]:
    """Time runs after untimed ones, ms."""
    taken = []
    for number in range(-warm_up, runs):
        began = time.perf_counter_ns()
        work()
        if number >= 0:
            taken.append((time.perf_counter_ns() - began) / 1e6)
    return taken

"""The stages of the fast path one by one, without ROS, on the bundled sample; and the engines compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.record import significant, summary
from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions, load_engine
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
        stage_ms = dict(perception.perceive(window, 0).stage_ms)
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
        "resize_vga_ms": summary(timed({"it": lambda: to_model_frame(picture)}, runs)["it"]),
        "log_mel_4s_ms": summary(timed({"it": lambda: log_mel(sound)}, runs)["it"]),
    }


def engines(bundle: Bundle, runs: int, threads: tuple[int, ...] = (2, 1)) -> dict[str, Any]:
    """ONNX Runtime, and eager torch where it is installed, turn and turn about on the same shapes."""
    return {f"threads_{count}": _engines(bundle, runs, count) for count in threads}


def _engines(bundle: Bundle, runs: int, threads: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (1, 224, 224, 3), np.uint8)
    mels = {"audio_4s": 400, "audio_padded_to_30s": 3000}
    inputs = {"vision": frame} | {
        name: random.uniform(-1, 1.5, (1, 80, length)).astype(np.float32) for name, length in mels.items()
    }
    options = EngineOptions(kind="cpu", threads=threads)
    graphs = {"vision": ("vision.onnx", "frames"), **dict.fromkeys(mels, ("audio.onnx", "mel"))}
    torch_runs = torch_modules(threads)
    found: dict[str, Any] = {}
    for name, (file, key) in graphs.items():
        engine = load_engine(bundle.file(file), options)
        work = {"onnxruntime_ms": lambda e=engine, k=key, v=inputs[name]: e.run({k: v})}
        if torch_runs:
            work["torch_ms"] = lambda r=torch_runs[file], v=inputs[name]: r(v)
        fewer = max(3, runs // 10) if "30s" in name else runs
        taken = timed(work, fewer)
        found[name] = {kind: summary(values) for kind, values in taken.items()}
        if torch_runs:
            found[name]["torch_over_onnxruntime"] = ratio(taken["torch_ms"], taken["onnxruntime_ms"])
    cost = found["audio_padded_to_30s"]["onnxruntime_ms"]["p50"] / found["audio_4s"]["onnxruntime_ms"]["p50"]
    return found | {"padding_to_30s_costs_times": significant(cost, 3)}


def torch_modules(threads: int) -> dict[str, Callable[[Any], Any]]:
    """The networks of these graphs in eager torch with random weights; empty where torch is not installed."""
    try:
        import torch

        from training.networks.efficientnet import EfficientNetLite0, FrameEncoder
        from training.networks.whisper import WhisperEncoder
    except ImportError:
        return {}
    torch.set_num_threads(threads)
    torch.manual_seed(0)

    def runner(module: Any) -> Callable[[Any], Any]:
        module.eval()

        def run(value: Any) -> Any:
            with torch.inference_mode():
                return module(torch.from_numpy(value))

        return run

    return {"vision.onnx": runner(FrameEncoder(EfficientNetLite0())), "audio.onnx": runner(WhisperEncoder())}


def timed(work: dict[str, Callable[[], Any]], runs: int, warm_up: int = 3) -> dict[str, list[float]]:
    """Time alternatives in turn, ms, so that whatever else the machine does hits all of them alike."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for number in range(-min(warm_up, runs), runs):
        for name, action in work.items():
            began = time.perf_counter_ns()
            action()
            if number >= 0:
                taken[name].append((time.perf_counter_ns() - began) / 1e6)
    return taken


def ratio(slower: list[float], faster: list[float]) -> dict[str, float]:
    """Median of the ratios of neighbouring runs, with the quartiles that show how sure it is."""
    low, middle, high = np.percentile(np.divide(slower, faster), [25, 50, 75])
    return {name: significant(float(v), 3) for name, v in (("p50", middle), ("p25", low), ("p75", high))} | {
        "n": len(slower)
    }

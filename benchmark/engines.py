"""ONNX Runtime against eager torch on the networks of the bundle.

Each engine has a process of its own: the waiting threads of one spin for a while after a run, and in one
process would take the cores from the other. The processes work in turn, a block of runs at a time, so that
whatever else the machine does hits both alike.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.offline import timed
from benchmark.record import quartiles, significant, summary
from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions, load_engine
from emollama_ros.errors import BundleError

#: Runs of one engine before it is the other's turn, and untimed runs before each block.
BLOCK, WARM_UP = 10, 2
#: Frames of 10 ms of the two lengths of sound that are compared.
MELS = {"audio_4s": 400, "audio_padded_to_30s": 3000}
#: What the fusion reads of one window: a row for sound and pictures, one for each of them alone.
FUSION = {"audio": (3, 4, 16, 384), "image": (3, 256), "video": (3, 16, 256)}
PRESENT = ((1, 1), (0, 1), (1, 0))
Arrays = dict[str, np.ndarray]
Ask = Callable[[str, int], list[float]]


def engines(bundle: Bundle, runs: int, threads: tuple[int, ...] = (2, 1)) -> dict[str, Any]:
    """Compare at each number of threads; torch is left out where it is not installed.

    Args:
        bundle: Its graphs are run.
        runs: Timed runs of each network; of the sound padded to 30 s, a fifth.
        threads: Numbers of CPU threads.
    """
    with tempfile.TemporaryDirectory(prefix="emollama-") as scratch:
        folder = as_exported(bundle, Path(scratch))
        return {f"threads_{count}": _compare(folder, runs, count) for count in threads}


def as_exported(bundle: Bundle, folder: Path) -> Path:
    """Fill a folder with the bundle's graphs, the sound encoder as `bundle-recipe` writes it: in eight bits.

    A bundle that has it in another precision keeps that where torch or the encoder's package is missing.
    """
    for name in ("vision", "audio", "fusion"):
        shutil.copyfile(bundle.file(bundle.graph(name).file), folder / f"{name}.onnx")
    whisper = None if bundle.graph("audio").precision == "int8" else _whisper()
    if whisper is not None:
        from model_export.perception_graphs import export_audio_int8

        export_audio_int8(whisper, folder / "audio.onnx")
    return folder


def _whisper() -> Any:
    """The sound encoder of the bundle in torch; None where torch or its package is not installed."""
    try:
        from training.networks.whisper import packaged_whisper

        return packaged_whisper()
    except (ImportError, BundleError):
        return None


def _compare(folder: Path, runs: int, threads: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with _worker(onnx_runs, folder, threads) as onnx, _worker(torch_runs, folder, threads) as torch:
        kinds = {"onnxruntime": onnx, "torch": torch}
        kinds = {kind: ask for kind, ask in kinds.items() if ask("vision", 0) is not None}
        for name in ("vision", *MELS, "fusion"):
            found[name] = compared(kinds, name, runs // 5 if "30s" in name else runs)
    cost = found["audio_padded_to_30s"]["onnxruntime_ms"]["p50"] / found["audio_4s"]["onnxruntime_ms"]["p50"]
    return found | {"padding_to_30s_costs_times": significant(cost, 3)}


def compared(kinds: dict[str, Ask], name: str, runs: int) -> dict[str, Any]:
    """Time the engines block by block; the ratio is that of the medians of neighbouring blocks."""
    blocks: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    size = max(1, min(BLOCK, runs // 4))
    for _ in range(max(1, runs // size)):
        for kind, ask in kinds.items():
            blocks[kind].append(ask(name, size))
    found: dict[str, Any] = {f"{kind}_ms": summary(np.concatenate(taken)) for kind, taken in blocks.items()}
    if "torch" in blocks:
        medians = {kind: np.median(taken, axis=1) for kind, taken in blocks.items()}
        found["torch_over_onnxruntime"] = quartiles(medians["torch"] / medians["onnxruntime"])
    return found


def onnx_runs(folder: Path, threads: int) -> dict[str, Callable[[], Any]]:
    """The bundle's graphs, ready to run."""
    options = EngineOptions(kind="cpu", threads=threads)
    graphs = {name: load_engine(folder / f"{name}.onnx", options) for name in ("vision", "audio", "fusion")}
    return {name: partial(graphs[graph_of(name)].run, given) for name, given in inputs().items()}


def torch_runs(folder: Path, threads: int) -> dict[str, Callable[[], Any]]:
    """The networks of these graphs in eager torch; none where torch is not installed.

    Weights are random, which costs the same, but for the sound encoder's, whose graph is made of its own.
    """
    try:
        import torch

        from model_export.perception_graphs import FusionGraph
        from training.networks.glimpse import FrameEncoder
        from training.networks.perception_net import PerceptionNet
        from training.networks.soft_tokens import SoftTokenAdapters
        from training.networks.whisper import WhisperEncoder
    except ImportError:
        return {}
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    net = PerceptionNet()
    networks = {
        "vision": FrameEncoder().eval(),
        "audio": (_whisper() or WhisperEncoder()).eval(),
        "fusion": FusionGraph(net, SoftTokenAdapters(net)).eval(),
    }
    tensors = {
        name: [torch.from_numpy(value) for value in given.values()] for name, given in inputs().items()
    }
    return {name: partial(networks[graph_of(name)], *given) for name, given in tensors.items()}


def graph_of(name: str) -> str:
    """Graph, and network, that a measurement runs."""
    return "audio" if name in MELS else name


def inputs() -> dict[str, Arrays]:
    """The same random inputs for every engine, in the order in which the networks take them."""
    random = np.random.default_rng(0)
    given: dict[str, Arrays] = {"vision": {"frames": random.integers(0, 256, (1, 224, 224, 3), np.uint8)}}
    for name, size in MELS.items():
        given[name] = {"mel": random.uniform(-1, 1.5, (1, 80, size)).astype(np.float32)}
    features = {name: random.normal(size=shape).astype(np.float32) for name, shape in FUSION.items()}
    return given | {"fusion": features | {"present": np.array(PRESENT, np.float32)}}


@contextmanager
def _worker(make: Callable[..., Any], folder: Path, threads: int) -> Iterator[Callable[[str, int], Any]]:
    """Start a process for an engine; yields a function that has it time a network."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, make, folder, threads), daemon=True)
    process.start()
    theirs.close()

    def ask(name: str, runs: int) -> Any:
        ours.send((name, runs))
        return ours.recv()

    try:
        yield ask
    finally:
        ours.close()
        process.join()


def serve(asked: Connection, make: Callable[..., Any], folder: Path, threads: int) -> None:
    """Answer requests (name, runs) with times in ms, or ``None`` for what this engine lacks."""
    networks = make(folder, threads)
    while True:
        try:
            name, runs = asked.recv()
        except EOFError:
            return
        asked.send(timed(networks[name], runs, WARM_UP) if name in networks else None)

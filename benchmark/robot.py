"""The bundle's graphs on the engines of this machine: latency, and the difference to the CPU. Needs no torch.

    python -m benchmark.robot --out OUTDIR [--engines cpu,cuda,tensorrt] [--bundle DIR]

This is what a Jetson or a desktop with a GPU runs (``benchmark/jetson.sh``); on a machine without one it
measures the CPU. An engine that cannot run here is listed with the reason.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.record import document, significant, summary, write
from emollama_ros.bundle import Bundle
from emollama_ros.engines import Engine, EngineOptions, Signature
from emollama_ros.engines.base import cuda_available
from emollama_ros.errors import EngineError
from emollama_ros.graphs import load_graph

ENGINES = ("cpu", "cuda", "tensorrt")
GRAPHS = ("vision", "image", "audio", "fusion", "text")
#: Sizes of free dimensions as in a window of 4 s, half a second after the last: two new frames.
SIZES = {"frames": 2, "time": 400, "batch": 3, "count": 128}
SEED = 0
Arrays = dict[str, NDArray[np.generic]]
#: Of a graph: inputs, and what the CPU makes of them.
Truth = tuple[Arrays, Mapping[str, NDArray[np.generic]]]


def main(arguments: Sequence[str] | None = None) -> Path:
    """Measure and write one JSON; returns its path."""
    parser = argparse.ArgumentParser(description="Measure a bundle's graphs on the engines of this machine.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON")
    parser.add_argument("--engines", default=",".join(ENGINES), help=f"of {','.join(ENGINES)}")
    parser.add_argument("--bundle", type=Path, help="folder of a bundle; default: the one in use")
    parser.add_argument("--runs", type=int, default=200, help="timed runs of each graph")
    given = parser.parse_args(arguments)
    kinds = given.engines.split(",")
    if unknown := set(kinds) - set(ENGINES):
        parser.error(f"--engines: {', '.join(sorted(unknown))}: use {', '.join(ENGINES)}")
    bundle = Bundle.load(given.bundle)
    results = measure(bundle, kinds, given.runs)
    settings = {"seed": SEED, "runs": given.runs, "engines": kinds, "sizes": SIZES}
    files = [bundle.path / "manifest.json", *(bundle.path / bundle.graph(n).file for n in present(bundle))]
    found = document("robot", settings, files, results, device_name())
    path = write(found, given.out)
    print(f"{path.name} written")
    return path


def device_name() -> str:
    """The GPU, where there is one."""
    if not cuda_available():
        return ""
    from emollama_ros.engines.cuda import first_device

    return first_device().name


def present(bundle: Bundle) -> list[str]:
    """Graphs of the fast path that a bundle has."""
    return [name for name in GRAPHS if name in bundle.manifest.graphs]


def measure(bundle: Bundle, kinds: Sequence[str], runs: int) -> dict[str, Any]:
    """Measure every graph on every engine; what cannot run is skipped with the reason."""
    results: dict[str, Any] = {"engines": {}, "skipped": []}
    truth = {name: reference(bundle, name) for name in present(bundle)}
    for kind in kinds:
        try:
            results["engines"][kind] = measure_engine(bundle, kind, runs, truth)
            print(kind, results["engines"][kind]["device"])
        except EngineError as error:
            results["skipped"].append(f"{kind}: {' '.join(str(error).split())}")
            print(f"skipped: {results['skipped'][-1]}")
    return results


def reference(bundle: Bundle, name: str) -> Truth:
    """Made-up inputs of a graph, and what the CPU makes of them."""
    engine = load_graph(bundle, name, EngineOptions("cpu", threads=1))
    given = inputs(engine.inputs, bundle.graph(name).inputs)
    return given, engine.run(given)


def inputs(signature: Signature, declared: Mapping[str, Any]) -> Arrays:
    """Random inputs; free dimensions have the sizes of a window."""
    random, found = np.random.default_rng(SEED), {}
    for name, (dtype, _) in signature.items():
        shape = tuple(SIZES.get(d, 2) if isinstance(d, str) else d for d in declared[name].shape)
        is_float = np.dtype(dtype).kind == "f"
        found[name] = (random.normal(0, 0.5, shape) if is_float else random.integers(0, 255, shape)).astype(
            dtype
        )
    return found


def measure_engine(
    bundle: Bundle,
    kind: str,
    runs: int,
    truth: Mapping[str, Truth],
) -> dict[str, Any]:
    """Latency and difference of every graph on one engine, and how long loading took."""
    options = EngineOptions(kind)
    found: dict[str, Any] = {"device": "", "graphs": {}}
    for name, (given, expected) in truth.items():
        began = time.perf_counter()
        engine = load_graph(bundle, name, replace(options))
        loaded = time.perf_counter() - began
        found["device"] = engine.device
        found["graphs"][name] = {
            "load_s": significant(loaded),
            "run_ms": summary(timed(engine, given, runs)),
            "relative_error_to_cpu": largest_error(engine.run(given), expected),
        }
    return found


def timed(engine: Engine, given: Arrays, runs: int) -> list[float]:
    """Milliseconds of each run, copies to and from the device included."""
    for _ in range(max(3, runs // 10)):
        engine.run(given)
    taken = []
    for _ in range(runs):
        began = time.perf_counter_ns()
        engine.run(given)
        taken.append((time.perf_counter_ns() - began) / 1e6)
    return taken


def largest_error(
    found: Mapping[str, NDArray[np.generic]], expected: Mapping[str, NDArray[np.generic]]
) -> float:
    """Largest ||found - expected|| / ||expected|| of all outputs."""
    return significant(max(_error(found[name], value) for name, value in expected.items()), 3)


def _error(found: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    """||found - expected|| / ||expected||; masks count as 0 and 1, and nothing is nothing's equal."""
    a, b = found.astype(float), expected.astype(float)
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / (size or 1.0)


if __name__ == "__main__":
    main()

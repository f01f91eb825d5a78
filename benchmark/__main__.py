"""Measure the system on this machine: ``python -m benchmark`` (``make bench``).

python -m benchmark [--quick] [--only stages,growth,engines,language,graph,ros,side_by_side,scorer,prepare]
python -m benchmark training [--quick]  # training against a straightforward loop (``make bench-training``)
python -m benchmark roofline [--write] # computed times and memory for docs/deployment.md
python -m benchmark table [--write]    # the table of docs/benchmarks.md from the JSON files
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark import record, tables

PARTS = ("stages", "growth", "engines", "language", "graph", "ros", "side_by_side", "scorer", "prepare")


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        windows: Windows timed offline; a quarter of it where two sides take turns.
        runs: Runs of each graph.
        texts: Reasonings written offline.
        clip_s: Length of the clip played through the graph, s.
        alone: Whether the graph is also measured without reasoning, and beside a model that writes on and on.
        short_s: Length of the clip for what needs no percentiles: the ROS part, and nodes side by side, s.
        rounds: How often the nodes side by side play it.
        scored: Predictions scored.
        prepared: Records prepared.
        threads: Engine threads, as the node's default.
        quick: Figures are for nothing but to see that everything runs.
    """

    windows: int = 300
    runs: int = 100
    texts: int = 30
    clip_s: float = 60.0
    alone: bool = True
    short_s: float = 20.0
    rounds: int = 2
    scored: int = 36_000
    prepared: int = 10_000
    threads: int = 2
    quick: bool = False


QUICK = Plan(
    windows=20,
    runs=5,
    texts=2,
    clip_s=9.0,
    alone=False,
    short_s=9.0,
    rounds=1,
    scored=3000,
    prepared=200,
    quick=True,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write, or print the table; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark", description="Measure the system on this machine."
    )
    parser.add_argument("what", nargs="?", choices=("run", "table", "training", "roofline"), default="run")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument(
        "--out", type=Path, help="folder for the JSON (benchmark/results; build/benchmark if quick)"
    )
    parser.add_argument("--write", action="store_true", help="table, roofline: put it into its document")
    given = parser.parse_args(arguments)
    if given.what == "table":
        return tables.run(given.out or record.RESULTS, given.write)
    if given.what == "roofline":
        from benchmark import roofline

        return roofline.run(given.write)
    if given.what == "training":
        return train(given.quick, given.out)
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: {', '.join(sorted(unknown))}: no such part; use {', '.join(PARTS)}")
    partial = given.quick or len(parts) < len(PARTS)
    out = given.out or (record.ROOT / "build" / "benchmark" if partial else record.RESULTS)
    return measure(QUICK if given.quick else Plan(), parts, out)


def train(quick: bool, out: Path | None) -> int:
    """Compare training with a straightforward loop and write one JSON; returns 0."""
    from benchmark import bench_training

    plan = bench_training.QUICK if quick else bench_training.Plan()
    folder = out or (record.ROOT / "build" / "benchmark" if quick else record.RESULTS)
    print(f"written: {bench_training.run(plan, folder)}")
    return 0


def measure(plan: Plan, parts: Sequence[str], out: Path) -> int:
    """Measure the parts and write one JSON; returns 1 when one failed, or when sound was lost."""
    from benchmark.graph import GraphError
    from emollama_ros.bundle import Bundle

    bundle, sample = Bundle.load(), record.ROOT / "emollama_ros" / "samples" / "sample.mp4"
    found = record.document("system", asdict(plan) | {"parts": list(parts), "seed": 0}, [sample], {})
    found["bundle"] = {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "sha256": bundle.sha256,
    }
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, part in _parts(plan, bundle, sample, Path(scratch)).items():
            if name in parts:
                print(f"measuring: {name}", flush=True)
                try:
                    found["results"][name] = part()
                except GraphError as error:
                    print(f"error: {error}")
                    failed.append(name)
    if failed:
        found["settings"]["failed"] = failed
        out = record.ROOT / "build" / "benchmark"  # worth reading, not worth keeping
    path = record.write(found, out)
    print(tables.table([found]))
    print(f"written: {path}")
    lost = tables.lost_samples(found)
    if lost:
        print(f"error: {lost} audio samples were lost; none may be")
    return int(bool(lost or failed))


def _parts(plan: Plan, bundle: Any, sample: Path, scratch: Path) -> dict[str, Callable[[], Any]]:
    # Imported here: the table needs neither engine nor ROS.
    from benchmark import bench_prepare, bench_scorer, clip, engines, graph, offline, side_by_side
    from benchmark.growth import growth
    from benchmark.language import language

    def measure_stages() -> dict[str, Any]:
        stages = offline.stages(bundle, sample, plan.windows, plan.threads)
        return stages | {"preparation": offline.preparation(plan.runs)}

    def measure_language() -> dict[str, Any]:
        if not bundle.has_language:
            return {"skipped": "the language model is not assembled (make assemble)"}
        return language(bundle, plan.texts)

    def film(seconds: float) -> Path:
        made = scratch / f"vga-{seconds:g}.mkv"
        return made if made.exists() else clip.make_clip(sample, made, seconds)

    def measure_graph() -> dict[str, Any]:
        cases = [graph.WITH_REASONING] if bundle.has_language else [graph.LABELS_ONLY]
        cases += [graph.RESTLESS, graph.LABELS_ONLY] if plan.alone and bundle.has_language else []
        return graph.compared(
            {case.name: graph.measure(bundle, film(plan.clip_s), scratch, case) for case in cases}
        )

    def measure_ros() -> dict[str, Any]:
        return {
            "null_engine": graph.measure(bundle, film(plan.short_s), scratch, graph.NULL_ENGINE),
            "bare_subscriber": graph.received(bundle, film(plan.short_s), scratch, graph.BARE_SUBSCRIBER),
        }

    return {
        "stages": measure_stages,
        "growth": lambda: growth(bundle, sample, plan.windows // 4, plan.threads),
        "engines": lambda: engines.engines(bundle, plan.runs),
        "language": measure_language,
        "graph": measure_graph,
        "ros": measure_ros,
        "side_by_side": lambda: side_by_side.measure(bundle, film(plan.short_s), scratch, plan.rounds),
        "scorer": lambda: bench_scorer.scorer(plan.scored, scratch),
        "prepare": lambda: bench_prepare.measure(plan.prepared),
    }


if __name__ == "__main__":
    raise SystemExit(main())

"""The decoder loop beside onnxruntime-genai and beside what the memory allows, in one run.

    python -m benchmark.decoder_rivals --genai VENV/bin/python [--rounds 12] [--threads 2 1] [--quick]
        [--bundle BUNDLE --prepared PREPARED --root DATA]

Both get the same weights at the same bits: SmolLM2-135M from its package, in blocks of 32 with one scale. The
other side is built by onnxruntime-genai's own model builder. Each runs in a process of its own, a few runs in
turn, so that what else the machine does hits both; between them the memory is read, by as many threads, which
gives the floor of decoding: every weight and every cached value is read once a token. VENV needs
onnxruntime-genai, and torch, transformers and onnx to build its model; without it that side is left out.

The steps are plain ones, a token each. With a trained bundle, its reasonings over held-out clips are written
as a whole too, with guesses, and beside the other side (`benchmark.own_reasonings`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import greedy_parity, own_reasonings, prompt_lookup, record
from benchmark.genai import Ask, build_genai, genai_version, working
from emollama_ros.bundle import Bundle
from emollama_ros.language.assemble import DECODER_DATA, EMBEDDINGS, assemble
from emollama_ros.language.decoder import Decoder

#: Tokens of the prompt of both sides; positions between which the cost of a token is compared.
PROMPT, NEAR, FAR = 290, 100, 1000
#: Bytes of a cached position of SmolLM2-135M: 30 layers, keys and values, 3 heads of 64, float32.
CACHED = 30 * 2 * 3 * 64 * 4
_CAPACITY = 1024


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: Times that every side has its turn.
        prefills: Prefills a turn.
        steps: Tokens a turn.
    """

    rounds: int = 12
    prefills: int = 2
    steps: int = 24


QUICK = Plan(rounds=1, prefills=1, steps=4)


class Ours:
    """The decoder loop, with the head and the choice of a token, as free generation runs it."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._decoder = Decoder.load(folder, threads, capacity=_CAPACITY)

    def prefill(self, tokens: Sequence[int], runs: int) -> list[float]:
        """From the tokens to the first one chosen."""
        return [self._begin(tokens)[1] * 1e3 for _ in range(runs)]

    def decode(self, tokens: Sequence[int], runs: int) -> list[float]:
        """Each a token, greedily, after the tokens."""
        token, _ = self._begin(tokens)
        taken = []
        for _ in range(runs):
            begin = time.perf_counter()
            self._decoder.step(token)
            token = int(self._decoder.logits().argmax())
            taken.append((time.perf_counter() - begin) * 1e3)
        return taken

    def _begin(self, tokens: Sequence[int]) -> tuple[int, float]:
        self._decoder.restore(0)
        begin = time.perf_counter()
        self._decoder.extend(tokens)
        token = int(self._decoder.logits().argmax())
        return token, time.perf_counter() - begin


def serve(folder: Path, threads: int) -> None:
    """Answer requests on the standard input, as ``genai_worker`` does."""
    side = Ours(folder, threads)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(side, asked["work"])(asked["tokens"], asked["runs"])), flush=True)


def compare(sides: Mapping[str, Ask], plan: Plan, threads: int) -> dict[str, Any]:
    """Let the sides work in turn, and read memory between them with as many threads."""
    tokens = [int(t) for t in np.random.default_rng(0).integers(20, 49_000, FAR)]
    reader = Reader(threads)
    taken: dict[tuple[str, str], list[list[float]]] = {}
    bandwidth = []
    for turn in range(plan.rounds + 1):
        for name, ask in sides.items():
            found = {
                "prefill": ask("prefill", tokens[:PROMPT], plan.prefills),
                "decode": ask("decode", tokens[:PROMPT], plan.steps),
                f"decode_at_{NEAR}": ask("decode", tokens[:NEAR], plan.steps),
                f"decode_at_{FAR}": ask("decode", tokens[: FAR - plan.steps], plan.steps),
            }
            for work, times in found.items():
                if turn:  # the first turn warms up
                    taken.setdefault((name, work), []).append(times)
        bandwidth.append(reader.bytes_s())
    return {
        "read_gb_s": record.summary([b / 1e9 for b in bandwidth]),
        **{name: _side(taken, name) for name in sides},
        **_ratios(taken, sides),
    }


def _side(taken: Mapping[tuple[str, str], list[list[float]]], name: str) -> dict[str, Any]:
    times = {work: np.concatenate(turns) for (side, work), turns in taken.items() if side == name}
    # Of each turn the ratio of its own medians: what disturbs a turn disturbs both.
    near, far = (np.median(np.array(taken[name, f"decode_at_{at}"]), axis=1) for at in (NEAR, FAR))
    return {
        "prefill_ms": record.summary(times["prefill"]),
        "prefill_tokens_s": record.significant(PROMPT / float(np.median(times["prefill"])) * 1e3),
        "decode_ms": record.summary(times["decode"]),
        "decode_tokens_s": record.significant(1e3 / float(np.median(times["decode"]))),
        f"ms_at_{NEAR}": record.summary(times[f"decode_at_{NEAR}"]),
        f"ms_at_{FAR}": record.summary(times[f"decode_at_{FAR}"]),
        "growth": record.quartiles(far / near),
    }


def _ratios(taken: Mapping[tuple[str, str], list[list[float]]], sides: Mapping[str, Ask]) -> dict[str, Any]:
    if len(sides) < 2:
        return {}
    ours, theirs = sides
    return {
        f"{work}_times_faster": record.quartiles(
            np.median(np.array(taken[theirs, work]), axis=1) / np.median(np.array(taken[ours, work]), axis=1)
        )
        for work in ("prefill", "decode")
    }


class Reader:
    """Reads more memory than any cache holds, by some threads at once."""

    def __init__(self, threads: int, size: int = 1 << 29) -> None:
        self._parts = np.array_split(np.ones(size // 8, np.int64), threads)
        self._size = size

    def bytes_s(self) -> float:
        """Bytes per second of one pass: the best of three."""
        return self._size / min(self._once() for _ in range(3))

    def _once(self) -> float:
        begin = time.perf_counter()
        workers = [threading.Thread(target=part.sum) for part in self._parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - begin


def floor(folder: Path, read_gb_s: float, position: int) -> dict[str, float]:
    """Bytes that a token with its head has to read, and how many tokens a second that allows."""
    weights = sum((folder / name).stat().st_size for name in (DECODER_DATA, EMBEDDINGS))
    read = weights + position * CACHED
    return {
        "mb_a_token": record.significant(read / 1e6),
        "tokens_s": record.significant(read_gb_s * 1e9 / read),
    }


def measure(
    genai: Path | None, plan: Plan, threads: Sequence[int], wide: Path | None = None
) -> dict[str, Any]:
    """Compare with each number of threads.

    Args:
        genai: Python of an environment with onnxruntime-genai; it is left out if ``None``.
        plan: How much is measured.
        threads: Numbers of threads.
        wide: Decoder files in the format ``int8_wide``; compared with the same other side, at the first
            number of threads.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if genai:
            build_genai(genai, "int8", Path(scratch))
        model, default = Path(scratch) / "genai", Bundle.load().path
        found = {f"threads_{count}": _measure(genai, model, plan, count, default) for count in threads}
        if wide:
            found[f"wide_threads_{threads[0]}"] = _measure(genai, model, plan, threads[0], wide)
    return found | ({} if genai else {"skipped": "onnxruntime-genai: no --genai was given"})


def _measure(genai: Path | None, model: Path, plan: Plan, threads: int, folder: Path) -> dict[str, Any]:
    with ExitStack() as stack:
        mine = [sys.executable, "-m", "benchmark.decoder_rivals", "--serve", str(folder), str(threads)]
        sides = {"ours": stack.enter_context(working(mine))}
        if genai:
            worker = str(record.ROOT / "benchmark" / "genai_worker.py")
            theirs = [str(genai), worker, str(model), str(threads)]
            sides["onnxruntime_genai"] = stack.enter_context(working(theirs))
        found = compare(sides, plan, threads)
    least = floor(folder, found["read_gb_s"]["p50"], PROMPT)
    share = found["ours"]["decode_tokens_s"] / least["tokens_s"]
    return found | {"floor": least, "share_of_floor": record.significant(share, 3)}


def write_wide(gguf: Path, wheel: Path, out: Path) -> Path:
    """Write the decoder in blocks of 64."""
    from model_export.llama_graph import write_bundle_files

    write_bundle_files(out, gguf, wheel, weights="int8_wide")
    assemble(gguf, out)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write a result file."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.decoder_rivals", description=__doc__)
    parser.add_argument("--genai", type=Path, help="Python of an environment with onnxruntime-genai")
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument(
        "--gguf", type=Path, help="the language model: adds wider blocks, and answers of torch"
    )
    parser.add_argument("--wheel", type=Path, help="the package that carries it")
    parser.add_argument("--bundle", type=Path, help="trained bundle: adds its own reasonings, as a whole")
    parser.add_argument("--prepared", type=Path, help="what `python -m training prepare` wrote, for --bundle")
    parser.add_argument("--root", type=Path, help="folder that holds the sources' folders, for --bundle")
    parser.add_argument("--clips", type=int, default=40, help="held-out clips, for --bundle")
    parser.add_argument("--quick", action="store_true", help="little, to see that it runs")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    parser.add_argument("--serve", nargs=2, metavar=("FOLDER", "THREADS"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        serve(Path(given.serve[0]), int(given.serve[1]))
        return
    plan = QUICK if given.quick else Plan(rounds=given.rounds)
    found = record.document("decoder", asdict(plan) | {"seed": 0}, [], {})
    with tempfile.TemporaryDirectory() as scratch:
        wide = write_wide(given.gguf, given.wheel, Path(scratch)) if given.gguf and given.wheel else None
        found["results"] = measure(given.genai, plan, given.threads, wide)
    found["results"]["prompt_lookup"] = prompt_lookup.measure(200)
    if given.bundle and given.prepared and given.root:
        found["results"]["own_reasonings"] = own_reasonings.measure(
            given.bundle, given.prepared, given.root, given.clips, given.threads, given.genai
        )
    if wide:
        found["results"]["greedy_parity"] = greedy_parity.measure(given.gguf, given.wheel)
    found["machine"]["load_average_after"] = round(os.getloadavg()[0], 2)
    if given.genai:
        found["versions"]["onnxruntime-genai"] = genai_version(given.genai)
    print(json.dumps(found["results"], indent=1))
    print(f"written: {record.write(found, given.out)}")


if __name__ == "__main__":
    main()

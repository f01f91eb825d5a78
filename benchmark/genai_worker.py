"""onnxruntime-genai in a process of its own, with nothing of this project: runs where that library is.

    python benchmark/genai_worker.py MODEL_FOLDER THREADS

Reads one JSON object a line, {"work": NAME, "runs": N}, and answers with the times in ms of N runs.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import onnxruntime_genai as og


class Worker:
    """A model, and a text that is gone on with."""

    def __init__(self, folder: str, threads: int) -> None:
        config = og.Config(folder)
        session = {"intra_op_num_threads": threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self._model = og.Model(config)

    def _begun(self, tokens: list[int]) -> tuple[og.Generator, float]:
        params = og.GeneratorParams(self._model)
        # One buffer for the caches, as long as ours; no end before the last step.
        params.set_search_options(max_length=1024, min_length=1024, do_sample=False)
        generator = og.Generator(self._model, params)
        begin = time.perf_counter()
        generator.append_tokens(np.array(tokens, np.int32))
        generator.generate_next_token()
        return generator, time.perf_counter() - begin

    def prefill(self, tokens: list[int], runs: int) -> list[float]:
        """From the tokens to the first one chosen."""
        return [self._begun(tokens)[1] * 1e3 for _ in range(runs)]

    def decode(self, tokens: list[int], runs: int) -> list[float]:
        """Each a token, greedily, after the tokens."""
        generator, _ = self._begun(tokens)
        taken = []
        for _ in range(runs):
            begin = time.perf_counter()
            generator.generate_next_token()
            taken.append((time.perf_counter() - begin) * 1e3)
        return taken

    def write(self, tokens: list[int], runs: int) -> list[float]:
        """A whole text of so many tokens, from the prompt on: one time."""
        begin = time.perf_counter()
        generator, _ = self._begun(tokens)
        for _ in range(runs - 1):
            generator.generate_next_token()
        return [(time.perf_counter() - begin) * 1e3]


def main() -> None:
    """Answer until the input ends."""
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(worker, asked["work"])(asked["tokens"], asked["runs"])), flush=True)


if __name__ == "__main__":
    main()

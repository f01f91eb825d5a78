"""The reasoner by itself: tokens per second, first words, whole texts, and the floor memory sets."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmark.bench_decoder import PROMPT, example, speed
from benchmark.record import significant, summary
from emollama_ros.bundle import Bundle
from emollama_ros.estimate import Reasoning
from emollama_ros.language.decoder import Decoder
from emollama_ros.reasoning import Reasoner


def language(bundle: Bundle, texts: int, threads: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    """Measure with each number of threads; the node uses one, beside two of the label path.

    Args:
        bundle: With an assembled language model.
        texts: Reasonings written, each of a different estimate.
        threads: Numbers of threads.
    """
    weights = bundle.manifest.files["decoder.onnx.data"].bytes
    read = read_bandwidth()
    found: dict[str, Any] = {
        "weights_mb": significant(weights / 1e6),
        "prompt_tokens": PROMPT,
        "read_gb_s_one_core": significant(read / 1e9, 3),
        "floor_tokens_s_one_core": significant(read / weights, 3),
    }
    for count in threads:
        decoder = Decoder.load(bundle.path, count, capacity=1024)
        tokens_s = speed(decoder)
        del decoder
        found[f"threads_{count}"] = {"tokens_s": tokens_s} | reasonings(bundle, count, texts)
    return found


def reasonings(bundle: Bundle, threads: int, texts: int) -> dict[str, Any]:
    """Times of whole reasonings under the grammar, ms; tokens and tokens per second of each."""
    reasoner = Reasoner.load(bundle, threads)
    first, whole, tokens, rate = [], [], [], []
    for sequence in range(texts):
        shown: list[float] = []

        def note(reasoning: Reasoning, shown: list[float] = shown) -> None:
            shown.append(reasoning.elapsed_ms)

        said = reasoner.explain(example(sequence), "I did not expect that", on_text=note)
        first.append(shown[0])
        whole.append(said.elapsed_ms)
        tokens.append(said.tokens)
        rate.append(said.tokens / said.elapsed_ms * 1e3)
    return {
        "first_words_ms": summary(first),
        "whole_ms": summary(whole),
        "tokens": summary(tokens),
        "whole_tokens_s": summary(rate),
    }


def read_bandwidth(size: int = 1 << 28, runs: int = 5) -> float:
    """Bytes per second that one core reads from memory, best of some sums over more than any cache holds."""
    values = np.ones(size // 8, np.int64)
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        values.sum()
        best = min(best, time.perf_counter() - began)
    return size / best

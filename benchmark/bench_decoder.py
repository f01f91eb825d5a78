"""Measure the language model: formats of its weights against torch in float32, speed, and whole reasonings.

    python benchmark/bench_decoder.py --gguf MODEL.gguf --wheel PACKAGE.whl [--threads 2 1] [--out FILE.json]

Fidelity is taken over the greedy continuations (40 tokens) that torch in float32 gives to eight prompts:
share of positions at which the most probable token is the same, and mean Kullback-Leibler divergence from
torch. It needs torch and transformers; without them only speed is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.record import processor
from emollama_ros.cues import SPEC_BY_NAME
from emollama_ros.estimate import EmotionEstimate, Modality
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.language.assemble import TOKENIZER, assemble
from emollama_ros.language.decoder import Decoder
from emollama_ros.language.tokenizer import Tokenizer

FORMATS = ("int8", "int8_wide", "int4", "int4_zero")
PROMPT, STEPS, REPEATS = 290, 40, 5
QUESTIONS = (
    "What is the capital of France?",
    "Write a short story about a robot who sees a sad person.",
    "Explain why the sky is blue.",
    "List three fruits.",
    "The person speaks loudly. How do they feel?",
    "Summarise: the weather was fine and we walked to the river.",
    "What is 12 plus 7?",
    "Describe a happy voice in one sentence.",
)


def main() -> None:
    """Measure and print; write JSON where asked."""
    parser = argparse.ArgumentParser(description="Measure the language model.")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    # Imported here: the functions below also serve where there is no package for building graphs.
    from model_export.llama_graph import write_bundle_files

    truth = torch_truth(given.gguf)
    formats: dict[str, Any] = {}
    result = {"machine": machine(), "formats": formats}
    with tempfile.TemporaryDirectory() as scratch:
        for weights in given.formats:
            folder = Path(scratch) / weights
            write_bundle_files(folder, given.gguf, given.wheel, weights=weights)
            begin = time.perf_counter()
            assemble(given.wheel, folder)
            measured = {"assembly_s": round(time.perf_counter() - begin, 1)} | measure(
                folder, given.threads, truth
            )
            print(weights, json.dumps(measured, indent=1), flush=True)
            formats[weights] = measured
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(folder: Path, threads: list[int], truth: list[dict[str, Any]]) -> dict[str, Any]:
    """Speed at each number of threads, fidelity, and (two threads) whole reasonings."""
    found: dict[str, Any] = {"megabytes": round((folder / "decoder.onnx.data").stat().st_size / 1e6, 1)}
    for count in threads:
        begin = time.perf_counter()
        decoder = Decoder.load(folder, count, capacity=1024)
        loaded = time.perf_counter() - begin
        found[f"threads_{count}"] = {"load_s": round(loaded, 2)} | speed(decoder)
        if count == threads[0]:
            found["fidelity"] = fidelity(decoder, truth)
            found["ms_a_token_at"] = growth(decoder)
        del decoder
    return found


def speed(decoder: Decoder) -> dict[str, float]:
    """Tokens per second, median of repeats: prompt, steps without and with the head, six at once."""
    tokens = [int(t) for t in np.random.default_rng(0).integers(20, 49_000, PROMPT)]

    def rate(count: int, work: Callable[[], Any], position: int) -> float:
        taken = []
        for _ in range(REPEATS):
            decoder.restore(position)
            begin = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begin)
        return round(count / statistics.median(taken), 1)

    prefill = rate(PROMPT, lambda: decoder.extend(tokens), 0)
    steps = rate(STEPS, lambda: [decoder.step(t) for t in tokens[:STEPS]], PROMPT)
    headed = rate(STEPS, lambda: [(decoder.step(t), decoder.logits()) for t in tokens[:STEPS]], PROMPT)
    forced = rate(6 * 5, lambda: [decoder.extend(tokens[:6]) for _ in range(5)], PROMPT)
    return {"prefill": prefill, "decode": steps, "decode_with_head": headed, "forced_6": forced}


def growth(decoder: Decoder) -> dict[int, float]:
    """Milliseconds a token (with the head) at positions 100 and 1000."""
    taken = {}
    for position in (100, 1000):
        decoder.restore(0)
        decoder.extend([9] * (position - 10))
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            decoder.step(9)
            decoder.logits()
            times.append((time.perf_counter() - begin) * 1e3)
        taken[position] = round(statistics.median(times), 2)
    return taken


def torch_truth(gguf: Path) -> list[dict[str, Any]]:
    """Greedy continuations in float32 with the log-probabilities at each of their positions."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        print("fidelity is not measured: needs torch and transformers")
        return []
    folder, name = str(gguf.parent), gguf.name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    truth = []
    for tokens in chat_prompts(gguf):
        prompt = torch.tensor([tokens])
        with torch.no_grad():
            said = model.generate(prompt, max_new_tokens=STEPS, do_sample=False)
            logits = model(said).logits[0, len(tokens) - 1 : -1]
        truth.append(
            {
                "prompt": tokens,
                "said": said[0, len(tokens) :].tolist(),
                "logp": logits.log_softmax(-1).numpy(),
            }
        )
    return truth


def chat_prompts(gguf: Path) -> list[list[int]]:
    """The questions as chats."""
    from emollama_ros.language.tokenizer import tokenizer_json

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / TOKENIZER
        path.write_bytes(tokenizer_json(gguf))
        tokenizer = Tokenizer.load(path)
    begin, end = tokenizer.control("<|im_start|>"), tokenizer.control("<|im_end|>")
    newline, answer = tokenizer.encode("\n"), tokenizer.encode("assistant\n")
    return [[begin, *tokenizer.encode(f"user\n{q}"), end, *newline, begin, *answer] for q in QUESTIONS]


def fidelity(decoder: Decoder, truth: list[dict[str, Any]]) -> dict[str, float]:
    """Agreement with torch along its own continuations."""
    same, divergence = [], []
    for chat in truth:
        decoder.restore(0)
        decoder.extend(chat["prompt"])
        for token, expected in zip(chat["said"], chat["logp"], strict=True):
            logits = decoder.logits().astype(np.float64)
            logp = logits - logits.max()
            logp -= np.log(np.exp(logp).sum())
            same.append(logp.argmax() == expected.argmax())
            divergence.append(float((np.exp(expected) * (expected - logp)).sum()))
            decoder.step(token)
    if not same:
        return {}
    return {
        "tokens": len(same),
        "argmax_same": round(float(np.mean(same)), 4),
        "kl": round(float(np.mean(divergence)), 5),
    }


def example(sequence: int) -> EmotionEstimate:
    """An estimate of the default bundle with six cues, three views and soft tokens; each number another."""
    random = np.random.default_rng(sequence)
    scores = tuple(float(p) for p in random.dirichlet(np.full(len(DEFAULT_LABELS), 0.3)))
    best = int(np.argmax(scores))
    names = random.choice(list(SPEC_BY_NAME), 6, replace=False)
    cues = tuple(SPEC_BY_NAME[n].cue(float(random.choice(SPEC_BY_NAME[n].extremes))) for n in names)
    used = Modality.VIDEO | Modality.AUDIO | Modality.TEXT
    return EmotionEstimate(
        start_ns=0, end_ns=4_000_000_000, sequence=sequence, label=DEFAULT_LABELS[best],
        labels=DEFAULT_LABELS, scores=scores, valence=0.0, arousal=0.0, confidence=scores[best],
        modalities=used,
        views=dict.fromkeys((Modality.VIDEO, Modality.AUDIO, Modality.TEXT), scores), cues=cues,
        soft_tokens=random.normal(0, 0.1, (13, 576)).astype(np.float32),
    )  # fmt: skip


def machine() -> dict[str, Any]:
    """What the figures were taken on, and how busy it was."""
    import onnxruntime

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


if __name__ == "__main__":
    main()

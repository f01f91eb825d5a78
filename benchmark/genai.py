"""The other side of the decoder's benchmarks: onnxruntime-genai, and processes that are asked for times."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmark import record
from emollama_ros.bundle import Bundle

#: Asks a side for the times, in ms, of so many runs of one kind of work after some tokens.
Ask = Callable[[str, Sequence[int], int], list[float]]


@contextmanager
def working(command: Sequence[str]) -> Iterator[Ask]:
    """Start a side; ends it behind."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=record.ROOT
    )
    assert process.stdin and process.stdout

    def ask(work: str, tokens: Sequence[int], runs: int) -> list[float]:
        print(
            json.dumps({"work": work, "tokens": list(tokens), "runs": runs}), file=process.stdin, flush=True
        )
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[1:3]} ended with status {process.wait()}")
        return json.loads(line)

    try:
        yield ask
    finally:
        process.stdin.close()
        process.wait()


def build_genai(python: Path, precision: str, out: Path) -> None:
    """Have onnxruntime-genai's builder make its model of the same weights."""
    from training.networks.language import smollm2

    checkpoint = out / "checkpoint"
    language = smollm2()
    language.model.config.architectures = ["LlamaForCausalLM"]
    language.model.save_pretrained(checkpoint)
    tokenizer = Bundle.load().path / "tokenizer.json"
    (checkpoint / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    ends = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "bos_token": "<|im_start|>",
    }
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(ends))
    command = [
        str(python),
        "-m",
        "onnxruntime_genai.models.builder",
        "-i",
        str(checkpoint),
        "-o",
        str(out / "genai"),
    ]
    options = ["hf_token=false", "int4_block_size=32", "int4_accuracy_level=4"]
    command += ["-p", precision, "-e", "cpu", "-c", str(out / "cache"), "--extra_options", *options]
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )


def genai_version(python: Path) -> str:
    """Version of the other side."""
    ask = "import importlib.metadata as m; print(m.version('onnxruntime-genai'))"
    return subprocess.run([str(python), "-c", ask], check=True, capture_output=True, text=True).stdout.strip()

"""Greedy answers of SmolLM2 in float32 against torch's: fifty prompts with soft tokens in them.

    python -m benchmark.greedy_parity --gguf MODEL.gguf --wheel PACKAGE.whl

Both sides get the same embeddings; the soft tokens are random, as large as embeddings are. The decoder's own
float32 format is used, so that a difference is one of the graph or the loop and not of rounded weights. Needs
torch and transformers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import record
from emollama_ros.language.assemble import LAYOUT, TOKENIZER, assemble, read_layout
from emollama_ros.language.decoder import Decoder, PlainTable
from emollama_ros.language.generation import Bounds, TextWriter
from emollama_ros.language.tokenizer import Tokenizer

PROMPTS, TOKENS, SOFT = 50, 24, 21


class _ExactHead(Decoder):
    """Scores of all tokens by a product in float32, which no shipped head gives."""

    def logits(self, row: int = -1) -> np.ndarray[Any, np.dtype[np.float32]]:
        """See `Decoder.logits`."""
        assert isinstance(self.embed, PlainTable)
        return self.embed.rows @ self._states()[row]


def measure(gguf: Path, wheel: Path, prompts: int = PROMPTS) -> dict[str, Any]:
    """Count prompts with the same answer, and tokens that are the same up to the first that is not."""
    from model_export.llama_graph import write_bundle_files

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_bundle_files(folder, gguf, wheel, weights="float32")
        assemble(gguf, folder)
        return _compared(folder, prompts)


def _compared(folder: Path, prompts: int) -> dict[str, Any]:
    import torch

    from training.networks.language import smollm2

    layout = read_layout(folder / LAYOUT)
    model = smollm2().model.float()
    model.generation_config.eos_token_id = None  # both go on to the same length
    table = PlainTable(model.get_input_embeddings().weight.detach().numpy())
    decoder = _ExactHead(folder / "decoder.onnx", table, layout.shape, 2, 512)
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    whole, tokens, same, gap = 0, 0, 0, 0.0
    for seed in range(prompts):
        embeds = prompt(tokenizer, table, seed)
        with torch.no_grad():
            given = torch.from_numpy(embeds)[None]
            said = model.generate(
                inputs_embeds=given,
                max_new_tokens=TOKENS,
                do_sample=False,
                pad_token_id=0,
            )[0].tolist()
            logits = model(inputs_embeds=given).logits[0, -1].numpy()
        decoder.restore(0)
        decoder.prefill(embeds)
        gap = max(gap, float(np.abs(decoder.logits() - logits).max() / np.abs(logits).max()))
        decoder.restore(0)
        ours = TextWriter(decoder, tokenizer, bounds=Bounds(max_tokens=TOKENS)).write(embeds).tokens
        agreeing = next((i for i, (a, b) in enumerate(zip(ours, said, strict=True)) if a != b), TOKENS)
        whole, tokens, same = whole + (agreeing == TOKENS), tokens + TOKENS, same + agreeing
    return {
        "prompts": prompts,
        "same_answers": whole,
        "tokens": tokens,
        "same_tokens_until_the_first_that_differs": same,
        "largest_relative_difference_of_logits": record.significant(gap, 2),
    }


def prompt(tokenizer: Tokenizer, table: PlainTable, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Embeddings of a question with soft tokens in it."""
    random = np.random.default_rng(seed)
    before = tokenizer.encode_prompt("<|im_start|>user\n<Vid>")
    words = " ".join(random.choice(["how", "the", "person", "robot", "feels", "why", "and", "a", "dog"], 6))
    after = tokenizer.encode_prompt(f"</Vid> Explain {words}?<|im_end|>\n<|im_start|>assistant\n")
    soft = random.normal(0, table.rows.std(), (SOFT, table.hidden)).astype(np.float32)
    return np.concatenate([table(before), soft, table(after)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.greedy_parity", description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    given = parser.parse_args(arguments)
    print(json.dumps(measure(given.gguf, given.wheel, given.prompts), indent=1))


if __name__ == "__main__":
    main()

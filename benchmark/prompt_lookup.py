"""Whether prompt-lookup speculation pays on reasonings: what it guesses right, and what guessing costs.

    python -m benchmark.prompt_lookup [--texts 200]

Prompt lookup (Saxena 2023; n-grams of the prompt and of what was written, as in transformers'
``prompt_lookup_num_tokens``) proposes the tokens that followed the last n-gram where it stood before, and has
them checked in one pass. Right guesses are free tokens; wrong ones cost a longer pass. The texts are those
that language models are trained to write here, so that this is what a model gains that has learnt to write
them. Times of passes of one token and of several, each with its scores over the vocabulary, are measured
in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import record
from emollama_ros.bundle import Bundle
from emollama_ros.language.assemble import TOKENIZER
from emollama_ros.language.decoder import Decoder
from emollama_ros.language.templates import TEMPLATES
from emollama_ros.language.tokenizer import Tokenizer

#: Tokens that must have occurred before, and tokens proposed.
NGRAM, PROPOSED = 2, 4
_POSITION, _REPEATS = 200, 15


@dataclass(frozen=True)
class Tally:
    """What happened while texts were written with guesses.

    Attributes:
        tokens: Written.
        plain: Passes without a proposal.
        guessed: Passes with one.
        right: Proposed tokens that were right.
    """

    tokens: int = 0
    plain: int = 0
    guessed: int = 0
    right: int = 0

    def __add__(self, other: Tally) -> Tally:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Tally(*(a + b for a, b in pairs))


def write(prompt: Sequence[int], text: Sequence[int]) -> Tally:
    """Write a known text with guesses from the prompt and from itself."""
    seen, at, plain, guessed, right = list(prompt), 0, 0, 0, 0
    while at < len(text):
        proposal = propose(seen)
        correct = 0
        while correct < min(len(proposal), len(text) - at - 1) and proposal[correct] == text[at + correct]:
            correct += 1
        # The pass itself gives one token more than were guessed right.
        seen += text[at : at + correct + 1]
        at += correct + 1
        plain, guessed, right = plain + (not proposal), guessed + bool(proposal), right + correct
    return Tally(len(text), plain, guessed, right)


def propose(seen: Sequence[int]) -> list[int]:
    """Return what followed the last n-gram where it stood last; nothing where it is new."""
    last = list(seen[-NGRAM:])
    for begin in range(len(seen) - NGRAM - 1, -1, -1):
        if list(seen[begin : begin + NGRAM]) == last:
            return list(seen[begin + NGRAM : begin + NGRAM + PROPOSED])
    return []


def texts(count: int, tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    """Prompts and the reasonings of made-up clips, with words that were said."""
    from training.mmeverse.instructions.pool import pool_of
    from training.mmeverse.instructions.tags import Tag
    from training.synthesis.cues import VISUAL, VOICE
    from training.synthesis.phrasings import NOUNS, Evidence
    from training.synthesis.phrasings import write as phrase

    made = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        chosen = [
            tuple(random.choice(list(c), random.integers(1, 5), replace=False)) for c in (VISUAL, VOICE)
        ]
        evidence = Evidence(str(random.choice(list(NOUNS))), *chosen)
        reasoning = phrase(evidence, random)["reasoning"]
        asked = pool_of(Tag.REASON).instructions
        question = asked[seed % len(asked)].format(what="emotion")
        prompt = TEMPLATES["smollm2"].prompt("reason", question, "I did not expect that to happen today")
        made.append((list(tokenizer.encode_prompt(prompt)), list(tokenizer.encode(reasoning))))
    return made


def pass_ms(decoder: Decoder, tokens: int) -> float:
    """Time of a pass over some tokens, with scores for each of them."""

    def once() -> float:
        decoder.restore(_POSITION)
        begin = time.perf_counter()
        decoder.extend([9] * tokens)
        for _ in range(tokens):
            decoder.logits()
        return (time.perf_counter() - begin) * 1e3

    return statistics.median(once() for _ in range(_REPEATS))


def measure(count: int, threads: int = 2) -> dict[str, Any]:
    """Count right guesses, measure passes, and put both together."""
    folder = Bundle.load().path
    tokenizer, decoder = Tokenizer.load(folder / TOKENIZER), Decoder.load(folder, threads)
    decoder.extend([9] * _POSITION)
    tally = sum((write(prompt, text) for prompt, text in texts(count, tokenizer)), Tally())
    one, several = (pass_ms(decoder, n) for n in (1, 1 + PROPOSED))
    return {
        "texts": count,
        "tally": vars(tally),
        "right_a_proposal": record.significant(tally.right / max(1, tally.guessed), 3),
        "pass_ms": {"1": record.significant(one, 3), str(1 + PROPOSED): record.significant(several, 3)},
        "times_faster": record.significant(speedup(tally, one, several), 3),
    }


def speedup(tally: Tally, one: float, several: float) -> float:
    """Time without guessing over time with it."""
    return tally.tokens * one / (tally.plain * one + tally.guessed * several)


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.prompt_lookup", description=__doc__)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    show(json.dumps(measure(given.texts, given.threads), indent=1))


if __name__ == "__main__":
    main()

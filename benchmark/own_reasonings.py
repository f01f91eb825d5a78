"""Whole reasonings of a bundle over held-out clips: with guesses, without, and beside onnxruntime-genai.

    python -m benchmark.own_reasonings BUNDLE --prepared PREPARED --root DATA [--genai VENV/bin/python]

Each text is written three times in turn: by the reasoner as the robot runs it, which guesses from what it
wrote before and from what the bundle brings; by the same reasoner without guesses; and by the other side,
which is given a prompt of as many positions and writes as many tokens, whatever they are: its time does not
depend on them. A text's time is from the prompt to the last token. Ours has in it what it takes to go back
where a text would name another label; the other side does not do that. Clips come from the validation splits,
what the bundle brings from the training splits. There is no deadline, so that a busy machine cuts no text.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmark import record
from benchmark.genai import Ask, build_genai, working
from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.estimate import EmotionEstimate
from emollama_ros.free_reasoning import FreeReasoner
from emollama_ros.language.generation import Bounds, Floats, Generated
from emollama_ros.manifest import Task
from emollama_ros.perception import Perception

_NO_DEADLINE = 600_000.0
GUESSING, PLAIN, GENAI = "guessing", "plain", "onnxruntime_genai"


@dataclass(frozen=True)
class Written:
    """One text.

    Attributes:
        ms: From the prompt to its end.
        prompt: Positions of the prompt, the opening included.
        tokens: Written behind the opening, the token that ended it included.
        passes: Of the model.
        text: The tokens, the opening included.
    """

    ms: float
    prompt: int
    tokens: int
    passes: int
    text: tuple[int, ...]


class Timed(FreeReasoner):
    """A reasoner whose last text can be looked at."""

    written: Written

    def _write(self, *arguments: Any) -> Generated:
        begin = time.perf_counter()
        made = super()._write(*arguments)
        taken = time.perf_counter() - begin
        given = len(self._tokenizer.encode_prompt(arguments[3]))
        tokens = len(made.tokens) - given + 1
        self.written = Written(taken * 1e3, self._prompt_length + given, tokens, made.passes, made.tokens)
        return made

    def _bounds(self, *arguments: Any, **named: Any) -> Bounds:
        return replace(super()._bounds(*arguments, **named), deadline_ms=_NO_DEADLINE)

    def _embeds(self, *arguments: Any) -> Floats:
        embeds = super()._embeds(*arguments)
        self._prompt_length = len(embeds)
        return embeds


@dataclass
class Taken:
    """What was found for one task, text by text."""

    guessing: list[Written] = field(default_factory=list)
    plain: list[Written] = field(default_factory=list)
    genai: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Times, ratios text by text, and what guessing saved."""
        times = {GUESSING: [w.ms for w in self.guessing], PLAIN: [w.ms for w in self.plain]}
        if self.genai:
            times[GENAI] = self.genai
        tokens, passes = (sum(getattr(w, name) for w in self.guessing) for name in ("tokens", "passes"))
        pairs = zip(self.guessing, self.plain, strict=True)
        return {
            "texts": len(self.plain),
            "same_texts": sum(a.text == b.text for a, b in pairs),
            "prompt_positions": record.summary([w.prompt for w in self.plain]),
            "tokens": record.summary([w.tokens for w in self.plain]),
            "tokens_a_pass": record.significant(tokens / passes, 3),
            "passes_of_plain": sum(w.passes for w in self.plain),
            "passes": passes,
            "ms_a_text": {side: record.summary(values) for side, values in times.items()},
            "times_faster_than": {
                side: record.quartiles(np.array(values) / np.array(times[GUESSING]))
                for side, values in times.items()
                if side != GUESSING
            },
            "plain_times_faster_than_genai": record.quartiles(np.array(self.genai) / np.array(times[PLAIN]))
            if self.genai
            else None,
        }


def compare(
    bundle: Bundle, said: Sequence[tuple[EmotionEstimate, str]], threads: int, genai: Ask | None
) -> dict[str, Any]:
    """Write each text on every side, the order changing from text to text."""
    assert bundle.manifest.prompt is not None
    found = {}
    for task in (task for task in get_args(Task) if task in bundle.manifest.prompt.questions):
        with_guesses, without = reasoners(bundle, threads, task)
        taken = Taken()
        for number, (estimate, transcript) in enumerate(said):
            order = [(with_guesses, taken.guessing), (without, taken.plain)]
            for reasoner, kept in order[:: 1 if number % 2 else -1]:
                reasoner.explain(estimate, transcript)
                kept.append(reasoner.written)
            if genai:
                last = taken.plain[-1]
                taken.genai += genai("write", [9] * last.prompt, last.tokens)
        found[task] = taken.summary()
    return found


def reasoners(bundle: Bundle, threads: int, task: Task) -> Iterator[Timed]:
    """The reasoner with guesses, then without; both warm."""
    for has_guesses in (True, False):
        made = Timed.load(bundle, threads, task)
        assert isinstance(made, Timed)
        if not has_guesses:
            made.guesses = None
        yield made


def perceived(bundle: Bundle, prepared: Path, root: Path, clips: int) -> list[tuple[EmotionEstimate, str]]:
    """Estimates of clips of the validation splits with what was said in them, in a mixed order."""
    from model_export.verification import read_clips

    perception, found = Perception(bundle, EngineOptions("cpu", 2)), []
    for clip in read_clips(prepared, root, clips):
        perception.reset()
        found.append((perception.perceive_one(clip.window), clip.window.transcript))
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def measure(
    folder: Path, prepared: Path, root: Path, clips: int, threads: Sequence[int], genai: Path | None
) -> dict[str, Any]:
    """Compare with each number of threads.

    Args:
        folder: The bundle.
        prepared: What ``python -m training prepare`` wrote.
        root: Holds the sources' folders.
        clips: Of the validation splits.
        threads: Numbers of threads.
        genai: Python of an environment with onnxruntime-genai; it is left out if ``None``.
    """
    bundle = Bundle.load(folder)
    said = perceived(bundle, prepared, root, clips)
    found: dict[str, Any] = {"bundle_sha256": bundle.sha256, "clips": len(said)}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if genai:
            build_genai(genai, "int8", scratch)
        for count in threads:
            ask = stack.enter_context(working(_other(genai, scratch, count))) if genai else None
            found[f"threads_{count}"] = compare(bundle, said, count, ask)
    return found


def _other(genai: Path, scratch: Path, threads: int) -> list[str]:
    worker = str(record.ROOT / "benchmark" / "genai_worker.py")
    return [str(genai), worker, str(scratch / "genai"), str(threads)]


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.own_reasonings", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--genai", type=Path, help="Python of an environment with onnxruntime-genai")
    given = parser.parse_args(arguments)
    found = measure(given.bundle, given.prepared, given.root, given.clips, given.threads, given.genai)
    show(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])

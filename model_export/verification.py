"""Real clips through torch and through the bundle: per graph, from end to end, and in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emollama_ros.bundle import Bundle
from emollama_ros.engines import Engine, EngineOptions
from emollama_ros.engines.base import Arrays
from emollama_ros.errors import EngineError, InputError
from emollama_ros.estimate import EmotionEstimate
from emollama_ros.graphs import load_graph
from emollama_ros.language.assemble import TOKENIZER
from emollama_ros.language.decoder import Decoder
from emollama_ros.language.prompts import PromptMaker
from emollama_ros.language.tokenizer import Tokenizer
from emollama_ros.manifest import Manifest
from emollama_ros.perception import Perception
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.streams import Window
from model_export.checkpoint import Trained
from model_export.differences import Difference, difference, in_torch, torch_graphs
from training.evaluation.adapters.bundle import window_of, words_of
from training.mmeverse.decoding import decode_clip
from training.mmeverse.schema import read_records

#: Engines that a bundle is run with where they are present.
ENGINES = ("cpu", "cuda", "tensorrt")
#: Tokens of an answer that are compared.
ANSWER_TOKENS = 24


@dataclass(frozen=True)
class Clip:
    """A clip to compare on: its name, and one window over all of it."""

    name: str
    window: Window


@dataclass(frozen=True)
class TextParity:
    """How well the decoder's tokens are torch's.

    Attributes:
        answers: How many were compared.
        tokens: Tokens of them, torch's greedy choice each.
        token_agreement: Share of them that is the decoder's choice too, given the same tokens before.
        log_likelihood: Mean absolute difference of a token's log-likelihood, nats.
    """

    answers: int
    tokens: int
    token_agreement: float
    log_likelihood: float


@dataclass(frozen=True)
class EngineParity:
    """What one engine gives beside torch.

    Attributes:
        device: Where it ran.
        graphs: Largest difference of each graph, given the inputs that torch's graph got.
        label_agreement: Share of clips with the same label.
        score: Largest difference of a label's probability.
        valence: Mean absolute difference.
        arousal: Mean absolute difference.
    """

    device: str
    graphs: Mapping[str, Difference]
    label_agreement: float
    score: float
    valence: float
    arousal: float


@dataclass(frozen=True)
class Verification:
    """Everything that was compared, and what of it is beyond the manifest's bounds."""

    bundle: str
    sha256: str
    clips: Sequence[str]
    engines: Mapping[str, EngineParity]
    not_run: Mapping[str, str]
    text: TextParity | None = None
    failures: Sequence[str] = field(default_factory=tuple)


def read_clips(prepared: Path, root: Path, count: int, split: str = "validation") -> list[Clip]:
    """Take clips of prepared sources, as many of each source and spread over it.

    Args:
        prepared: What ``python -m training prepare`` wrote: a folder a source.
        root: Holds the sources' folders, as distributed.
        count: How many.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        InputError: There are none.
    """
    files = [f for f in sorted(prepared.glob(f"*/{split}.jsonl")) if (root / f.parent.name).is_dir()]
    # Those with fewest first, so that the others can make up for them.
    sources = sorted(([r for r in read_records(f) if r.media.files()] for f in files), key=len)
    found: list[Clip] = []
    for place, records in enumerate(sources):
        share = (count - len(found)) // (len(sources) - place)
        for i in np.unique(np.linspace(0, len(records) - 1, min(share, len(records))).astype(int)):
            clip = decode_clip(records[i].media, root / records[i].source, to_model_frame)
            name = f"{records[i].source}/{records[i].id}"
            found.append(Clip(name, window_of(clip, words_of(records[i]))))
    if not found:
        raise InputError(f"{prepared}: no */{split}.jsonl there of a source in {root}; run prepare")
    return found


def verify(
    folder: Path, trained: Trained, clips: Sequence[Clip], answers: int = 3, threads: int = 2
) -> Verification:
    """Compare a bundle with the system that it was made of.

    Args:
        folder: The bundle.
        trained: The system.
        clips: To compare on.
        answers: Clips whose answers are compared too, where the bundle has a language model.
        threads: CPU threads of an engine.
    """
    bundle = Bundle.load(folder)
    engines, not_run = {}, {}
    for kind in ENGINES:
        try:
            engines[kind] = compare(bundle, torch_graphs(trained), clips, EngineOptions(kind, threads))
        except EngineError as error:
            not_run[kind] = str(error)
    text = (
        compare_text(bundle, trained, clips[:answers], threads) if bundle.has_language and answers else None
    )
    found = Verification(
        f"{bundle.manifest.name} {bundle.manifest.version}",
        bundle.sha256,
        [clip.name for clip in clips],
        engines,
        not_run,
        text,
    )
    return Verification(**{**vars(found), "failures": failures_of(found, bundle.manifest)})


class _Pair:
    """Runs torch, gives what torch gives, and notes how far the engine is from it on the same inputs."""

    def __init__(self, module: torch.nn.Module, engine: Engine) -> None:
        self.worst, self._module, self._engine = Difference(), module, engine
        self.device, self.inputs, self.outputs = "torch", engine.inputs, engine.outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        ordered = {name: inputs[name] for name in self.inputs}
        expected = in_torch(self._module, ordered)
        found = self._engine.run(inputs)
        for value, wanted in zip(found.values(), expected, strict=True):
            self.worst |= difference(value, wanted)
        return dict(zip(self.outputs, expected, strict=True))


def compare(
    bundle: Bundle, modules: Mapping[str, torch.nn.Module], clips: Sequence[Clip], options: EngineOptions
) -> EngineParity:
    """Compare an engine with torch on clips.

    Args:
        bundle: Its graphs are run.
        modules: The torch side of them; a graph without one is run on both sides.
        clips: To compare on.
        options: Which engine.
    """
    pairs = dict[str, _Pair]()

    def load(bundle: Bundle, name: str, options: EngineOptions) -> Engine:
        engine = load_graph(bundle, name, options)
        if name not in modules:  # words come from another bundle: the same graph on both sides
            return engine
        pairs[name] = _Pair(modules[name], engine)
        return pairs[name]

    ours, theirs = Perception(bundle, options), Perception(bundle, options, load)
    found, expected = _estimates(ours, clips), _estimates(theirs, clips)
    return EngineParity(
        ours.device,
        {name: pair.worst for name, pair in pairs.items()},
        _mean(found, expected, lambda a, b: a.label == b.label),
        max(
            float(np.abs(np.subtract(a.scores, b.scores)).max()) for a, b in zip(found, expected, strict=True)
        ),
        _mean(found, expected, lambda a, b: abs(a.valence - b.valence)),
        _mean(found, expected, lambda a, b: abs(a.arousal - b.arousal)),
    )


def _estimates(perception: Perception, clips: Sequence[Clip]) -> list[EmotionEstimate]:
    found = []
    for number, clip in enumerate(clips):
        perception.reset()
        found.append(perception.perceive_one(clip.window, number))
    return found


def _mean(
    found: Sequence[EmotionEstimate],
    expected: Sequence[EmotionEstimate],
    of: Callable[[EmotionEstimate, EmotionEstimate], float],
) -> float:
    return float(np.mean([of(a, b) for a, b in zip(found, expected, strict=True)]))


# --- in words ---------------------------------------------------------------------------------------------


@torch.no_grad()
def compare_text(
    bundle: Bundle, trained: Trained, clips: Sequence[Clip], threads: int = 2, count: int = ANSWER_TOKENS
) -> TextParity | None:
    """Read torch's greedy answers with the bundle's decoder, soft tokens and all; None without a prompt."""
    prompt = bundle.manifest.prompt
    if prompt is None or not bundle.manifest.soft_tokens:
        return None
    tokenizer, perception = Tokenizer.load(bundle.path / TOKENIZER), Perception(bundle, EngineOptions("cpu"))
    maker = PromptMaker(prompt, tokenizer)
    decoder = Decoder.load(bundle.path, threads)
    tag, question = next(iter(prompt.questions.items()))
    same, gaps = [], []
    for estimate, clip in zip(_estimates(perception, clips), clips, strict=True):
        if estimate.soft_tokens is None:
            continue
        words = (maker.before(), maker.after(tag, question, clip.window.transcript))
        tokens, expected = greedy(trained, words, estimate.soft_tokens, count)
        found = forced(decoder, words, estimate.soft_tokens, tokens)
        rows = np.arange(len(tokens))
        same += list(found.argmax(1) == tokens)
        gaps += list(np.abs(log_softmax(found)[rows, tokens] - log_softmax(expected)[rows, tokens]))
    if not same:
        return None
    return TextParity(len(clips), len(same), float(np.mean(same)), float(np.mean(gaps)))


def greedy(
    trained: Trained, words: tuple[Sequence[int], Sequence[int]], soft: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Torch's greedy continuation, and the logits (count, vocabulary) that each token was chosen by."""
    model: Any = trained.net.llama_model
    embed = model.get_input_embeddings()
    before, after = (embed(torch.tensor(list(ids))) for ids in words)
    given = torch.cat([before, torch.from_numpy(soft).to(before.dtype), after])[None]
    tokens, logits, cache = [], [], None
    for _ in range(count):
        out = model(inputs_embeds=given, past_key_values=cache, use_cache=True)
        cache, last = out.past_key_values, out.logits[0, -1].float()
        tokens.append(int(last.argmax()))
        logits.append(last.numpy())
        given = embed(torch.tensor([tokens[-1:]]))
    return np.array(tokens), np.stack(logits)


def forced(
    decoder: Decoder,
    words: tuple[Sequence[int], Sequence[int]],
    soft: NDArray[np.float32],
    tokens: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Logits (n, vocabulary) of the decoder, given the same tokens one after the other."""
    decoder.restore(0)
    before, after = (decoder.embed(ids) for ids in words)
    decoder.prefill(np.concatenate([before, soft, after]))
    rows = [decoder.logits().copy()]
    for token in tokens[:-1]:
        decoder.step(int(token))
        rows.append(decoder.logits().copy())
    return np.stack(rows)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities of the last axis."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


# --- what is beyond the bounds, and the report ------------------------------------------------------------


def failures_of(found: Verification, manifest: Manifest) -> tuple[str, ...]:
    """What is beyond the manifest's bounds, each in a sentence."""
    failed, bounds = list[str](), manifest.parity
    for kind, engine in found.engines.items():
        failed += broken_bounds(kind, engine, manifest)
    text = found.text
    if text and text.token_agreement < bounds.token_agreement:
        failed.append(
            f"text: {text.token_agreement:.1%} of the tokens agree, wanted {bounds.token_agreement:.0%}"
        )
    if text and not text.log_likelihood <= bounds.log_likelihood:
        failed.append(
            f"text: log-likelihoods differ by {text.log_likelihood:.3f} nats a token, "
            f"allowed {bounds.log_likelihood}"
        )
    return tuple(failed)


def broken_bounds(kind: str, engine: EngineParity, manifest: Manifest) -> list[str]:
    """Where an engine is beyond the manifest's bounds, each in a sentence."""
    failed, bounds = list[str](), manifest.parity
    for name, worst in engine.graphs.items():
        most = bounds.graphs[name].tolerance if name in bounds.graphs else 1e-4
        differs = worst.held(manifest.graphs[name].precision)
        if not differs <= most:
            failed.append(f"{kind}: {name} differs by {differs:.1e}, allowed {most:.0e}")
    if engine.label_agreement < bounds.label_agreement:
        failed.append(
            f"{kind}: {engine.label_agreement:.1%} of the labels agree, wanted {bounds.label_agreement:.0%}"
        )
    if not engine.valence <= bounds.valence:
        failed.append(f"{kind}: valence differs by {engine.valence:.3f}, allowed {bounds.valence}")
    return failed


def write_report(found: Verification, folder: Path) -> tuple[Path, Path]:
    """Write ``verification.json`` and ``verification.md`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "verification.json", folder / "verification.md"
    data.write_text(json.dumps(asdict(found), indent=1) + "\n")
    page.write_text(markdown(found))
    return data, page


def markdown(found: Verification) -> str:
    """The report as a page."""
    lines = [
        f"# Verification of {found.bundle} ({found.sha256[:12]})",
        "",
        f"{len(found.clips)} clips through torch in single precision and through the bundle.",
        "",
        "| engine | graph | largest difference | as a share of the largest output | root mean square |",
        "|---|---|---|---|---|",
    ]
    for kind, engine in found.engines.items():
        for name, worst in engine.graphs.items():
            lines.append(
                f"| {kind} | {name} | {worst.absolute:.1e} | {worst.relative:.1e} | {worst.rms:.1e} |"
            )
    lines += [
        "",
        "| engine | device | labels agree | score | valence | arousal |",
        "|---|---|---|---|---|---|",
    ]
    for kind, e in found.engines.items():
        lines.append(
            f"| {kind} | {e.device} | {e.label_agreement:.1%} | {e.score:.1e} | {e.valence:.1e} | "
            f"{e.arousal:.1e} |"
        )
    if text := found.text:
        lines += [
            "",
            f"Text: {text.token_agreement:.1%} of {text.tokens} greedy tokens of torch in {text.answers} "
            f"answers are the decoder's choice too; log-likelihoods differ by {text.log_likelihood:.4f} nats "
            "a token.",
        ]
    lines += ["", *(f"Not run: {kind}: {why}" for kind, why in found.not_run.items())]
    lines += ["", "Within the manifest's bounds." if not found.failures else "Beyond the manifest's bounds:"]
    return "\n".join([*lines, *(f"- {failure}" for failure in found.failures)]) + "\n"

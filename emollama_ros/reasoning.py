"""Estimate to text, token by token: the slow path.

The language model reads the soft tokens of the window and writes under a grammar made from the cues that were
found in it (``language.sentences``). It was trained on what is true of such windows, and so chooses wording,
order and which cues to name; it can neither name a cue that was not found nor contradict the published label.
Transcript and question reach it only as quoted data in the prompt: whatever they say, the grammar stays the
same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from emollama_ros.bundle import Bundle
from emollama_ros.errors import BundleError, ConfigError, EmollamaError
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.free_reasoning import FreeReasoner
from emollama_ros.language import phrases
from emollama_ros.language.assemble import TOKENIZER
from emollama_ros.language.decoder import CAPACITY, Decoder, LanguageModel
from emollama_ros.language.grammar import GrammarWriter, TextTokens, sampler
from emollama_ros.language.phrases import Claim
from emollama_ros.language.prompts import PromptMaker, PromptTokens
from emollama_ros.language.sentences import Evidence, Sentences
from emollama_ros.language.tokenizer import Tokenizer
from emollama_ros.manifest import Prompt, Task
from emollama_ros.remote_reasoning import RemoteReasoner
from emollama_ros.telling import Telling

if TYPE_CHECKING:
    from emollama_ros.pipeline import Explainer

#: Most characters of a transcript that are shown to the model; of a longer one, the end.
LAST_WORDS = 240


class ReasonerTokens(TextTokens, PromptTokens, Protocol):
    """What is needed of a tokenizer; ``Tokenizer`` is one."""


@dataclass(frozen=True)
class ReasonerOptions:
    """Bounds of a text.

    Attributes:
        max_tokens: Longest text, 24..128 tokens.
        deadline_ms: Time after which the text is ended by the shortest permitted continuation, > 0.
        temperature: Variety of wording, 0 (always the model's favourite) to 2. The same estimate and sequence
            number always give the same text.
        task: What is asked: ``reason`` gives the label and why, ``think`` what is noticed and then the label.
    """

    max_tokens: int = 40
    deadline_ms: float = 4000.0
    temperature: float = 0.6
    task: Task = "reason"

    def __post_init__(self) -> None:
        if not 24 <= self.max_tokens <= 128:
            raise ConfigError(f"max_tokens is {self.max_tokens}; use 24 to 128")
        if self.deadline_ms <= 0:
            raise ConfigError(f"deadline_ms is {self.deadline_ms}; use a positive time, for example 4000")
        if not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature is {self.temperature}; use 0 to 2")


class Reasoner:
    """Writes reasonings. Used by one thread at a time."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: ReasonerTokens,
        prompt: Prompt,
        options: ReasonerOptions | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        """Compute the part of the prompt that is always the same.

        Args:
            model: At its start.
            tokenizer: Of the model.
            prompt: As the bundle's manifest has it.
            options: Bounds of a text.
            capacity: Positions of the model's caches.

        Raises:
            BundleError: The prompt has no question for the task.
        """
        self._options = options or ReasonerOptions()
        if self._options.task not in prompt.questions:
            raise BundleError(f"the bundle's prompt has no question for {self._options.task!r}")
        self._model, self._tokenizer = model, tokenizer
        self._maker = PromptMaker(prompt, tokenizer)
        self._model.prefill(self._model.embed(self._maker.before()))
        self._mark = self._model.snapshot()
        self._room = capacity - self._mark - self._options.max_tokens
        self._count = 0

    @staticmethod
    def load(bundle: Bundle, threads: int = 1, options: ReasonerOptions | None = None) -> Reasoner:
        """Load the language model of a bundle.

        Args:
            bundle: Assembled, with soft tokens.
            threads: CPU threads. More than one helps only on cores that nothing else uses: the threads
                of a pass wait for each other at every operator (docs/language.md has figures).
            options: Bounds of a text.

        Raises:
            BundleError: It has no prompt, its language model was not assembled, or a file is damaged.
            EngineError: onnxruntime is missing or cannot run it.
        """
        prompt = bundle.manifest.prompt
        if prompt is None:
            raise BundleError(f"{bundle.path}: its manifest has no prompt, so there is nothing to ask")
        decoder = Decoder.load(bundle.path, threads)
        tokenizer = Tokenizer.load(bundle.path / TOKENIZER)
        return Reasoner(decoder, tokenizer, prompt, options, decoder.capacity)

    def explain(
        self,
        estimate: EmotionEstimate,
        transcript: str = "",
        *,
        question: str = "",
        on_text: Callable[[Reasoning], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Reasoning:
        """Say why, in one to three sentences.

        Args:
            estimate: What is published, with its soft tokens.
            transcript: What was said in the window; data, shown to the model in quotes.
            question: Asked instead of the bundle's own; data. One that names a sense is answered of it.
            on_text: Called with the text so far at word boundaries; the last call has ``final`` set.
            should_stop: Asked before every pass of the model. Once true, or past the deadline, the text is
                ended at once by the shortest permitted continuation, so that it is always whole.

        Returns:
            The final value, the same as in the last call of ``on_text``.
        """
        telling = Telling(self._count, estimate)
        self._count += 1
        self._model.restore(self._mark)
        options = self._options
        writer = GrammarWriter(
            Sentences(Evidence.of(estimate, question), options.task),
            self._model,
            self._tokenizer,
            max_tokens=options.max_tokens,
            on_text=lambda text, tokens: on_text(telling.so_far(text, tokens)),
            should_stop=lambda: should_stop() or telling.elapsed_ms > options.deadline_ms,
            pick=sampler(options.temperature, estimate.sequence),
        )
        said = last_words(transcript)
        asked = self._maker.embeds(self._model, estimate, options.task, question, said, self._room)
        written = writer.write(asked)
        final = telling.so_far(written.text, written.tokens, final=True)
        on_text(final)
        return final


def last_words(transcript: str, most: int = LAST_WORDS) -> str:
    """Return the end of a transcript, from a word on: what was said last."""
    line = " ".join(transcript.split())
    return line if len(line) <= most else line[-most:].partition(" ")[2] or line[-most:]


def load_reasoner(
    bundle: Bundle, threads: int, url: str = "", timeout_s: float = 5.0
) -> tuple[Explainer | None, tuple[str, ...]]:
    """Load what writes reasonings, or say in words why there will be labels only.

    Args:
        bundle: Its prompt says whether the language model writes under the grammar, or freely
            (``free_reasoning``).
        threads: CPU threads of the language model.
        url: Of a vLLM server that writes instead (``remote_reasoning``); empty for none.
        timeout_s: Longest time of an answer of the server, seconds.
    """
    missing = "the bundle's language model is not assembled; run `emollama bundle assemble`"
    prompt = bundle.manifest.prompt
    try:
        if url:
            return RemoteReasoner.load(bundle, url, timeout_s), ()
        if not bundle.has_language:
            return None, (f"no reasoning: {missing}",)
        if prompt is not None and prompt.wording == "free":
            return FreeReasoner.load(bundle, threads), ()
        return Reasoner.load(bundle, threads), ()
    except EmollamaError as error:
        return None, (f"no reasoning: {error}",)


def parse_claims(text: str) -> set[Claim]:
    """Return what a reasoning claims; see ``language.phrases.claims``."""
    return phrases.claims(text)

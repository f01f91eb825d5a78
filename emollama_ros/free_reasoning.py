"""Estimate and soft tokens to free text: the slow path of bundles whose language model learnt to explain.

The prompt is the one of training (``language.templates``), with the soft tokens of the window in it. What the
text says about the label is not left to the model: a sentence with the published label is put into its mouth,
and it may not name another label of the set (``language.generation``). What it says about the reasons is
free. Transcript and question are data: what looks like a part of the prompt is taken out of them.

What it wrote before helps it to write faster, and changes nothing of what it writes (``language.guesses``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emollama_ros.bundle import Bundle
from emollama_ros.errors import BundleError
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.labels import UNCERTAIN, UNKNOWN, WITHOUT_FEELING
from emollama_ros.language import phrases
from emollama_ros.language.assemble import TOKENIZER
from emollama_ros.language.decoder import CAPACITY, Decoder
from emollama_ros.language.feelings import other_feelings
from emollama_ros.language.generation import (
    Bounds,
    CausalModel,
    Generated,
    Guesser,
    Sampling,
    TextWriter,
)
from emollama_ros.language.guesses import GUESSES, Guesses, read_guesses
from emollama_ros.language.prompts import PromptMaker, PromptTokens
from emollama_ros.language.tokenizer import Tokenizer
from emollama_ros.manifest import Prompt, Task
from emollama_ros.telling import Telling

_THINK, _ENDS_THINKING = "<think>", ("</think>", "<answer>")


class FreeReasoner:
    """Writes reasonings in free words. Used by one thread at a time; a ``pipeline.Explainer``.

    Attributes:
        guesses: Saves passes of the model, and learns from every text; None where it checks none.
    """

    def __init__(
        self,
        model: CausalModel,
        tokenizer: PromptTokens,
        prompt: Prompt,
        *,
        task: Task = "reason",
        stop_tokens: Sequence[int] = (),
        capacity: int = CAPACITY,
        guesses: Guesser | None = None,
    ) -> None:
        """Compute the part of the prompt that is always the same.

        Args:
            model: At its start.
            tokenizer: Of the model.
            prompt: As the bundle's manifest has it.
            task: What is asked.
            stop_tokens: Tokens that end an answer.
            capacity: Positions of the model's caches.
            guesses: Saves passes, and learns from every text.

        Raises:
            BundleError: The prompt has no question for this task.
        """
        if task not in prompt.questions:
            raise BundleError(f"the bundle's prompt has no question for {task!r}; export it with one")
        self._model, self._tokenizer, self._prompt, self._task = model, tokenizer, prompt, task
        self._stop_tokens, self._capacity = frozenset(stop_tokens), capacity
        self.guesses = guesses
        self._maker = PromptMaker(prompt, tokenizer)
        self._model.prefill(self._model.embed(self._maker.before()))
        self._mark = self._model.snapshot()
        self._count = 0

    @classmethod
    def load(cls, bundle: Bundle, threads: int = 1, task: Task = "reason") -> FreeReasoner:
        """Load the language model of a bundle with soft tokens.

        Raises:
            BundleError: The bundle has no prompt, its language model was not assembled, or a file is damaged.
            EngineError: onnxruntime is missing or cannot run it.
        """
        prompt = bundle.manifest.prompt
        if prompt is None:
            raise BundleError(f"{bundle.path}: its manifest has no prompt, so there is nothing to ask")
        tokenizer = Tokenizer.load(bundle.path / TOKENIZER)
        needed = prompt.longest + bundle.manifest.soft_tokens + prompt.generation.max_tokens
        decoder = Decoder.load(bundle.path, threads, capacity=max(CAPACITY, needed))
        return cls(
            decoder,
            tokenizer,
            prompt,
            task=task,
            stop_tokens=tuple(tokenizer.controls.values()),
            capacity=decoder.capacity,
            guesses=guesses_of(bundle, decoder),
        )

    def explain(
        self,
        estimate: EmotionEstimate,
        transcript: str = "",
        *,
        question: str = "",
        on_text: Callable[[Reasoning], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Reasoning:
        """Say why, in a few sentences.

        Args:
            estimate: What is published, with its soft tokens.
            transcript: What was said in the window; data.
            question: Asked instead of the bundle's own question; data.
            on_text: Called with the text so far at word boundaries; the last call has ``final`` set.
            should_stop: Asked before every pass of the model; once true, or past the deadline, the text ends
                with what is written by then.

        Returns:
            The final value, the same as in the last call of ``on_text``.

        Raises:
            EngineError: The soft tokens do not fit the model.
        """
        telling = Telling(self._count, estimate)
        self._count += 1
        if estimate.label == UNCERTAIN:
            return tell_unsure(telling, on_text)
        given = opening(estimate, self._task)

        def show(text: str, tokens: int) -> None:
            if shown := text.removeprefix(_THINK).rstrip(":"):
                on_text(telling.so_far(shown, tokens))

        written = self._write(estimate, transcript, question, given, show, should_stop)
        text = conclude(written.text, estimate, self._task)
        final = telling.so_far(text, len(written.tokens), final=True)
        on_text(final)
        return final

    def _write(
        self,
        estimate: EmotionEstimate,
        transcript: str,
        question: str,
        given: str,
        on_text: Callable[[str, int], None],
        should_stop: Callable[[], bool],
    ) -> Generated:
        self._model.restore(self._mark)
        opened = self._tokenizer.encode_prompt(given)
        room = self._capacity - self._mark - len(opened) - self._prompt.generation.max_tokens
        embeds = self._maker.embeds(self._model, estimate, self._task, question, transcript, room)
        writer = TextWriter(
            self._model,
            self._tokenizer,
            self._sampling(estimate.sequence),
            self._bounds(estimate, room=self._capacity - self._mark - len(embeds)),
            guesses=self.guesses,
            on_text=on_text,
            should_stop=should_stop,
        )
        return writer.write(embeds, opened)

    def _sampling(self, seed: int) -> Sampling:
        g = self._prompt.generation
        return Sampling(g.temperature, g.top_p, g.repetition_penalty, seed)

    def _bounds(self, estimate: EmotionEstimate, room: int) -> Bounds:
        g = self._prompt.generation
        return Bounds(
            max_tokens=max(1, min(g.max_tokens, room)),
            deadline_ms=g.deadline_ms,
            stop_tokens=self._stop_tokens,
            stop_texts=(*self._prompt.stop, *_ENDS_THINKING, "\n"),
            forbidden=other_feelings(estimate.label, estimate.labels),
        )


def guesses_of(bundle: Bundle, decoder: Decoder) -> Guesses | None:
    """What a bundle's reasonings are guessed from at first; None where its decoder cannot check guesses.

    Raises:
        BundleError: The file with texts to begin with is damaged.
    """
    if not decoder.gives_rows:
        return None
    texts: Sequence[Sequence[int]] = ()
    if GUESSES in bundle.manifest.files:
        texts = read_guesses(bundle.file(GUESSES), decoder.vocab)
    return Guesses(texts, cost=decoder.cost_of_more())


def tell_unsure(telling: Telling, on_text: Callable[[Reasoning], None]) -> Reasoning:
    """Say of an estimate that it is not clear what is felt, and what is missing.

    The model is not asked: it learnt to give reasons for labels, and none is told.
    """
    final = telling.so_far(verdict(telling.estimate), 0, final=True)
    on_text(final)
    return final


def opening(estimate: EmotionEstimate, task: Task) -> str:
    """Return the words that a text begins with: for ``reason``, those that carry the label."""
    if task == "think":
        return _THINK
    said = verdict(estimate)
    # A colon, as in the reasonings that are learnt from: what follows are the reasons for it.
    return said if estimate.label in WITHOUT_FEELING else f"{said.removesuffix('.')}:"


def verdict(estimate: EmotionEstimate) -> str:
    """Return the sentence that says the published label with its degree of certainty."""
    if estimate.label == UNKNOWN:
        return f"{phrases.UNKNOWN_OPENINGS[0]}."
    if estimate.label == UNCERTAIN:
        return phrases.unsure(estimate.modalities.names())
    forms = phrases.OPENINGS[phrases.certainty(estimate.confidence)]
    return f"{forms[0].format(phrases.adjective(estimate.label))}."


def conclude(text: str, estimate: EmotionEstimate, task: Task) -> str:
    """Return a text as it is published: with the sentence that carries the label, whatever is missing."""
    if task == "think":
        reasons = text.removeprefix(_THINK).lstrip("… ")
        return f"{reasons} {verdict(estimate)}".strip()
    is_bare = text.rstrip("…:. ") == opening(estimate, task).rstrip(":. ")
    return verdict(estimate) if is_bare else text

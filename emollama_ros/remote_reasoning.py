"""Reasonings by a server: the prompt and the bounds of the robot, and the label alone if it fails.

A server cannot be made to go back by a word: where it names another label than the published one, the text
ends before that word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from emollama_ros.bundle import Bundle
from emollama_ros.errors import BundleError
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning
from emollama_ros.free_reasoning import conclude, opening, tell_unsure
from emollama_ros.labels import UNCERTAIN
from emollama_ros.language.assemble import EMBEDDINGS, LAYOUT, TOKENIZER, read_layout
from emollama_ros.language.decoder import TokenTable, open_table
from emollama_ros.language.feelings import other_feelings
from emollama_ros.language.generation import (
    Bounds,
    Floats,
    Sampling,
    settled,
    stop_at,
    with_ellipsis,
)
from emollama_ros.language.prompts import QUESTION_LIMIT, PromptMaker, PromptTokens
from emollama_ros.language.remote import RemoteModel
from emollama_ros.language.templates import as_data
from emollama_ros.language.tokenizer import Tokenizer
from emollama_ros.manifest import Prompt, Task
from emollama_ros.telling import Telling

_TASK: Task = "reason"


class TextServer(Protocol):
    """What is needed of a server; ``language.remote.RemoteModel`` is one."""

    def stream(
        self, prompt: Floats, sampling: Sampling, bounds: Bounds, should_stop: Callable[[], bool]
    ) -> Iterator[str]:
        """Return the pieces of a text as they come."""


class RemoteReasoner:
    """Has a server write reasonings; a ``pipeline.Explainer``."""

    def __init__(
        self, server: TextServer, embed: TokenTable, tokenizer: PromptTokens, prompt: Prompt
    ) -> None:
        """Remember what prompts are made of.

        Args:
            server: Of the language model that the bundle was trained with, LoRA merged.
            embed: Its embeddings.
            tokenizer: Of the model.
            prompt: As the bundle's manifest has it.

        Raises:
            BundleError: The prompt has no question to ask.
        """
        if _TASK not in prompt.questions:
            raise BundleError(f"the bundle's prompt has no question for {_TASK!r}; export it with one")
        self._server, self._embed, self._tokenizer, self._prompt = server, embed, tokenizer, prompt
        self._maker = PromptMaker(prompt, tokenizer)
        self._count = 0

    @staticmethod
    def load(bundle: Bundle, url: str, timeout_s: float) -> RemoteReasoner:
        """Load the embeddings and tokenizer of a bundle; the decoder itself is not needed.

        Raises:
            BundleError: The bundle has no soft tokens, or its embeddings are missing.
            ConfigError: The URL or the time is not usable.
        """
        server = RemoteModel(url, timeout_s)
        prompt = bundle.manifest.prompt
        if prompt is None or not bundle.manifest.soft_tokens:
            raise BundleError(
                f"{bundle.path}: has no soft tokens to send to a server; unset reasoning_url, or use "
                "a bundle with soft tokens"
            )
        layout = read_layout(bundle.path / LAYOUT)
        if not (bundle.path / EMBEDDINGS).is_file():
            raise BundleError(f"{bundle.path / EMBEDDINGS}: missing; run `emollama bundle assemble`")
        table = open_table(bundle.path, layout, EMBEDDINGS)
        return RemoteReasoner(server, table, Tokenizer.load(bundle.path / TOKENIZER), prompt)

    def explain(
        self,
        estimate: EmotionEstimate,
        transcript: str = "",
        *,
        question: str = "",
        on_text: Callable[[Reasoning], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Reasoning:
        """Say why; see ``FreeReasoner.explain``.

        Raises:
            EngineError: The server failed. ``on_text`` was given a final value by then: what had come, or the
                sentence with the label alone.
        """
        telling = Telling(self._count, estimate)
        self._count += 1
        if estimate.label == UNCERTAIN:
            return tell_unsure(telling, on_text)
        text = _Text(opening(estimate, _TASK), self._stops, other_feelings(estimate.label, estimate.labels))

        def show() -> None:
            on_text(telling.so_far(text.shown.rstrip(":"), text.pieces))

        show()
        try:
            for piece in self._pieces(estimate, transcript, question, should_stop):
                grew = text.add(piece)
                if text.is_over:
                    break
                if grew:
                    show()
        finally:
            final = telling.so_far(conclude(text.end(), estimate, _TASK), text.pieces, final=True)
            on_text(final)
        return final

    @property
    def _stops(self) -> tuple[str, ...]:
        return (*self._prompt.stop, "\n")

    def _pieces(
        self, estimate: EmotionEstimate, transcript: str, question: str, should_stop: Callable[[], bool]
    ) -> Iterator[str]:
        asked = as_data(question, QUESTION_LIMIT) or self._prompt.questions[_TASK]
        words = transcript if Modality.TEXT in estimate.modalities else ""
        after = [*self._maker.after(_TASK, asked, words), *self._tokenizer.encode(opening(estimate, _TASK))]
        parts = [self._embed(self._maker.before()), estimate.soft_tokens, self._embed(after)]
        g = self._prompt.generation
        return self._server.stream(
            np.concatenate([part for part in parts if part is not None]),
            Sampling(g.temperature, g.top_p, g.repetition_penalty, estimate.sequence),
            Bounds(g.max_tokens, g.deadline_ms, stop_texts=self._stops),
            should_stop,
        )


class _Text:
    """A text that comes in pieces: what of it may be shown, and whether it is over."""

    def __init__(self, opening: str, stops: tuple[str, ...], forbidden: re.Pattern[str] | None) -> None:
        self._text = self.shown = opening
        self._free = len(opening)
        self._stops, self._forbidden = stops, forbidden
        self.pieces = 0
        self.is_over = False

    def add(self, piece: str) -> bool:
        """Append; returns whether there is more to show."""
        if self.pieces == 0 and not piece[:1].isspace():
            piece = f" {piece}"
        self._text += piece
        self.pieces += 1
        if (stop := stop_at(self._text, self._stops)) is not None:
            self._text, self.is_over = self._text[:stop], True
        self._cut(settled(self._text, self._stops))
        before, self.shown = self.shown, max(self.shown, settled(self._text).rstrip(), key=len)
        return len(self.shown) > len(before)

    def end(self) -> str:
        """Return the text as a whole; what was shown stays."""
        self._cut(self._text)
        return with_ellipsis(max(self._text, self.shown, key=len))

    def _cut(self, finished: str) -> None:
        """End the text before a forbidden word."""
        found = self._forbidden.search(finished, self._free) if self._forbidden else None
        if found:
            self._text, self.is_over = finished[: found.start()].rstrip(), True
